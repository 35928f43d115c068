"""What a workspace says of itself, read with suspicion (pure).

A workspace runs its owner's code, so its facts may be anything. A lie can keep its own workspace alive, as a
job could; it must not raise here, and nonsense must not look like a workspace that may be stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from persistent_terminal_hub.json_values import amount
from persistent_terminal_hub.policy import SessionFacts, WorkspaceFacts

#: More sessions than any setting allows.
MAX_SESSIONS = 10_000
#: Characters of what a locked workspace shows of a request to unlock it.
MAX_ASKED = 500


class BadFacts(ValueError):
    """The answer is no set of facts; the text says which part."""


def facts_of(model: object, taken: float) -> tuple[WorkspaceFacts, str]:
    """Facts of a running workspace, and the hash of its rules.

    `taken`: when it was asked, on the asker's monotonic clock. Raises BadFacts. What a newer
    workspace says beyond this is ignored.
    """
    top = _mapping(model, "the answer")
    entries = top.get("sessions", [])
    if not isinstance(entries, list) or len(entries) > MAX_SESSIONS:
        raise BadFacts("sessions must be a list")
    sessions = tuple(_session(entry) for entry in entries)
    if len({session.id for session in sessions}) != len(sessions):
        raise BadFacts("two sessions have the same id")
    rules_hash = top.get("rulesHash", "")
    facts = WorkspaceFacts(
        taken=taken,
        state="running",
        age=_seconds(top, "age"),
        since_presence=_seconds(top, "since_presence"),
        since_connected=_seconds(top, "since_connected"),
        busy=_flag(top, "busy"),
        busy_for=_seconds(top, "busy_for", 0.0),
        since_busy=_optional(top, "since_busy"),
        locked=_flag(top, "locked"),
        sessions=sessions,
        warned=_warned(top),
    )
    return facts, rules_hash if isinstance(rules_hash, str) else ""


def unlock_asked(model: Mapping[str, Any]) -> str:
    """What its owner was asked while it is locked; empty: nothing."""
    asked = model.get("unlock_asked")
    return asked[:MAX_ASKED] if model.get("locked") is True and isinstance(asked, str) else ""


def _session(entry: object) -> SessionFacts:
    model = _mapping(entry, "a session")
    name, session = model.get("name", ""), model.get("id")
    if not isinstance(session, str) or not session or not isinstance(name, str):
        raise BadFacts("a session has no id")
    return SessionFacts(
        id=session[:200],
        name=name[:200],
        age=_seconds(model, "age"),
        attached=_flag(model, "attached", False),
        busy=_flag(model, "busy", False),
        busy_for=_seconds(model, "busy_for", 0.0),
        ttl=_optional(model, "ttl"),
        max_age=_optional(model, "max_age"),
        cpu=_seconds(model, "cpu", 0.0),
        memory=_seconds(model, "memory", 0.0),
        extended=_seconds(model, "extended", 0.0),
        warned=_warned(model),
    )


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadFacts(f"{what} must be an object")
    return value


def _value(model: Mapping[str, Any], key: str) -> Any:
    """By the name of the field, or as JSON elsewhere in this project writes it."""
    if key in model:
        return model[key]
    first, *rest = key.split("_")
    return model.get(first + "".join(word.capitalize() for word in rest))


def _seconds(model: Mapping[str, Any], key: str, default: float | None = None) -> float:
    value = _value(model, key)
    if value is None and default is not None:
        return default
    seconds = amount(value)
    if seconds is None:
        raise BadFacts(f"{key} must be a number of seconds that is not negative")
    return seconds


def _optional(model: Mapping[str, Any], key: str) -> float | None:
    return None if _value(model, key) is None else _seconds(model, key)


def _flag(model: Mapping[str, Any], key: str, default: bool | None = None) -> bool:
    value = _value(model, key)
    if value is None and default is not None:
        return default
    if not isinstance(value, bool):
        raise BadFacts(f"{key} must be true or false")
    return value


def _warned(model: Mapping[str, Any]) -> dict[str, float]:
    warned = _mapping(model.get("warned", {}), "warned")
    return {str(code)[:40]: _seconds(warned, code) for code in list(warned)[:40]}
