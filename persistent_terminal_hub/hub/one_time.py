"""Values that can be taken once, by whoever has their id: challenges and logins under way. In memory only.

A restarted hub has forgotten them, and the person begins again: that is safe, and needs no database.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


def new_id() -> str:
    """256 random bits, URL-safe."""
    return secrets.token_urlsafe(32)


class OneTime(Generic[T]):
    """Keeps values for `seconds`; at most `capacity` of them, the oldest go first."""

    def __init__(self, seconds: float, capacity: int = 10_000) -> None:
        self._seconds = seconds
        self._capacity = capacity
        self._kept: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, id_: str, value: T, now: float) -> None:
        """Keep a value under a fresh id; `now` is monotonic, in seconds."""
        self._forget(now)
        self._kept[id_] = (now, value)

    def take(self, id_: str, now: float) -> T | None:
        """The value, and never again; None when there is none, or it is too old."""
        self._forget(now)
        found = self._kept.pop(id_, None)
        return None if found is None else found[1]

    def _forget(self, now: float) -> None:
        while self._kept:
            since, _ = next(iter(self._kept.values()))
            if now - since < self._seconds and len(self._kept) < self._capacity:
                return
            self._kept.popitem(last=False)


class OneTimePerUser(Generic[T]):
    """The same, with room of their own for each user: nobody can push out what another one waits for."""

    def __init__(self, seconds: float, capacity: int = 20) -> None:
        self._seconds = seconds
        self._capacity = capacity
        self._users: dict[str, OneTime[T]] = {}

    def put(self, user: str, id_: str, value: T, now: float) -> None:
        """Keep a value of this user."""
        self._users.setdefault(user, OneTime(self._seconds, self._capacity)).put(id_, value, now)

    def take(self, user: str, id_: str, now: float) -> T | None:
        """The user's value, and never again; another user's stays where it is."""
        kept = self._users.get(user)
        found = kept.take(id_, now) if kept is not None else None
        if kept is not None and not len(kept):
            del self._users[user]
        return found
