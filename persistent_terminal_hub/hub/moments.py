"""When something happened last, for a little while: logins and proofs. In memory; a restarted hub forgets."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class Moments:
    """Keeps moments for `seconds`; at most `capacity` of them, the oldest go first."""

    def __init__(self, seconds: float, capacity: int = 10_000) -> None:
        self._seconds = seconds
        self._capacity = capacity
        self._at: OrderedDict[Hashable, float] = OrderedDict()

    def note(self, key: Hashable, now: float) -> None:
        """It happens now; `now` is monotonic, in seconds."""
        self._at.pop(key, None)
        self._at[key] = now
        while len(self._at) > self._capacity:
            self._at.popitem(last=False)

    def since(self, key: Hashable, now: float) -> float | None:
        """Seconds since then; None if it never happened, or too long ago."""
        at = self._at.get(key)
        return None if at is None or now - at > self._seconds else now - at

    def take(self, key: Hashable, now: float) -> bool:
        """Whether it happened not too long ago; and never again."""
        at = self._at.pop(key, None)
        return at is not None and now - at <= self._seconds
