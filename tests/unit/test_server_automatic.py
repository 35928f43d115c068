"""What an emulator sends by itself, and what only a person does."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persistent_terminal_hub.server.automatic import is_automatic_answer

ANSWERS = {
    "DA1": b"\x1b[?1;2c",
    "DA1 of a VT420": b"\x1b[?64;1;2;6;9;15;18;21;22c",
    "DA2": b"\x1b[>0;276;0c",
    "DA3": b"\x1bP!|00000000\x1b\\",
    "DSR": b"\x1b[0n",
    "DSR of a printer": b"\x1b[?13n",
    "CPR": b"\x1b[24;80R",
    "DECXCPR": b"\x1b[?24;80;1R",
    "DECRPM of a private mode": b"\x1b[?2004;1$y",
    "DECRPM": b"\x1b[4;2$y",
    "OSC 10": b"\x1b]10;rgb:ffff/ffff/ffff\x1b\\",
    "OSC 11 with BEL": b"\x1b]11;rgb:0000/0000/0000\x07",
    "OSC 4": b"\x1b]4;1;rgb:cdcd/0000/0000\x1b\\",
    "OSC 52": b"\x1b]52;c;aGVsbG8=\x07",
    "XTGETTCAP": b"\x1bP1+r544e=787465726d\x1b\\",
    "DECRQSS": b"\x1bP1$r0m\x1b\\",
    "XTVERSION": b"\x1bP>|xterm.js(6.0.0)\x1b\\",
    "XTWINOPS 18": b"\x1b[8;24;80t",
    "XTWINOPS 14": b"\x1b[4;600;800t",
    "XTWINOPS 21": b"\x1b]ltitle\x1b\\",
    "in-band resize": b"\x1b[48;24;80;600;800t",
    "focus": b"\x1b[I",
    "blur": b"\x1b[O",
    "kitty flags": b"\x1b[?1u",
    "kitty graphics": b"\x1b_Gi=1;OK\x1b\\",
    "DECREPTPARM": b"\x1b[2;1;1;112;112;1;0x",
    "colour scheme": b"\x1b[?997;1n",
    "nothing": b"",
}
TYPED = {
    "a letter": b"a",
    "Enter": b"\r",
    "Ctrl-C": b"\x03",
    "Escape": b"\x1b",
    "Alt-x": b"\x1bx",
    "up": b"\x1b[A",
    "up, application": b"\x1bOA",
    "Ctrl-right": b"\x1b[1;5C",
    "F1": b"\x1bOP",
    "F5": b"\x1b[15~",
    "Delete": b"\x1b[3~",
    "Shift-Tab": b"\x1b[Z",
    "a kitty key": b"\x1b[97;5u",
    "modifyOtherKeys": b"\x1b[27;5;97~",
    "a paste": b"\x1b[200~hello\x1b[201~",
    "an empty paste": b"\x1b[200~\x1b[201~",
    "mouse, SGR": b"\x1b[<0;10;20M",
    "mouse released, SGR": b"\x1b[<0;10;20m",
    "mouse, X10": b"\x1b[M !!",
    "mouse, urxvt": b"\x1b[32;10;20M",
    "Alt-]": b"\x1b]",
    "Alt-P": b"\x1bP",
    "Alt-[": b"\x1b[",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_are_no_presence(name: str) -> None:
    assert is_automatic_answer(ANSWERS[name])


@pytest.mark.parametrize("name", TYPED)
def test_what_a_person_does_is(name: str) -> None:
    assert not is_automatic_answer(TYPED[name])


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from(sorted(ANSWERS.values())), max_size=4),
    st.sampled_from(sorted(TYPED.values())),
    st.lists(st.sampled_from(sorted(ANSWERS.values())), max_size=4),
)
def test_a_key_among_answers_is_a_key(before: list[bytes], key: bytes, after: list[bytes]) -> None:
    assert is_automatic_answer(b"".join(before + after))
    # An escape key or an Alt chord before an answer cannot be told from its beginning; everything else can.
    if after and key in (b"\x1b", b"\x1b]", b"\x1bP", b"\x1b["):
        return
    assert not is_automatic_answer(b"".join([*before, key, *after]))


@pytest.mark.parametrize(
    "piece", [b"\x1b[1;2R", b"\x1b]11;x\x07", b"\x1bPa\x1b\\", b"\x1b[" + b"1;" * 50 + b"c"]
)
def test_a_long_paste_takes_no_time_that_matters(piece: bytes) -> None:
    """A hostile message of the largest size must not hold up the terminals of everybody else."""
    for data in (piece * (200_000 // len(piece)) + b"x", piece[:-1] * (200_000 // len(piece))):
        begin = time.process_time()
        is_automatic_answer(data)
        assert time.process_time() - begin < 1.0  # quadratic would be minutes
