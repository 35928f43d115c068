"""The SDK: sessions of a workspace from Python, and from a terminal (`persistent-terminal-hub attach`).

`find_workspace` and `Workspace.attach` are async; `persistent_terminal_hub.client.sync` has the same without.
`find_control_service` leads to workspaces, operations, secrets, usage; without async: `client.control_sync`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import (
    ClientError,
    Conflict,
    InputLost,
    NoSuchSession,
    NoSuchWorkspace,
    NotConfigured,
    NotFound,
    NotYours,
    OperationFailed,
    Refused,
    SessionEnded,
    SignInAgain,
    TakenOver,
    Unreachable,
    WorkspaceLocked,
)

if TYPE_CHECKING:
    from .api import Hub, SessionInfo, Workspace, WorkspaceInfo, find_workspace
    from .control_service import ControlService, find_control_service
    from .received import Chunk
    from .session import Attachment, Found

_LAZY = {
    "Attachment": "session", "Chunk": "received", "ControlService": "control_service", "Found": "session",
    "Hub": "api", "SessionInfo": "api", "Workspace": "api", "WorkspaceInfo": "api",
    "find_control_service": "control_service", "find_workspace": "api",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load what needs httpx and websockets only when it is used."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)


__all__ = [
    "Attachment",
    "Chunk",
    "ClientError",
    "Conflict",
    "ControlService",
    "Found",
    "Hub",
    "InputLost",
    "NoSuchSession",
    "NoSuchWorkspace",
    "NotConfigured",
    "NotFound",
    "NotYours",
    "OperationFailed",
    "Refused",
    "SessionEnded",
    "SessionInfo",
    "SignInAgain",
    "TakenOver",
    "Unreachable",
    "Workspace",
    "WorkspaceInfo",
    "WorkspaceLocked",
    "find_control_service",
    "find_workspace",
]
