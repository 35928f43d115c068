"""Attach tokens: short-lived, for one session, signed by this workspace's own key.

With one a client reconnects although the hub cannot say who it is. That must not outlive the hub's word:
every token says when the hub last said yes (`confirmed`) and, as a name that means something to this process
only, to which of the hub's credentials (`grant`), so that it can be asked again before a token is renewed.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from persistent_terminal_hub.protocol.codes import Code
from persistent_terminal_hub.tokens import Purpose, SigningKey, TokenError, issue, verify

from .auth import grace_seconds

log = logging.getLogger(__name__)

#: Where the extension keeps its `AttachTokens` among the server's settings.
SETTING: Final = "persistent_terminal_attach_tokens"
KEY_FILE: Final = "attach-key.pem"
#: Seconds that a token is valid; PTH_ATTACH_TOKEN_SECONDS. It is renewed after a third of that.
LIFETIME: Final = 900.0
#: Seconds by which the machine's own clock may have been put back meanwhile.
LEEWAY: Final = 5.0
#: Credentials that are remembered.
MAX_GRANTS: Final = 256
#: In parts of a token's life: so long the hub's yes holds for other connections of the same credentials, too.
SAME_ANSWER: Final = 1 / 15

#: The hub's word: it knows and lets in, it does not, it is away, or it is there but there is nothing to ask
#: about, because the credentials are not known to this process.
Verdict = Literal["yes", "no", "away", "unknown"]


class HubAuth(Protocol):
    """What is needed of the hub (`auth.PatientHubOAuth`)."""

    async def ask_again(self, token: str, session_id: str) -> bool | None:
        """Whether it still lets in whoever has this token; None when it cannot be asked."""

    async def answers(self) -> bool:
        """Whether it is there."""

    def get_token(self, handler: Any) -> str | None:
        """The credentials of a request."""

    def get_session_id(self, handler: Any) -> str:
        """The browser session of a request."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who is connected, and why that is believed. Times are wall-clock seconds."""

    user: str
    #: Names the hub's credentials; empty when there are none.
    grant: str = ""
    #: When the hub last said yes.
    confirmed: float = 0.0
    #: When the token expires by which the person came; None for one who came by the hub's word.
    until: float | None = None
    #: The id of the session which that token opens.
    session: str = ""


class Refused(Exception):
    """A token that does not open this session: with which code to close, and why."""

    def __init__(self, code: Code, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


OTHER_SESSION: Final = (Code.FORBIDDEN, "The token is for another session.")


@dataclass(slots=True)
class _Grant:
    token: str = field(repr=False)
    session_id: str = field(repr=False)
    answered: float = float("-inf")  # monotonic time of the last yes


class AttachTokens:
    """Issues and verifies this workspace's attach tokens, and asks the hub before a renewal."""

    def __init__(
        self,
        directory: Path | None,
        workspace: str,
        hub: HubAuth | None,
        *,
        lifetime: float = LIFETIME,
        grace: float | None = None,
    ) -> None:
        self.lifetime = lifetime
        self.name = f"workspace:{workspace}"
        self._hub = hub
        self._grace = grace_seconds() if grace is None else grace
        self._key = load_key(directory)
        self._keys = {self._key.kid: self._key.public}
        self._grants: OrderedDict[str, _Grant] = OrderedDict()
        self._secret = secrets.token_bytes(32)

    @classmethod
    def from_environment(cls, identity_provider: object) -> AttachTokens:
        """Those of this server; without a hub, its own check of who somebody is counts as the hub's."""
        directory = os.environ.get("PTH_RUNTIME_DIR")
        return cls(
            Path(directory) if directory else None,
            os.environ.get("PTH_WORKSPACE_ID") or "local/",
            getattr(identity_provider, "hub_auth", None),
            lifetime=_lifetime(),
        )

    # Who ---------------------------------------------------------------------------------------------

    def has_credentials(self, handler: Any) -> bool:
        """Whether a request came with something that the hub could be asked about."""
        return self._hub is not None and bool(self._hub.get_token(handler))

    def person(self, handler: Any, user: str) -> Person:
        """Somebody whom the server knows by a cookie or token of the hub."""
        now = time.time()
        token = self._hub.get_token(handler) if self._hub is not None else None
        if self._hub is None or not token:
            return Person(user, "", now)
        session_id = self._hub.get_session_id(handler)
        text = f"{session_id}:{token}".encode("utf8", "replace")
        name = hmac.new(self._secret, text, hashlib.sha256).hexdigest()[:32]
        if name not in self._grants:
            self._grants[name] = _Grant(token, session_id)
            while len(self._grants) > MAX_GRANTS:
                self._grants.popitem(last=False)
        self._grants.move_to_end(name)
        return Person(user, name, now)

    def issue(self, person: Person, session: str) -> str:
        """A token for one session."""
        return issue(
            self._key, Purpose.ATTACH,
            issuer=self.name, audience=self.name, subject=person.user, lifetime=self.lifetime,
            claims={"session": session, "grant": person.grant, "confirmed": person.confirmed},
        )  # fmt: skip

    def verify(self, token: str, session: str | None = None) -> Person:
        """Whom a token names, and for which session; Refused if that is not `session`, where one is given."""
        try:
            found = verify(
                token, self._keys, Purpose.ATTACH,
                issuer=self.name, audience=self.name, leeway=LEEWAY, max_lifetime=self.lifetime,
            )  # fmt: skip
        except TokenError as error:
            code = Code.FORBIDDEN if error.reason == "audience" else Code.SIGN_IN
            raise Refused(code, f"{error} Sign in again." if code == Code.SIGN_IN else str(error)) from None
        named, grant, confirmed = (found.claims.get(name) for name in ("session", "grant", "confirmed"))
        if not isinstance(named, str) or not isinstance(grant, str) or not isinstance(confirmed, int | float):
            raise Refused(Code.SIGN_IN, "This is not a token for a session. Sign in again.")
        if session is not None and named != session:
            raise Refused(*OTHER_SESSION)
        return Person(found.subject, grant, float(confirmed), found.expires, named)

    # Renewing ----------------------------------------------------------------------------------------

    async def ask(self, person: Person) -> Verdict:
        """What the hub says of somebody now. One question serves all connections of the same credentials."""
        if self._hub is None:
            return "yes"
        grant = self._grants.get(person.grant)
        ask_again = getattr(self._hub, "ask_again", None)
        if ask_again is None:
            return (
                "away"  # JupyterHub's own server with our extension: it is never asked, the grace bounds it
            )
        if grant is None:
            return "unknown" if await self._hub.answers() else "away"
        if time.monotonic() - grant.answered < SAME_ANSWER * self.lifetime:
            return "yes"
        answer: bool | None = await ask_again(grant.token, grant.session_id)
        if answer is None:
            return "away"
        grant.answered = time.monotonic() if answer else float("-inf")
        return "yes" if answer else "no"

    def within_grace(self, person: Person) -> bool:
        """Whether the hub's last yes still counts while it is away."""
        return abs(time.time() - person.confirmed) < self._grace


def load_key(directory: Path | None) -> SigningKey:
    """The workspace's key: made once for as long as its runtime directory lives, else for this process."""
    if directory is None:
        return SigningKey.generate()
    path = directory / KEY_FILE
    try:
        return SigningKey.from_pem(path.read_bytes())
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        log.warning("The key of attach tokens is replaced, because its file cannot be used: %s", error)
    key = SigningKey.generate()
    temporary = directory / f".{KEY_FILE}.{os.getpid()}"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as opened:
            opened.write(key.to_pem())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        log.warning(
            "The key of attach tokens cannot be kept (%s): after a restart of this server, sign in again.",
            error.strerror,
        )
    return key


def _lifetime() -> float:
    try:
        return min(86400.0, max(1.0, float(os.environ["PTH_ATTACH_TOKEN_SECONDS"])))
    except (KeyError, ValueError):
        return LIFETIME
