"""A client's place in the journal: what to send next, how much, and when to jump to a keyframe. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

from .codes import Code, Limits, ProtocolError
from .frames import Kind, encode_output
from .journal_view import JournalView, Start
from .messages import Exit, Keyframe, Reset, ResetReason, Size, Skipped
from .server_actions import Action, RequestKeyframe, Send, SendData, SendFrame, Shut
from .window import Window

EMPTY: Final = 1  # an empty keyframe is acknowledged too, so it counts as one byte on its way


class Cursor:
    """One client's cursor. It holds no bytes of the journal, so a client that lags costs nothing."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.window = Window(limits)
        self.place: int | None = None  # the next byte to send; None until a keyframe says where
        self.due: float | None = None  # when to pull again though nothing happens
        self.exit: Exit | None = None
        self.jumps = 0
        self.stalls = 0
        self._outbox: deque[Action] = deque()  # a jump's messages, in the order of the stream
        self._acked = 0
        self._unacked_keyframe = 0
        self._told: tuple[int, int] = (0, 0)  # the size that the client's emulator has at `place`
        self._jump: ResetReason | None = None
        self._jump_from: int | None = None  # what the client had, if it is of this epoch
        self._asked_at: float | None = None
        self._retries = 0
        self._no_keyframe = False
        self._typed_at: float | None = None  # the oldest input whose echo may still be waiting
        self._typed_head: int | None = None  # the journal's head when that input was first judged

    def begin(self, start: Start, had: int | None, size: tuple[int, int]) -> None:
        """Begin where the attach decided; `had` is the client's offset if it is of this epoch."""
        self._told = size
        if start.offset is not None:
            self.place = self._acked = start.offset
        else:
            self._jump = start.reason
            self._jump_from = had

    def ack(self, offset: int, now: float) -> bool:
        """The client has parsed up to `offset`; whether that is progress."""
        if self.place is None:
            return False
        if offset > self.place:
            raise ProtocolError("An acknowledgement of bytes that were never sent.")
        if self._unacked_keyframe:
            if offset < self._acked:  # of what was sent before the jump
                return False
            self._unacked_keyframe = 0
        elif offset <= self._acked:
            return False
        self._acked = offset
        self.window.acked(offset, now)
        return True

    def typed(self, now: float) -> None:
        """The client sent input: from now on its patience counts."""
        if self._typed_at is None:
            self._typed_at = now

    def sent(self, stop: int, now: float) -> None:
        """The host sent a SendData up to `stop`."""
        self.place = stop
        if not self._unacked_keyframe:
            self.window.sent(stop, self._acked, now)

    def keyframe(self, keyframe: Keyframe, data: bytes, view: JournalView) -> None:
        """The keyframe that was asked for, and its bytes: the terminal before the byte at its offset."""
        if self._jump is None or self._asked_at is None:
            return
        if self.place is not None and view.floor <= self.place >= keyframe.offset:
            self._forget_jump()  # the client is further than this already
        elif view.floor <= keyframe.offset <= view.head:
            self._enter(keyframe, data)
        else:  # the journal overtook it meanwhile
            self._asked_at = None
            self._retries += 1
            self._no_keyframe = self._retries > self._limits.keyframe_retries

    def keyframe_unavailable(self) -> None:
        """No keyframe can be made: the stream goes on without, and says so."""
        if self._jump is not None:
            self._no_keyframe = True

    def pull(self, view: JournalView, now: float) -> Action | None:
        """The next thing to send in the order of the stream, or None. `sent` moves on, pulling does not."""
        if self._outbox:
            return self._outbox.popleft()
        self.due = None
        if self._jump is not None or self._falls_behind(view, now):
            action = self._pull_jump(view, now)
            if action is not None or self._jump is not None:
                return action
        place = self.place
        if place is None:
            return None
        record, boundary = view.size_at(place)
        if self._told != (record.rows, record.cols):
            self._told = (record.rows, record.cols)
            return Send(Size(record.rows, record.cols, place))
        available = boundary - place
        if available <= 0:
            if self.exit is None or self._unacked_keyframe:
                return None  # what a jump left out can be fetched until the client has gone on from there
            self._outbox.append(Shut(Code.ENDED, "The session ended."))
            return Send(self.exit)
        room = self.window.size - self._in_flight(place)
        if room <= 0 or room < min(available, self.window.size // 4):  # no slivers
            if not self.window.limited:
                self.window.limited = True
                self.stalls += 1
            return None
        return SendData(place, place + min(available, room, self._limits.chunk))

    def _in_flight(self, place: int) -> int:
        return place - self._acked + self._unacked_keyframe

    def _falls_behind(self, view: JournalView, now: float) -> bool:
        """Whether a live cursor leaves its bytes behind: it fell out, or its client types and lags."""
        place = self.place
        if place is None:
            return False
        if place < view.floor:
            self._jump, self._jump_from = "overtaken", place
            return True
        if self._typed_at is None:
            return False
        if self._typed_head is None:
            self._typed_head = view.head
        if place >= self._typed_head:  # all that was there when the client typed is on its way
            self._typed_at = self._typed_head = None
            return False
        limits = self._limits
        backlog = view.head - place
        if backlog < limits.lag_min:
            return False
        # A client whose measured rate says that it cannot catch up does not wait for the full time.
        hopeless = 0 < self.window.rate * limits.lag_seconds < backlog
        patience = limits.lag_hopeless if hopeless else limits.lag_seconds
        if now < self._typed_at + patience:
            self.due = self._typed_at + patience
            return False
        self._jump, self._jump_from = "lag", place
        return True

    def _pull_jump(self, view: JournalView, now: float) -> Action | None:
        place = self.place
        if place is not None and self._in_flight(place) > self.window.size // 2:
            return None  # a client that does not read gets nothing more, keyframes included
        if self._asked_at is None and not self._no_keyframe:
            self._asked_at = now
            self.due = now + self._limits.keyframe_patience
            return RequestKeyframe(view.head)
        if not self._no_keyframe and self._asked_at is not None:
            self.due = self._asked_at + self._limits.keyframe_patience
            if now < self.due:
                return None
        self.due = None
        if place is not None and place >= view.floor:
            self._forget_jump()  # lagging is better than a screen that nobody can draw
            return None
        offset = max(view.floor, view.head - self._limits.replay_whole)
        size = view.size_at(offset)[0]
        self._enter(Keyframe(offset, 0, size.rows, size.cols, offset), b"")
        return self._outbox.popleft()

    def _enter(self, keyframe: Keyframe, data: bytes) -> None:
        """Leave everything before a keyframe behind and begin again there."""
        reason, offset = self._jump, keyframe.offset
        if reason is None:
            return
        if self._jump_from is not None and offset > self._jump_from:
            self._outbox.append(Send(Skipped(self._jump_from, offset)))
        self._outbox.append(Send(Reset(reason)))
        self._outbox.append(Send(keyframe))
        chunk = self._limits.chunk
        for at in range(0, len(data), chunk):
            self._outbox.append(SendFrame(encode_output(Kind.KEYFRAME, at, data[at : at + chunk])))
        if self.place is not None:
            self.jumps += 1
        self.place = self._acked = offset
        self._unacked_keyframe = max(len(data), EMPTY)
        self._told = (keyframe.rows, keyframe.cols)
        self.window.restart()
        self._forget_jump()

    def _forget_jump(self) -> None:
        self._jump = self._jump_from = self._asked_at = None
        self._typed_at = self._typed_head = None
        self._retries = 0
        self._no_keyframe = False
