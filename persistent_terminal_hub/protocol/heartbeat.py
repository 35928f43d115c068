"""Is the other side still there? Both machines ask the same way."""

from __future__ import annotations

from typing import Literal

from .codes import Limits

Verdict = Literal["ping", "dead"] | None


class Heartbeat:
    """A ping every few seconds; dead when nothing at all was heard for too long."""

    __slots__ = ("_dead_at", "_limits", "_next_ping", "_ticked")

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._next_ping = now + limits.heartbeat
        self._dead_at = now + limits.dead_after
        self._ticked = now

    @property
    def due(self) -> float:
        """When `tick` should be called next."""
        return min(self._next_ping, self._dead_at)

    def heard(self, now: float) -> None:
        """Anything arrived."""
        self._dead_at = now + self._limits.dead_after

    def probe(self, now: float) -> None:
        """The caller sends a ping now, because it doubts the line: the answer must come soon."""
        self._next_ping = now + self._limits.heartbeat
        self._dead_at = min(self._dead_at, now + self._limits.probe)

    def tick(self, now: float) -> Verdict:
        """What to do now."""
        limits = self._limits
        slept = now - max(self._ticked, self.due) > limits.heartbeat
        self._ticked = now
        if slept:
            # This side did not run for a while (a blocked event loop, a laptop that slept), so what it did
            # not hear may be waiting to be read. Ask before giving up.
            self._next_ping = now + limits.heartbeat
            self._dead_at = max(self._dead_at, now + limits.probe)
            return "ping"
        if now >= self._dead_at:
            return "dead"
        if now >= self._next_ping:
            self._next_ping = now + limits.heartbeat
            return "ping"
        return None
