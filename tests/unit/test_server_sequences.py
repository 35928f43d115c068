# ruff: noqa: E501 - tables of cases
"""The question filter, against a parser that goes character by character as xterm.js does."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persistent_terminal_hub.server.sequences import MAX_HELD, QuestionFilter

Event = tuple[str, str]


def events(data: bytes) -> list[Event]:
    """What a terminal carries out, in order: a slow and plain VT500 parser."""
    out: list[Event] = []
    state, buffer = "ground", ""
    for char in data.decode("utf-8", "replace"):
        code = ord(char)
        if state == "osc" and char in "\x07\x1b\x9c":
            out.append(("osc", buffer))
            state, buffer = ("esc" if char == "\x1b" else "ground"), ""
        elif state == "dcs" and char in "\x1b\x9c":
            out.append(("dcs", buffer))
            state, buffer = ("esc" if char == "\x1b" else "ground"), ""
        elif state == "str" and char in "\x1b\x9c":
            out.append(("str", buffer))
            state, buffer = ("esc" if char == "\x1b" else "ground"), ""
        elif char == "\x1b":
            state, buffer = "esc", ""
        elif char in "\x18\x1a":
            state, buffer = "ground", ""
        elif 0x80 <= code < 0xA0:
            state = {0x90: "dcs", 0x9B: "csi", 0x9D: "osc", 0x98: "str", 0x9E: "str", 0x9F: "str"}.get(
                code, "ground"
            )
            buffer = ""
        elif state == "ground":
            out.append(("exec" if code < 0x20 else "print", char))
        elif state in ("osc", "str", "dcs"):
            buffer += char if code >= 0x20 and code != 0x7F else ""
        elif code < 0x20:
            out.append(("exec", char))
        elif code == 0x7F:
            pass
        elif code >= 0xA0:
            # xterm.js drops the sequence and the character that broke it.
            state, buffer = "ground", ""
        elif state == "esc" and not buffer and char in "[]PX^_":
            state = {"[": "csi", "]": "osc", "P": "dcs"}.get(char, "str")
        elif state == "esc":
            buffer += char
            if code >= 0x30:
                # ST ends nothing any more.
                if buffer != "\\":
                    out.append(("esc", buffer))
                state, buffer = "ground", ""
        elif state == "csi":
            buffer += char
            if code >= 0x40:
                out.append(("csi", buffer))
                state, buffer = "ground", ""
    return out


QUESTIONS = {
    "csi": re.compile(
        r"[>=?]?[\d;]*c|\??[\d;]*n|\??[\d;]*\$p|>[\d;]*q|\?[\d;]*[umS]|0*1[1345689]t|0*2[01]t|0*[01]?x"
        r"|0*(1[1345689]|2[01]);[\d;]*t"
    ),
    "osc": re.compile(r"0*1[0-9];(.*;)?\?(;.*)?|0*[45];(.*;)?\?(;.*)?|0*(52|22|60|61);(.*;)?\?(;.*)?"),
    "dcs": re.compile(r"[\d;]*[$+]q.*"),
    "esc": re.compile("Z"),
    "exec": re.compile("\x05"),
    "print": re.compile("(?!)"),
    "str": re.compile(r"G(.*,)?a=q.*"),
}


def is_question(event: Event) -> bool:
    return QUESTIONS[event[0]].fullmatch(event[1]) is not None


FRAGMENTS = [
    b"text", b"\n", b"\r", b"\x05", b"\x07", b"\x18", b"\x1a", b"\x1b", b"\x1b\\", b"\xc2\x9c", b"\xff", b"\x7f",
    "é€😀".encode(), b"\xc2\x9b", b"\xc2\x9d", b"\xc2\x90", b"\x1b[", b"\x1b]", b"\x1bP", b"\x1b_", b"\x1bX",
    b"c", b"0c", b">c", b"6n", b"?6n", b"5", b"?25$p", b">q", b"?u", b"18t", b"22;0t", b"31m", b"?1049h", b";",
    b"\x1b[c", b"\x1b[6n", b"\x1b[\n6n", b"\x1b[?25l", b"\x1b[2J", b"\x1b[4 q", b"\x1bZ", b"\x1b(0", b"\x1b7", b"\x1b#8",
    b"10;?", b"4;1;?", b"52;c;?", b"0;title", b"\x1b]11;?\x07", b"\x1b]4;1;?\x1b\\", b"\x1b]8;;http://a/?b\x07",
    b"$q", b"+q544e", b"\x1bP$qm\x1b\\", b"\x1bPq#0~\x1b\\", b"\x1b_Gi=1,a=q;AA\x1b\\", b"\x1b_Ga=T;AA\x1b\\",
]  # fmt: skip
streams = st.lists(st.sampled_from(FRAGMENTS), max_size=14).map(b"".join)


def run(data: bytes, cuts: list[int]) -> bytes:
    question_filter = QuestionFilter()
    edges = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    parts = [question_filter.feed(data[a:b]) for a, b in pairwise(edges)]
    return b"".join(parts) + question_filter.flush()


@settings(max_examples=400, deadline=None)
@given(streams, st.lists(st.integers(0, 80), max_size=6))
def test_exactly_the_questions_go(data: bytes, cuts: list[int]) -> None:
    data += b"\x18."  # nothing is left open at the end
    assert events(run(data, cuts)) == [event for event in events(data) if not is_question(event)]


@settings(max_examples=200, deadline=None)
@given(streams, st.lists(st.integers(0, 80), max_size=8))
def test_splits_change_nothing(data: bytes, cuts: list[int]) -> None:
    assert run(data, cuts) == run(data, [])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_any_bytes(data: bytes, cuts: list[int]) -> None:
    assert run(data, cuts) == run(data, [])


@pytest.mark.parametrize(
    "question",
    [
        b"\x1b[c", b"\x1b[0c", b"\x1b[>c", b"\x1b[>0c", b"\x1b[=c", b"\x1bZ", b"\x05",
        b"\x1b[5n", b"\x1b[6n", b"\x1b[?6n", b"\x1b[?15n", b"\x1b[?996n",
        b"\x1b[?2026$p", b"\x1b[4$p", b"\x1bP$qm\x1b\\", b"\x1bP$q q\x1b\\", b"\x1b[>q", b"\x1b[>0q",
        b"\x1b]10;?\x07", b"\x1b]11;?\x1b\\", b"\x1b]12;?\x07", b"\x1b]4;0;?\x07", b"\x1b]4;0;?;1;?\x07",
        b"\x1b]10;?;?\x07", b"\x1b]52;c;?\x07", b"\x1b]5;1;?\x07", b"\x1b]21;foreground=?\x07",
        b"\x1bP+q544e\x1b\\", b"\x1bP+q\x1b\\", b"\x1b[14t", b"\x1b[18t", b"\x1b[21t", b"\x1b[14;2t", b"\x1b[?u",
        b"\x1b[?1;1;0S", b"\x1b[x", b"\x1b[1x", b"\x1b[1;1;1;1;10;10*y", b"\x1b[1$w", b"\x1b[?4m",
        b"\xc2\x9bc", b"\xc2\x9d10;?\xc2\x9c", b"\xc2\x90$qm\xc2\x9c", b"\x1b_Gi=31,s=1,v=1,a=q,t=d;AAAA\x1b\\",
    ],
)  # fmt: skip
def test_questions_go_whatever_the_split(question: bytes) -> None:
    for cut in range(len(question) + 1):
        assert run(b"a" + question + b"b", [cut + 1]) == b"ab"


@pytest.mark.parametrize(
    "kept",
    [
        b"\x1b[1;31m", b"\x1b[2J", b"\x1b[?1049h", b"\x1b[22;0;0t", b"\x1b[8;24;80t", b"\x1b[4 q", b"\x1b[!p",
        b"\x1b[>4;2m", b"\x1b[>1u", b"\x1b[<u", b"\x1b[=1;1u", b"\x1b[u", b"\x1b[>4n", b"\x1b[S", b"\x1b[3q",
        b"\x1b]0;what?\x07", b"\x1b]8;;http://x/?q=1\x07", b"\x1b]10;#fff\x07", b"\x1b]52;c;YWJj\x07", b"\x1b#8",
        b"\x1b]1337;File=inline=1:AA?\x07", b"\x1bPq\"1;1#0~\x1b\\", b"\x1b(Z", b"caf\xc3\xa9 \xc2\xa9", b"\xff\x9b6n",
    ],
)  # fmt: skip
def test_everything_else_stays(kept: bytes) -> None:
    for cut in range(len(kept) + 1):
        assert run(b"a" + kept + b"b", [cut + 1]) == b"a" + kept + b"b"


def test_controls_inside_a_question_are_carried_out() -> None:
    assert run(b"a\x1b[\n6n\x1b\r[cb", []) == b"a\n\rb"


def test_an_endless_string_is_not_held_back() -> None:
    question_filter = QuestionFilter()
    out = question_filter.feed(b"\x1b]1337;File=:" + b"A" * MAX_HELD) + question_filter.feed(b"A" * 100_000)
    assert len(out) == 100_000 + MAX_HELD + 13
    assert question_filter.feed(b"\x07x\x1b[6ny") == b"\x07xy"


def test_reporting_modes_wait_for_the_end() -> None:
    question_filter = QuestionFilter(defer=True)
    assert question_filter.feed(b"a\x1b[?1049;1004hb\x1b[?1004lc\x1b[?2048;1004hd") == b"a\x1b[?1049hbcd"
    assert question_filter.flush() == b"\x1b[?1004h\x1b[?2048h"
    question_filter = QuestionFilter(defer=True, deferred=frozenset({1004}))
    assert question_filter.feed(b"\x1bcx") == b"\x1bcx"
    assert question_filter.flush() == b""
