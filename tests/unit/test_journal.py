"""The ring against a plain `bytes` model."""

from __future__ import annotations

import fcntl
import mmap
import os

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from persistent_terminal_hub.keeper import journal as journal_module
from persistent_terminal_hub.keeper.journal import (
    HEADER_BYTES,
    PAGE,
    RESIZE_SLOTS,
    Journal,
    JournalError,
    OffsetError,
    Reader,
    Resize,
)

PERIOD = 251 * 256
TABLE = bytes((n * 7 + n // 251) & 0xFF for n in range(PERIOD)) * 2


def pattern(offset: int, count: int) -> bytes:
    """Bytes of which each tells its offset (the period is never in step with the ring)."""
    return TABLE[offset % PERIOD : offset % PERIOD + count]


class JournalMachine(RuleBasedStateMachine):
    """Whatever is appended, given up and read: a reader sees what the model holds, or is told it is lost."""

    journal: Journal
    reader: Reader

    @initialize(pages=st.integers(1, 4), reserve=st.sampled_from([16, 300, 1024]))
    def begin(self, pages: int, reserve: int) -> None:
        self.journal = Journal(pages * PAGE, reserve=reserve)
        fd = self.journal.open_reader_fd()
        self.reader = Reader(fd)
        os.close(fd)
        self.model = b""
        self.sizes: list[Resize] = []
        self.given = 0
        self.pipe_r, self.pipe_w = os.pipe2(os.O_NONBLOCK)

    @rule(count=st.integers(0, 3000))
    def append(self, count: int) -> None:
        data = pattern(len(self.model), count)
        self.journal.append(data)
        self.model += data

    @rule(count=st.integers(1, 3000), most=st.sampled_from([1, 700, 1 << 16]))
    def read_from(self, count: int, most: int) -> None:
        data = pattern(len(self.model), count)
        os.write(self.pipe_w, data)
        left = count
        while left:
            got = self.journal.read_from(self.pipe_r, most)
            assert 0 < got < most + self.journal.reserve
            left -= got
        self.model += data

    @rule()
    def nothing_to_read(self) -> None:
        with pytest.raises(BlockingIOError):
            self.journal.read_from(self.pipe_r)

    @rule(cols=st.integers(2, 5), rows=st.integers(1, 2**32 - 1))
    def resize(self, cols: int, rows: int) -> None:
        self.sizes.append(self.journal.record_resize(cols, rows))
        assert self.sizes[-1].offset == len(self.model)

    @rule(wanted=st.integers(1, 4 * PAGE), keep=st.integers(0, 2 * PAGE))
    def give_up(self, wanted: int, keep: int) -> None:
        before = self.journal.allocated
        held = len(self.model) - self.journal.floor
        freed = self.journal.give_up(wanted, keep)
        assert before - self.journal.allocated == freed
        assert freed % PAGE == 0 and freed < wanted + PAGE
        if freed:
            assert len(self.model) - self.journal.floor >= min(keep, held)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), limit=st.integers(0, 9000))
    def read(self, data: st.DataObject, limit: int) -> None:
        offset = data.draw(st.integers(0, len(self.model)))
        chunk = self.reader.read(offset, limit)
        assert chunk.start == max(offset, self.journal.floor)
        assert chunk.lost == chunk.start - offset
        assert chunk.data == self.model[chunk.start : chunk.start + limit]
        assert chunk.end == chunk.start + len(chunk.data)

    @rule(ahead=st.integers(1, 100))
    def future(self, ahead: int) -> None:
        with pytest.raises(OffsetError):
            self.reader.read(len(self.model) + ahead)

    @rule(data=st.data())
    def width(self, data: st.DataObject) -> None:
        offset = data.draw(st.integers(0, len(self.model)))
        widths = [size.cols for size in self.sizes if size.offset <= offset]
        later = {size.cols for size in self.sizes if size.offset > offset}
        for cols in (2, 3):
            expected = bool(widths) and {widths[-1]} | later == {cols}
            assert self.reader.same_width_since(offset, cols) == expected

    @invariant()
    def bounded_and_consistent(self) -> None:
        if not hasattr(self, "journal"):
            return
        assert self.reader.head == len(self.model) == self.journal.head
        assert self.reader.floor == self.journal.floor
        assert self.reader.resizes() == self.sizes[-RESIZE_SLOTS:]
        # Never more memory than what is accounted for.
        assert os.fstat(self.journal.fd).st_blocks * 512 <= self.journal.allocated
        assert self.journal.allocated <= HEADER_BYTES + self.journal.capacity

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.reader.close()
            self.journal.close()
            os.close(self.pipe_r)
            os.close(self.pipe_w)


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(max_examples=120, stateful_step_count=25, deadline=None)


@pytest.fixture
def pair() -> tuple[Journal, Reader]:
    journal = Journal(4 * PAGE, reserve=1024)
    return journal, Reader(journal.fd)


def test_only_a_small_part_is_lost_to_the_reserve() -> None:
    journal = Journal()
    assert journal.capacity == 8 << 20
    journal.append(b"x" * (9 << 20))
    assert journal.head - journal.floor >= journal.capacity - journal.reserve
    assert journal.reserve == 64 << 10


def test_a_fresh_journal_takes_one_page(pair: tuple[Journal, Reader]) -> None:
    journal, _ = pair
    assert os.fstat(journal.fd).st_blocks * 512 <= PAGE
    journal.append(b"x")
    assert os.fstat(journal.fd).st_blocks * 512 <= 2 * PAGE


def test_resize_records_are_bounded_and_the_loss_is_known(pair: tuple[Journal, Reader]) -> None:
    journal, reader = pair
    journal.record_resize(80, 24)
    journal.append(b"a")
    assert reader.size_at(0) == Resize(0, 80, 24)
    assert reader.same_width_since(0)
    for _ in range(RESIZE_SLOTS):
        journal.append(b"b")
        journal.record_resize(80, 25)
    assert len(reader.resizes()) == RESIZE_SLOTS
    assert reader.size_at(0) is None
    assert not reader.same_width_since(0)  # unknown counts as changed
    assert reader.same_width_since(journal.head)


def test_a_resize_right_at_the_offset_counts_unless_the_reader_had_seen_it(
    pair: tuple[Journal, Reader],
) -> None:
    journal, reader = pair
    journal.record_resize(80, 24)
    journal.append(b"abc")
    journal.record_resize(100, 24)
    assert not reader.same_width_since(3)
    assert not reader.same_width_since(3, 80)
    assert reader.same_width_since(3, 100)


def test_ended(pair: tuple[Journal, Reader]) -> None:
    journal, reader = pair
    assert not reader.ended
    journal.mark_ended()
    assert reader.ended


def test_a_receiver_cannot_write(pair: tuple[Journal, Reader]) -> None:
    journal, _ = pair
    fd = journal.open_reader_fd()
    with pytest.raises(PermissionError):
        mmap.mmap(fd, PAGE)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(fd, b"x")
    for size in (0, 1 << 20):
        with pytest.raises(PermissionError):
            os.ftruncate(journal.fd, size)  # not even the owner can shrink it under a reader's feet
    assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    os.close(fd)


def test_foreign_memory_is_refused() -> None:
    fd = os.memfd_create("other")
    with pytest.raises(JournalError):
        Reader(fd)
    os.ftruncate(fd, HEADER_BYTES + PAGE)
    with pytest.raises(JournalError):
        Reader(fd)
    os.close(fd)


def test_offsets_beyond_32_bits(monkeypatch: pytest.MonkeyPatch, pair: tuple[Journal, Reader]) -> None:
    journal, reader = pair
    journal.head = start = (1 << 40) + 12345
    journal._words[journal_module._HEAD] = start
    journal.append(b"hello" * 1000)
    assert reader.read(start + 4995).data == b"hello"
    assert reader.read(0).start == journal.floor > start - journal.capacity


def test_read_into_fills_or_says_that_it_was_overtaken() -> None:
    journal = Journal(64 * 1024)
    reader = Reader(journal.fd)
    journal.append(bytes(range(256)) * 250)
    journal.append(b"z" * 3000)  # around the end of the ring
    target = bytearray(4000)
    assert reader.read_into(63_000, memoryview(target)[:4000])
    assert bytes(target) == (bytes(range(256)) * 250 + b"z" * 3000)[63_000:67_000]
    journal.append(b"y" * 64_000)
    assert not reader.read_into(63_000, memoryview(target)[:1000])
    count = reader.resize_count
    journal.record_resize(10, 5)
    assert reader.resize_count == count + 1
    reader.close()
    journal.close()
