"""A session's output as text to read or keep: no emulator, but what a person would call the text. Pure."""

from __future__ import annotations

import re

from .sequences import SEQUENCE

#: What a terminal does not show; line feed and tab stay, and returns and backspaces are carried out.
_CONTROLS = re.compile(r"[\x00-\x07\x0b-\x0c\x0e-\x1f\x7f\x80-\x9f]")
_BACKSPACE = re.compile(r"[^\x08]\x08")


def output_text(data: bytes) -> str:
    """The lines without colours and other sequences; of a line that was written anew, the last writing.

    Full-screen programs leave the pieces that they drew, in the order of drawing.
    """
    text = SEQUENCE.sub(b"", data).decode("utf-8", "replace").replace("\r\n", "\n")
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return _CONTROLS.sub("", "\n".join(_erased(line) for line in lines))


def _erased(line: str) -> str:
    """Without what backspaces went over."""
    while "\x08" in line:
        shorter = _BACKSPACE.sub("", line)
        if shorter == line:
            return line.replace("\x08", "")
        line = shorter
    return line
