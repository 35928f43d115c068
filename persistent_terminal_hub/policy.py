"""What to do with a workspace and its sessions, pure: `decide(facts, rules, now) -> [action]`.

Asked by the workspace's own clock (locks, warns, ends sessions) and by the culler (also stops and removes).
Everything is a duration in seconds, measured on a monotonic clock by whoever knows it: a wall clock that
jumps changes nothing here.

What holds, and the tests prove:
- Facts that are too old, or from the future, and workspaces that do not answer, cause nothing.
- Nothing ends or stops unless its warning was shown while the end was near, and long enough ago. A warning
  that presence, an extension or a new job made void does not count: it is given again.
- Presence alone decides the lock, absence of connections alone the lock after a reconnect.
- A session that uses too much ends only if it still does `RESOURCE_GRACE` after its warning.
- Jobs and open pages defer the idle stop, each for `keep_alive_max` at most; never a lock, a TTL or an age.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

SessionCode = Literal["ttl", "max_age", "cpu", "memory"]
WorkspaceCode = Literal["idle_stop", "workspace_max_age"]

#: A session that uses more than it may gets so much time after its warning, unless `warn_before` is shorter.
RESOURCE_GRACE = 60.0
#: Such a warning counts for so much longer; then it was of another time, and is given again.
RESOURCE_STALE = 120.0


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for one workspace, after groups and the administrator's maximum were applied. 0: never."""

    idle_lock: float = 1800.0  # without presence
    reauth_on_reconnect: float = 0.0  # without any connected page or client
    ttl: float = 86400.0  # of a session, since the owner's last presence
    max_ttl: float = 0.0  # what a session may wish or be extended to; 0: no more than `ttl`
    max_age: float = 0.0  # of a session, since its creation
    max_cpu: float = 0.0  # of a session: CPU time
    max_memory: float = 0.0  # of a session: MiB, the only rule that is no time
    idle_stop: float = 0.0  # of a workspace, without presence, job or connected page
    workspace_max_age: float = 0.0  # of a workspace, since its start
    remove_after: float = 0.0  # of a stopped workspace
    warn_before: float = 900.0  # an end or a stop is announced so long before; see `lead`
    #: So long a job, or a page that nobody touches, may defer the idle stop; 0: for ever.
    keep_alive_max: float = 86400.0
    fresh: float = 120.0  # facts older than this are not acted on


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """One running session."""

    id: str
    name: str
    age: float
    attached: bool = False
    busy: bool = False  # a foreground job, or a watched process is alive
    busy_for: float = 0.0
    ttl: float | None = None  # the session's own wish
    max_age: float | None = None  # its own wish, too
    extended: float = 0.0  # seconds that the owner added to its end
    #: Warning code -> seconds since it was shown to a person or noted where one will see it.
    warned: Mapping[str, float] = field(default_factory=dict)
    cpu: float = 0.0  # CPU time used; 0: not known
    memory: float = 0.0  # MiB in use; 0: not known


@dataclass(frozen=True, slots=True)
class WorkspaceFacts:
    """One workspace at the moment `taken` (the asker's monotonic clock)."""

    taken: float
    state: Literal["running", "stopped", "pending", "unreachable", "orphan"]
    age: float = 0.0  # since its start; of a stopped one, since its stop
    since_presence: float = 0.0
    since_connected: float = 0.0  # 0 while a page or client is connected
    busy: bool = False  # a kernel runs a cell
    busy_for: float = 0.0
    #: Since the last job or cell ended, 0 while one runs; None: not known, or none has run.
    since_busy: float | None = None
    locked: bool = False
    sessions: tuple[SessionFacts, ...] = ()
    warned: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Warn:
    """Tell the owner, in every client and page, that `what` comes in `seconds`."""

    code: SessionCode | WorkspaceCode
    seconds: float
    session: str | None  # its id; None: the workspace
    reason: str


@dataclass(frozen=True, slots=True)
class Lock:
    """Lock the workspace."""

    reason: str


@dataclass(frozen=True, slots=True)
class EndSession:
    """End one session."""

    session: str
    code: SessionCode
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the workspace; its files stay."""

    reason: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a stopped workspace's container; its files stay."""

    reason: str


Action = Warn | Lock | EndSession | Stop | Remove


def decide(facts: WorkspaceFacts, rules: Rules, now: float) -> list[Action]:
    """What to do now; empty means: leave it alone.

    In the order in which to do it: a lock first, because it protects; then warnings, ends, and what takes
    the whole workspace last. `now` is read from the clock that gave `facts.taken`. Durations are taken as
    they were then: facts that wait make nobody look more idle.
    """
    if not 0 <= now - facts.taken <= rules.fresh:  # also when either is not a number
        return []
    if facts.state == "stopped":
        return list(_removal(facts, rules))
    if facts.state != "running":
        return []
    sessions = [action for session in facts.sessions for action in _session(session, facts, rules)]
    whole = list(_workspace(facts, rules))
    return [
        *_lock(facts, rules),
        *(action for action in (*whole, *sessions) if isinstance(action, Warn)),
        *(action for action in (*sessions, *whole) if not isinstance(action, Warn)),
    ]


# ---- limits, also asked by the life cycle of sessions


def most_ttl(rules: Rules) -> float:
    """The administrator's maximum of a session's TTL, in seconds; infinity: none."""
    return _limit(rules.max_ttl) if rules.max_ttl > 0 else _limit(rules.ttl)


def ttl_of(wish: float | None, extended: float, rules: Rules) -> float:
    """So many seconds after the owner's last presence a session ends; infinity: never.

    The session's own wish and its extensions count up to the administrator's maximum.
    """
    most = most_ttl(rules)
    wanted = _limit(rules.ttl if wish is None else wish)
    return min(min(wanted, most) + (extended if extended > 0 else 0.0), most)


def max_age_of(wish: float | None, rules: Rules) -> float:
    """So many seconds after its creation a session ends; infinity: never."""
    return min(_limit(rules.max_age), _limit(wish or 0.0))


def lead(limit: float, rules: Rules) -> float:
    """How long before an end its warning is shown at the latest: of a short limit no more than half."""
    return min(rules.warn_before, limit / 2)


def ends(facts: WorkspaceFacts, rules: Rules) -> list[tuple[float, SessionCode | WorkspaceCode, str | None]]:
    """What will end, and when, if nothing changes: seconds left (0: any moment now), the rule's code, and the
    session's id (None: the workspace); the soonest first. For people; `decide` decides."""
    found: list[tuple[float, SessionCode | WorkspaceCode, str | None]] = [
        (_limit(rules.workspace_max_age) - facts.age, "workspace_max_age", None),
        (_idle_left(facts, rules)[0], "idle_stop", None),
    ]
    for session in facts.sessions:
        absent = min(facts.since_presence, session.age)
        found.append((ttl_of(session.ttl, session.extended, rules) - absent, "ttl", session.id))
        found.append((max_age_of(session.max_age, rules) - session.age, "max_age", session.id))
    due = [(max(0.0, left), code, identity) for left, code, identity in found if math.isfinite(left)]
    return sorted(due, key=lambda each: each[0])


def _limit(seconds: float) -> float:
    return seconds if seconds > 0 else math.inf


# ---- one session


def _session(session: SessionFacts, facts: WorkspaceFacts, rules: Rules) -> Iterator[Action]:
    excess = list(_excess(session, rules))
    ends = [action for action in excess if isinstance(action, EndSession)]
    if ends:
        yield ends[0]
        return
    yield from _lifetime(session, facts, rules)
    yield from excess


def _excess(session: SessionFacts, rules: Rules) -> Iterator[Action]:
    """A session that uses more than it may: nobody knows when it will, so it is warned when it does."""
    grace = min(RESOURCE_GRACE, rules.warn_before)
    causes: tuple[tuple[SessionCode, float, float, str, str], ...] = (
        ("cpu", session.cpu, rules.max_cpu, f"it used {span(session.cpu)} of CPU time", span(rules.max_cpu)),
        (
            "memory", session.memory, rules.max_memory, f"it uses {session.memory:.0f} MiB of memory",
            f"{rules.max_memory:.0f} MiB",
        ),
    )  # fmt: skip
    for code, used, limit, what, most in causes:
        if not used > _limit(limit):
            continue
        why, shown = f"{what}, the limit is {most}", session.warned.get(code)
        if shown is None or not 0 <= shown <= grace + RESOURCE_STALE:
            yield Warn(code, grace, session.id, f"Session {session.name} ends in {span(grace)}: {why}.")
        elif shown >= grace:
            told = f"the warning was shown {span(shown)} ago"
            yield EndSession(session.id, code, f"Session {session.name} ends: {why}, {told}.")


def _lifetime(session: SessionFacts, facts: WorkspaceFacts, rules: Rules) -> Iterator[Action]:
    # Whoever creates a session is there, even through an interface that is no presence.
    absent = min(facts.since_presence, session.age)
    ttl = ttl_of(session.ttl, session.extended, rules)
    oldest = max_age_of(session.max_age, rules)
    causes: tuple[tuple[SessionCode, float, float, str], ...] = (
        ("max_age", session.age, oldest, f"it was created {span(session.age)} ago"),
        ("ttl", absent, ttl, f"its owner was last present {span(absent)} ago"),
    )
    warnings = []
    for code, reached, limit, since in causes:
        left, notice, shown = limit - reached, lead(limit, rules), session.warned.get(code)
        step = _step(left, notice, shown)
        why = f"{since}, the limit is {span(limit)}"
        if step == "end":
            told = f"the warning was shown {span(shown or 0.0)} ago"
            yield EndSession(session.id, code, f"Session {session.name} ends: {why}, {told}.")
            return  # and it is not warned of anything any more
        if step == "warn":
            wait = max(left, notice)
            warnings.append(
                Warn(code, wait, session.id, f"Session {session.name} ends in {span(wait)}: {why}.")
            )
    yield from warnings


# ---- the workspace


def _lock(facts: WorkspaceFacts, rules: Rules) -> Iterator[Lock]:
    if facts.locked:
        return
    if facts.since_presence >= _limit(rules.idle_lock):
        yield Lock(
            f"No keyboard, pointer or touch for {span(facts.since_presence)}; "
            f"the limit is {span(rules.idle_lock)}."
        )
    elif facts.since_connected >= _limit(rules.reauth_on_reconnect):
        yield Lock(
            f"No page or client was connected for {span(facts.since_connected)}; "
            f"the limit is {span(rules.reauth_on_reconnect)}."
        )


def _workspace(facts: WorkspaceFacts, rules: Rules) -> Iterator[Action]:
    oldest = _limit(rules.workspace_max_age)
    left_idle, idle_because = _idle_left(facts, rules)
    causes: tuple[tuple[WorkspaceCode, float, float, str], ...] = (
        (
            "workspace_max_age", oldest - facts.age, oldest,
            f"it was started {span(facts.age)} ago, the limit is {span(oldest)}",
        ),
        ("idle_stop", left_idle, _limit(rules.idle_stop), idle_because),
    )  # fmt: skip
    warnings = []
    for code, left, limit, why in causes:
        notice, shown = lead(limit, rules), facts.warned.get(code)
        step = _step(left, notice, shown)
        if step == "end":
            yield Stop(f"The workspace stops: {why}, the warning was shown {span(shown or 0.0)} ago.")
            return
        if step == "warn":
            wait = max(left, notice)
            warnings.append(Warn(code, wait, None, f"The workspace stops in {span(wait)}: {why}."))
    yield from warnings


def _idle_left(facts: WorkspaceFacts, rules: Rules) -> tuple[float, str]:
    """Seconds until the idle stop is due if nothing changes, and why then."""
    if not rules.idle_stop > 0:
        return math.inf, ""
    absent = min(facts.since_presence, facts.age)
    most = _limit(rules.keep_alive_max)
    jobs = [session.busy_for for session in facts.sessions if session.busy]
    jobs += [facts.busy_for] if facts.busy else []
    connected = facts.since_connected <= 0 or any(session.attached for session in facts.sessions)
    idle, why = absent, f"nobody was there for {span(absent)}"
    if not connected:
        idle = min(idle, facts.since_connected)
    if not jobs and facts.since_busy is not None:
        idle = min(idle, facts.since_busy)
    if idle < absent:
        why = f"nobody was there and nothing ran or was connected for {span(idle)}"
    # A hold counts while nobody is there: who watches a job for a day and goes home loses nothing.
    holds = [most - min(busy_for, absent) for busy_for in jobs]
    holds += [most - absent] if connected else []
    if holds:
        what = "a job" if jobs else "an open page"
        why += f", and {what} may defer this for {span(most)} only"
    return max([rules.idle_stop - idle, *holds]), f"{why}, the limit is {span(rules.idle_stop)}"


def _removal(facts: WorkspaceFacts, rules: Rules) -> Iterator[Remove]:
    if facts.age >= _limit(rules.remove_after):
        yield Remove(
            f"The workspace stopped {span(facts.age)} ago, the limit is {span(rules.remove_after)}; "
            "its files stay."
        )


# ---- what both share


def _step(left: float, notice: float, shown: float | None) -> Literal["wait", "warn", "end"]:
    """What is due when an end is `left` seconds away (negative: overdue).

    `shown`: seconds since the warning. It counts only if the end was already as near as now when it was
    shown: presence, an extension or a changed rule moves the end away and so makes it void.
    """
    if not left <= notice:
        return "wait"
    rounding = min(1.0, notice / 10)
    if shown is None or not shown >= 0 or not shown + left <= notice + rounding:
        return "warn"
    return "end" if left <= 0 and shown >= notice else "wait"


def span(seconds: float) -> str:
    """A duration as people say it, in its two largest units: "23 h 45 min"; infinity is "ever"."""
    if not math.isfinite(seconds):
        return "ever"
    if abs(seconds) < 10:
        return f"{seconds:.3g} s"
    rest = round(seconds)
    units = [("d", 86400), ("h", 3600), ("min", 60), ("s", 1)]
    first = next((index for index, (_, size) in enumerate(units) if rest >= size), 3)
    if first == 0 and rest < 2 * 86400:
        first = 1  # "24 h" is what everybody writes in the settings
    parts = []
    for name, size in units[first : first + 2]:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts) or "0 s"
