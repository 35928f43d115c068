"""What a person typed, kept until the keeper has it. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from .codes import Limits
from .frames import encode_input


@dataclass(slots=True)
class _Piece:
    seq: int
    data: bytes
    answer: bool  # the emulator's answer to a query: useless, even harmful, when it comes late


class InputQueue:
    """Numbers input, sends a bounded part of it ahead, keeps it until it is acknowledged.

    Numbers rise by one and none is left out: the keeper takes a gap for a loss. What is not worth sending
    again keeps its number and loses its bytes.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pieces: deque[_Piece] = deque()
        self._kept = 0  # bytes in `_pieces`
        self._sent = 0  # how many of `_pieces` were sent on this connection
        self._sent_bytes = 0
        self._epoch: str | None = None  # the process that all of it was typed for
        self.last = 0  # the highest number ever used
        self._acked = 0

    @property
    def kept(self) -> int:
        """Bytes that are not acknowledged."""
        return self._kept

    def put(self, data: bytes, *, answer: bool = False) -> bool:
        """Take input; False if there is no room to keep it."""
        if self._kept + len(data) > self._limits.input_kept:
            return False
        size = self._limits.input_frame
        for at in range(0, len(data), size):
            self.last += 1
            self._pieces.append(_Piece(self.last, data[at : at + size], answer))
        self._kept += len(data)
        return True

    def ready(self) -> list[bytes]:
        """Frames that may be sent now."""
        frames: list[bytes] = []
        while self._sent < len(self._pieces):
            piece = self._pieces[self._sent]
            if self._sent_bytes and self._sent_bytes + len(piece.data) > self._limits.input_window:
                break
            self._sent += 1
            self._sent_bytes += len(piece.data)
            frames.append(encode_input(piece.seq, piece.data))
        return frames

    def acked(self, seq: int) -> None:
        """The keeper has everything up to `seq`."""
        self._acked = max(self._acked, seq)
        while self._pieces and self._pieces[0].seq <= seq:
            piece = self._pieces.popleft()
            self._kept -= len(piece.data)
            if self._sent:
                self._sent -= 1
                self._sent_bytes -= len(piece.data)

    def lost(self) -> None:
        """The connection is gone: all that is kept will be sent again, except answers."""
        self._sent = self._sent_bytes = 0
        for piece in self._pieces:
            if piece.answer:
                piece.data = b""
        self._kept = sum(len(piece.data) for piece in self._pieces)

    def attached(self, epoch: str, seq: int) -> tuple[int, bool]:
        """A new connection; the keeper has `seq`. Returns the bytes dropped, and whether for a new epoch.

        Input is dropped when it was typed for a process that is gone, and when the keeper does not know any
        more, or knows from somebody else, what it has of this client: then sending again could double it.
        """
        dropped = 0
        restarted = False
        if self._epoch is None:
            # First attach of this instance: nothing was sent yet. A page that was reloaded goes on above the
            # numbers of the one before.
            self.last = seq
            for piece in self._pieces:
                self.last += 1
                piece.seq = self.last
            self._acked = seq
        elif self._epoch != epoch:
            restarted = True
            dropped = self.drop()
        elif not self._acked <= seq <= self.last:
            dropped = self.drop()
        else:
            self.acked(seq)
        self._epoch = epoch
        self._acked = max(self._acked, seq) if not restarted else seq
        # Go on behind what the keeper has; a keeper that knows nothing of this client takes any number first.
        self.last = seq if restarted and seq else max(self.last, seq)
        return dropped, restarted

    def drop(self) -> int:
        """Give everything up; returns how many bytes."""
        dropped = self._kept
        self._pieces.clear()
        self._kept = self._sent = self._sent_bytes = 0
        return dropped
