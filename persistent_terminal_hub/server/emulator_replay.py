"""Keyframes without an emulator: a bounded tail of the output itself, after the modes set before it.

Exact when that can be proven (everything held is replayed, or the tail is text whose lines alone fill screen
and scrollback); otherwise close, and the program is asked to redraw.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from persistent_terminal_hub.server.emulator_base import SCROLLBACK_LINES, strip_queries

WHOLE_BYTES = 256 * 1024
"""Up to here all that was fed is replayed."""
TAIL_BYTES = 1024 * 1024
"""The largest tail that is replayed."""
_SGR_BYTES = 4096

_LONGEST_BYTES = 64 * 1024

# Sequences whose effect outlasts the lines they were printed on, and which the modes below do not restore.
# What erases lines, as `clear` does, does nothing to those that come after; a shell's marks (OSC 133) nothing
# at all.
_LASTING = re.compile(
    rb"\x1b(?:[78cHNOno|}~PX^_]|[()*+\-./#]|\](?:1(?!33)|[48])|\[(?:[0-9;]*[srugb\"']|!p|[0-9;]* [@Aq]"
    rb"|\??(?:[0-9]+;)*(?:4|6|7|9|20|45|47|66|10[0-46-9][0-9]|1016|2026)(?:;[0-9]+)*[hl]))"
)
_LASTING_C1 = re.compile(rb"\xc2[\x80-\x9f]")
_LASTING_C0 = (b"\x0e", b"\x0f", b"\x18", b"\x1a")
# Text, and sequences that stay on their line: after enough of these nothing older is to be seen.
# Possessive throughout: the alternatives exclude each other, and backtracking would be exponential.
_PLAIN_TAIL = re.compile(
    rb"(?:[\x20-\x7e\x80-\xff\r\n\t\x07\x08]++"
    rb"|\x1b\[[0-9;:]*[mKPXG@CDa`]"
    rb"|\x1b\[\?(?:1|12|25|1004|2004)[hl]|\x1b[=>\\]"
    rb"|\x1b\][012];[^\x00-\x1f]*(?:\x07|\x1b\\)|\x1b\](?:7|133|633|1337);[^\x00-\x1f]*(?:\x07|\x1b\\))*+",
    re.DOTALL,
)
# One pass over all escapes: regular expressions hold the interpreter's lock, so each look is short.
_MODE = re.compile(
    rb"\x1b(?:\[(?P<private>\?)?(?P<numbers>[0-9;]+)(?P<on>[hl])"
    rb"|(?P<title>\][02];[^\x00-\x1f]*(?:\x07|\x1b\\))"
    rb"|(?P<margins>\[[0-9]*(?:;[0-9]*)?r)|(?P<keypad>[=>])|(?P<shape>\[[0-9]* q)"
    rb"|(?P<charset>\([0-9A-Za-z<=>])|(?P<reset>c|\[!p))"
)
_LAST_WINS = frozenset(("title", "margins", "keypad", "shape", "charset"))
_SGR = re.compile(rb"\x1b\[[0-9;:]*m")
_SGR_RESET = re.compile(rb"\x1b\[0*m")
_ALTERNATE = frozenset((47, 1047, 1049))
_EXCLUSIVE = frozenset((9, 1000, 1002, 1003)), frozenset((1006, 1016))
_CLEAR = re.compile(rb"\x1b\[2J|\x1b\[H\x1b\[0?J|\x1bc")


@dataclass
class Modes:
    """The modes that a stretch of output leaves set, by the last word on each."""

    private: dict[int, bool] = field(default_factory=dict)
    ansi: dict[int, bool] = field(default_factory=dict)
    last: dict[str, bytes] = field(default_factory=dict)
    alternate_from: int | None = None
    """Where the alternate screen was entered, when it is shown."""

    @property
    def alternate(self) -> bool:
        """Whether the alternate screen is shown."""
        return self.alternate_from is not None

    def restore(self) -> bytes:
        """Sequences that set them, the alternate screen and the title included."""
        out = [self.last.get("title", b"")]
        if self.alternate:
            out.append(b"\x1b[?1049h")
        out += [self.last[key] for key in ("charset", "margins", "keypad", "shape") if key in self.last]
        for number, on in self.private.items():
            # Wraparound and the visible cursor are on in a reset terminal.
            if on != (number in (7, 25)):
                out.append(b"\x1b[?%d%c" % (number, ord("h" if on else "l")))
        out += [b"\x1b[%dh" % number for number, on in self.ansi.items() if on]
        return b"".join(out)


def scan_modes(data: bytes, modes: Modes | None = None) -> Modes:
    """What `data` leaves set in a terminal that was reset before it, or had these modes (changed here)."""
    modes = Modes() if modes is None else modes
    for found in _each(_MODE, data):
        kind = found.lastgroup
        if kind == "on":
            on = found["on"] == b"h"
            for text in found["numbers"].split(b";"):
                if not text or len(text) > 5:
                    continue
                if found["private"]:
                    _set_private(modes, int(text), on, found.start())
                elif text in (b"4", b"20"):
                    modes.ansi[int(text)] = on
        elif kind == "reset":
            title = modes.last.get("title")
            modes.private.clear()
            modes.ansi.clear()
            modes.last = {"title": title} if title else {}
            modes.alternate_from = None
        elif kind in _LAST_WINS:
            modes.last[kind] = found.group()
    return modes


def _set_private(modes: Modes, number: int, on: bool, at: int) -> None:
    if number in _ALTERNATE:
        if not on:
            modes.alternate_from = None
        elif modes.alternate_from is None:
            modes.alternate_from = at
    elif number != 1048:
        for group in _EXCLUSIVE:
            if number in group:
                for other in group:
                    modes.private.pop(other, None)
        modes.private[number] = on


def _places(lead: bytes, data: bytes) -> Iterator[int]:
    """Where a byte stands. A regular expression's own search for its start takes a hundred times longer."""
    at = data.find(lead)
    while at >= 0:
        yield at
        at = data.find(lead, at + 1)


def _each(pattern: re.Pattern[bytes], data: bytes) -> Iterator[re.Match[bytes]]:
    """Matches of a pattern that begins with ESC and is at most some KiB long."""
    done = 0
    for at in _places(b"\x1b", data):
        if at >= done and (found := pattern.match(data, at, at + _LONGEST_BYTES)):
            done = found.end()
            yield found


def anything_lasting(data: bytes) -> bool:
    """Whether something sets what outlasts the lines, and is not among the modes."""
    if any(control in data for control in _LASTING_C0):
        return True
    return any(
        pattern.match(data, at)
        for lead, pattern in ((b"\x1b", _LASTING), (b"\xc2", _LASTING_C1))
        for at in _places(lead, data)
    )


def plain_tail(data: bytes, rows: int) -> bytes | None:
    """A short replay that is provably equal to replaying all of `data`, or None.

    The proof: since some line start, output was text and sequences that stay on their line, for more lines
    than screen and scrollback have, so nothing older is to be seen, the cursor has been at the bottom for as
    long as it matters, and nothing before left anything set but what is said again here.
    """
    start = _line_start(data, SCROLLBACK_LINES + 2 * rows + 1)
    if start is None or not is_plain(data, start) or anything_lasting(data):
        return None
    colours = _colours(data, start)
    if colours is None:
        return None
    head = scan_modes(data[:start])
    return head.restore() + b"\x1b[%d;1H" % rows + colours + data[start:]


def _line_start(data: bytes, lines: int) -> int | None:
    """Where the last `lines` lines begin: after a CR LF, so that the column is known too."""
    at = len(data)
    for _ in range(lines):
        at = data.rfind(b"\n", 0, at)
        if at < 0 or len(data) - at > TAIL_BYTES:
            return None
    while data[at - 1 : at] != b"\r":
        at = data.rfind(b"\n", 0, at)
        if at < 1 or len(data) - at > TAIL_BYTES:
            return None
    return at + 1


def is_plain(data: bytes, start: int = 0) -> bool:
    """Whether everything from `start` on is text, and sequences that stay on their line."""
    return _PLAIN_TAIL.fullmatch(data, start) is not None


def first_sgr(data: bytes, stop: int | None = None) -> int | None:
    """Where the first SGR stands, if one does before `stop`."""
    for at in _places(b"\x1b", data):
        if stop is not None and at >= stop:
            break
        if _SGR.match(data, at):
            return at
    return None


def colours_in(data: bytes, first: bool) -> bytes | None:
    """The SGR in force at the end; None when the last reset lies before `data`. `first`: nothing was set
    before."""
    found = [one.group() for one in _each(_SGR, data)]
    for index in range(len(found) - 1, -1, -1):
        if _SGR_RESET.fullmatch(found[index]):
            return b"".join(found[index:])
    return b"".join(found) if first else None


def _colours(data: bytes, at: int) -> bytes | None:
    """The SGR in force at `at`, or None when the last reset is too far back."""
    low = max(0, at - _SGR_BYTES)
    colours = colours_in(data[low:at], False)
    # Never reset: what was set since the beginning, if that is where the window began.
    if colours is None and (low == 0 or first_sgr(data, low) is None):
        return colours_in(data[low:at], True)
    return colours


class ReplayEmulator:
    """Keeps what it is fed and replays the part that matters."""

    above = 0

    def __init__(self, rows: int, cols: int) -> None:
        self._rows, self._cols = rows, cols
        self._data = bytearray()
        self._resized_at: int | None = None
        self.exact = True
        self.alternate = False

    def feed(self, data: bytes) -> None:
        """Take output."""
        self._data += data

    def resize(self, rows: int, cols: int) -> None:
        """Change the size; what was printed before cannot be laid out exactly any more."""
        if (rows, cols) != (self._rows, self._cols) and self._data:
            self._resized_at = len(self._data)
        self._rows, self._cols = rows, cols

    def keyframe(self) -> bytes:
        """The replay."""
        data = bytes(self._data)
        self.alternate = scan_modes(data).alternate
        self.exact = self._resized_at is None
        if len(data) <= WHOLE_BYTES:
            return strip_queries(data)
        if self.exact:
            tail = plain_tail(data, self._rows)
            if tail is not None:
                return tail
        self.exact = False
        return strip_queries(_approximate(data, self._rows))

    def close(self) -> None:
        """Forget what it was fed."""
        self._data.clear()


def _approximate(data: bytes, rows: int) -> bytes:
    modes = scan_modes(data)
    if modes.alternate_from is not None:
        entered = modes.alternate_from
        normal = _recent(data[:entered], rows, WHOLE_BYTES)
        if len(data) - entered <= TAIL_BYTES:
            return normal + data[entered:]
        clear = _last_clear(data, len(data) - TAIL_BYTES)
        return normal + scan_modes(data[:clear]).restore() + data[clear:]
    return _recent(data, rows, TAIL_BYTES)


def _recent(data: bytes, rows: int, limit: int) -> bytes:
    """The last lines of a stretch that ends on the normal screen, within `limit`."""
    at = len(data)
    low = max(0, len(data) - limit)
    for _ in range(SCROLLBACK_LINES + 2 * rows):
        before = data.rfind(b"\n", low, at)
        if before < 0:
            break
        at = before
    if at >= len(data) or low:
        at = max(data.find(b"\n", low, at) + 1 or low, low) if at == len(data) else at + 1
    elif data.rfind(b"\n", 0, at) < 0:
        at = 0
    head = scan_modes(data[:at])
    head.alternate_from = None
    return head.restore() + (_colours(data, at) or b"") + data[at:]


def _last_clear(data: bytes, low: int) -> int:
    at = low
    for found in _CLEAR.finditer(data, low):
        at = found.start()
    return at
