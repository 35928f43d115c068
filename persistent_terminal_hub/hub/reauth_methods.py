"""What a way to prove a fresh login must offer: the interface between `/hub/reauth` and its methods.

A method renders an offer on the page, has handlers of its own, and reports to `Reauth` with exactly one of

    await handler.reauth.proven(handler, challenge, method=self.name)
    await handler.reauth.refused(handler, challenge, method=self.name, reason="...", sentence="...")

It never sets a login cookie and never decides who somebody is: the challenge says who has to prove it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from persistent_terminal_hub.hub.reauth_pages import ReauthHandler

#: A challenge that is not answered within this time is void, in seconds.
CHALLENGE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Challenge:
    """One wish to unlock one workspace, by one browser: made when the page is shown, answered at most once.

    It is kept in the hub's memory; pages carry only its id. `Reauth.take` gives it to the same browser and
    user only, and only once.
    """

    #: 256 random bits, URL-safe.
    id: str
    #: The hub user who has to prove the login; no other name is ever accepted.
    user: str
    #: Digest that binds it to the browser's hub session.
    session: str
    #: Server name of the workspace; "" is the default one.
    workspace: str
    #: Path within the workspace to go to afterwards, or "" for its front page.
    next: str
    #: When it was made, wall clock in seconds.
    created: float

    @property
    def workspace_id(self) -> str:
        """As tokens and the audit write it."""
        return f"{self.user}/{self.workspace}"


class Goal(Protocol):
    """What a proof may be for besides a workspace: it stands in the workspace's place on the page."""

    @property
    def name(self) -> str:
        """Begins with a colon, as no server name does."""

    @property
    def heading(self) -> str:
        """Of the page."""

    @property
    def text(self) -> str:
        """Why a proof is asked for; the user's name follows."""

    async def reached(self, handler: ReauthHandler, challenge: Challenge) -> None:
        """The challenge's user has proven a fresh login: finish the request."""


class ReauthMethod(Protocol):
    """One way to prove a fresh login, for every user for whom it is `available`."""

    @property
    def name(self) -> str:
        """One word for metrics, audit and routes: `password`, `oidc`, `passkey`."""

    @property
    def title(self) -> str:
        """The heading of its offer when there are several."""

    async def available(self, user: Any) -> bool:
        """Whether this JupyterHub user can use it now (a passkey is enrolled, the provider is set up...)."""

    async def offer(self, handler: ReauthHandler, challenge: Challenge) -> str:
        """HTML of its offer: a form that POSTs `_xsrf` and `challenge` (the id) to a handler of its own.

        Usually `return await handler.render_template("reauth-NAME.html", challenge=challenge)`.
        """

    def handlers(self) -> list[tuple[str, type]]:
        """Routes below /hub, such as `(r"/reauth/passkey", PasskeyHandler)`; subclasses of ReauthHandler."""
