"""The states of a session: what everything that shows one goes by. Pure.

             attach                     lock
    dormant <-------> active    either ------> locked ------> dormant
             detach                                  unlock
    any of them -- exit, terminated, ttl, max_age, cpu, memory, restarted --> ended, for ever

What moves it is decided elsewhere, each a pure function of its own: `keeper/lock.py` (lock, unlock),
`policy.decide` (warn, lock, end), `server/rules_wishes.py` (extend). The keeper holds the facts: whether the
process lives, who is attached, whether the workspace is locked. A state is never stored as such, but follows
from them, so that no two places can disagree about it.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """What people are told of a session."""

    ACTIVE = "active"
    DORMANT = "dormant"
    LOCKED = "locked"
    ENDED = "ended"


def state_of(*, running: bool, attached: bool | int, locked: bool = False) -> State:
    """The state that follows from the facts; `attached` may be the number of clients.

    What has ended is not locked: there is nothing to unlock. What is locked is not active, even if a
    connection has not been closed yet.
    """
    if not running:
        return State.ENDED
    if locked:
        return State.LOCKED
    return State.ACTIVE if attached else State.DORMANT
