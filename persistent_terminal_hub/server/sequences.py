"""Control sequences in a terminal's output: where one begins and ends, and which ones are questions.

Requirements, proven in tests/unit/test_server_sequences.py against a parser that goes byte by byte:

- works on bytes, because output is bytes and need not be valid UTF-8;
- follows xterm.js: C1 controls are recognised in their UTF-8 form (C2 80..9F), C0 controls inside a
  sequence are carried out and do not end it, ESC, CAN, SUB and any C1 end whatever was open;
- a question split across reads is found whatever the split;
- memory is bounded whatever the output.

One property makes this simple: the body of a sequence contains no ESC and no C1, so a scan that starts in
the middle of one finds its way back by itself.
"""

from __future__ import annotations

import re

#: An unfinished sequence longer than this is passed on: no question is that long.
MAX_HELD = 8192

# ESC, with what a terminal carries out or ignores before the byte that decides.
_E = rb"\x1b[\x00-\x17\x19\x1c-\x1f\x7f]*+"
# The body of a string: not C1. A lone C2 at the end may be the first half of one, so it counts as body.
_OSC = rb"(?:[^\x07\x18\x1a\x1b\xc2]|\xc2(?![\x80-\x9f]))*+"
_STR = rb"(?:[^\x18\x1a\x1b\xc2]|\xc2(?![\x80-\x9f]))*+"
# ESC ends a string whatever follows; at the end of the data it may be the first half of ST.
_END = rb"\x1b\\|\xc2\x9c|(?=[\x18\x1a\xc2]|\x1b[^\\])"


def _string(kind: bytes, introducer: bytes, body: bytes, end: bytes) -> bytes:
    return (
        rb"(?P<%b>(?:%b)(?P<%b_body>%b)" % (kind, introducer, kind, body)
        # Either its end, or the end of the data where ESC may be half of one.
        + rb"(?:(?P<%b_end>%b)|\x1b\Z)?)" % (kind, end)
    )


_SEQUENCE = b"|".join(
    [
        rb"(?P<csi>(?:%b\[|\xc2\x9b)(?P<csi_body>[\x00-\x17\x19\x1c-\x3f\x7f]*+)(?P<final>[\x40-\x7e])?)"
        % _E,
        _string(b"osc", _E + rb"\]|\xc2\x9d", _OSC, rb"\x07|" + _END),
        _string(b"dcs", _E + rb"P|\xc2\x90", _STR, _END),
        _string(b"str", _E + rb"[X^_]|\xc2[\x98\x9e\x9f]", _STR, _END),
        rb"(?P<esc>%b[\x20-\x2f]*+(?P<esc_final>[\x30-\x7e])?)" % _E,
        rb"(?P<half>\xc2\Z)",
    ]
)


def scanner(boring: bytes = b"") -> re.Pattern[bytes]:
    """A pattern that matches one sequence, finished or not; see `is_finished`.

    With `boring`, final bytes as in a character class, a run of text and of such CSI sequences with plain
    numbers is one match that belongs to no group, so that coloured output costs little.
    """
    run = rb"(?:[^\x1b\xc2]++|\x1b\[[0-9;:]*+[" + boring + rb"])++|" if boring else rb"(?=[\x1b\xc2])"
    return re.compile(rb"%b(?:%b)" % (run, _SEQUENCE), re.DOTALL)


SEQUENCE = scanner()
_QUESTION_SCANNER = scanner(rb"@-Z`abd-mo-su-wyz")

_ENDS = {"csi": "final", "osc": "osc_end", "dcs": "dcs_end", "str": "str_end", "esc": "esc_final"}
_C0 = bytes(range(0x20)) + b"\x7f"

#: Setting one of these makes a terminal report at once: 1004 focus, 2048 size.
ANSWERING_MODES = frozenset({1004, 2048})

_CSI_QUESTION = re.compile(
    rb"[>=?]?[0-9;:]*c"  # DA1, DA2, DA3
    rb"|\??[0-9;:]*n"  # DSR, CPR, colour scheme (">n" sets a key mode)
    rb"|\??[0-9;:]*\$p"  # DECRQM
    rb"|>[0-9;:]*q"  # XTVERSION
    rb"|\?[0-9;:]*u"  # kitty keyboard flags
    rb"|\?[0-9;:]*m"  # XTQMODKEYS
    rb"|\?[0-9;:]*S"  # XTSMGRAPHICS
    rb"|0*(?:11|13|14|15|16|18|19|20|21)(?:;[0-9;:]*)?t"  # window reports
    rb"|0*[01]?x"  # DECREQTPARM
    rb"|[0-9;:]*\*y"  # DECRQCRA
    rb"|[0-9;:]*\$[wu]"  # DECRQPSR, DECRQTSR
    rb"|[0-9;:]*\"v"  # DECRQDE
    rb"|[0-9;:]*&u"  # DECRQUPSS
    rb"|[0-9;:]*'\|"  # DECRQLP
    rb"|[0-9;:]*#[R|]"  # XTREPORTCOLORS, XTREPORTSGR
)
_OSC_QUESTION = re.compile(
    rb"0*(?:4|5|1[0-9]|22|52|60|61)(?:;.*)?;\?(?:;.*)?"  # colours, pointer shape, clipboard, permissions
    rb"|0*21;.*=\?.*"  # kitty colours
    rb"|0*99;(?:[^;]*:)?p=\?.*"  # kitty notifications
    rb"|0*1337;(?:ReportCellSize|ReportVariable=.*|Capabilities.*|RequestUpload=.*)",
    re.DOTALL,
)
_DCS_QUESTION = re.compile(rb"[0-9;:]*(?:\$q|\+q|\+Q)")  # DECRQSS, XTGETTCAP, XTGETXRES
_APC_QUESTION = re.compile(rb"G(?:[^;]*,)?a=q")  # kitty graphics


def is_finished(match: re.Match[bytes]) -> bool:
    """Whether the sequence needs nothing more: a terminal has carried it out, or dropped it."""
    kind = match.lastgroup or ""
    return kind in _ENDS and (match[_ENDS[kind]] is not None or match.end() < match.endpos)


def is_question(match: re.Match[bytes]) -> bool:
    """Whether a terminal answers this sequence by sending something to the program."""
    kind = match.lastgroup
    if kind == "csi":
        return match["final"] is not None and bool(_CSI_QUESTION.fullmatch(csi_text(match)))
    if kind == "osc":
        return bool(_OSC_QUESTION.fullmatch(match["osc_body"].translate(None, _C0)))
    if kind == "dcs":
        return bool(_DCS_QUESTION.match(match["dcs_body"].translate(None, _C0)))
    if kind == "str":
        return bool(_APC_QUESTION.match(match["str_body"]))
    return kind == "esc" and match["esc_final"] == b"Z" and match[0][-2:-1] not in b" !\"#$%&'()*+,-./"


def csi_text(match: re.Match[bytes]) -> bytes:
    """Parameters, intermediates and final byte of a CSI sequence, without the controls inside it."""
    return match["csi_body"].translate(None, _C0) + (match["final"] or b"")


def private_modes(text: bytes) -> tuple[list[int], bool] | None:
    """The modes of `CSI ? ... h` or `l` and whether they are set; None for any other sequence."""
    if text[:1] != b"?" or text[-1:] not in (b"h", b"l"):
        return None
    fields = text[1:-1].split(b";")
    if not all(field == b"" or (field.isdigit() and len(field) < 10) for field in fields):
        return None
    return [int(field or b"0") for field in fields], text[-1:] == b"h"


class QuestionFilter:
    """Removes questions from a stream of output; holds back what is not yet decided.

    With `defer`, modes whose setting makes a terminal report (`ANSWERING_MODES`) are taken out too and
    handed back by `flush` if they are still set: a replay must not make the terminal report for a
    program that has ended long ago.
    """

    def __init__(self, *, defer: bool = False, deferred: frozenset[int] = frozenset()) -> None:
        self._defer = defer
        self._deferred = set(deferred)
        self._held = b""
        # Whether an unfinished sequence was passed on right before what comes next.
        self._open = False

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes, return those that may be passed on."""
        data = self._held + data
        self._held = b""
        if b"\x1b" not in data and b"\xc2" not in data:
            self._open = self._open and not data
            return data.replace(b"\x05", b"")
        parts: list[bytes] = []
        kept = 0
        # Where the latest sequence that nothing has finished ends; what cuts it short begins there.
        open_until = 0 if self._open else -1
        rest = len(data)
        for match in _QUESTION_SCANNER.finditer(data):
            kind = match.lastgroup
            if kind is None:
                continue
            if not is_finished(match):
                if len(match[0]) <= MAX_HELD:
                    rest = match.start()
                else:
                    open_until = rest
                break
            replacement = self._replacement(match)
            if replacement is not None:
                # What this sequence cut short must stay cut short.
                if open_until == match.start() and not replacement.startswith(b"\x1b"):
                    replacement = (b"\x1b\\" if match[0][0] == 0x1B else b"\x18") + replacement
                parts += (data[kept : match.start()], replacement)
                kept = match.end()
            elif not match[_ENDS[kind]]:
                open_until = match.end()
        parts.append(data[kept:rest])
        self._held = data[rest:]
        self._open = open_until == rest
        # ENQ asks for the answerback wherever it stands; inside a string it is ignored anyway.
        return b"".join(parts).replace(b"\x05", b"")

    def flush(self) -> bytes:
        """Return what was held back, and set the deferred modes that are still on."""
        # Modes first: what is held back is unfinished, and what follows it must follow it directly.
        modes = b"".join(b"\x1b[?%dh" % mode for mode in sorted(self._deferred))
        held, self._held, self._deferred = self._held, b"", set()
        return modes + held

    def _replacement(self, match: re.Match[bytes]) -> bytes | None:
        """What to put in the sequence's place; None: it stays."""
        if is_question(match):
            return _controls(match)
        if not self._defer:
            return None
        if match.lastgroup == "esc" and match[0][-2:] == b"\x1bc":
            self._deferred.clear()
        if match.lastgroup != "csi" or match["final"] not in (b"h", b"l", b"p"):
            return None
        text = csi_text(match)
        if text == b"!p":
            self._deferred.clear()
        modes = private_modes(text)
        if modes is None or not ANSWERING_MODES.intersection(modes[0]):
            return None
        change = self._deferred.update if modes[1] else self._deferred.difference_update
        change(ANSWERING_MODES.intersection(modes[0]))
        rest = [b"%d" % mode for mode in modes[0] if mode not in ANSWERING_MODES]
        return _controls(match) + (b"\x1b[?" + b";".join(rest) + match["final"] if rest else b"")


def _controls(match: re.Match[bytes]) -> bytes:
    """The controls that a terminal carries out although they stand inside the sequence."""
    kind = match.lastgroup or ""
    text = match[0] if kind in ("csi", "esc") else match[0][: match.start(f"{kind}_body") - match.start()]
    return bytes(byte for byte in text if byte < 0x20 and byte != 0x1B)
