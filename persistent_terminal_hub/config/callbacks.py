"""The two addresses that an administrator registers at the identity provider. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from persistent_terminal_hub.settings import Settings

LOGIN = "oauth_callback"
REAUTH = "reauth/callback"


def reauth_callback_url(login_callback: str) -> str:
    """Where a fresh login comes back to: beside the callback of a login, whatever prefix that has."""
    parts = urlsplit(login_callback)
    base = parts.path.rstrip("/").removesuffix("/" + LOGIN)
    return urlunsplit((parts.scheme, parts.netloc, f"{base}/{REAUTH}", "", ""))


def callbacks_to_register(settings: Settings) -> tuple[str, str]:
    """Both, as the browser sees them; with a placeholder for the host when no setting names it."""
    login = settings.auth.callback_url
    if not login:
        login = f"https://<the hub's address>{settings.server.base_url}hub/{LOGIN}"
    return login, reauth_callback_url(login)
