"""A reader of a journal that speaks text: what a stock terminal is sent. Pure: no sockets.

Requirements, proven in tests/unit/test_server_history.py:

- a `Cursor` costs no memory per byte of output: a slow reader lags, and one that is overtaken starts over
  with a terminal reset;
- a replay begins with a reset, in the modes that hold there, and contains no question that a terminal would
  answer (again).
"""

from __future__ import annotations

import codecs

from .history import History, JournalReader
from .sequences import QuestionFilter

#: CAN drops whatever sequence the terminal was in, RIS resets screen, scrollback and modes.
RESET = b"\x18\x1bc"


class Cursor:
    """One reader of a session: text for a terminal that starts with whatever it showed before."""

    def __init__(self, reader: JournalReader, history: History) -> None:
        self._history = history
        self._quiet = False
        self._offset = self._replay_end = 0
        self._prefix = b""
        self._filter: QuestionFilter | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._start_over(reader, reset=reader.head > 0)

    @property
    def offset(self) -> int:
        """The next byte that will be read."""
        return self._offset

    def at_head(self, reader: JournalReader) -> bool:
        """Whether there is nothing to read."""
        return self._offset == reader.head and not self._prefix

    def set_quiet(self, quiet: bool) -> None:
        """Whether live questions are kept from this reader, because another one answers them."""
        self._quiet = quiet

    def next(self, reader: JournalReader, size: int) -> str:
        """The next text, from about `size` bytes; empty when the reader has to wait for more."""
        out, self._prefix = self._prefix, b""
        while self._offset < reader.head:
            replaying = self._offset < self._replay_end
            room = min(size, self._replay_end - self._offset) if replaying else size
            chunk = reader.read(self._offset, room)
            if chunk.lost:
                self._start_over(reader, reset=True)
                out, self._prefix = self._prefix, b""
                continue
            self._offset = chunk.end
            out += self._pass(chunk.data, replaying)
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

    def _start_over(self, reader: JournalReader, reset: bool) -> None:
        start = self._history.start(reader)
        self._offset = start.offset
        #: Up to here it is a replay: questions in it were asked of somebody else.
        self._replay_end = reader.head
        self._prefix = RESET + start.prefix if reset else b""
        self._filter = QuestionFilter(defer=True, deferred=start.answering)
        if self._replay_end == self._offset:
            self._prefix += self._filter.flush()
            self._filter = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
