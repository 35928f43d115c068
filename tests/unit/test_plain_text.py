"""The lagging cursor finds what looking at all bytes at once finds, however they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.server import emulator_replay as replay
from persistent_terminal_hub.server.plain_text import PlainText

LINES = b"".join(b"\x1b[3%dmline %d\x1b[0m of text\r\n" % (i % 8, i) for i in range(1500))

PIECES = st.sampled_from(
    [
        b"\x1b[1m", b"\x1b[0m", b"\x1b[m", b"text ", b"\xe6\x97\xa5\xe6\x9c\xac", b"\r\n", b"\n", b"\x1b[2K",
        b"\x1b[A", b"\x1b]0;title\x07", b"\x1b]7;file:///\x1b\\", b"\x1b7", b"\x0e", b"\x1b[2;5r",
        b"\x1b[38;5;1", b"\x1bP+q\x1b\\", b"\x1b[?2004h", LINES,
    ]
)  # fmt: skip


def fed(data: bytes, cuts: list[int]) -> tuple[PlainText, bytes]:
    """A cursor that was given this in pieces, asked after each, and what it says at the end."""
    plain = PlainText()
    frame = None
    for stop in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        plain.feed(data[plain.place : stop])
        frame = plain.keyframe(24, lambda start, stop: data[start:stop])
    return plain, frame or b""


@given(st.lists(PIECES, max_size=8), st.lists(st.integers(0, 200_000), max_size=4))
def test_as_if_looked_at_at_once(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    plain, frame = fed(data, cuts)
    whole = replay.plain_tail(data[: plain.place], 24)
    assert (whole or b"")[-5000:] == frame[-5000:]
    if frame and b"?2004" not in data:
        assert (
            whole is not None and whole[whole.index(b"\x1b[24;1H") :] == frame[frame.index(b"\x1b[24;1H") :]
        )


def test_modes_are_those_at_the_end() -> None:
    _, frame = fed(b"\x1b]0;first\x07\x1b[?25l" + LINES + b"\x1b]0;second\x07\x1b[?25h$ ", [100, 5000])
    assert frame.startswith(b"\x1b]0;second\x07\x1b[24;1H") and frame.endswith(b"\x1b[?25h$ ")


def test_where_the_tail_begins() -> None:
    plain, frame = fed(LINES + b"$ ", [])
    assert plain.begin > 0 and frame.endswith((LINES + b"$ ")[plain.begin :])
    assert frame.removesuffix((LINES + b"$ ")[plain.begin :]) == b"\x1b[24;1H\x1b[0m"


@pytest.mark.parametrize("lasting", [b"\x1b7", b"\x1b[2;5r", b"\x1b[?1049h", b"\x1b(0", b"\xc2\x85", b"\x0e"])
def test_what_lasts_spoils(lasting: bytes) -> None:
    for at in (0, len(LINES)):
        data = (LINES + LINES)[:at] + lasting + LINES
        plain, frame = fed(data, [at + 1, at + 2])
        assert plain.spoiled and not frame


def test_a_sequence_without_an_end() -> None:
    plain = PlainText()
    assert plain.feed(LINES + b"\x1b]52;c;") == len(LINES) == plain.place
    plain.feed(b"\x1b]52;c;" + b"x" * 70_000)
    assert plain.spoiled


def test_colours_set_too_long_ago_are_not_guessed() -> None:
    plain = b"".join(b"line %d\r\n" % i for i in range(1500))
    assert not fed(b"\x1b[31m" + plain, [50])[1]
    assert fed(b"\x1b[0m" + plain, [50])[1] == b""  # as far back, and not looked at
    assert fed(plain, [50])[1]


def test_the_journal_forgot_what_was_not_seen() -> None:
    plain = PlainText()
    plain.feed(b"\x1b]0;t\x07" + LINES)
    start = plain.place + 1_000_000
    plain.skip(start)
    plain.feed(LINES)
    frame = plain.keyframe(24, lambda a, b: LINES[a - start : b - start] if a >= start else None)
    assert frame is None  # the look back needs bytes that are gone
    data = LINES * 6
    plain.skip(start)
    plain.feed(data)
    frame = plain.keyframe(24, lambda a, b: data[a - start : b - start] if a >= start else None)
    assert frame is not None and data.endswith(frame[-1000:])
