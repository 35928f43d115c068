"""Whether a locked workspace could be opened again: what proves a fresh login with these settings. Pure.

A provider proves it (a password of our own, an ID token with `auth_time`), or a passkey does, which browsers
allow only at https addresses with a name, and at localhost. A lock that nobody could open is refused where an
administrator asked for it; where it is only the default, it is off, and a warning says so.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from persistent_terminal_hub.config.presets import preset_of
from persistent_terminal_hub.settings import Settings

_IDLE = "session.idleLockMinutes"
_RECONNECT = "session.reauthOnReconnect"


def public_url(settings: Settings) -> str:
    """The address people type, without a slash at its end: as set, else from host, port and TLS."""
    server = settings.server
    if server.public_url:
        return server.public_url.rstrip("/")
    scheme, usual = ("https", 443) if server.tls else ("http", 80)
    host = f"[{server.host}]" if ":" in server.host and not server.host.startswith("[") else server.host
    return f"{scheme}://{host}" + ("" if server.port == usual else f":{server.port}")


def allows_passkeys(url: str) -> bool:
    """Whether browsers offer passkeys at this address; never at an IP address."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return False
    if not host or _is_ip(host):
        return False
    local = host == "localhost" or host.endswith(".localhost")
    return parts.scheme == "https" or (local and parts.scheme == "http")


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def can_be_opened(settings: Settings) -> bool:
    """Whether somebody who is locked out has a way to prove a fresh login."""
    proves = preset_of(settings.auth.provider).proves_fresh_login
    return proves or (settings.auth.passkeys and allows_passkeys(public_url(settings)))


def default_lock_is_off(settings: Settings) -> bool:
    """Whether the idle lock is off because nobody asked for it and nobody could open it."""
    return "idle_lock_minutes" not in settings.session.model_fields_set and not can_be_opened(settings)


def lock_problems(settings: Settings) -> Iterator[str]:
    """One sentence when an administrator asked for a lock that nobody could open."""
    asked = list(_asked_for(settings))
    if asked and not can_be_opened(settings):
        names = " and ".join(asked)
        yield (
            f"{names} would lock workspaces that nobody could open again: {_why_not(settings)} "
            f"{_way_out(settings)}, or turn the lock off (set {names} to 0)."
        )


def lock_warnings(settings: Settings) -> Iterator[str]:
    """The default lock that is off, and locks that a short cut of the network would bring about."""
    if settings.session.idle_lock_minutes > 0 and default_lock_is_off(settings):
        yield (
            f"Workspaces do not lock when idle, because nobody could open them again: {_why_not(settings)} "
            f"{_way_out(settings)}, or set {_IDLE}: 0 to say that this is meant."
        )
    short = [_RECONNECT] if 0 < settings.session.reauth_on_reconnect < 10 else []
    for number, entry in enumerate(settings.rules, start=1):
        if entry.reauth_on_reconnect and entry.reauth_on_reconnect < 10:
            short.append(f"rules.reauthOnReconnect (entry {number})")
    for name in short:
        yield f"{name} is less than 10 seconds: reloading a page, or a short cut of the network, locks."


def _asked_for(settings: Settings) -> Iterator[str]:
    session = settings.session
    if session.idle_lock_minutes > 0 and "idle_lock_minutes" in session.model_fields_set:
        yield _IDLE
    if session.reauth_on_reconnect > 0:
        yield _RECONNECT
    for number, entry in enumerate(settings.rules, start=1):
        if entry.idle_lock_minutes:
            yield f"rules.idleLockMinutes (entry {number})"
        if entry.reauth_on_reconnect:
            yield f"rules.reauthOnReconnect (entry {number})"


def _why_not(settings: Settings) -> str:
    title = preset_of(settings.auth.provider).title
    if not settings.auth.passkeys:
        return f"{title} cannot prove a fresh login, and passkeys are off."
    return (
        f"{title} cannot prove a fresh login, and browsers allow no passkeys at {_address(settings)}, "
        "only at https addresses with a name and at localhost."
    )


def _way_out(settings: Settings) -> str:
    if not settings.auth.passkeys:
        also = (
            "" if allows_passkeys(public_url(settings)) else " and server.publicUrl to such an https address"
        )
        return f"Set auth.passkeys: true{also}"
    return "Set server.publicUrl to the address that people type, as https://hub.example.org"


def _address(settings: Settings) -> str:
    """For a sentence: an address with a user name or other parts in it is not repeated."""
    parts = urlsplit(public_url(settings)) if "@" not in public_url(settings) else None
    return f"{parts.scheme}://{parts.netloc}" if parts and parts.netloc else "server.publicUrl"
