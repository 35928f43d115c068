"""What the audit log says of operations (pure). Each record has an id of its operation's, so that whoever
writes it down, and however often, it is in the log once."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from persistent_terminal_hub.control.operation_store import Task
from persistent_terminal_hub.control.operations import Course, State


def asked(task: Task) -> dict[str, Any]:
    """Somebody asked for it."""
    image = (task.request.get("options") or {}).get("image") if task.kind == "create" else None
    return _record(task, "asked", task.created) | ({"image": image} if image else {})


def ended(task: Task, course: Course, now: float) -> dict[str, Any]:
    """It is over."""
    result = "ok" if course.state is State.DONE else course.state.value
    # The state, not the result, names it: rows of older versions were named so.
    return _record(task, result, now, name=course.state) | {"reason": course.error[:500]}


def _record(task: Task, result: str, at: float, name: str = "") -> dict[str, Any]:
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "id": hashlib.sha256(f"{task.id}:{name or result}".encode()).hexdigest()[:32],
        "at": moment,
        "who": task.actor,
        "what": f"workspace.{task.kind}",
        "on": f"{task.owner}/{task.request.get('name', '')}",
        "origin": str(task.request.get("origin", "")),
        "result": result,
    }
