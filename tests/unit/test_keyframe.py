# ruff: noqa: E501 - tables of cases
"""Keyframes without Node: clean cuts, queries, modes, and when a replay may call itself exact."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.server import emulator_replay as replay
from persistent_terminal_hub.server import keyframe as kf
from persistent_terminal_hub.server.emulator_base import ground_cut, strip_queries


@pytest.mark.parametrize(
    ("whole", "begun"),
    [
        (b"", b""),
        (b"text", b""),
        (b"text", b"\x1b"),
        (b"text", b"\x1b["),
        (b"text", b"\x1b[12;3"),
        (b"text", b"\x1b[?"),
        (b"text", b"\x1b[1\n2"),  # a control character inside a sequence is executed, the sequence goes on
        (b"\x1b[31m", b""),
        (b"\x1b[31mred", b""),
        (b"\x1b[3\x18red", b""),  # CAN ends it
        (b"\x1b[3\xc3\xa9", b""),  # so does what no sequence holds
        (b"text", b"\x1b]0;tit"),
        (b"text", b"\x1b]0;title\x1b"),  # half of the terminator
        (b"text\x1b]0;title\x07", b""),
        (b"text\x1b]0;title\x1b\\", b""),
        (b"\x1b]0;title\x07", b"\x1b"),
        (b"text", b"\x1bPq#0;2;0"),
        (b"text", b"\x1bPq\x07#0"),  # BEL does not end a DCS
        (b"text", b"\x1b_apc"),
        (b"text", b"\x1b("),
        (b"text\x1b(0", b""),
        (b"text", b"\xc3"),
        (b"text", b"\xe6\x97"),
        (b"text", b"\xf0\x9f\x98"),
        ("text😀".encode(), b""),
        (b"text\xff", b""),
        (b"text\x80\x80\x80\x80", b""),
        (b"text", b"\xc2\x9b12"),
        (b"text\xc2\x9b12m", b""),
        (b"text", b"\xc2\x9d0;title"),
        (b"text\xc2\x9d0;title\xc2\x9c", b""),
    ],
)
def test_ground_cut(whole: bytes, begun: bytes) -> None:
    assert ground_cut(whole + begun) == len(whole)


def test_ground_cut_looks_far_enough_back() -> None:
    assert ground_cut(b"text\x1b]52;c;" + b"A" * 300_000) == 4
    assert ground_cut(b"\x1b[m" + b"x" * 300_000) == 300_003


@given(st.binary(max_size=60))
def test_what_follows_the_cut_is_one_beginning(data: bytes) -> None:
    cut = ground_cut(data)
    assert 0 <= cut <= len(data)
    assert ground_cut(data[cut:]) == 0


@pytest.mark.parametrize(
    "query",
    [b"\x1b[c", b"\x1b[0c", b"\x1b[>c", b"\x1b[=c", b"\x1b[6n", b"\x1b[5n", b"\x1b[?6n", b"\x1b[?2026$p", b"\x1b[4$p",
     b"\x1b[>0q", b"\x1b[?u", b"\x1b[18t", b"\x1b[14;2t", b"\x1b]10;?\x07", b"\x1b]11;?\x1b\\", b"\x1b]4;7;?\x07",
     b"\x1b]10;?;?\x07", b"\x1b]52;c;?\x07", b"\x1bP$qm\x1b\\", b"\x1bP+q544e\x1b\\", b"\x1bZ"],
)  # fmt: skip
def test_queries_are_stripped(query: bytes) -> None:
    assert strip_queries(b"a" + query + b"b") == b"a\x1b\\b"


@pytest.mark.parametrize(
    "kept",
    [b"\x1b[31m", b"\x1b[2 q", b"\x1b[22;0t", b"\x1b]0;what?\x07", b"\x1b]10;#fff\x07", b"\x1b]8;;http://x/?\x07",
     b"\x1b[?2026h", b"\x1b[!p", b"\x1bc", b"\x1b]52;c;aGk=\x07", b"\x1b[u", b"really?"],
)  # fmt: skip
def test_what_asks_nothing_is_kept(kept: bytes) -> None:
    assert strip_queries(kept) == kept


def test_modes_by_the_last_word() -> None:
    modes = replay.scan_modes(
        b"\x1b]0;one\x07\x1b[?1;2004h\x1b[?25l\x1b[?1000h\x1b[?1002h\x1b[?1006h\x1b[4h\x1b[4l\x1b[3;9r\x1b=\x1b[5 q"
        b"\x1b[?7l\x1b[?2004l\x1b]2;two\x1b\\\x1b[?1049h"
    )
    assert modes.alternate
    restored = modes.restore()
    assert b"two" in restored and b"one" not in restored
    for one in (
        b"\x1b[?1049h",
        b"\x1b[?1h",
        b"\x1b[?25l",
        b"\x1b[?1002h",
        b"\x1b[?1006h",
        b"\x1b[3;9r",
        b"\x1b=",
    ):
        assert one in restored
    for one in (b"2004", b"?1000h", b"\x1b[4h"):
        assert one not in restored


def test_reset_forgets_modes_but_not_the_title() -> None:
    modes = replay.scan_modes(b"\x1b]0;kept\x07\x1b[?1049h\x1b[?1h\x1bc\x1b[?2004h")
    assert not modes.alternate
    assert modes.restore() == b"\x1b]0;kept\x07\x1b[?2004h"


def test_modes_across_chunks() -> None:
    for pad in range(65_530, 65_540):
        assert replay.scan_modes(b"x" * pad + b"\x1b[?2004h").private == {2004: True}


LINES = b"".join(b"%d\r\n" % i for i in range(20_000))


def test_plain_tail() -> None:
    tail = replay.plain_tail(LINES + b"$ ", 24)
    assert tail is not None
    assert tail.endswith(b"19999\r\n$ ") and tail.startswith(b"\x1b[24;1H") and len(tail) < 10_000


@pytest.mark.parametrize(
    "lasting",
    [b"\x1b7", b"\x1b[s", b"\x1b[2;5r", b"\x1b[?1049h", b"\x1b[?6h", b"\x1b[?1;7l", b"\x1b[4h", b"\x1b(0", b"\x0e",
     b"\x1bH", b"\x1b[3g", b"\x1b]8;;u\x07", b"\x1b]4;1;red\x07", b"\x1b]11;red\x07", b"\x1bc", b"\x1b[!p", b"\xc2\x9b1m",
     b"\x1bPx\x1b\\", b'\x1b[1"q', b"\x1b]104\x07", b"\x1b[?1000h", b"\x1b[20h", b"\x1b[2 q", b"\x1b[?2026h"],
)  # fmt: skip
def test_no_plain_tail_after_what_lasts(lasting: bytes) -> None:
    assert replay.plain_tail(lasting + LINES, 24) is None


@pytest.mark.parametrize("passing", [b"\x1b[H\x1b[2J\x1b[3J", b"\x1b]133;D;0\x07", b"\x1b]1337;x\x07"])
def test_a_plain_tail_after_what_does_not(passing: bytes) -> None:
    tail = replay.plain_tail(passing + LINES, 24)
    assert tail is not None and passing not in tail


@pytest.mark.parametrize(
    "moving", [b"\x1b[H", b"\x1b[2A", b"\x1bM", b"\x1b[J", b"\x1b[2L", b"\x1b[?25", b"\x1b[6n"]
)
def test_no_plain_tail_with_vertical_motion(moving: bytes) -> None:
    assert replay.plain_tail(LINES + moving, 24) is None


def test_no_plain_tail_from_too_few_lines() -> None:
    assert replay.plain_tail(LINES[:5000], 24) is None


def test_replay_keeps_everything_while_it_is_small() -> None:
    emulator = replay.ReplayEmulator(24, 80)
    emulator.feed(b"one\x1b[6n")
    emulator.feed(b"\x1b[?1049htwo")
    assert emulator.keyframe() == b"one\x1b\\\x1b[?1049htwo"
    assert emulator.exact and emulator.alternate
    emulator.resize(24, 80)
    emulator.keyframe()
    assert emulator.exact
    emulator.resize(24, 81)
    emulator.keyframe()
    assert not emulator.exact


def test_replay_of_much_is_bounded_and_says_so() -> None:
    emulator = replay.ReplayEmulator(24, 80)
    emulator.feed(LINES * 20 + b"\x1b[?1049h\x1b[?1h" + b"\x1b[H\x1b[2Jframe" * 200_000)
    data = emulator.keyframe()
    assert not emulator.exact and emulator.alternate
    assert len(data) <= replay.TAIL_BYTES + replay.WHOLE_BYTES + 4096
    assert b"\x1b[?1049h" in data and b"19999\r\n" in data


def test_replay_on_the_normal_screen_keeps_the_last_lines() -> None:
    emulator = replay.ReplayEmulator(24, 80)
    emulator.feed(b"\x1b7\x1b]0;t\x07" + LINES * 5 + b"\x1b[Aup")
    data = emulator.keyframe()
    assert not emulator.exact
    assert data.startswith(b"\x1b]0;t\x07") and data.endswith(b"\x1b[Aup")
    assert 1024 <= data.count(b"\n") < 1100


def test_shortcuts() -> None:
    small = kf.shortcut(kf.History(0, b"hello\x1b[3", 24, 80))
    assert small is not None and (small.method, small.offset, small.data) == ("raw", 5, b"hello")
    long = kf.shortcut(kf.History(0, LINES, 24, 80))
    assert long is not None and long.method == "tail" and long.exact
    late = kf.shortcut(kf.History(77, LINES, 24, 80))
    assert late is not None and (late.method, late.offset) == ("tail", 77 + len(LINES))
    # The size changed: only an emulator can lay it out again.
    assert kf.shortcut(kf.History(0, LINES, 24, 80, [kf.Resize(10, 24, 81)])) is None
    # The beginning is lost.
    assert kf.shortcut(kf.History(1, b"hello", 24, 80)) is None
    assert kf.shortcut(kf.History(0, b"\x1b[1m" * 30_000 + LINES, 24, 80), kf.MANY_ESCAPES) is None


class Fake:
    """An emulator that says what was done to it."""

    exact, alternate, above = True, False, 0

    def __init__(self, rows: int, cols: int) -> None:
        self.log = [b"%dx%d" % (rows, cols)]

    def feed(self, data: bytes) -> None:
        if data:
            self.log.append(data)

    def resize(self, rows: int, cols: int) -> None:
        self.log.append(b"%dx%d" % (rows, cols))

    def keyframe(self) -> bytes:
        return b" ".join(self.log)

    def close(self) -> None:
        pass


def test_emulate_applies_resizes_where_they_were() -> None:
    history = kf.History(
        0, b"aaabbb\x1b[", 24, 80, [kf.Resize(0, 25, 80), kf.Resize(3, 25, 90), kf.Resize(7, 30, 90)]
    )
    frame = kf.emulate(history, Fake, "xterm")
    assert frame.data == b"24x80 25x80 aaa 25x90 bbb 30x90"
    assert (frame.offset, frame.rows, frame.cols, frame.exact) == (6, 30, 90, True)


def test_emulate_from_a_checkpoint() -> None:
    point = kf.Checkpoint(103, 24, 90, b"POINT")
    history = kf.History(100, b"aaabbb", 24, 80, [kf.Resize(102, 24, 90), kf.Resize(105, 24, 99)], point)
    frame = kf.emulate(history, Fake, "xterm")
    assert frame.data == b"24x90 POINT bb 24x99 b"
    assert frame.checkpoint() == kf.Checkpoint(106, 24, 99, frame.data)


class Scrolled(Fake):
    """Of what it was fed, only the last two bytes are on its lines."""

    @property
    def above(self) -> int:  # type: ignore[override]
        return sum(map(len, self.log[1:])) - 2


def test_what_no_line_shows_any_more() -> None:
    assert kf.emulate(kf.History(0, b"aaabbb", 24, 80), Fake, "xterm").begin == 0
    assert kf.emulate(kf.History(0, b"aaabbb", 24, 80), Scrolled, "xterm").begin == 4
    assert kf.emulate(kf.History(50, b"a\nabbb", 24, 80), Scrolled, "xterm").begin == 54
    # From a checkpoint: what that showed may still be there.
    point = kf.Checkpoint(103, 24, 80, b"POINT", 60)
    history = kf.History(100, b"aaabbb", 24, 80, (), point)
    assert kf.emulate(history, Fake, "xterm").begin == 60
    assert kf.emulate(history, Scrolled, "xterm").begin == 104
    short = kf.emulate(kf.History(100, b"aaab", 24, 80, (), point), Scrolled, "xterm")
    assert short.begin == 60 and short.checkpoint() == kf.Checkpoint(104, 24, 80, short.data, 60)


@pytest.mark.parametrize("offset", [99, 107])
def test_a_checkpoint_outside_the_journal_is_not_used(offset: int) -> None:
    point = kf.Checkpoint(offset, 24, 90, b"POINT")
    frame = kf.emulate(kf.History(100, b"a\nabbb", 24, 80, (), point), Fake, "xterm")
    # From a line start, and not called exact: the two runs from unlike beginnings differ.
    assert frame.data == b"24x80 abbb" and not frame.exact and frame.checkpoint() is None


def test_when_a_checkpoint_is_due() -> None:
    assert not kf.checkpoint_due(None, 3 << 20, 8 << 20)
    assert kf.checkpoint_due(None, 4 << 20, 8 << 20)
    point = kf.Checkpoint(4 << 20, 24, 80, b"")
    assert not kf.checkpoint_due(point, 7 << 20, 8 << 20)
    assert kf.checkpoint_due(point, 8 << 20, 8 << 20)


def test_only_a_full_screen_program_is_asked_to_redraw() -> None:
    def frame(exact: bool, alternate: bool) -> kf.Keyframe:
        return kf.Keyframe(0, 24, 80, b"", exact, alternate, "replay")

    assert frame(exact=False, alternate=True).needs_redraw
    assert not frame(exact=True, alternate=True).needs_redraw
    assert not frame(exact=False, alternate=False).needs_redraw


async def test_without_an_emulator(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kf, "find_xterm", lambda: None)
    with caplog.at_level(logging.INFO):
        maker = kf.KeyframeMaker.detect()
    assert "Install the extra 'keyframes'" in caplog.text
    await maker.warm()
    frame = await maker.make(kf.History(0, b"\x1b7" + LINES * 5, 24, 80))
    assert frame.method == "replay" and not frame.exact and frame.data.endswith(b"19999\r\n")
    maker.close()
