# ruff: noqa: E501 - tables of cases
"""Questions that the server answers while nobody is there."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persistent_terminal_hub.server.answers import Answer, Recogniser

ST = b"\x1b\\"
CASES = [
    (b"\x1b[c", b"\x1b[?1;2c"),
    (b"\x1b[0c", b"\x1b[?1;2c"),
    (b"\x1bZ", b"\x1b[?1;2c"),
    (b"\xc2\x9bc", b"\x1b[?1;2c"),
    (b"\x1b[>c", b"\x1b[>0;276;0c"),
    (b"\x1b[5n", b"\x1b[0n"),
    (b"\x1b[>0q", b"\x1bP>|persistent-terminal-hub" + ST),
    (b"\x1b]10;?\x07", b"\x1b]10;rgb:ffff/ffff/ffff" + ST),
    (b"\x1b]11;?" + ST, b"\x1b]11;rgb:0000/0000/0000" + ST),
    (b"\x1b[?2026$p", b"\x1b[?2026;0$y"),
    (b"\x1b[4$p", b"\x1b[4;0$y"),
    (b"\x1bP$qm" + ST, b"\x1bP0$r" + ST),
    (b"\x1bP+q544e" + ST, b"\x1bP0+r" + ST),
]
# Not ours to answer: nobody knows where the cursor is; or not a question at all.
SILENT = [b"\x1b[6n", b"\x1b[?6n", b"\x1b[?u", b"\x1b]11;#fff\x07", b"\x1b[1;2H", b"text", b"\x1b[?1;2c", b"\x1b[31m",
          b"\x1b]4;1;?\x07", b"\x1b[c\x18"[:2] + b"\x18"]  # fmt: skip


@pytest.mark.parametrize(("question", "answer"), CASES)
def test_an_answer(question: bytes, answer: bytes) -> None:
    assert Recogniser(0).feed(question) == [Answer(len(question), answer)]


@pytest.mark.parametrize("output", SILENT)
def test_no_answer(output: bytes) -> None:
    assert Recogniser(0).feed(output) == []


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from([q for q, _ in CASES] + SILENT[:-1]), st.text("ab\n", max_size=5).map(str.encode)
        )
    ),
    st.lists(st.integers(1, 9), min_size=1),
    st.integers(0, 2**40),
)
def test_the_same_however_it_is_cut(pieces: list[bytes], cuts: list[int], start: int) -> None:
    whole = b"".join(pieces)
    answers = dict(CASES)
    expected, at = [], start
    for piece in pieces:
        at += len(piece)
        if piece in answers:
            expected.append(Answer(at, answers[piece]))
    recogniser, got, position, turn = Recogniser(start), [], 0, 0
    while position < len(whole):
        step = cuts[turn % len(cuts)]
        got += recogniser.feed(whole[position : position + step])
        position, turn = position + step, turn + 1
    assert got == expected
    assert recogniser.offset == start + len(whole)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=50)))
def test_anything_goes_in_and_memory_is_bounded(chunks: list[bytes]) -> None:
    recogniser = Recogniser(0)
    for chunk in [*chunks, b"\x1b]" + b"x" * 20_000]:
        recogniser.feed(chunk)
    assert len(recogniser._held) <= 8192
