"""The two addresses that an administrator registers at the identity provider. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from persistent_terminal_hub.config.presets import PRESETS
from persistent_terminal_hub.config.unlocking import public_url
from persistent_terminal_hub.settings import Settings

LOGIN = "oauth_callback"
REAUTH = "reauth/callback"


def reauth_callback_url(login_callback: str) -> str:
    """Where a fresh login comes back to: beside the callback of a login, whatever prefix that has."""
    parts = urlsplit(login_callback)
    base = parts.path.rstrip("/").removesuffix("/" + LOGIN)
    return urlunsplit((parts.scheme, parts.netloc, f"{base}/{REAUTH}", "", ""))


def note_on_callbacks(settings: Settings) -> str:
    """What to register at the provider, as a sentence for `check-config`; empty when there is nothing to."""
    preset = PRESETS.get(settings.auth.provider)
    if preset is None:
        return ""
    login = settings.auth.callback_url or f"{_origin(settings)}{settings.server.base_url}hub/{LOGIN}"
    if not (preset.oidc and preset.proves_fresh_login):
        return f"Register this callback at {preset.title}: {login}"
    reauth = reauth_callback_url(login)
    return f"Register two callbacks at {preset.title}: {login} (logins) and {reauth} (unlocking)"


def _origin(settings: Settings) -> str:
    anywhere = settings.server.host in ("0.0.0.0", "::", "[::]")  # noqa: S104 - compared, not bound to
    if anywhere and not settings.server.public_url:
        return "https://<the hub's address>"
    return public_url(settings)
