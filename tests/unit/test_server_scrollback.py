# ruff: noqa: E501 - tables of cases
"""The scrollback and its cursors, against a plain model."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from persistent_terminal_hub.server.modes import TerminalModes
from persistent_terminal_hub.server.scrollback import RESET, Cursor, Scrollback

PIECES = [
    b"line of text\r\n", b"more", b"\n", b"\x1b[1;31mred\x1b[0m", "häß€😀".encode(), b"\x1b]0;title\x07",
    b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?2004h", b"\x1b[10;20H", b"\xff\xfe", b"\x1b(0", b"\x1b]8;;u\x1b\\",
]  # fmt: skip
pieces = st.sampled_from(PIECES)
chunks = st.lists(st.tuples(st.lists(pieces, max_size=6).map(b"".join), st.integers(0, 3)), max_size=30)


@settings(max_examples=150, deadline=None)
@given(chunks, st.integers(200, 400))
def test_bounded_and_addressed_by_offset(appends: list[tuple[bytes, int]], limit: int) -> None:
    scrollback, everything = Scrollback(limit), b""
    boundaries = {0}
    for data, _ in appends:
        for piece in [data]:
            everything += piece
            scrollback.append(piece)
        assert scrollback.head == len(everything)
        assert scrollback.head - scrollback.floor <= limit
        assert scrollback.read(scrollback.floor, limit) == everything[scrollback.floor :]
        boundaries.add(len(everything))
    if scrollback.floor:
        # Never inside a character or a sequence: what is held parses as its part of the whole.
        held = everything[scrollback.floor :]
        assert held[:1] == b"" or held[0] & 0xC0 != 0x80
        assert not any(
            everything.startswith(piece, at) and at < scrollback.floor < at + len(piece)
            for piece in PIECES
            if piece[0] == 0x1B and b"m" not in piece
            for at in range(max(0, scrollback.floor - len(piece)), scrollback.floor)
        )


def test_cut_at_a_line() -> None:
    scrollback = Scrollback(1000)
    for number in range(1000):
        scrollback.append(b"line %d\r\n" % number)
        assert scrollback.floor == 0 or scrollback.read(scrollback.floor, 5) == b"line "


def test_no_line_to_cut_at() -> None:
    scrollback = Scrollback(1000)
    for _ in range(1000):
        scrollback.append("\x1b[2K\r█ 10 €".encode())
        first = scrollback.read(scrollback.floor, 1)
        assert first[0] & 0xC0 != 0x80
        assert Cursor(scrollback).next(100_000).count("�") == 0


def test_inside_an_endless_string_nothing_of_it_is_shown() -> None:
    scrollback = Scrollback(200_000)
    scrollback.append(b"before\n\x1b]1337;File=inline=1:")
    for _ in range(100):
        scrollback.append(b"A" * 10_000)
    text = Cursor(scrollback).next(10_000_000)
    assert text.startswith(RESET.decode() + "\x1b]7777;AAA")
    scrollback.append(b"\x07after\r\n")
    assert scrollback.read(scrollback.head - 8, 99) == b"\x07after\r\n"


def read_all(cursor: Cursor, size: int = 1000) -> str:
    text = ""
    while not cursor.at_head:
        text += cursor.next(size)
    return text


@settings(max_examples=100, deadline=None)
@given(chunks, st.lists(st.integers(1, 50), min_size=1, max_size=5), st.integers(0, 30))
def test_a_cursor_misses_and_repeats_nothing(
    appends: list[tuple[bytes, int]], sizes: list[int], attach_at: int
) -> None:
    scrollback, everything = Scrollback(100_000), b""
    cursor: Cursor | None = None
    got, reset, turn = "", False, 0
    for index, (data, reads) in enumerate(appends):
        if index == attach_at:
            cursor, reset = Cursor(scrollback), scrollback.head > 0
        scrollback.append(data)
        everything += data
        for _ in range(reads):
            if cursor is not None:
                got += cursor.next(sizes[turn % len(sizes)])
                turn += 1
    if cursor is None:
        cursor, reset = Cursor(scrollback), scrollback.head > 0
    got += read_all(cursor)
    expected = everything.decode("utf-8", "replace")
    assert got == ("\x18\x1bc" if reset else "") + expected


def test_a_lagging_cursor_starts_over() -> None:
    scrollback = Scrollback(10_000)
    cursor = Cursor(scrollback)
    scrollback.append(b"\x1b[?2004h\x1b[?1049hfirst\r\n")
    assert cursor.next(5) == "\x1b[?20"
    for number in range(5000):
        scrollback.append(b"line %d\r\n" % number)
    text = read_all(cursor)
    assert text.startswith("\x18\x1bc\x1b[?1049h\x1b[?2004hline ")
    assert text.endswith("line 4999\r\n")
    assert len(text) < 11_000


def test_live_questions_reach_only_the_one_that_answers() -> None:
    scrollback = Scrollback()
    scrollback.append(b"old \x1b[6n")
    first, second = Cursor(scrollback), Cursor(scrollback)
    second.set_quiet(True)
    assert read_all(first) == read_all(second) == "\x18\x1bcold "
    scrollback.append(b"a\x1b[6nb")
    assert read_all(first) == "a\x1b[6nb"
    assert read_all(second) == "ab"
    scrollback.append(b"c\x1b[")
    assert (read_all(first), read_all(second)) == ("c\x1b[", "c")
    second.set_quiet(False)
    first.set_quiet(True)
    scrollback.append(b"31md")
    assert read_all(second) == "\x1b[31md"
    assert read_all(first) == "31md"


def test_focus_reports_are_asked_for_only_at_the_end_of_a_replay() -> None:
    scrollback = Scrollback()
    scrollback.append(b"\x1b[?1004hx\x1b[?1004ly\x1b[?1004hz")
    assert read_all(Cursor(scrollback), 3) == "\x18\x1bcxyz\x1b[?1004h"


def test_utf8_split_across_appends_and_reads() -> None:
    scrollback = Scrollback()
    live = Cursor(scrollback)
    got = ""
    for byte in "a€😀\n".encode() + b"\xe2\x82b\xff":
        scrollback.append(bytes([byte]))
        got += live.next(1)
    assert got == "a€😀\n�b�"
    # A client that comes in the middle of a character gets it whole.
    scrollback.append(b"\xe2\x82")
    late = Cursor(scrollback)
    got = read_all(late, 1)
    scrollback.append(b"\xac.")
    assert (got + read_all(late)).endswith("b�€.")


def test_modes_are_restored() -> None:
    modes = TerminalModes()
    data = (
        b"\x1b]2;t\x07\x1b[?1049h\x1b[?1;2004;1002;1006h\x1b[?25l\x1b=\x1b(0\x1b[4h\x1b[2;5r\x1b[6 q\x1b[1m\x1b[31m"
        b"\x1b[>4;2m\x1b[?1004h\x1b[?2026h\x1b[?7l\x1b[?7h"
    )
    modes.feed(data, 0, len(data))
    assert modes.restore() == (
        b"\x1b]2;t\x07\x1b[?1049h\x1b[?1002h\x1b[?1006h\x1b[?1h\x1b[?25l\x1b[?2004h\x1b[4h\x1b(0\x1b="
        b"\x1b[2;5r\x1b[6 q\x1b[>4;2m\x1b[1m\x1b[31m"
    )
    assert modes.answering == {1004}
    assert modes.alternate_screen
    again = TerminalModes()
    again.feed(modes.restore(), 0, len(modes.restore()))
    assert again.restore() == modes.restore()
    modes.feed(b"\x1b[m\x1b[?1049l\x1b[?1000l", 0, 19)
    assert b"1049" not in modes.restore() and b"1002" not in modes.restore() and b"[1m" not in modes.restore()
    modes.feed(b"\x1bc", 0, 2)
    assert modes.restore() == b"" and not modes.answering


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_modes_take_anything(data: bytes) -> None:
    modes = TerminalModes()
    modes.feed(data, 0, len(data))
    assert len(modes.restore()) < 20_000


def test_it_is_quick_enough() -> None:
    plain = b"x" * 78 + b"\r\n"
    colour = b"\x1b[01;34mdir\x1b[0m  \x1b[32mfile\x1b[0m\r\n"
    for line in (plain, colour):
        chunk = line * (65536 // len(line))
        scrollback = Scrollback(1024 * 1024)
        started = time.process_time()
        for _ in range(160):
            scrollback.append(chunk)
        read_all(Cursor(scrollback), 65536)
        # 10 MB; measured 0.25 s plain and 0.15 s coloured.
        assert time.process_time() - started < 5
