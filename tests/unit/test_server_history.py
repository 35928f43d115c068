# ruff: noqa: E501 - tables of cases
"""The start of replays, and cursors, against a plain model, on real journals."""

from __future__ import annotations

import os
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from persistent_terminal_hub.keeper.journal import HEADER_BYTES, Journal, Reader
from persistent_terminal_hub.server.cursor import RESET, Cursor
from persistent_terminal_hub.server.history import History
from persistent_terminal_hub.server.modes import TerminalModes

PIECES = [
    b"line of text\r\n", b"more", b"\n", b"\x1b[1;31mred\x1b[0m", "häß€😀".encode(), b"\x1b]0;title\x07",
    b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?2004h", b"\x1b[10;20H", b"\xff\xfe", b"\x1b(0", b"\x1b]8;;u\x1b\\",
]  # fmt: skip
pieces = st.sampled_from(PIECES)
chunks = st.lists(st.tuples(st.lists(pieces, max_size=6).map(b"".join), st.integers(0, 3)), max_size=30)


class Session:
    """A journal, a reader of it, and its history, as the server has them."""

    def __init__(self, capacity: int = 8 * 1024 * 1024) -> None:
        self.journal = Journal(capacity)
        fd = self.journal.open_reader_fd()
        self.reader = Reader(fd)
        os.close(fd)
        self.history = History()

    def append(self, data: bytes, follow: bool = True) -> None:
        step = self.journal.reserve
        for at in range(0, len(data), step):
            self.journal.append(data[at : at + step])
            while follow and self.history.follow(self.reader):
                pass

    def cursor(self) -> Live:
        return Live(self)

    def held(self) -> bytes:
        """What a replay begins with, reset and modes left out."""
        start = self.history.start(self.reader).offset
        return self.reader.read(start, self.reader.capacity).data

    def __del__(self) -> None:
        self.reader.close()
        self.journal.close()


class Live:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.cursor = Cursor(session.reader, session.history)
        self.set_quiet = self.cursor.set_quiet

    def next(self, size: int) -> str:
        return self.cursor.next(self.session.reader, size)

    def all(self, size: int = 1000) -> str:
        text = ""
        while not self.cursor.at_head(self.session.reader):
            text += self.next(size)
        return text


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(pieces, max_size=40).map(b"".join), min_size=30, max_size=60), st.booleans())
def test_a_replay_never_begins_inside_a_character_or_a_sequence(
    appends: list[bytes], after_restart: bool
) -> None:
    session, everything = Session(4096), b""
    for data in appends:
        everything += data
        session.append(data, follow=not after_restart)
    start = session.history.start(session.reader).offset
    assert session.reader.floor <= start <= len(everything)
    assert session.held() == everything[start:]
    if start:
        held = everything[start:]
        assert held[:1] == b"" or held[0] & 0xC0 != 0x80
        assert not any(
            everything.startswith(piece, at) and at < start < at + len(piece)
            for piece in PIECES
            if piece[0] == 0x1B and b"m" not in piece
            for at in range(max(0, start - len(piece)), start)
        )


def test_little_is_lost_to_the_cut() -> None:
    session = Session(1024 * 1024)
    for number in range(50_000):
        session.append(b"%08d line of a length as lines have\r\n" % number)
        if number % 1000 == 999:
            held = session.held()
            assert held[8:14] == b" line "
            assert session.reader.floor == 0 or len(held) > 0.8 * 1024 * 1024


def test_memory_given_back_leaves_the_newest() -> None:
    session = Session(1024 * 1024)
    for number in range(9_000):
        session.append(b"%08d line of a length as lines have\r\n" % number)
    session.journal.give_up(10 * 1024 * 1024, 64 * 1024)
    assert 60_000 < len(session.held()) <= 68 * 1024
    assert session.held()[8:14] == b" line "
    assert session.journal.allocated <= HEADER_BYTES + 72 * 1024


def test_no_line_to_cut_at() -> None:
    session = Session(4096)
    for _ in range(1000):
        session.append("\x1b[2K\r█ 10 €".encode())
        assert session.held()[0] & 0xC0 != 0x80
        assert session.cursor().next(100_000).count("�") == 0


def test_inside_an_endless_string_nothing_of_it_is_shown() -> None:
    session = Session(256 * 1024)
    session.append(b"before\n\x1b]1337;File=inline=1:")
    for _ in range(100):
        session.append(b"A" * 10_000)
    text = session.cursor().all(10_000_000)
    assert text.startswith(RESET.decode() + "\x1b]7777;AAA")
    session.append(b"\x07after\r\n")
    assert session.cursor().all().endswith("A\x07after\r\n")


@settings(max_examples=60, deadline=None)
@given(chunks, st.lists(st.integers(1, 50), min_size=1, max_size=5), st.integers(0, 30))
def test_a_cursor_misses_and_repeats_nothing(
    appends: list[tuple[bytes, int]], sizes: list[int], attach_at: int
) -> None:
    session, everything = Session(100_000), b""
    cursor: Live | None = None
    got, reset, turn = "", False, 0
    for index, (data, reads) in enumerate(appends):
        if index == attach_at:
            cursor, reset = session.cursor(), session.reader.head > 0
        session.append(data)
        everything += data
        for _ in range(reads):
            if cursor is not None:
                got += cursor.next(sizes[turn % len(sizes)])
                turn += 1
    if cursor is None:
        cursor, reset = session.cursor(), session.reader.head > 0
    got += cursor.all()
    expected = everything.decode("utf-8", "replace")
    assert got == ("\x18\x1bc" if reset else "") + expected


def test_a_lagging_cursor_starts_over() -> None:
    session = Session(12_288)
    cursor = session.cursor()
    session.append(b"\x1b[?2004h\x1b[?1049hfirst\r\n")
    assert cursor.next(5) == "\x1b[?20"
    for number in range(5000):
        session.append(b"line %d\r\n" % number)
    text = cursor.all()
    assert text.startswith("\x18\x1bc\x1b[?1049h\x1b[?2004hline ")
    assert text.endswith("line 4999\r\n")
    assert len(text) < 13_000


def test_a_new_server_finds_out_which_screen_it_was() -> None:
    session = Session(12_288)
    session.append(b"\x1b[?1049h" + b"drawing\r\n" * 3000 + b"\x1b[?1;1049lshell\r\n", follow=False)
    text = session.cursor().all()
    assert text.startswith("\x18\x1bc\x1b[?1049hdrawing") and text.endswith("\x1b[?1;1049lshell\r\n")
    # One that is left behind by a flood does the same.
    session.append(b"\x1b[?1049h" + b"drawing\r\n" * 3000 + b"\x1b[?1049lshell\r\n", follow=False)
    assert session.cursor().all().startswith("\x18\x1bc\x1b[?1049hdrawing")


def test_live_questions_reach_only_the_one_that_answers() -> None:
    session = Session()
    session.append(b"old \x1b[6n")
    first, second = session.cursor(), session.cursor()
    second.set_quiet(True)
    assert first.all() == second.all() == "\x18\x1bcold "
    session.append(b"a\x1b[6nb")
    assert first.all() == "a\x1b[6nb"
    assert second.all() == "ab"
    session.append(b"c\x1b[")
    assert (first.all(), second.all()) == ("c\x1b[", "c")
    second.set_quiet(False)
    first.set_quiet(True)
    session.append(b"31md")
    assert second.all() == "\x1b[31md"
    assert first.all() == "31md"


def test_focus_reports_are_asked_for_only_at_the_end_of_a_replay() -> None:
    session = Session()
    session.append(b"\x1b[?1004hx\x1b[?1004ly\x1b[?1004hz")
    assert session.cursor().all(3) == "\x18\x1bcxyz\x1b[?1004h"


def test_utf8_split_across_appends_and_reads() -> None:
    session = Session()
    live = session.cursor()
    got = ""
    for byte in "a€😀\n".encode() + b"\xe2\x82b\xff":
        session.append(bytes([byte]))
        got += live.next(1)
    assert got == "a€😀\n�b�"
    # A client that comes in the middle of a character gets it whole.
    session.append(b"\xe2\x82")
    late = session.cursor()
    got = late.all(1)
    session.append(b"\xac.")
    assert (got + late.all()).endswith("b�€.")


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
        session = Session(1024 * 1024)
        started = time.process_time()
        for _ in range(160):
            session.append(chunk)
        session.cursor().all(65536)
        # 10 MB.
        print(f"{time.process_time() - started:.2f} s")
        assert time.process_time() - started < 5
