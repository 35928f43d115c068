"""Turns between streams that have more to send than one frame."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final, Protocol

#: Seconds of one turn of the event loop for everybody's bulk output: what an echo waits for at most.
TURN: Final = 0.0003


class Pumped(Protocol):
    """One stream."""

    def step(self) -> bool:
        """Send one frame; whether there may be more."""


class Pump:
    """Round-robin, one frame each, in short turns of the loop.

    A keystroke's echo does not come here: a stream that is not waiting for a turn sends its first frame when
    it is woken. So bulk output of any number of sessions delays an echo by at most one turn.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Pumped] = deque()
        self._members: set[Pumped] = set()

    def kick(self, stream: Pumped) -> None:
        """There may be something to send: the first frame now, what is more in turns."""
        if stream not in self._members and stream.step():
            if not self._waiting:
                self._loop.call_soon(self._turn)
            self._waiting.append(stream)
            self._members.add(stream)

    def _turn(self) -> None:
        waiting, members = self._waiting, self._members
        until = time.monotonic() + TURN
        while waiting:
            stream = waiting.popleft()
            if stream.step():
                waiting.append(stream)
            else:
                members.discard(stream)
            if time.monotonic() >= until:
                break
        if waiting:
            self._loop.call_soon(self._turn)
