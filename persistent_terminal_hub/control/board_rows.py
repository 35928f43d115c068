"""The rows of the board, made of what hub and workspaces say (pure). A workspace's words are its user's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from persistent_terminal_hub.control.board import Row, coarse, steady
from persistent_terminal_hub.control.hub import Server
from persistent_terminal_hub.control.workspaces import Row as Workspace
from persistent_terminal_hub.workspace_facts import unlock_asked

#: Sessions and characters of a name that are shown of one workspace.
MOST_SESSIONS = 500
MOST_NAME = 255
#: A last presence that is newer by less is no news.
PRESENCE_SLACK = 30.0

#: What only a running workspace can say.
SILENT: dict[str, Any] = {
    "answers": None, "silentSince": None, "locked": None, "asked": "", "presence": None, "kernelBusy": False,
    "sessions": [],
}  # fmt: skip


def user_row(model: Mapping[str, Any]) -> Row:
    """A user as the hub lists them."""
    groups = model.get("groups")
    return {
        "user": str(model.get("name", ""))[:MOST_NAME],
        "admin": bool(model.get("admin")),
        "groups": sorted(str(group)[:MOST_NAME] for group in groups) if isinstance(groups, list) else [],
        "lastActivity": model.get("last_activity"),
    }


def workspace_row(row: Workspace, server: Server | None, status: str, before: Row | None) -> Row:
    """A workspace as the hub knows it; what it said itself stays while it runs."""
    own = {name: before[name] for name in SILENT} if before is not None and status == "running" else SILENT
    return {
        "id": row.id, "owner": row.owner, "name": row.name, "display": row.display_name, "status": status,
        "started": server.started if server is not None else None,
        "lastActivity": server.last_activity if server is not None else None,
        **own,
    }  # fmt: skip


def answered(row: Row, facts: object, now: float) -> Row:
    """A workspace's row after its answer. `now` is wall-clock seconds; nonsense in the answer is left out."""
    said = facts if isinstance(facts, dict) else {}
    locked = said.get("locked") is True
    old = {each["id"]: each for each in row.get("sessions", ())}
    entries = said.get("sessions")
    sessions = [
        _session(entry, old.get(str(entry.get("id"))), locked, now)
        for entry in (entries if isinstance(entries, list) else [])[:MOST_SESSIONS]
        if isinstance(entry, dict)
    ]
    presence = now - _seconds(said.get("since_presence"))
    return {
        **row,
        "answers": True,
        "silentSince": None,
        "locked": locked,
        "asked": unlock_asked(said),
        "presence": steady(row.get("presence"), presence, PRESENCE_SLACK),
        "kernelBusy": said.get("busy") is True,
        "sessions": sessions,
    }


def silent(row: Row, now: float) -> Row:
    """A workspace's row when it did not answer: what it said last stays."""
    return {**row, "answers": False, "silentSince": row.get("silentSince") or float(round(now))}


def orphan_row(entry: Mapping[str, Any]) -> Row:
    """A container that the hub does not know."""
    return {
        "owner": str(entry.get("user", ""))[:MOST_NAME],
        "name": str(entry.get("workspace", ""))[:MOST_NAME],
        "container": str(entry.get("container", ""))[:64],
        "paused": entry.get("paused") is True,
        "userKnown": entry.get("userKnown") is True,
        "deleted": entry.get("deleted") is True,
    }


def _session(entry: Mapping[str, Any], before: Mapping[str, Any] | None, locked: bool, now: float) -> Row:
    old = before or {}
    attached, busy = entry.get("attached") is True, entry.get("busy") is True
    return {
        "id": str(entry.get("id", ""))[:64],
        "name": str(entry.get("name", ""))[:MOST_NAME],
        "state": "locked" if locked else "active" if attached else "dormant",
        "created": steady(old.get("created"), now - _seconds(entry.get("age"))),
        "busySince": steady(old.get("busySince"), now - _seconds(entry.get("busy_for"))) if busy else None,
        "memory": coarse(_seconds(entry.get("memory"))),
    }


def _seconds(value: object) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12
    return float(value) if good else 0.0  # type: ignore[arg-type]
