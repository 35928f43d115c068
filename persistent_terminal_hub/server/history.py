"""Where a replay of a journal may begin, and in which modes a terminal is there. Pure: no sockets.

A journal forgets its oldest bytes wherever they happen to end. Requirements, proven in
tests/unit/test_server_history.py:

- a replay begins at a line where there is one, never inside a UTF-8 character or a control sequence;
- it begins in the modes that the bytes before it had set;
- following the modes costs nothing until the ring is full, and then one pass over what is about to be
  forgotten, in pieces.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

from persistent_terminal_hub.keeper.journal import READ_MAX, Chunk

from .modes import TerminalModes
from .sequences import SEQUENCE, is_finished

#: How far beyond the needed place a cut looks for the end of a line or of a sequence.
LOOK_AHEAD = 64 * 1024
#: Bytes that are followed at a time.
PIECE = 128 * 1024
#: The start of a replay stays ahead of the floor by this share of the ring, so that it is not overtaken
#: before it is read ...
AHEAD = 16
#: ... and is moved when less than this share is left.
LEAST_AHEAD = 32
_ATTEMPTS = 5

# What puts a terminal back inside a sequence that it ignores, by the kind that was cut.
_SWALLOW = {"osc": b"\x1b]7777;", "dcs": b"\x1bP~", "str": b"\x1b_", "csi": b"\x1b["}
_ALTERNATE = re.compile(rb"\x1b\[\?(?:[0-9]+;)*(1049|1047|47)(?:;[0-9]+)*([hl])|\x1bc")


class JournalReader(Protocol):
    """What is needed of `keeper.journal.Reader`."""

    capacity: int

    @property
    def head(self) -> int:
        """One past the newest byte."""

    @property
    def floor(self) -> int:
        """The oldest byte held."""

    def read(self, offset: int, limit: int = ...) -> Chunk:
        """Copy bytes."""


class Start(NamedTuple):
    """A replay begins at `offset`, after `prefix`, in a terminal that is as after a reset."""

    offset: int
    prefix: bytes
    #: Modes that are on there and whose setting makes a terminal report; not in `prefix`.
    answering: frozenset[int]


class History:
    """Follows one journal's oldest end. `follow` is to be called when bytes came, `start` for a replay."""

    def __init__(self) -> None:
        self._at = 0
        self._modes = TerminalModes()
        # What to begin with when `_at` lies in a string too long to be kept whole.
        self._swallow = b""

    def _target(self, reader: JournalReader, share: int) -> int:
        """Where the start should be at least: a share of the ring can be written before that place goes."""
        capacity = reader.capacity
        ahead = capacity // share + min(READ_MAX, capacity // 4)
        return max(reader.floor, min(reader.head - capacity + ahead, reader.head))

    def behind(self, reader: JournalReader) -> bool:
        """Whether `follow` has something to do."""
        return self._at < self._target(reader, LEAST_AHEAD)

    def follow(self, reader: JournalReader) -> bool:
        """Follow one piece of what is about to be forgotten; say whether there is more to do."""
        if not self.behind(reader):
            return False
        target = self._target(reader, AHEAD)
        self._advance(reader, min(target, max(self._at, reader.floor) + PIECE))
        return self._at < target and self.behind(reader)

    def start(self, reader: JournalReader) -> Start:
        """The oldest place where a replay may begin now."""
        for _ in range(_ATTEMPTS):  # a flood may overtake us meanwhile; then the reader starts over
            if not self.behind(reader):
                break
            self._advance(reader, self._target(reader, AHEAD))
        prefix = self._modes.restore() + self._swallow
        return Start(self._at, prefix, self._modes.answering)

    def _advance(self, reader: JournalReader, target: int) -> None:
        """Move to a clean place at or after `target`."""
        # Overtaken, only a place to begin again is needed, and not a copy of all that there is.
        overtaken = self._at < reader.floor
        chunk = reader.read(self._at, (PIECE if overtaken else max(target - self._at, 0)) + LOOK_AHEAD)
        if chunk.lost:
            self._overtaken(reader, chunk)
            return
        data = self._swallow + chunk.data
        cut, swallow = clean_cut(data, max(target - self._at, 0) + len(self._swallow))
        # Plain text, which is most of what floods a terminal, is not looked at twice.
        if data.find(b"\x1b", 0, cut) >= 0 or data.find(b"\xc2", 0, cut) >= 0:
            self._modes.feed(data, 0, cut)
        self._at += cut - len(self._swallow)
        self._swallow = swallow

    def _overtaken(self, reader: JournalReader, chunk: Chunk) -> None:
        """Bytes are gone that were not followed: a new server, or a flood faster than we are."""
        data = chunk.data
        # A place at which nothing is open: after a line that begins and ends here.
        first = data.find(b"\n") + 1
        cut, self._swallow = clean_cut(data, first) if first else (_character_start(data, 0, len(data)), b"")
        self._at = chunk.start + cut
        # Which screen it is on shows in how it is left; the other modes stay as far as they are known.
        screen = self._first_screen_change(reader)
        if screen is not None:
            self._modes.feed(screen, 0, len(screen))

    def _first_screen_change(self, reader: JournalReader) -> bytes | None:
        """What puts a terminal onto the screen that it is on at the start, if what follows tells."""
        offset, tail = self._at, b""
        while offset < reader.head:
            chunk = reader.read(offset, PIECE)
            data = tail + chunk.data
            found = _ALTERNATE.search(data)
            if found is not None:
                if found[1] is None:  # a reset: nothing before it matters
                    return None
                return b"\x1b[?%b%b" % (found[1], b"h" if found[2] == b"l" else b"l")
            offset, tail = chunk.end, data[-64:]
        return None


def clean_cut(data: bytes, need: int) -> tuple[int, bytes]:
    """Where to cut `data`, which begins clean, so that at least `need` bytes go, and what to put before
    the rest."""
    end = min(len(data), need + LOOK_AHEAD)
    position = need
    fallback: int | None = None
    # No sequence's body has an ESC, so the last one before `need` is far enough back to look from.
    start = data.rfind(b"\x1b", 0, need)
    start = max(need - LOOK_AHEAD, 0) if start < 0 else start
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


def _character_start(data: bytes, start: int, end: int) -> int:
    """The first place from `start` that is not inside a UTF-8 character."""
    for position in range(start, min(start + 3, end)):
        if data[position] & 0xC0 != 0x80:
            return position
    return min(start + 3, end)
