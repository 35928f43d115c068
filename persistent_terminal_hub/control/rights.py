"""Who may do what with whose workspace, decided by the scopes that the hub gives (pure).

A token that was made for less may do less here too: nothing is derived from a name alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

#: See everything and steer it, but open nothing.
OPERATE = "custom:persistent-terminals:operate"


class Action(StrEnum):
    """What is asked for; the value completes "You may not … this workspace."."""

    VIEW = "see"
    STEER = "steer"  # stop, lock, warn, end or extend a session
    MANAGE = "change"  # create, start, rename, delete
    OPEN = "open"  # its terminals, files, secrets, and what runs in it


#: JupyterHub's scope for each; it may be limited to a user or to a server.
_SCOPES = {
    Action.VIEW: "read:servers",
    Action.STEER: "delete:servers",
    Action.MANAGE: "servers",
    Action.OPEN: "access:servers",
}
#: JupyterHub's scopes that include another one are expanded before we see them, except for these.
_INCLUDES = {Action.MANAGE: "admin:servers", Action.VIEW: "admin:servers", Action.STEER: "admin:servers"}
_OPERATOR = frozenset({Action.VIEW, Action.STEER})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the hub knows them; `token` acts for them and is never shown."""

    name: str
    kind: str
    admin: bool
    groups: frozenset[str]
    scopes: frozenset[str]
    origin: str
    token: str = field(default="", repr=False)
    by_cookie: bool = False

    @property
    def is_user(self) -> bool:
        """A person's account, not a service."""
        return self.kind == "user"

    @property
    def sees_all(self) -> bool:
        """Administrators and operators."""
        return bool(self.scopes & {"admin:servers", "read:servers", OPERATE})

    @property
    def steers_all(self) -> bool:
        """Administrators and operators."""
        return bool(self.scopes & {"admin:servers", "delete:servers", OPERATE})


def may(caller: Caller, action: Action, owner: str, server: str | None = None) -> bool:
    """Whether `caller` may do `action` with the workspace `server` of `owner`; None: with all of them."""
    scopes = caller.scopes
    if action in _OPERATOR and OPERATE in scopes:
        return True
    wanted = [_SCOPES[action]]
    if action in _INCLUDES:
        wanted.append(_INCLUDES[action])
    return any(_has(scopes, base, owner, server) for base in wanted)


def _has(scopes: Collection[str], base: str, owner: str, server: str | None) -> bool:
    if base in scopes or f"{base}!user={owner}" in scopes:
        return True
    return server is not None and f"{base}!server={owner}/{server}" in scopes
