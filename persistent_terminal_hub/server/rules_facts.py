"""What the rules are asked about: a workspace's facts, from what keeper and server know. Pure.

All times are of the system's monotonic clock, which keeper and server share; facts are durations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from persistent_terminal_hub import policy
from persistent_terminal_hub.json_values import amount
from persistent_terminal_hub.policy import Rules, SessionFacts, WorkspaceFacts

from .keeper_lock import RulesClock

#: Names in a session's `meta` at the keeper.
TTL, MAX_AGE, EXTENDED, WARNED = "ttl", "max_age", "extended", "warned"


def number_in(meta: Mapping[str, Any], name: str) -> float | None:
    """A number of seconds that somebody put there; nonsense is nothing."""
    return amount(meta.get(name))


def moments_in(meta: Mapping[str, Any]) -> dict[str, float]:
    """Warning code -> when it was noted (monotonic)."""
    noted = meta.get(WARNED)
    if not isinstance(noted, dict):
        return {}
    found = {str(code): number_in(noted, code) for code in noted}
    return {code: at for code, at in found.items() if at is not None}


def session_facts(
    *,
    identity: str,
    name: str,
    created: float,
    attached: bool,
    busy: bool,
    busy_since: float | None,
    meta: Mapping[str, Any],
    now: float,
) -> SessionFacts:
    """One running session."""
    return SessionFacts(
        id=identity,
        name=name,
        age=max(0.0, now - created),
        attached=attached,
        busy=busy,
        busy_for=max(0.0, now - busy_since) if busy and busy_since is not None else 0.0,
        ttl=number_in(meta, TTL),
        max_age=number_in(meta, MAX_AGE),
        extended=number_in(meta, EXTENDED) or 0.0,
        warned={code: max(0.0, now - at) for code, at in moments_in(meta).items()},
    )


def facts_of_model(model: Mapping[str, Any], now: float) -> SessionFacts:
    """From what the keeper answers of a running session."""
    since = model.get("busy_since")
    return session_facts(
        identity=str(model["id"]),
        name=str(model["name"]),
        created=float(model["created"][1]),
        attached=bool(model["attached"]),
        busy=bool(model["busy"]),
        busy_since=float(since[1]) if since else None,
        meta=model["meta"],
        now=now,
    )


def workspace_facts(
    models: Iterable[Mapping[str, Any]],
    clock: RulesClock,
    *,
    now: float,
    locked: bool,
    kernels_busy_since: float | None,
    last_busy: float | None,
    warned: Mapping[str, float],
) -> WorkspaceFacts:
    """The workspace; `last_busy`: when something was last seen at work, as far as that is known."""
    sessions = tuple(facts_of_model(model, now) for model in models if model["exit"] is None)
    working = kernels_busy_since is not None or any(session.busy for session in sessions)
    return WorkspaceFacts(
        taken=now,
        state="running",
        age=max(0.0, now - clock.started),
        since_presence=max(0.0, now - clock.presence),
        since_connected=0.0 if clock.is_connected else max(0.0, now - clock.connected),
        busy=kernels_busy_since is not None,
        busy_for=0.0 if kernels_busy_since is None else max(0.0, now - kernels_busy_since),
        since_busy=0.0 if working else None if last_busy is None else max(0.0, now - last_busy),
        locked=locked,
        sessions=sessions,
        warned={code: max(0.0, now - at) for code, at in warned.items()},
    )


def with_use(facts: WorkspaceFacts, used: Mapping[str, tuple[float, float]]) -> WorkspaceFacts:
    """The facts, and what each session uses: its id -> (CPU seconds, MiB)."""
    return replace(
        facts,
        sessions=tuple(
            replace(session, cpu=used[session.id][0], memory=used[session.id][1])
            if session.id in used
            else session
            for session in facts.sessions
        ),
    )


def limits(session: SessionFacts, since_presence: float, rules: Rules) -> dict[str, tuple[float, float]]:
    """Of each limit of a session: seconds left (negative: overdue), and the limit; infinity: never."""
    ttl = policy.ttl_of(session.ttl, session.extended, rules)
    oldest = policy.max_age_of(session.max_age, rules)
    return {
        "ttl": (ttl - min(since_presence, session.age), ttl),
        "max_age": (oldest - session.age, oldest),
    }


def warnings_that_hold(session: SessionFacts, since_presence: float, rules: Rules) -> list[tuple[str, float]]:
    """(code, seconds left) of the warnings that were given and that nothing has made void since."""
    found = limits(session, since_presence, rules)
    return [
        (code, max(0.0, left))
        for code, (left, limit) in found.items()
        if code in session.warned and left <= policy.lead(limit, rules)
    ]


def seconds_or_none(value: float) -> float | None:
    """As JSON says it: null for never."""
    return None if math.isinf(value) else round(value, 3)
