"""What to do with a workspace and its sessions, pure: `decide(facts, rules, now) -> [action]`.

Asked by the workspace's own clock (locks, warns, ends sessions) and by the culler (also stops and removes).
Everything is a duration in seconds, measured on a monotonic clock by whoever knows it: a wall clock that
jumps changes nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for one workspace, after groups and the administrator's maximum were applied. 0: never."""

    idle_lock: float = 1800.0  # without presence
    reauth_on_reconnect: float = 0.0  # without any connected page or client
    ttl: float = 86400.0  # of a session, since the owner's last presence
    max_ttl: float = 0.0  # what a session may wish or be extended to; 0: no more than `ttl`
    max_age: float = 0.0  # of a session, since its creation
    idle_stop: float = 0.0  # of a workspace, without presence, job or connected page
    workspace_max_age: float = 0.0  # of a workspace, since its start
    remove_after: float = 0.0  # of a stopped workspace
    warn_before: float = 900.0  # an end or a stop is announced so long before
    keep_alive_max: float = 86400.0  # so long a job may defer the idle stop; 0: for ever
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
    max_age: float | None = None
    extended: float = 0.0  # seconds that the owner added to its end
    #: Warning code -> seconds since it was shown to a person or noted where one will see it.
    warned: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkspaceFacts:
    """One workspace at the moment `taken` (the asker's monotonic clock)."""

    taken: float
    state: Literal["running", "stopped", "pending", "unreachable", "orphan"]
    age: float = 0.0  # since its start; of a stopped one, since its stop
    since_presence: float = 0.0
    since_connected: float = 0.0  # 0 while a page or client is connected
    busy: bool = False  # a kernel runs a cell
    locked: bool = False
    sessions: tuple[SessionFacts, ...] = ()
    warned: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Warn:
    """Tell the owner, in every client and page, that `what` comes in `seconds`."""

    code: Literal["ttl", "max_age", "idle_stop", "workspace_max_age"]
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
    code: Literal["ttl", "max_age"]
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
    """What to do now, most urgent last to be undone first in the list; empty means: leave it alone."""
    raise NotImplementedError
