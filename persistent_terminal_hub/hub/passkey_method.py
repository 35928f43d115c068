"""A passkey as a way to prove a fresh login, and what its pages share."""

from __future__ import annotations

import html
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jupyterhub.utils import get_browser_protocol
from webauthn import generate_authentication_options, options_to_json
from webauthn.helpers import base64url_to_bytes
from webauthn.helpers.structs import (
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    UserVerificationRequirement,
)

from persistent_terminal_hub.hub import passkey_failures as failures
from persistent_terminal_hub.hub.data_dir import DataDir
from persistent_terminal_hub.hub.moments import Moments
from persistent_terminal_hub.hub.one_time import OneTimePerUser
from persistent_terminal_hub.hub.passkey_proofs import Expected, judge_assertion
from persistent_terminal_hub.hub.passkey_rules import (
    LOGIN_SECONDS,
    PROOF_SECONDS,
    Site,
    site_of,
    user_handle,
)
from persistent_terminal_hub.hub.passkey_store import Passkey, PasskeyStore, PasskeyStoreError
from persistent_terminal_hub.hub.reauth_methods import CHALLENGE_SECONDS, Challenge
from persistent_terminal_hub.hub.reauth_pages import ReauthHandler
from persistent_terminal_hub.settings import Settings

log = logging.getLogger("persistent_terminal_hub")

#: Milliseconds that a browser lets a person look for the key.
DIALOG_MS = 120_000


@dataclass(frozen=True, slots=True)
class Registration:
    """One wish to add a passkey, answered at most once; bound like a `Challenge`."""

    id: str
    user: str
    session: str
    site: Site


class Passkeys:
    """The hub's one: the store, and what is remembered for minutes."""

    def __init__(self, settings: Settings, data: DataDir) -> None:
        self.settings = settings
        self.store = PasskeyStore(data.passkeys)
        #: (user, browser session) that logged in at the hub.
        self.logins = Moments(LOGIN_SECONDS)
        #: (user, browser session) that proved a login for one change of passkeys.
        self.proofs = Moments(PROOF_SECONDS)
        self.registrations: OneTimePerUser[Registration] = OneTimePerUser(CHALLENGE_SECONDS)
        self._hub_id = data.hub_id()

    def site(self, request: Any) -> Site | None:
        """Where the browser of this request uses passkeys; None if it cannot."""
        return site_of(self.settings.server.public_url, get_browser_protocol(request), request.host)

    def handle(self, user: str) -> bytes:
        """What authenticators keep for the user."""
        return user_handle(self._hub_id, user)

    def usable(self, user: str) -> list[Passkey]:
        """The user's passkeys for the address of this hub, as far as that is known without a request."""
        site = site_of(self.settings.server.public_url, "", "")
        return [item for item in self.store.of(user) if site is None or item.rp_id == site.rp_id]


def descriptors(passkeys: Sequence[Passkey]) -> list[PublicKeyCredentialDescriptor]:
    """As options for the browser name them."""
    known = {hint.value: hint for hint in AuthenticatorTransport}
    return [
        PublicKeyCredentialDescriptor(
            id=item.id, transports=[known[hint] for hint in item.transports if hint in known]
        )
        for item in passkeys
    ]


class PasskeyMethod:
    """Use one of the user's own passkeys, with PIN, finger or face."""

    name = "passkey"
    title = "Your passkey"

    def __init__(self, authenticator: Any) -> None:
        self._authenticator = authenticator

    async def available(self, user: Any) -> bool:
        """Whoever has one; and whoever has no other way, to be told how to get one."""
        passkeys: Passkeys = self._authenticator.passkeys
        try:
            return bool(passkeys.store.of(user.name)) or not await self._authenticator.provider_proves(user)
        except PasskeyStoreError as error:
            log.error("%s", error)
            return True  # the offer says so

    async def offer(self, handler: ReauthHandler, challenge: Challenge) -> str:
        """The button, which needs JavaScript; or why there is none."""
        passkeys: Passkeys = self._authenticator.passkeys
        site = passkeys.site(handler.request)
        try:
            all_ = passkeys.store.of(challenge.user)
        except PasskeyStoreError as error:
            log.error("%s", error)
            return f"<p>{html.escape(failures.AWAY)}</p>"
        here = [item for item in all_ if site is not None and item.rp_id == site.rp_id]
        options = ""
        if site is not None and here:
            options = options_to_json(
                generate_authentication_options(
                    rp_id=site.rp_id,
                    challenge=base64url_to_bytes(challenge.id),
                    timeout=DIALOG_MS,
                    allow_credentials=descriptors(here),
                    user_verification=UserVerificationRequirement.REQUIRED,
                )
            )
        page: str = await handler.render_template(
            "reauth-passkey.html",
            challenge=challenge,
            action=handler.page_url(challenge.workspace, challenge.next, self.name),
            options=options,
            origin=site.origin if site is not None else "",
            elsewhere=sorted({item.rp_id for item in all_}),
        )
        return page

    def handlers(self) -> list[tuple[str, type]]:
        """Routes below /hub."""
        return [(r"/reauth/passkey", PasskeyHandler)]


class PasskeyHandler(ReauthHandler):
    """POST of the form: `challenge`, and in `credential` what the browser's WebAuthn gave."""

    async def post(self) -> None:
        """The challenge has been taken whatever the answer is worth."""
        challenge = await self.answered()
        if challenge is None:
            return
        passkeys: Passkeys = self.authenticator.passkeys
        status, reason, sentence = 403, "", ""
        try:
            reason = self._judge(passkeys, challenge)
        except PasskeyStoreError as error:
            self.log.error("%s", error)
            status, reason, sentence = 503, "unavailable", failures.AWAY
        if reason == "ok":
            await self.reauth.proven(self, challenge, method=PasskeyMethod.name)
            return
        await self.reauth.refused(
            self, challenge, method=PasskeyMethod.name, reason=reason, status=status,
            sentence=sentence or failures.not_used(reason), counts=status != 503,
        )  # fmt: skip

    def _judge(self, passkeys: Passkeys, challenge: Challenge) -> str:
        site = passkeys.site(self.request)
        if site is None:
            return "origin"
        mine = {item.id: item for item in passkeys.store.of(challenge.user) if item.rp_id == site.rp_id}
        expected = Expected(base64url_to_bytes(challenge.id), site, passkeys.handle(challenge.user))
        used = judge_assertion(self.get_body_argument("credential", ""), expected, mine)
        if used.reason != "ok":
            return used.reason
        if not passkeys.store.used(challenge.user, used.id, used.sign_count, time.time()):
            return "sign_count"
        return "ok"
