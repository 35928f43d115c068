"""Which input to write and which was written already: pure, no I/O.

Each client numbers its messages 1, 2, 3 ... and repeats what it holds no acknowledgement for. What is
accepted here will be written by this process, so accepting and remembering are one step, and no kill of
anybody else can come between them.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from enum import Enum

# What may wait for a program that does not read its terminal.
QUEUE_BYTES = 256 * 1024
# Clients whose numbers are remembered, per session; the one unused for longest is forgotten first.
CLIENTS_REMEMBERED = 512


class Verdict(Enum):
    """What became of a message."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"  # written before; to be acknowledged again
    GAP = "gap"  # an earlier message is missing; send that first
    FULL = "full"  # the program does not read; send it again later
    TOO_LARGE = "too_large"  # will never fit


class InputQueue:
    """Messages of all clients of one session, in the order accepted, each exactly once."""

    def __init__(self, limit: int = QUEUE_BYTES) -> None:
        self._limit = limit
        self._last: OrderedDict[str, int] = OrderedDict()
        self._pieces: deque[memoryview] = deque()
        self.waiting = 0

    def last(self, client: str) -> int:
        """The number of the last message accepted from ``client``; 0 if none is remembered."""
        return self._last.get(client, 0)

    def offer(self, client: str, seq: int, data: bytes, *, sparse: bool = False) -> Verdict:
        """Take a message into the queue, or say why not. Numbers of a ``sparse`` client may skip."""
        known = self._last.get(client)
        if known is not None:
            self._last.move_to_end(client)
            if seq <= known:
                return Verdict.DUPLICATE
            if seq != known + 1 and not sparse:
                return Verdict.GAP
        if len(data) > self._limit:
            return Verdict.TOO_LARGE
        if self.waiting + len(data) > self._limit:
            if known is None:
                # What follows must not pass for a first message and overtake this one.
                self._remember(client, seq - 1)
            return Verdict.FULL
        self._remember(client, seq)
        if data:
            self._pieces.append(memoryview(data))
            self.waiting += len(data)
        return Verdict.ACCEPTED

    def _remember(self, client: str, seq: int) -> None:
        self._last[client] = seq
        self._last.move_to_end(client)
        if len(self._last) > CLIENTS_REMEMBERED:
            self._last.popitem(last=False)

    def head(self) -> memoryview | None:
        """What to write next."""
        return self._pieces[0] if self._pieces else None

    def written(self, count: int) -> None:
        """Note that the first ``count`` bytes of :meth:`head` are written."""
        piece = self._pieces[0]
        self.waiting -= count
        if count == len(piece):
            self._pieces.popleft()
        else:
            self._pieces[0] = piece[count:]

    def clear(self) -> None:
        """Forget what waits: nobody will read it any more."""
        self._pieces.clear()
        self.waiting = 0
