"""Two real processes on one ring: no wrong byte is ever accepted, and this test could tell if one was."""

from __future__ import annotations

import os
import signal
import time

import pytest

from persistent_terminal_hub.keeper import journal as layout
from persistent_terminal_hub.keeper.journal import PAGE, Journal, Reader

SECONDS = 1.5
# The byte at offset n: with the two factors no stretch of the ring repeats from one lap to the next.
PERIOD = 251 * 256
TABLE = bytes((n % 251) ^ (n // 251) & 0xFF for n in range(PERIOD)) * 3


class PublishAfterwards(Journal):
    """What the design forbids: overwrite first, raise the floor when the bytes are published."""

    def read_from(self, fd: int, most: int = 1, short: int = 0) -> int:
        head, capacity = self.head, self.capacity
        begin = head % capacity
        end = begin + self.reserve
        if end <= capacity:
            count = os.readv(fd, (self._ring[begin:end],))
        else:
            count = os.readv(fd, (self._ring[begin:], self._ring[: end - capacity]))
        self.head = self._words[layout._HEAD] = head + count
        self.floor = self._words[layout._FLOOR] = max(self.floor, self.head - capacity)
        return count


def write_for(journal: Journal, seconds: float) -> None:
    """In a child: fill the ring through a pipe, as from a PTY, as fast as it goes."""
    pipe_r, pipe_w = os.pipe()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(64):
            at = journal.head % PERIOD
            os.write(pipe_w, TABLE[at : at + journal.reserve])
            journal.read_from(pipe_r)


def read_against(journal: Journal, seconds: float) -> tuple[int, int, int]:
    """Read at the oldest end, where the writer comes by: (accepted, wrong, overtaken)."""
    fd = journal.open_reader_fd()
    reader = Reader(fd)
    os.close(fd)
    accepted = wrong = overtaken = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(64):
            floor = reader.floor
            chunk = reader.read(floor, 3 * PAGE)
            overtaken += chunk.lost > 0
            if chunk.data:
                accepted += 1
                at = chunk.start % PERIOD
                wrong += TABLE[at : at + len(chunk.data)] != chunk.data
    reader.close()
    return accepted, wrong, overtaken


def race(kind: type[Journal]) -> tuple[int, int, int]:
    journal = kind(8 * PAGE, reserve=PAGE)
    journal.append(TABLE[:100])
    pid = os.fork()
    if pid == 0:
        try:
            write_for(journal, SECONDS + 30)
        finally:
            os._exit(0)
    try:
        return read_against(journal, SECONDS)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        journal.close()


@pytest.mark.filterwarnings("ignore:This process")
def test_floor_first_never_serves_a_wrong_byte() -> None:
    accepted, wrong, overtaken = race(Journal)
    print(f"floor first: {accepted} reads accepted, {wrong} wrong, {overtaken} overtaken and discarded")
    assert accepted > 1000
    assert wrong == 0
    assert overtaken > 0  # the race did take place


@pytest.mark.filterwarnings("ignore:This process")
def test_the_race_is_real() -> None:
    accepted, wrong, _ = race(PublishAfterwards)
    print(f"publish afterwards: {accepted} reads accepted, {wrong} wrong")
    assert wrong > 0
