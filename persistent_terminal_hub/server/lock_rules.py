"""What a locked server answers to which request. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote_to_bytes, urlencode, urlsplit

Kind = Literal["page", "api", "websocket"]

#: Where our routes stand below the server's base URL.
ROOT: Final = "persistent-terminals/"
#: Characters of the reason of a lock.
MAX_REASON: Final = 200
#: Characters of an address that is kept over a login.
MAX_NEXT: Final = 2048
# What would be asked again after the login, ends it, or carries a code of the login that was under way.
_NOT_NEXT: Final = frozenset({"login", "logout", "oauth_callback"})
_TOKEN_ARGUMENTS: Final = frozenset({"token", "code", "state"})
# Tab, newline and carriage return are dropped from an address by browsers; the others have no business there.
_NOT_IN_ADDRESSES: Final = re.compile(r"[\x00-\x20\x7f-\uffff\\\U00010000-\U0010ffff]")

#: Why a workspace is locked, for reasons that are given as one word; others are sentences themselves.
REASONS: Final[Mapping[str, str]] = {
    "idle": "Nobody used it for a while.",
    "user": "Its owner locked it.",
    "administrator": "An administrator locked it.",
    "reconnect": "Nobody was connected to it for a while.",
}


@dataclass(frozen=True, slots=True)
class LockState:
    """The lock as the keeper tells of it. `since` is wall-clock seconds, for display."""

    locked: bool
    since: float | None = None
    reason: str = ""
    generation: int = 0  # counts the locks
    asked: str = ""  # who asks for it to be opened, as a sentence

    @property
    def since_text(self) -> str | None:
        """As in RFC 3339, in UTC; None when it is not known."""
        if self.since is None:
            return None
        return datetime.fromtimestamp(self.since, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

    @property
    def why(self) -> str:
        """Why, for whoever opens the workspace's address."""
        return REASONS.get(self.reason, self.reason)

    @property
    def sentence(self) -> str:
        """Why it is locked, and who asks for it to be opened."""
        return f"{self.why} {self.asked}".strip()


def clean_reason(reason: object) -> str:
    """What somebody gave as the reason, as one line of at most MAX_REASON characters; else nothing."""
    return clean_text(reason, MAX_REASON) if isinstance(reason, str) else ""


def clean_text(text: str, most: int) -> str:
    """One line of at most `most` printable characters."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(shown.split())[:most]


def kind_of(headers: Mapping[str, str]) -> Kind:
    """What kind of answer the sender of a request understands.

    A browser says by Sec-Fetch-Mode whether a person navigates; older ones and tools by Accept.
    """
    upgrade = headers.get("Upgrade", "")
    if "websocket" in (word.strip().lower() for word in upgrade.split(",")):
        return "websocket"
    mode = headers.get("Sec-Fetch-Mode", "").strip().lower()
    if mode:
        return "page" if mode == "navigate" else "websocket" if mode == "websocket" else "api"
    if headers.get("X-Requested-With", "").strip().lower() == "xmlhttprequest":
        return "api"
    return "page" if _wants_html(headers.get("Accept", "")) else "api"


def is_handshake(method: str | None, headers: Mapping[str, str], subprotocol: str) -> bool:
    """Whether this is a complete WebSocket handshake that offers `subprotocol`."""

    def words(name: str) -> list[str]:
        return [word.strip() for word in headers.get(name, "").split(",")]

    return (
        method == "GET"
        and headers.get("Upgrade", "").strip().lower() == "websocket"
        and "upgrade" in (word.lower() for word in words("Connection"))
        and headers.get("Sec-WebSocket-Version") == "13"
        and bool(headers.get("Sec-WebSocket-Key"))
        and subprotocol in words("Sec-WebSocket-Protocol")
    )


def _wants_html(accept: str) -> bool:
    for part in accept.split(","):
        name, _, parameters = part.partition(";")
        if name.strip().lower() in ("text/html", "application/xhtml+xml"):
            return not re.search(r"(?:^|;)\s*q=0(?:\.0*)?\s*(?:;|$)", parameters)
    return False


def safe_next(wanted: str | None, base_url: str) -> str:
    """Where to go after unlocking: `wanted` if it is an address of this server, else its start.

    `base_url` is the server's path, with a slash at its end. What a browser could take for another host, for
    another user's server or for a header is refused, however it is spelt.
    """
    start = base_url if base_url.endswith("/") else base_url + "/"
    if not wanted or len(wanted) > MAX_NEXT or _NOT_IN_ADDRESSES.search(wanted):
        return start
    if not wanted.startswith("/") or wanted.startswith("//"):
        return start
    try:
        parts = urlsplit(wanted)
        below = _below(parts.path, start)
    except ValueError:
        return start
    if parts.scheme or parts.netloc or below is None:
        return start
    if below and (below[0] in _NOT_NEXT or below[:2] in (["persistent-terminals", "lock"], _UNLOCK)):
        return start
    query = _without_tokens(parts.query)
    # The path begins with the server's own, so it is no `//host`.
    return parts.path + ("?" + query if query else "") + ("#" + parts.fragment if parts.fragment else "")


_UNLOCK: Final = ["persistent-terminals", "unlock"]


def _below(path: str, start: str) -> list[str] | None:
    """The segments of `path` below `start`, decoded; None when it is not below it."""
    segments = [_decoded(segment) for segment in path.split("/")]
    if any(segment in (".", "..") for segment in segments):
        return None
    if any(re.search(r"[\x00-\x1f\x7f\\]", segment) for segment in segments):
        return None
    base = [_decoded(segment) for segment in start.split("/")][:-1]
    return segments[len(base) :] if segments[: len(base)] == base and len(segments) > len(base) else None


def _decoded(segment: str) -> str:
    """A segment as the most eager server would read it."""
    for _ in range(3):
        decoded = unquote_to_bytes(segment).decode("utf-8", "replace")
        if decoded == segment:
            break
        segment = decoded
    return segment


def _without_tokens(query: str) -> str:
    """The query without what is a secret; unchanged when there is none."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        return ""
    if not any(name in _TOKEN_ARGUMENTS for name, _ in pairs):
        return query
    return urlencode([(name, value) for name, value in pairs if name not in _TOKEN_ARGUMENTS])
