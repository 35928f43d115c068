"""How many unacknowledged bytes a client may have: about 100 ms of what it has shown to digest.

The rate is measured as a congestion control does it: one chunk at a time is followed from sending to its
acknowledgement, and what was acknowledged meanwhile, divided by that time, is a sample. The window is the
rate times (the shortest round trip seen + 100 ms). The round trip must be in it: without it a window on a
long way would measure only itself and shrink for ever; with it a window that is the bottleneck grows by
every sample, and until a full window no longer raises the rate it doubles each round trip. The shortest
round trip is kept for the life of the connection, because under a steady flood every later measurement
contains the queue that the window itself makes.
"""

from __future__ import annotations

from typing import Final

from .codes import Limits

SHORTEST: Final = 0.0005  # seconds; below this the clock and the event loop measure themselves
LONGEST_ROUND_TRIP: Final = 0.4


class Window:
    """The window of one connection. `limited` is set by its owner when it kept bytes back for it."""

    __slots__ = (
        "_filling",
        "_limits",
        "_probe_acked",
        "_probe_at",
        "_probe_stop",
        "limited",
        "rate",
        "round_trip",
        "size",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._probe_stop: int | None = None
        self._probe_at = 0.0
        self._probe_acked = 0
        self.limited = False
        self._filling = True  # the line's rate is not reached yet
        self.rate = 0.0  # bytes a second; 0 before the first measurement
        self.round_trip = LONGEST_ROUND_TRIP
        self.size = limits.window_start

    def restart(self) -> None:
        """Forget the chunk that is being followed: the stream jumped."""
        self._probe_stop = None

    def sent(self, stop: int, acked: int, now: float) -> None:
        """A chunk that ends at `stop` was sent while everything up to `acked` was acknowledged."""
        if self._probe_stop is None:
            self._probe_stop, self._probe_at, self._probe_acked = stop, now, acked

    def acked(self, offset: int, now: float) -> None:
        """Everything up to `offset` is acknowledged."""
        if self._probe_stop is None or offset < self._probe_stop:
            return
        took = max(now - self._probe_at, SHORTEST)
        self._probe_stop = None
        self.round_trip = min(self.round_trip, took)
        sample = (offset - self._probe_acked) / took
        if self.limited and sample < self.rate * 1.25:
            self._filling = False
        if sample > self.rate:
            self.rate = sample
        elif self.limited:  # a sample taken while the program printed little says nothing about the client
            self.rate += (sample - self.rate) / 4
        self.limited = False
        limits = self._limits
        seconds = self.round_trip + limits.window_seconds
        if self._filling:
            seconds = max(seconds, 2 * self.round_trip)
        wanted = self.rate * seconds
        self.size = int(min(max(wanted, limits.window_min), limits.window_max))
