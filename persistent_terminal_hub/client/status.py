"""A line at the bottom of somebody else's screen, drawn only while the session cannot draw, and taken back.

The client has no emulator, so it cannot know what it draws over. It asks the terminal where the cursor is:

- above the last row (a shell on a screen that is not full): what lies below the prompt is blank; the line is
  drawn in the last row and erased afterwards.
- in the last row of the normal screen: the screen is scrolled up by one line for it, and down again after.
  Nothing is overwritten; the former first row is then in the scrollback, and shown blank until it scrolls.
- on the alternate screen, or with a scroll region: the last row is overwritten; the program is asked to
  redraw afterwards (`needs_redraw`), which full-screen programs do at a change of size.

A terminal that does not say where the cursor is gets the title only.
"""

from __future__ import annotations

from typing import Literal

ASK_POSITION = b"\x1b[6n"

_SAVE, _RESTORE = b"\x1b7", b"\x1b8"


class StatusLine:
    """Bytes to draw and to take back; it writes nothing itself."""

    def __init__(self) -> None:
        self._way: Literal["", "blank", "scrolled", "over"] = ""
        self._rows = 0

    @property
    def drawn(self) -> bool:
        """Whether it is on the screen."""
        return bool(self._way)

    def draw(self, text: str, rows: int, cols: int, *, cursor_row: int | None, over: bool) -> bytes:
        """Draw, or draw again. `cursor_row` counts from 1; `over`: the program will redraw everything."""
        out = b""
        if not self._way:
            out = _SAVE + b"\x1b[?6l"
            if over:
                self._way = "over"
            elif cursor_row is None:
                return b""
            elif cursor_row < rows:
                self._way = "blank"
            else:
                self._way = "scrolled"
                out += b"\x1b[%d;1H\n" % rows
        elif rows != self._rows:
            # The window changed: what was drawn moved, nobody knows where to.
            self._way = "over"
        self._rows = rows
        shown = "".join(char for char in text if char.isprintable())[: cols - 1].encode()
        up = b"\x1b[A" if self._way == "scrolled" else b""
        return out + b"\x1b[%d;1H\x1b[0;7m\x1b[2K%b" % (rows, shown) + _RESTORE + up

    def erase(self) -> tuple[bytes, bool]:
        """What takes it back, and whether the program must redraw."""
        way, self._way = self._way, ""
        if not way:
            return b"", False
        out = b"\x1b[?6l\x1b[%d;1H\x1b[0m\x1b[2K" % self._rows
        if way == "scrolled":
            out += b"\x1b[1;1H\x1bM"
        return out + _RESTORE, way == "over"
