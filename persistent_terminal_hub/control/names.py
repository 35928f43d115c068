"""Names of workspaces, and the two ways to say which one is meant (pure).

A name is part of paths, host names and container names, so there is one spelling of each: lower-case ASCII.
That leaves no room for names that differ only by case, by escapes or by look-alikes of another script.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_NAME = 30
_NAME = re.compile(r"[a-z](?:-?[a-z0-9])*")
_ID = re.compile(r"[0-9a-f]{32}")


def check_name(name: str) -> str:
    """The name if a new workspace may have it; "" is the default one's. Raises ValueError with a sentence."""
    if name and (len(name) > MAX_NAME or not _NAME.fullmatch(name)):
        raise ValueError(
            f"A workspace's name has 1 to {MAX_NAME} characters of a-z, 0-9 and single hyphens between them, "
            "and begins with a letter; what people read is the display name."
        )
    return name


@dataclass(frozen=True, slots=True)
class ById:
    """A workspace by the id that the service gave it."""

    id: str


@dataclass(frozen=True, slots=True)
class ByName:
    """A workspace by its owner and name."""

    owner: str
    name: str


def parse_key(key: str) -> ById | ByName | None:
    """What an address names: an id, or `user~name` (already unescaped); None if neither.

    No name of a workspace holds a tilde, so the last one divides.
    """
    if _ID.fullmatch(key):
        return ById(key)
    owner, tilde, name = key.rpartition("~")
    if not tilde or not owner or len(owner) > 255 or len(name) > 255:
        return None
    return ByName(owner, name)


def parse_session_key(key: str) -> tuple[str, str] | None:
    """Workspace key and session id of `<workspace>.<session>`; a session's id holds no dot."""
    workspace, dot, session = key.rpartition(".")
    if not dot or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", session) or parse_key(workspace) is None:
        return None
    return workspace, session
