"""What every emulator behind keyframes has in common: the interface, clean cut points, queries.

Pure functions on bytes. Nothing here is on the path of a byte to a client.
"""

from __future__ import annotations

import re
from typing import Protocol

SCROLLBACK_LINES = 1000
"""How many lines above the screen a keyframe recreates."""


class EmulatorError(Exception):
    """The emulator cannot give a keyframe; the text says why."""


class Emulator(Protocol):
    """A terminal that is fed a session's output and can say how to recreate itself.

    Made by a factory with (rows, cols), used in one thread, closed after one keyframe.
    """

    @property
    def exact(self) -> bool:
        """Whether the keyframe equals what an uninterrupted xterm.js shows, as far as is known."""

    @property
    def alternate(self) -> bool:
        """Whether the last keyframe shows the alternate screen."""

    @property
    def above(self) -> int:
        """How many of the bytes it was fed are above all that its keyframe shows, as far as is known."""

    def feed(self, data: bytes) -> None:
        """Take output that follows what was fed before."""

    def resize(self, rows: int, cols: int) -> None:
        """Change the size at this point of the output."""

    def keyframe(self) -> bytes:
        """Bytes that recreate the state in a reset xterm.js of the current size and ask it nothing."""

    def close(self) -> None:
        """Give back what it holds."""


# ESC, or a C1 control as UTF-8: what may begin a sequence.
_INTRODUCER = re.compile(rb"\x1b|\xc2[\x90\x98\x9b\x9d-\x9f]")
_C1 = re.compile(rb"\xc2[\x90\x98\x9b\x9d-\x9f]")
_C1_BYTES = 64 * 1024
_CSI = re.compile(rb"(?:\x1b\[|\xc2\x9b)[\x00-\x17\x19\x1c-\x3f\x7f]*([@-~]|[\x18\x1a\x80-\xff])?")
_STRING = re.compile(rb"(?:\x1b[\]PX^_]|\xc2[\x90\x98\x9d-\x9f])[^\x07\x18\x1a\x1b]*", re.DOTALL)
_ESC = re.compile(rb"\x1b[\x00-\x17\x19\x1c-\x2f\x7f]*([0-~]|[\x18\x1a\x80-\xff])?")
_UTF8_NEED = ((0xF0, 0xF8, 4), (0xE0, 0xF0, 3), (0xC2, 0xE0, 2))


def ground_cut(data: bytes) -> int:
    """The largest cut at which a terminal that began in its ground state is back in it.

    What follows the cut is the beginning of one sequence or character, which has changed nothing yet
    (control characters inside it apart, which xterm.js executes and a later reader executes again).
    """
    end = _whole_characters(data)
    last = _last_introducer(data, end)
    if last is None:
        return end
    start = last.start()
    if data[start:end] == b"\x1b":
        # It may be half of the terminator of a string, which is dispatched when it is seen.
        before = _last_introducer(data, start)
        if before is not None and _open_string(data, before.start(), start):
            return before.start()
        return start
    if _is_string(data, start):
        return start if _open_string(data, start, end) else end
    pattern = _CSI if data[start : start + 2] in (b"\x1b[", b"\xc2\x9b") else _ESC
    found = pattern.match(data, start, end)
    return end if found is None or found.group(1) else start


def _last_introducer(data: bytes, end: int) -> re.Match[bytes] | None:
    escape = data.rfind(b"\x1b", 0, end)
    # C1 controls are rare; one whose string is longer than this is not looked for.
    last = None
    low = max(escape, 0, end - _C1_BYTES)
    if data.find(b"\xc2", low, end) >= 0:  # a regular expression's own search takes a hundred times longer
        for found in _C1.finditer(data, low, end):
            last = found
    return last if last is not None or escape < 0 else _INTRODUCER.match(data, escape)


def _is_string(data: bytes, start: int) -> bool:
    return data[start : start + 2] in (b"\x1b]", b"\x1bP", b"\x1bX", b"\x1b^", b"\x1b_") or (
        data[start] == 0xC2 and data[start + 1 : start + 2] != b"\x9b"
    )


def _open_string(data: bytes, start: int, end: int) -> bool:
    found = _STRING.match(data, start, end)
    if found is None or b"\xc2\x9c" in data[start:end]:
        return False
    # BEL ends an OSC only; inside the others xterm.js ignores or collects it.
    is_osc = data[start : start + 2] in (b"\x1b]", b"\xc2\x9d")
    terminators = b"\x07\x18\x1a" if is_osc else b"\x18\x1a"
    return not any(byte in data[start:end] for byte in terminators)


def _whole_characters(data: bytes) -> int:
    """End of `data` without the beginning of a UTF-8 character."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        for low, high, need in _UTF8_NEED:
            if low <= byte < high and need > back:
                return len(data) - back
        if not 0x80 <= byte < 0xC0:
            break
    return len(data)


_QUERY = re.compile(
    rb"\x1b\[[>=?]?[0-9;]*c"  # device attributes
    rb"|\x1b\[\??[0-9;]*n"  # status, cursor position
    rb"|\x1b\[\??[0-9;]*\$p"  # is this mode set?
    rb"|\x1b\[>[0-9]*q|\x1b\[\?u|\x1b\[[0-9;]*x|\x1bZ"  # version, keyboard protocol, parameters, DECID
    rb"|\x1b\[(?:1[1-9]|2[01])(?:;[0-9]*)*t"  # window reports
    rb"|\x1b\](?:4|5|1[0-9]|52)(?:;[^\x07\x1b]{0,64})?;\?(?:;[^\x07\x1b]{0,4096})?(?:\x07|\x1b\\)"  # colours
    rb"|\x1bP[$+]q[^\x1b]{0,4096}\x1b\\"  # settings, terminfo
)


def strip_queries(data: bytes) -> bytes:
    """`data` without what makes a terminal answer. A lone string terminator stands in for each query:
    like the query it changes nothing, and like it keeps REP and combining characters from what precedes."""
    return _QUERY.sub(b"\x1b\\\\", data)
