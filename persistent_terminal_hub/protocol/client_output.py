"""What a client has of the stream: which byte comes next, what was parsed, what is ours to answer. Pure."""

from __future__ import annotations

from .client_events import (
    ClearScreen,
    Event,
    FetchedOutput,
    KeyframePart,
    Output,
    SetSize,
    SkippedOutput,
)
from .codes import Limits, ProtocolError
from .frames import Kind, decode_output
from .messages import Attached, Keyframe, Reset, Responder, Size


class OutputState:
    """Lives as long as the client; a connection begins with `attached` and ends with `lost`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._epoch = ""
        self._next: int | None = None  # the next byte; None while no screen is whole
        self._seen: tuple[str, int] | None = None  # everything before was shown, or announced as skipped
        self._generation = 0
        self._offer: Attached | None = None  # what this connection's attach was answered with
        self._reset_due = False
        self._keyframe: Keyframe | None = None
        self._got = 0  # bytes of the keyframe
        self._parsed = 0
        self._acked = 0
        self._ack_forced = False  # a keyframe is acknowledged though no offset moved
        self.ack_at: float | None = None
        self._answers: list[tuple[int, int | None]] = []  # [from, to): queries that are ours

    @property
    def point(self) -> tuple[str, int]:
        """The (epoch, offset) to attach at; no epoch when there is nothing to continue."""
        return ("", 0) if self._next is None else (self._epoch, self._next)

    @property
    def epoch(self) -> str:
        """The process whose output is shown; empty before the first."""
        return self._epoch

    @property
    def missing(self) -> bool:
        """Whether the screen is not whole yet: a reset or a keyframe is on its way."""
        return self._next is None

    # The connection ---------------------------------------------------------------------------------

    def attached(self, message: Attached) -> list[Event]:
        """The attach was answered."""
        if self._offer is not None:
            raise ProtocolError("attached came twice.")
        if message.resumed and (message.epoch, message.start) != (self._epoch, self._next):
            raise ProtocolError("The server resumed at an offset that this client did not ask for.")
        self._offer = message
        self._answers = [(message.answer_from, None)] if message.responder else []
        self._reset_due = not message.resumed
        if self._next is not None:
            self._acked = self._next
        return [SetSize(message.rows, message.cols)] if message.resumed else []

    def lost(self) -> None:
        """The connection is gone. A keyframe that did not come whole left no usable screen."""
        self._offer = self._keyframe = None
        self._reset_due = self._ack_forced = False
        self.ack_at = None
        # Answers that are not sent by now would come late, and be typed into whatever runs then.
        self._answers = []

    # What the server sends --------------------------------------------------------------------------

    def reset(self, message: Reset) -> list[Event]:
        """The screen starts anew: from the first byte, or from the keyframe that follows."""
        offer = self._offered()
        self._generation += 1
        self._epoch = offer.epoch
        self._next = self._keyframe = None
        self._parsed = self._acked = 0
        self.ack_at = None
        events: list[Event] = [ClearScreen(message.reason, self._generation)]
        if self._reset_due and offer.start is not None:
            self._next = self._parsed = self._acked = offer.start
            self._see(offer.start)
            events.append(SetSize(offer.rows, offer.cols))
        self._reset_due = False
        return events

    def keyframe(self, message: Keyframe) -> list[Event]:
        """A keyframe begins."""
        self._offered()
        if self._next is not None or self._keyframe is not None or self._reset_due:
            raise ProtocolError("A keyframe without a reset before it.")
        self._keyframe = message
        self._got = 0
        size = SetSize(message.rows, message.cols)
        return [size] if message.size else [size, *self._part(b"")]

    def size(self, message: Size) -> list[Event]:
        """The PTY's size changes at this place of the stream."""
        if message.offset != self._next:
            raise ProtocolError("A size that is not in the order of the stream.")
        return [SetSize(message.rows, message.cols)]

    def responder(self, message: Responder) -> None:
        """From here on queries are ours, or somebody else's."""
        self._offered()
        open_ = bool(self._answers) and self._answers[-1][1] is None
        if message.responder and not open_:
            self._answers.append((message.start, None))
        elif not message.responder and open_:
            self._answers[-1] = (self._answers[-1][0], message.start)

    def frame(self, frame: bytes) -> list[Event]:
        """A binary frame."""
        kind, position, data = decode_output(frame)
        if kind == Kind.FETCHED:
            self._offered()
            return [FetchedOutput(position, bytes(data))]
        if kind == Kind.KEYFRAME:
            if self._keyframe is None or position != self._got:
                raise ProtocolError("A part of a keyframe that was not announced or not in order.")
            self._got += len(data)
            if self._got > self._keyframe.size:
                raise ProtocolError("More of a keyframe than was announced.")
            return self._part(bytes(data))
        place = self._next
        if place is None or self._reset_due or self._offer is None:
            raise ProtocolError("Output before the screen that it belongs to.")
        if position > place:
            raise ProtocolError("Output is missing before this frame.")
        if position + len(data) <= place:
            return []  # the client has it
        payload = bytes(data[place - position :])
        self._next = place + len(payload)
        self._see(self._next)
        return [*self._split(place, payload)]

    def _part(self, data: bytes) -> list[Event]:
        keyframe = self._keyframe
        if keyframe is None:
            raise ProtocolError("A part of a keyframe that was not announced.")
        if self._got < keyframe.size:
            return [KeyframePart(data, keyframe.offset, False, self._generation)]
        events: list[Event] = []
        if self._seen is not None and self._seen[0] == self._epoch and self._seen[1] < keyframe.offset:
            # Counted here and not taken from the server's word: a keyframe before may not have come whole.
            events.append(SkippedOutput(self._seen[1], keyframe.offset))
        self._keyframe = None
        self._next = self._parsed = self._acked = keyframe.offset
        self._see(keyframe.offset)
        self._ack_forced = True
        return [*events, KeyframePart(data, keyframe.offset, True, self._generation)]

    def _split(self, offset: int, data: bytes) -> list[Output]:
        """Cut where `may_answer` changes, so that a host that knows only chunks decides rightly."""
        end = offset + len(data)
        cuts = sorted({c for pair in self._answers for c in pair if c is not None and offset < c < end})
        outputs: list[Output] = []
        for start, stop in zip([offset, *cuts], [*cuts, end], strict=True):
            outputs.append(Output(start, data[start - offset : stop - offset], self._generation))
        return outputs

    def _see(self, offset: int) -> None:
        if self._seen is None or self._seen[0] != self._epoch or self._seen[1] < offset:
            self._seen = (self._epoch, offset)

    def _offered(self) -> Attached:
        if self._offer is None:
            raise ProtocolError("The first message of a server must be attached.")
        return self._offer

    # What the emulator did --------------------------------------------------------------------------

    def parsed(self, offset: int, generation: int, now: float) -> bool:
        """Parsed up to `offset`; whether to acknowledge at once."""
        if generation != self._generation or self._next is None:
            return False
        self._parsed = max(self._parsed, min(offset, self._next))
        while self._answers and self._answers[0][1] is not None and self._answers[0][1] <= self._parsed:
            self._answers.pop(0)
        if self._offer is None:
            return False
        if self._ack_forced or self._parsed - self._acked >= self._limits.ack_bytes:
            return True
        if self.ack_at is None and self._parsed > self._acked:
            self.ack_at = now + self._limits.ack_seconds
        return False

    def acknowledge(self) -> int:
        """The offset to acknowledge now."""
        self.ack_at = None
        self._ack_forced = False
        self._acked = max(self._acked, self._parsed)
        return self._acked

    def may_answer(self, offset: int, generation: int) -> bool:
        """Whether a query whose last byte is at `offset` is ours.

        Output of an older generation may still wait in the emulator's queue; its offsets mean nothing now.
        """
        if generation != self._generation or self._reset_due:
            return False
        return any(start <= offset and (stop is None or offset < stop) for start, stop in self._answers)
