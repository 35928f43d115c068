"""A request that may come twice: who works on it, and what a repeated one gets (pure).

Whoever works on a request holds a lease on it and renews it. A service that was killed renews nothing, so
seconds later a repeated request takes over, with what the first attempt had noted of what it made. What
cannot be looked up afterwards (a command) is noted as unknown before it begins and never done again.

    free -> worked on -> answered
              |   lease ran out: worked on by the next one, with the notes
              |   ... and noted as unknown: refused until the key is forgotten
              `-- refused or given up, nothing noted: free
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

#: Answers are kept for a day.
KEPT_SECONDS = 86400.0
#: Without a word for so long, whoever worked on it is taken for dead.
LEASE_SECONDS = 10.0
RENEW_SECONDS = 2.5
#: The note of what cannot be looked up, and that of an operation, which holds whatever comes after it.
UNKNOWN, OPERATION = "unknown", "operation"

Notes = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What is known of a request; `request` is a digest of what it asked for, moments are wall-clock s."""

    request: str
    created: float
    lease_until: float
    answered: bool = False
    noted: Notes = field(default_factory=dict)


class Verdict(StrEnum):
    """What a request with a key gets."""

    NEW = "new"  # it is worked on, from the beginning
    GO_ON = "go_on"  # it is worked on with the notes of the attempt that was cut off
    ANSWERED = "answered"  # the first answer, again
    BUSY = "busy"
    OTHER = "other"  # the key was used for something else
    UNKNOWN = "unknown"  # it may have been done


def judge(known: Request | None, request: str, now: float) -> Verdict:
    """What to do with `request`, when `known` is what was kept of its key."""
    if known is None or is_old(known, now):
        return Verdict.NEW
    if known.request != request:
        return Verdict.OTHER
    if known.answered:
        return Verdict.ANSWERED
    if now < known.lease_until:
        return Verdict.BUSY
    if known.noted.get(UNKNOWN):
        return Verdict.UNKNOWN
    return Verdict.GO_ON


def is_old(known: Request, now: float) -> bool:
    """Whether its key may be used anew. What is worked on is never old."""
    return now - known.created >= KEPT_SECONDS and now >= known.lease_until


def stays(noted: Notes, *, refused: bool) -> bool:
    """Whether a request that got no answer is kept for the next attempt, rather than forgotten.

    `refused`: it is certain that nothing was done, but for an operation that was noted before.
    """
    return OPERATION in noted if refused else bool(noted)
