"""The life of a session as a pure state machine: `apply(session, event, rules) -> session`.

A session is *active* while a client is attached, *dormant* while none is, and *ended* for ever after. That
the workspace is *locked* lies over these states: every session in it reports it, and nobody may attach. All
moments (`at`, `now`) are seconds of one monotonic clock, that of the process which keeps the sessions.

What cannot happen raises `Impossible` and changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from persistent_terminal_hub import policy
from persistent_terminal_hub.policy import Rules, SessionCode, SessionFacts, span


class State(StrEnum):
    """What a session is doing, whether or not its workspace is locked."""

    ACTIVE = "active"
    DORMANT = "dormant"
    ENDED = "ended"


class EndReason(StrEnum):
    """Why a session ended."""

    EXIT = "exit"  # its process did, by itself or by a signal
    TERMINATED = "terminated"  # somebody ended it
    TTL = "ttl"
    MAX_AGE = "max_age"
    RESTARTED = "restarted"  # its keeper was started anew
    WORKSPACE_ENDED = "workspace_ended"


Why = Literal["ended", "locked", "not_locked", "not_attached", "not_allowed", "too_far", "time"]


class Impossible(Exception):
    """An event that cannot happen to a session as it is; its text is a sentence for a person.

    `allowed`: with "not_allowed" and "too_far", so many seconds may be added.
    """

    def __init__(self, why: Why, sentence: str, *, allowed: float = 0.0) -> None:
        super().__init__(sentence)
        self.why: Why = why
        self.allowed = allowed


@dataclass(frozen=True, slots=True)
class Attach:
    """A client attached. Again, after a reconnect, is no other event."""

    client: str
    at: float


@dataclass(frozen=True, slots=True)
class Detach:
    """A client's connection is gone."""

    client: str
    at: float


@dataclass(frozen=True, slots=True)
class Lock:
    """The workspace locked: every connection was closed."""

    at: float


@dataclass(frozen=True, slots=True)
class Unlock:
    """The owner logged in again, which is presence too."""

    at: float


@dataclass(frozen=True, slots=True)
class Warned:
    """The owner was told, or the warning noted where he will see it, that the end comes."""

    code: SessionCode
    at: float


@dataclass(frozen=True, slots=True)
class Extend:
    """`seconds` more before the TTL ends it. `steered`: by an administrator, who may while it is locked."""

    seconds: float
    at: float
    steered: bool = False


@dataclass(frozen=True, slots=True)
class Presence:
    """Keyboard, pointer or touch of the owner; may be told late, and then never moves the clock back."""

    at: float


@dataclass(frozen=True, slots=True)
class End:
    """It is over. `exit_code` or `signal` of its process, where known."""

    reason: EndReason
    at: float
    exit_code: int | None = None
    signal: int | None = None


Event = Attach | Detach | Lock | Unlock | Warned | Extend | Presence | End

_NONE: Mapping[SessionCode, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Session:
    """A session at some moment; made by `create`, changed by `apply`."""

    id: str
    name: str
    created: float
    #: Of the owner; whoever creates a session is there.
    presence: float
    ttl: float | None = None  # its own wishes, in s
    max_age: float | None = None
    extended: float = 0.0
    clients: frozenset[str] = frozenset()
    locked: bool = False
    #: When each warning that still stands was shown.
    warned: Mapping[SessionCode, float] = field(default_factory=lambda: _NONE)
    end: End | None = None

    @property
    def state(self) -> State:
        """Active, dormant or ended."""
        if self.end is not None:
            return State.ENDED
        return State.ACTIVE if self.clients else State.DORMANT


def create(
    id: str,
    name: str,
    at: float,
    *,
    ttl: float | None = None,
    max_age: float | None = None,
    locked: bool = False,
) -> Session:
    """A new session. `locked` as its workspace is; a locked one makes none for its owner, but keeps those
    that it finds again after a restart."""
    return Session(id, name, at, at, ttl=ttl, max_age=max_age, locked=locked)


def apply(session: Session, event: Event, rules: Rules) -> Session:
    """The session after the event; raises Impossible."""
    if session.end is not None:
        raise Impossible("ended", f"Session {session.name} has ended ({session.end.reason}).")
    if not event.at >= session.created:
        raise Impossible("time", f"Session {session.name} did not exist yet at that moment.")
    match event:
        case Attach(client):
            _refuse_locked(session)
            return replace(session, clients=session.clients | {client})
        case Detach(client):
            if client not in session.clients:
                raise Impossible("not_attached", f"That client is not attached to session {session.name}.")
            return replace(session, clients=session.clients - {client})
        case Lock():
            _refuse_locked(session)
            return replace(session, locked=True, clients=frozenset())
        case Unlock(at):
            if not session.locked:
                raise Impossible("not_locked", f"The workspace of session {session.name} is not locked.")
            return _present(replace(session, locked=False), at)
        case Warned(code, at):
            return replace(session, warned=MappingProxyType({**session.warned, code: at}))
        case Presence(at):
            _refuse_locked(session)  # who has not logged in again is not the owner yet
            return _present(session, at)
        case Extend():
            return _extend(session, event, rules)
        case End():
            return replace(session, end=event, clients=frozenset())


def _refuse_locked(session: Session) -> None:
    if session.locked:
        raise Impossible(
            "locked", f"The workspace of session {session.name} is locked; log in again to open it."
        )


def _present(session: Session, at: float) -> Session:
    if at <= session.presence:
        return session
    # What was said about the TTL before is void if it was shown before; an age cannot be helped.
    kept = {code: shown for code, shown in session.warned.items() if code != "ttl" or shown > at}
    return replace(session, presence=at, warned=MappingProxyType(kept))


def _extend(session: Session, event: Extend, rules: Rules) -> Session:
    if not event.steered:
        _refuse_locked(session)
    room = most_extension(session, rules)
    if not 0 < event.seconds < math.inf:
        raise Impossible("not_allowed", "A session is extended by a number of seconds above 0.", allowed=room)
    if room <= 0:
        raise Impossible(
            "not_allowed", f"Session {session.name} already ends as late as the administrator allows."
        )
    if event.seconds > room:
        raise Impossible(
            "too_far",
            f"Session {session.name} may be extended by {span(room)} at most, not by {span(event.seconds)}.",
            allowed=room,
        )
    kept: dict[SessionCode, float] = dict(session.warned)
    kept.pop("ttl", None)  # it was of an earlier end
    return replace(session, extended=session.extended + event.seconds, warned=MappingProxyType(kept))


# ---- what it means for the clock


@dataclass(frozen=True, slots=True)
class Expiry:
    """When a session ends if nobody comes."""

    #: In seconds from now, never below 0: what is overdue ends once it was warned of.
    seconds: float
    code: SessionCode


def expiry(session: Session, rules: Rules, now: float) -> Expiry | None:
    """What ends the session first; None: nothing does, or it has ended."""
    if session.end is not None:
        return None
    ttl, age = _ends(session, rules)
    at, code = min((age, "max_age"), (ttl, "ttl"))
    if math.isinf(at):
        return None
    return Expiry(max(0.0, at - now), "ttl" if code == "ttl" else "max_age")


def most_extension(session: Session, rules: Rules) -> float:
    """So many seconds may still be added to the session's end; 0: none, infinity: as many as one likes."""
    if session.end is not None:
        return 0.0
    ttl, age = _ends(session, rules)
    if math.isinf(ttl):
        return 0.0  # it has no TTL that could end it
    last = session.presence + policy.most_ttl(rules)
    return max(0.0, min(last, age) - ttl)


def facts_of(session: Session, now: float, *, busy: bool = False, busy_for: float = 0.0) -> SessionFacts:
    """What `policy.decide` is told about a running session."""
    return SessionFacts(
        id=session.id,
        name=session.name,
        age=now - session.created,
        attached=session.state is State.ACTIVE,
        busy=busy,
        busy_for=busy_for if busy else 0.0,
        ttl=session.ttl,
        max_age=session.max_age,
        extended=session.extended,
        warned={code: now - shown for code, shown in session.warned.items()},
    )


def _ends(session: Session, rules: Rules) -> tuple[float, float]:
    """The moments of its end by TTL and by age; infinity: never."""
    return (
        session.presence + policy.ttl_of(session.ttl, session.extended, rules),
        session.created + policy.max_age_of(session.max_age, rules),
    )
