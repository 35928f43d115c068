"""How a proven login reaches the workspace: a token that opens it once, posted by the user's own browser.

The token stands in the body of a form and nowhere else: not in a URL, which logs and histories keep.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from persistent_terminal_hub.signing_keys import KeyStore
from persistent_terminal_hub.tokens import Purpose, issue

#: How long an unlock token may take from the hub to the workspace, in seconds.
UNLOCK_SECONDS: Final = 60.0
_MAX_NEXT: Final = 2048
_CONTROLS = re.compile(r"[\x00-\x20\x7f\\]")


class HubTokens:
    """Issues what the hub signs for a workspace."""

    def __init__(self, keys: KeyStore, hub_id: str) -> None:
        self._keys = keys
        self._issuer = f"hub:{hub_id}"

    def unlock(self, user: str, workspace: str) -> str:
        """Opens this workspace once, for this user."""
        return issue(
            self._keys.signing(),
            Purpose.UNLOCK,
            issuer=self._issuer,
            audience=f"workspace:{user}/{workspace}",
            subject=user,
            lifetime=UNLOCK_SECONDS,
        )

    def steer(self, user: str, workspace: str, *actions: str) -> str:
        """Lets the hub ask these actions of this workspace, for a minute."""
        return issue(
            self._keys.signing(),
            Purpose.STEER,
            issuer=self._issuer,
            audience=f"workspace:{user}/{workspace}",
            subject=user,
            lifetime=60.0,
            claims={"actions": list(actions)},
        )


def next_within(wish: str, base_path: str) -> str:
    """The page to go back to if it is one of the workspace at `base_path`, else ""."""
    if not wish or len(wish) > _MAX_NEXT or _CONTROLS.search(wish):
        return ""
    try:
        parts = urlsplit(wish)
    except ValueError:
        return ""
    path = unquote(parts.path)
    inside = parts.path.startswith(base_path) and unquote(base_path) == path[: len(unquote(base_path))]
    if parts.scheme or parts.netloc or not inside:
        return ""
    if "//" in path or "\\" in path or any(part in (".", "..") for part in path.split("/")):
        return ""
    return wish


@dataclass(frozen=True, slots=True)
class WorkspaceAddress:
    """Where the browser finds a workspace."""

    #: Ends in a slash; a whole URL when users have subdomains, else a path.
    url: str

    @property
    def path(self) -> str:
        """Its path alone."""
        return urlsplit(self.url).path

    @property
    def unlock_url(self) -> str:
        """Where the token goes."""
        return self.url + "persistent-terminals/unlock"

    @property
    def form_action(self) -> str:
        """For a Content-Security-Policy: the hub's own origin and the workspace's."""
        parts = urlsplit(self.url)
        return f"'self' {parts.scheme}://{parts.netloc}" if parts.netloc else "'self'"


async def hand_over(handler: Any, address: WorkspaceAddress, token: str, next_: str, name: str) -> None:
    """Finish with the page that posts the token; its button does the same without JavaScript."""
    nonce = secrets.token_urlsafe(16)
    handler.set_header("Cache-Control", "no-store")
    handler.set_header("Referrer-Policy", "same-origin")
    handler.set_header("X-Content-Type-Options", "nosniff")
    handler.set_header(
        "Content-Security-Policy",
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
        f"form-action {address.form_action}; base-uri 'none'; frame-ancestors 'none'",
    )
    handler.finish(
        await handler.render_template(
            "unlock.html", nonce=nonce, action=address.unlock_url, token=token, next=next_, workspace=name
        )
    )
