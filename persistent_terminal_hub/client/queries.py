"""Questions of programs to the terminal: found in the output, held back where they are not ours. Pure.

A terminal answers whatever it is asked, so a client in front of one must not show it a question that another
client answers, or that was answered long ago. What is held back is only the beginning of a sequence or of a
character, which shows nothing anyway; it comes out when it is complete, or by `flush`.
"""

from __future__ import annotations

import re
from typing import Final

#: No question is longer; an unfinished sequence that is gets passed on.
MAX_QUESTION: Final = 4096

# Finished: CSI, OSC, DCS, other strings, DECID. ESC inside a string ends it, as in xterm. It begins with one
# certain byte, so that text without it is passed over fast, and leaves out what most CSI are: colours, moves.
_BODY: Final = (
    rb"\x1b(?:\[(?![0-9;:]*[@-Z`abd-mo-qsu-wyz])(?P<csi>[\x20-\x3f]*[\x40-\x7e])"
    rb"|\](?P<osc>[^\x07\x18\x1a\x1b]*)(?:\x07|\x1b\\)"
    rb"|P(?P<dcs>[^\x18\x1a\x1b]*)\x1b\\"
    rb"|[X^_](?P<apc>[^\x18\x1a\x1b]*)\x1b\\"
    rb"|Z)"
)
_SEQUENCE: Final = re.compile(_BODY)
_SEQUENCE_OR_ENQ: Final = re.compile(_BODY + rb"|\x05")
# The beginning of one at the end of the data, or of a character in UTF-8.
_OPEN: Final = re.compile(rb"\x1b(?:\[[\x20-\x3f]*|[\]PX^_][^\x07\x18\x1a\x1b]*\x1b?|[\x20-\x2f]*)?\Z")
_OPEN_CHARACTER: Final = re.compile(rb"(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z")
_STRING_END: Final = re.compile(rb"[\x07\x18\x1a\x1b]")
_CSI_QUESTION: Final = re.compile(
    rb"[>=]?0*c"  # DA1, DA2, DA3
    rb"|\??[0-9;]*n"  # DSR, CPR
    rb"|\??[0-9;]*\$p"  # DECRQM
    rb"|>0*q"  # XTVERSION
    rb"|\?u"  # kitty's keyboard flags
    rb"|\?[0-9;]*[mS]"  # XTQMODKEYS, XTSMGRAPHICS
    rb"|(?:11|1[3-689]|2[01])(?:;[0-9]*)?t"  # reports of the window
    rb"|[01]?x"  # DECREQTPARM
)  # fmt: skip
_OSC_QUESTION: Final = re.compile(rb"(?:4|5|1[0-9]|21|52)(?:;.*)?;\?.*|21;.*=\?.*|6?0;\?", re.DOTALL)
_DCS_QUESTION: Final = re.compile(rb"[0-9;]*(?:\$q|\+q).*", re.DOTALL)
_APC_QUESTION: Final = re.compile(rb"G[^;]*a=q.*", re.DOTALL)  # kitty's graphics
_TITLE: Final = re.compile(rb"[02];(.*)", re.DOTALL)


def is_question(match: re.Match[bytes]) -> bool:
    """Whether a finished sequence asks the terminal something."""
    if match["csi"] is not None:
        return _CSI_QUESTION.fullmatch(match["csi"]) is not None
    if match["osc"] is not None:
        return _OSC_QUESTION.fullmatch(match["osc"]) is not None
    if match["dcs"] is not None:
        return _DCS_QUESTION.fullmatch(match["dcs"]) is not None
    if match["apc"] is not None:
        return _APC_QUESTION.fullmatch(match["apc"]) is not None
    return True  # DECID, ENQ


def _open_at(text: bytes, last: int) -> int:
    """Where something begins that the data does not finish; -1 if nothing does."""
    escape = text.rfind(b"\x1b", last)
    if escape >= 0:
        # The last ESC may be the first half of a string's end: then the one before began the string.
        before = text.rfind(b"\x1b", last, escape)
        for at in (before, escape):
            if at >= 0 and _OPEN.match(text, at):
                return at
    tail = max(last, len(text) - 3)
    character = _OPEN_CHARACTER.search(text, tail)
    return character.start() if character else -1


class Queries:
    """Goes through a stream, whatever its cuts."""

    def __init__(self) -> None:
        self._held = b""
        self.questions: list[bytes] = []  # those that ended in what was filtered last
        self.alternate = False  # the alternate screen is shown
        self.region = False  # a scroll region is set
        self.title = b""  # what the program called its window last
        self.inside = False  # a long sequence was passed on unfinished: nothing else may be written now

    def feed(self, data: bytes) -> list[bytes]:
        """The questions that end in these bytes."""
        found: list[bytes] = []
        self._scan(data, found)
        return found

    def filter(self, data: bytes, allow: bool) -> bytes:
        """The bytes to show, without the questions unless `allow`."""
        self.questions = []
        text, cuts = self._scan(data, self.questions)
        if allow or not cuts:
            return text
        out, at = bytearray(), 0
        for start, stop in cuts:
            out += text[at:start]
            at = stop
        return bytes(out + text[at:])

    def flush(self) -> bytes:
        """What is held back: the beginning of something that will not be completed."""
        held, self._held = self._held, b""
        return held

    def _scan(self, data: bytes, found: list[bytes]) -> tuple[bytes, list[tuple[int, int]]]:
        """The text to show now, where in it questions lie."""
        text = self._held + data
        self._held = b""
        last = 0
        if self.inside:
            end = _STRING_END.search(text)
            if end is None:
                return text, []
            self.inside = False
            last = end.start()
        cuts: list[tuple[int, int]] = []
        pattern = _SEQUENCE_OR_ENQ if b"\x05" in text else _SEQUENCE
        for match in pattern.finditer(text, last):
            last = match.end()
            if is_question(match):
                cuts.append(match.span())
                found.append(match[0])
            else:
                self._note(match)
        begin = _open_at(text, last)
        if begin >= 0:
            if len(text) - begin <= MAX_QUESTION:
                self._held = text[begin:]
                text = text[:begin]
            else:
                self.inside = True
        return text, cuts

    def _note(self, match: re.Match[bytes]) -> None:
        body = match["csi"]
        if body is not None:
            if body[-1:] in b"hl" and body[:1] == b"?" and body[1:-1] in (b"47", b"1047", b"1049"):
                self.alternate = body.endswith(b"h")
            elif body.endswith(b"r") and body[:1] != b"?":
                self.region = body not in (b"r", b";r", b"1r", b"0r")
            elif body == b"!p":
                self.region = False
        elif match["osc"] is not None and (title := _TITLE.fullmatch(match["osc"])):
            self.title = title[1][:256]


_PLAIN: Final = {
    b"\x1b[c": b"\x1b[?1;2c",
    b"\x1b[0c": b"\x1b[?1;2c",
    b"\x1bZ": b"\x1b[?1;2c",
    b"\x1b[>c": b"\x1b[>0;276;0c",
    b"\x1b[>0c": b"\x1b[>0;276;0c",
    b"\x1b[5n": b"\x1b[0n",
    # Where the cursor is only an emulator knows; a program that waits for an answer gets one.
    b"\x1b[6n": b"\x1b[1;1R",
}


def plain_answer(query: bytes) -> bytes | None:
    """What a client without an emulator answers, so that programs do not wait."""
    return _PLAIN.get(query)
