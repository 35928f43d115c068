"""What the server answers to a program's questions while no client is there to do it. Pure.

Programs ask the terminal what it is and wait for the answer; with nobody attached they would wait for long.
Answered is what does not depend on a screen that nobody keeps: so not where the cursor is. What a question
is and where it ends is `sequences`' business; its offset in the journal numbers the answer, so that the
keeper takes each once, whichever server sends it.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from .sequences import MAX_HELD, SEQUENCE, csi_text, is_finished

#: As xterm.js answers them: a VT100 with advanced video; no version that anybody could rely on.
_FIXED = {
    b"c": b"\x1b[?1;2c",
    b"0c": b"\x1b[?1;2c",
    b">c": b"\x1b[>0;276;0c",
    b">0c": b"\x1b[>0;276;0c",
    b"5n": b"\x1b[0n",
    b">q": b"\x1bP>|persistent-terminal-hub\x1b\\",
    b">0q": b"\x1bP>|persistent-terminal-hub\x1b\\",
}
#: Light on dark, which is what programs take an unknown terminal for.
_COLOURS = {b"10": b"rgb:ffff/ffff/ffff", b"11": b"rgb:0000/0000/0000", b"12": b"rgb:ffff/ffff/ffff"}
_OSC_COLOUR = re.compile(rb"0*(1[0-2]);\?")
# "Is this mode set": the terminal does not know it.
_DECRQM = re.compile(rb"(\??)0*([0-9]{1,9})\$p")


#: The server's own client id for answers; the number of an answer is its question's offset.
ANSWERER: Final = "server"
#: Questions that are asked together are not longer than this.
ANSWER_TAIL: Final = 512


class Answer(NamedTuple):
    """The question ended at `offset`; `data` is to be typed for it."""

    offset: int
    data: bytes


class Recogniser:
    """Finds questions in a stream, wherever it is cut."""

    def __init__(self, offset: int) -> None:
        """Begin at an offset; what was asked before is somebody else's."""
        self.offset = offset
        self._held = b""

    def feed(self, data: bytes) -> list[Answer]:
        """The next bytes of the stream."""
        self.offset += len(data)
        if not self._held and b"\x1b" not in data and b"\xc2" not in data:
            return []
        data = self._held + data
        self._held = b""
        begin = self.offset - len(data)
        answers = []
        for match in SEQUENCE.finditer(data):
            if not is_finished(match):
                if len(match[0]) <= MAX_HELD:
                    self._held = data[match.start() :]
                break
            answer = _answer(match)
            if answer is not None:
                answers.append(Answer(begin + match.end(), answer))
        return answers


def waited_for(data: bytes, start: int) -> list[Answer]:
    """The answers that a program waits for, by the last that it printed, from the offset `start` on.

    One that printed nothing after its question waits for the answer; another has given up long ago, and would
    take it for typing.
    """
    found = Recogniser(start).feed(data)
    return found if found and found[-1].offset == start + len(data) else []


def _answer(match: re.Match[bytes]) -> bytes | None:
    if match.lastgroup == "csi":
        text = csi_text(match)
        asked = _DECRQM.fullmatch(text)
        return b"\x1b[%b%b;0$y" % (asked[1], asked[2]) if asked else _FIXED.get(text)
    if match.lastgroup == "osc" and match["osc_end"]:
        asked = _OSC_COLOUR.fullmatch(match["osc_body"])
        return b"\x1b]%b;%b\x1b\\" % (asked[1], _COLOURS[asked[1]]) if asked else None
    if match.lastgroup == "dcs" and match["dcs_end"]:
        # What a setting is, what a capability is: neither is known.
        asked = re.match(rb"[0-9;:]*([$+])q", match["dcs_body"])
        return b"\x1bP0%br\x1b\\" % asked[1] if asked else None
    if match.lastgroup == "esc" and match[0] == b"\x1bZ":
        return _FIXED[b"c"]
    return None
