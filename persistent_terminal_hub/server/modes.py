"""The modes a terminal is in, followed through its output. Pure.

When output falls out of the scrollback, what it had set must still hold for what comes after: otherwise
an editor's screen is drawn onto the shell's, or the arrow keys stop working. Followed are the modes that
programs leave on for long; positions and contents are not.
"""

from __future__ import annotations

import re

from .sequences import ANSWERING_MODES, csi_text, private_modes, scanner

#: Modes of one choice: setting one replaces the other, resetting any goes back to none (as xterm.js does).
_ALTERNATE = frozenset({47, 1047, 1049})
_MOUSE = frozenset({9, 1000, 1002, 1003})
_MOUSE_FORMAT = frozenset({1005, 1006, 1015, 1016})
#: Independent modes and whether they are on after a reset.
_SWITCHES = {
    1: False,
    5: False,
    6: False,
    7: True,
    25: True,
    45: False,
    66: False,
    1007: True,
    2004: False,
    2031: False,
}
#: What a soft reset (DECSTR) puts back.
_SOFT = frozenset({1, 6, 7, 25, 45, 66, 2004})

_MAX_SGR = 32
_MAX_TITLE = 1024
_REGION = re.compile(rb"[0-9]*(?:;[0-9]*)?r")
_CURSOR_STYLE = re.compile(rb"[0-9]* q")
_KEYS = re.compile(rb">4;[0-9]*m")
_SGR = re.compile(rb"\x1b\[[0-9;:]{0,200}m")
_SGR_ENDS = (b"\x1b[m", b"\x1b[0m", b"\x1bc", b"\x1b[!p")
_SGR_LOOK_BACK = 16 * 1024
#: Sequences with plain numbers that change no mode followed here; attributes are looked for apart.
_SCANNER = scanner(rb"@-Z`a-gi-km-oqs-z")
_SGR_RESET = re.compile(rb"(?:0*;)*0*m")


class TerminalModes:
    """Feed it output that a terminal has seen; `restore` is what brings another one to the same modes."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Go back to what a terminal is in after RIS."""
        self._switches: dict[int, bool] = {}
        self._choice: dict[frozenset[int], int] = {}
        self._answering: set[int] = set()
        self._ansi: set[int] = set()
        self._sgr: list[bytes] = []
        self._charsets: dict[bytes, bytes] = {}
        self._region = self._cursor = self._keys = self._title = b""
        self._keypad = False

    @property
    def answering(self) -> frozenset[int]:
        """The modes that are on and whose setting makes a terminal report; `restore` leaves them out."""
        return frozenset(self._answering)

    @property
    def alternate_screen(self) -> bool:
        """Whether the program draws on the alternate screen."""
        return _ALTERNATE in self._choice

    def feed(self, data: bytes | bytearray, start: int, end: int) -> None:
        """Follow the sequences of `data[start:end]`, which begins and ends outside any sequence."""
        reset = max(data.rfind(text, start, end) for text in _SGR_ENDS)
        if reset >= 0:
            self._sgr.clear()
        for match in _SCANNER.finditer(data, start, end):
            if match.lastgroup == "csi" and match["final"] is not None:
                self._csi(csi_text(match))
            elif match.lastgroup == "esc" and match["esc_final"] is not None:
                self._esc(match[0].lstrip(b"\x1b"))
            elif match.lastgroup == "osc" and match["osc_end"] is not None:
                body = match["osc_body"]
                if body[:2] in (b"0;", b"2;"):
                    self._title = body[2 : 2 + _MAX_TITLE].decode("utf-8", "ignore").encode()
        # Attributes last: nearly every sequence sets some, and only the latest count.
        for match in _SGR.finditer(data, max(start, reset, end - _SGR_LOOK_BACK), end):
            text = match[0][2:]
            if _SGR_RESET.fullmatch(text):
                self._sgr.clear()
                continue
            # Repeating one attribute forever must not grow the list.
            if text in self._sgr:
                self._sgr.remove(text)
            self._sgr = [*self._sgr[1 - _MAX_SGR :], text]

    def restore(self) -> bytes:
        """Sequences that bring a terminal from a reset to these modes; empty when there is nothing to do."""
        parts: list[bytes] = []
        if self._title:
            parts.append(b"\x1b]2;" + self._title + b"\x07")
        # The alternate screen first: the rest applies to the screen that is shown.
        parts += [
            b"\x1b[?%dh" % self._choice[group]
            for group in (_ALTERNATE, _MOUSE, _MOUSE_FORMAT)
            if group in self._choice
        ]
        parts += [
            b"\x1b[?%d%c" % (mode, b"h" if on else b"l")
            for mode, on in sorted(self._switches.items())
            if on != _SWITCHES[mode]
        ]
        parts += [b"\x1b[%dh" % mode for mode in sorted(self._ansi)]
        parts += [b"\x1b" + which + charset for which, charset in sorted(self._charsets.items())]
        if self._keypad:
            parts.append(b"\x1b=")
        parts += [b"\x1b[" + text for text in (self._region, self._cursor, self._keys) if text]
        parts += [b"\x1b[" + text for text in self._sgr]
        return b"".join(parts)

    def _csi(self, text: bytes) -> None:
        final = text[-1:]
        if final == b"m":
            if _KEYS.fullmatch(text):
                self._keys = text
        elif final in (b"h", b"l"):
            private = private_modes(text)
            if private is not None:
                for mode in private[0]:
                    self._private(mode, private[1])
            elif text[:-1] in (b"4", b"20"):
                (self._ansi.add if final == b"h" else self._ansi.discard)(int(text[:-1]))
        elif final == b"r" and _REGION.fullmatch(text):
            self._region = b"" if text in (b"r", b";r") else text
        elif final == b"q" and _CURSOR_STYLE.fullmatch(text):
            self._cursor = text
        elif text == b"!p":
            self._soft_reset()

    def _private(self, mode: int, on: bool) -> None:
        if mode in ANSWERING_MODES:
            (self._answering.add if on else self._answering.discard)(mode)
        elif mode in _SWITCHES:
            self._switches[mode] = on
        else:
            for group in (_ALTERNATE, _MOUSE, _MOUSE_FORMAT):
                if mode in group:
                    if on:
                        self._choice[group] = mode
                    else:
                        self._choice.pop(group, None)

    def _esc(self, text: bytes) -> None:
        if text == b"c":
            self.reset()
        elif text in (b"=", b">"):
            self._keypad = text == b"="
        elif len(text) == 2 and text[:1] in b"()*+":
            self._charsets[text[:1]] = text[1:]
            if text[1:] == b"B":
                del self._charsets[text[:1]]

    def _soft_reset(self) -> None:
        for mode in _SOFT:
            self._switches.pop(mode, None)
        self._answering.clear()
        self._ansi.clear()
        self._sgr.clear()
        self._charsets.clear()
        self._region = b""
        self._keypad = False
