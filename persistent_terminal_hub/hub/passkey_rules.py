"""Where passkeys work, what a person must do before a change of their passkeys, and what a name is. Pure."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from persistent_terminal_hub.config.unlocking import allows_passkeys

#: A login of the hub counts as a proof for the first passkey for so long, in seconds.
LOGIN_SECONDS: Final = 600.0
#: A proof allows one change within this time, in seconds.
PROOF_SECONDS: Final = 300.0
#: Passkeys that one user may have.
MAX_PASSKEYS: Final = 20
_MAX_NAME: Final = 64
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_USUAL_PORTS = {"http": 80, "https": 443}

#: What is missing before a change: nothing; a proof at /hub/reauth; a new login at the hub.
Needed = Literal["nothing", "proof", "login"]


@dataclass(frozen=True, slots=True)
class Site:
    """Where a passkey is used: browsers hold one for a host (`rp_id`) and say from where they come."""

    rp_id: str
    origin: str


def site_of(public_url: str, protocol: str, host: str) -> Site | None:
    """The site of the public URL if one is set, else of the request; None where browsers allow no passkeys.

    `host` is the request's header, with or without a port.
    """
    url = public_url.rstrip("/") or f"{protocol}://{host}"
    if not allows_passkeys(url):
        return None
    try:
        parts = urlsplit(url)
        name, port = (parts.hostname or "").encode("idna").decode("ascii").lower(), parts.port
    except ValueError:
        return None
    if not _HOST.fullmatch(name):
        return None
    usual = port is None or port == _USUAL_PORTS[parts.scheme]
    return Site(name, f"{parts.scheme}://{name}" + ("" if usual else f":{port}"))


def needed_to_change(
    *, adding: bool, proven: bool, provider_proves: bool, enrolled: int, since_login: float | None
) -> Needed:
    """What a person must do before adding or removing a passkey.

    `proven`: a proof at /hub/reauth for this, not yet used up; `provider_proves`: a password or the identity
    provider can prove a fresh login; `since_login`: seconds since this browser logged in, None if unknown.
    Without such a provider the login itself counts, for a little while, and for the first passkey only:
    whoever sits down at an open browser later can neither add nor remove one.
    """
    if proven:
        return "nothing"
    if provider_proves or enrolled:
        return "proof"
    if adding and since_login is not None and 0 <= since_login <= LOGIN_SECONDS:
        return "nothing"
    return "login"


def clean_name(wish: str, taken: set[str]) -> str:
    """What a passkey is called: one line, at most 64 characters, unlike the user's others."""
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in wish)
    name = " ".join(visible.split())[:_MAX_NAME].strip() or "Passkey"
    number, unique = 2, name
    while unique in taken:
        unique, number = f"{name} {number}", number + 1
    return unique


def user_handle(hub_id: str, user: str) -> bytes:
    """What authenticators keep as the account's id: the same for all passkeys of a user, not the name."""
    return hashlib.sha256(f"pth-passkey\0{hub_id}\0{user}".encode()).digest()
