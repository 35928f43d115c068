"""The lagging cursor behind most keyframes: it looks at each byte of a session once, and keeps no byte.

Most terminals show text, scrolled. Of such a session the last lines alone recreate everything, provided that
nothing before set what lasts (a scroll region, a character set, the alternate screen ...). Whether it did is
found out here as the output grows, when somebody attaches or in a calm moment; so an attach looks at what is
new and not at megabytes. A session that did more is `spoiled`: its keyframes need an emulator.

The proof that a tail is enough stands at `emulator_replay.plain_tail`, which does the same for bytes in hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from persistent_terminal_hub.server.emulator_base import SCROLLBACK_LINES, ground_cut
from persistent_terminal_hub.server.emulator_replay import (
    TAIL_BYTES,
    Modes,
    anything_lasting,
    colours_in,
    first_sgr,
    is_plain,
    scan_modes,
)

#: The first look back for lines; four times as much follows until it is enough.
WINDOW: Final = 128 * 1024
#: No sequence that is worth waiting for is longer.
_LONGEST: Final = 64 * 1024
#: Looked at before a tail for the colours in force.
_SGR_BYTES: Final = 4096

#: The bytes [start, stop) of the journal, or None if they are gone.
Read = Callable[[int, int], bytes | None]


class PlainText:
    """One session's output so far: what it set, and where it is known to be plain."""

    __slots__ = ("_first_sgr", "_modes", "_not_plain", "_plain", "begin", "place", "spoiled")

    def __init__(self, start: int = 0) -> None:
        self.place = start  # everything before was looked at; no sequence is open here
        self.spoiled = False
        self.begin = start  # of the tail in the last keyframe
        self._modes = Modes()
        self._first_sgr: int | None = None
        self._plain = (start, start)  # known to be plain
        self._not_plain = -1  # the beginning of the last tail that was found not to be

    def skip(self, start: int) -> None:
        """The journal holds nothing before `start` any more; what lay between is not known."""
        self.place = start
        self._plain = (start, start)
        self._first_sgr = None

    def feed(self, data: bytes) -> int:
        """Look at the bytes that follow `place`; how many were: not the beginning of an open sequence."""
        cut = ground_cut(data)
        if cut < len(data) - _LONGEST:
            self.spoiled = True
            cut = len(data)
        data = data[:cut]
        if not self.spoiled:
            self.spoiled = anything_lasting(data)
        if not self.spoiled:
            scan_modes(data, self._modes)
            if self._first_sgr is None and (found := first_sgr(data)) is not None:
                self._first_sgr = self.place + found
        self.place += cut
        return cut

    def keyframe(self, rows: int, read: Read, most: int = TAIL_BYTES, sized: int = 0) -> bytes | None:
        """What recreates the terminal as it is at `place`; None if it needs an emulator, or a tail of more
        than `most` bytes, or one from before `sized`, where the terminal got its size."""
        if self.spoiled:
            return None
        found = self._tail(SCROLLBACK_LINES + 2 * rows + 1, read, most)
        if found is None or found[0] < sized:
            return None
        start, tail = found
        low = max(0, start - _SGR_BYTES)
        before = read(low, start)
        if before is None:
            return None
        colours = colours_in(before, self._first_sgr is None or self._first_sgr >= low)
        if colours is None:
            return None
        self.begin = start
        # The modes as they are at the end: of those that the tail may set none changes how it is shown.
        return self._modes.restore() + b"\x1b[%d;1H" % rows + colours + tail

    def _tail(self, lines: int, read: Read, most: int) -> tuple[int, bytes] | None:
        size = min(WINDOW, most)
        while True:
            low = max(0, self.place - size)
            window = read(low, self.place)
            if window is None:
                return None
            at = _line_start(window, lines)
            if at is not None:
                return (low + at, window[at:]) if self._is_plain(low + at, window, at) else None
            if not low or size >= most or low <= self._not_plain:
                return None
            size = min(4 * size, most)

    def _is_plain(self, start: int, window: bytes, at: int) -> bool:
        first, last = self._plain
        if start <= self._not_plain:
            return False
        known = first <= start <= last
        if not is_plain(window, at + (last - start if known else 0)):
            self._not_plain = start
            return False
        self._plain = (first if known else start, self.place)
        return True


def _line_start(window: bytes, lines: int) -> int | None:
    """Where the last `lines` lines begin: after a CR LF, so that the column is known too."""
    parts = window.rsplit(b"\n", lines)
    if len(parts) <= lines:
        return None
    at = len(parts[0])
    while window[at - 1 : at] != b"\r":
        at = window.rfind(b"\n", 0, at)
        if at < 1:
            return None
    return at + 1
