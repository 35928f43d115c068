"""What a session has printed, bounded in bytes, and cursors that read it. Pure: no sockets, no processes.

Requirements, proven in tests/unit/test_server_scrollback.py:

- a `Scrollback` never holds more than its limit; what falls out ends at a line where there is one, never
  inside a UTF-8 character or a control sequence;
- a `Cursor` costs no memory per byte of output: a slow reader lags, and one that lags out of the
  scrollback starts over with a terminal reset;
- a replay begins with a reset, sets the modes that output no longer held had set, and contains no question
  that a terminal would answer (again).
"""

from __future__ import annotations

import codecs

from .modes import TerminalModes
from .sequences import SEQUENCE, QuestionFilter, is_finished

DEFAULT_LIMIT = 8 * 1024 * 1024

#: CAN drops whatever sequence the terminal was in, RIS resets screen, scrollback and modes.
RESET = b"\x18\x1bc"

#: How far beyond the needed place a trim looks for the end of a line or of a sequence.
_LOOK_AHEAD = 64 * 1024

# What puts a terminal back inside a sequence that it ignores, by the kind that was cut.
_SWALLOW = {"osc": b"\x1b]7777;", "dcs": b"\x1bP~", "str": b"\x1b_", "csi": b"\x1b["}


class Scrollback:
    """The last bytes of a stream, addressed by their offset in the whole stream."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        if limit < 1:
            raise ValueError("The scrollback's limit must be at least one byte.")
        self.limit = limit
        self.floor = 0
        self._data = bytearray()
        #: The modes the terminal is in at `floor`.
        self.modes = TerminalModes()

    @property
    def head(self) -> int:
        """The offset after the last byte."""
        return self.floor + len(self._data)

    def append(self, data: bytes) -> None:
        """Take the next bytes; the oldest fall out when there is no room."""
        self._data += data
        if len(self._data) > self.limit:
            # A sixteenth more than needed, so that not every append has to look for a clean cut.
            self._trim(len(self._data) - self.limit + self.limit // 16)

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`, which must not be before `floor`."""
        if offset < self.floor:
            raise ValueError(f"Offset {offset} has fallen out; the oldest byte held is {self.floor}.")
        start = offset - self.floor
        with memoryview(self._data) as view:
            return bytes(view[start : start + size])

    def _trim(self, need: int) -> None:
        data = self._data
        cut, swallow = self._clean_cut(need)
        self.modes.feed(data, 0, cut)
        if swallow and len(swallow) <= len(data) - cut:
            data[cut : cut + len(swallow)] = swallow
        del data[:cut]
        self.floor += cut

    def _clean_cut(self, need: int) -> tuple[int, bytes]:
        """Where to cut so that at least `need` bytes go, and what to write there."""
        data = self._data
        end = min(len(data), need + _LOOK_AHEAD)
        position = need
        fallback: int | None = None
        # No sequence's body has an ESC, so the last one before `need` is far enough back to look from.
        start = data.rfind(b"\x1b", 0, need)
        start = max(need - _LOOK_AHEAD, 0) if start < 0 else start
        for match in SEQUENCE.finditer(data, start, end):
            if match.end() <= need:
                continue
            if match.start() < need:
                if match.end() == end and not is_finished(match):
                    # Too long to keep whole (an inline image): keep its end, inside a string that is ignored.
                    return need, _SWALLOW.get(match.lastgroup or "", b"")
                position = match.end()
                continue
            newline = data.find(b"\n", position, match.start())
            if newline >= 0:
                return newline + 1, b""
            if fallback is None:
                fallback = _character_start(data, position, match.start())
            position = match.end()
        newline = data.find(b"\n", position, end)
        if newline >= 0:
            return newline + 1, b""
        return (_character_start(data, position, end) if fallback is None else fallback), b""


def _character_start(data: bytearray, start: int, end: int) -> int:
    """The first place from `start` that is not inside a UTF-8 character."""
    for position in range(start, min(start + 3, end)):
        if data[position] & 0xC0 != 0x80:
            return position
    return min(start + 3, end)


class Cursor:
    """One reader of a scrollback: text for a terminal that starts with whatever it showed before."""

    def __init__(self, scrollback: Scrollback) -> None:
        self._scrollback = scrollback
        self._quiet = False
        self._offset = self._replay_end = 0
        self._prefix = b""
        self._filter: QuestionFilter | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._start_over(reset=scrollback.head > 0)

    @property
    def offset(self) -> int:
        """The next byte that will be read."""
        return self._offset

    @property
    def at_head(self) -> bool:
        """Whether there is nothing to read."""
        return self._offset == self._scrollback.head and not self._prefix

    def set_quiet(self, quiet: bool) -> None:
        """Whether live questions are kept from this reader, because another one answers them."""
        self._quiet = quiet

    def next(self, size: int) -> str:
        """The next text, from about `size` bytes; empty when the reader has to wait for more."""
        scrollback = self._scrollback
        if self._offset < scrollback.floor:
            self._start_over(reset=True)
        out, self._prefix = self._prefix, b""
        while self._offset < scrollback.head:
            replaying = self._offset < self._replay_end
            room = min(size, self._replay_end - self._offset) if replaying else size
            data = scrollback.read(self._offset, room)
            self._offset += len(data)
            out += self._pass(data, replaying)
            if out:
                break
        return self._decoder.decode(out)

    def _pass(self, data: bytes, replaying: bool) -> bytes:
        if self._filter is None and (replaying or self._quiet):
            self._filter = QuestionFilter()
        if self._filter is None:
            return data
        if not replaying and not self._quiet:
            out, self._filter = self._filter.flush() + data, None
            return out
        out = self._filter.feed(data)
        if self._offset == self._replay_end and replaying:
            out, self._filter = out + self._filter.flush(), None
        return out

    def _start_over(self, reset: bool) -> None:
        scrollback = self._scrollback
        self._offset = scrollback.floor
        #: Up to here it is a replay: questions in it were asked of somebody else.
        self._replay_end = scrollback.head
        self._prefix = RESET + scrollback.modes.restore() if reset else b""
        self._filter = QuestionFilter(defer=True, deferred=scrollback.modes.answering)
        if self._replay_end == self._offset:
            self._prefix += self._filter.flush()
            self._filter = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
