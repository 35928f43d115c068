"""Slows down the guessing of passwords. Pure: the clock is an argument, nothing is stored outside."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field

Key = tuple[str, str]


@dataclass
class LoginThrottle:
    """Counts failures per account and address, and per account over all addresses.

    The first stops one guesser without locking the owner out from elsewhere; the second, far higher,
    stops many. Unknown names are counted like known ones, so that the answer tells nothing.
    """

    allowed: int = 5
    allowed_everywhere: int = 100
    wait_seconds: float = 300.0
    #: Entries kept; the oldest fall out, so that invented names cannot fill the memory.
    capacity: int = 10_000
    _failures: OrderedDict[Key, tuple[int, float]] = field(default_factory=OrderedDict)

    def seconds_to_wait(self, username: str, address: str, now: float) -> int:
        """0 when a try is allowed, otherwise the whole seconds until one is."""
        return max(
            self._remaining((username, address), self.allowed, now),
            self._remaining((username, ""), self.allowed_everywhere, now),
        )

    def begin(self, username: str, address: str, now: float) -> int:
        """As `seconds_to_wait`; when that is 0, the try counts as failed until it is `right`.

        Checking a password takes a while: counted only afterwards, a hundred guesses could be under way
        before the first one is known to be wrong.
        """
        wait = self.seconds_to_wait(username, address, now)
        if not wait:
            self.failed(username, address, now)
        return wait

    def right(self, username: str, address: str) -> None:
        """A try that was begun was no failure, nor does this address have any now."""
        count, since = self._failures.get((username, ""), (0, 0.0))
        if count > 1:
            self._failures[username, ""] = (count - 1, since)
        else:
            self._failures.pop((username, ""), None)
        self.succeeded(username, address)

    def failed(self, username: str, address: str, now: float) -> None:
        """Count a wrong password."""
        for key in ((username, address), (username, "")):
            count, since = self._failures.pop(key, (0, now))
            if now - since >= self.wait_seconds:
                count = 0  # the wait is over: start counting afresh
            self._failures[key] = (count + 1, now)
        while len(self._failures) > self.capacity:
            self._failures.popitem(last=False)

    def succeeded(self, username: str, address: str) -> None:
        """Forget this address's failures; those from elsewhere still count."""
        self._failures.pop((username, address), None)

    def _remaining(self, key: Key, allowed: int, now: float) -> int:
        count, since = self._failures.get(key, (0, now))
        left = since + self.wait_seconds - now
        # Not rounded up beyond the whole wait, which a sum of floats may exceed by a hair.
        return min(math.ceil(left), math.ceil(self.wait_seconds)) if count >= allowed and left > 0 else 0
