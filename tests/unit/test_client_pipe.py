"""A pipe gets each byte once and in order, whatever jumps, cuts and overtaken journals do to the stream."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.client.pipe import TRIES, Pipe
from persistent_terminal_hub.protocol.client_events import FetchDone, FetchedOutput, KeyframePart, Output

STREAM = bytes(range(256)) * 16


class World:
    """A server that answers fetches when told to, with a journal whose floor rises."""

    def __init__(self) -> None:
        self.out = bytearray()
        self.missing: list[tuple[int, int]] = []
        self.acked: list[int] = []
        self.asked: list[tuple[int, int]] = []
        self.floor = 0
        self.pipe = Pipe(
            self._write,
            lambda start, stop: self.asked.append((start, stop)),
            lambda offset, _: self.acked.append(offset),
            lambda start, stop: self._lost(start, stop),
        )

    def _write(self, data: bytes, event: Output | None) -> None:
        self.out += data
        if event is not None:
            self.acked.append(event.offset + len(event.data))

    def _lost(self, start: int, stop: int) -> None:
        assert start == len(self.out) and start < stop
        self.missing.append((start, stop))
        self.out += b"\0" * (stop - start)

    def answer(self, most: int, *, torn: bool = False) -> None:
        """As `ServerStream` does."""
        if not self.asked:
            return
        wanted, end = self.asked.pop(0)
        start = max(wanted, self.floor)
        stop = min(end, start + most)
        if start >= stop or torn:
            self.pipe.fetch_done(FetchDone(start, start))
            return
        middle = (start + stop) // 2
        for a, b in ((start, middle), (middle, stop)):
            if a < b:
                self.pipe.fetched(FetchedOutput(a, STREAM[a:b]))
        self.pipe.fetch_done(FetchDone(start, stop))

    def expected(self) -> bytes:
        want = bytearray(STREAM[: len(self.out)])
        for start, stop in self.missing:
            want[start:stop] = b"\0" * (stop - start)
        return bytes(want)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["out", "jump", "answer", "torn", "cut", "floor", "again"]), st.integers(1, 300)
    ),
    max_size=40,
)


@given(STEPS)
def test_each_byte_once_and_in_order(steps: list[tuple[str, int]]) -> None:
    world, generation = World(), 0
    world.pipe.output(Output(0, STREAM[:10], 0))
    place = seen = 10
    for what, size in steps:
        if what == "out" and place + size <= len(STREAM):
            world.pipe.output(Output(place, STREAM[place : place + size], generation))
            place += size
        elif what in ("jump", "again") and place + size <= len(STREAM):
            generation += 1
            place = place + size if what == "jump" else max(0, place - size)  # a keyframe may lie before
            if place > seen:
                world.pipe.skipped(place)
            world.pipe.keyframe(KeyframePart(b"screen", place, True, generation), b"screen")
        elif what == "answer":
            world.answer(size)
        elif what == "torn":
            world.answer(size, torn=True)
        elif what == "cut":
            world.pipe.line_lost()
            world.asked.clear()
            world.pipe.live()
        elif what == "floor":
            world.floor = min(max(world.floor, size * 4), place)
        seen = max(seen, place)
    while world.asked:
        world.answer(100)
    assert len(world.out) == seen and bytes(world.out) == world.expected()


def test_a_jump_is_fetched_before_what_follows() -> None:
    world = World()
    world.pipe.output(Output(0, STREAM[:100], 1))
    world.pipe.skipped(1000)
    assert world.asked == [(100, 1000)]
    world.pipe.keyframe(KeyframePart(b"screen", 1000, True, 2), b"screen")
    world.pipe.output(Output(1000, STREAM[1000:1100], 2))
    assert bytes(world.out) == STREAM[:100] and world.acked == [100]  # the keyframe waits too
    world.answer(600)
    world.answer(600)
    assert bytes(world.out) == STREAM[:1100] and not world.missing
    assert world.acked == [100, 1100, 1000]


def test_what_the_journal_lost_is_named() -> None:
    world = World()
    world.pipe.output(Output(0, STREAM[:100], 1))
    world.floor = 400
    world.pipe.skipped(1000)
    world.answer(10_000)
    assert world.missing == [(100, 400)] and bytes(world.out) == world.expected() and len(world.out) == 1000
    world.floor = 4000
    world.pipe.skipped(2000)
    for _ in range(TRIES):
        world.answer(10_000)
    assert world.missing == [(100, 400), (1000, 2000)] and not world.asked


def test_the_end_names_what_was_not_fetched() -> None:
    world = World()
    world.pipe.output(Output(0, STREAM[:100], 1))
    world.pipe.skipped(500)
    world.pipe.output(Output(500, STREAM[500:600], 2))
    world.pipe.give_up()
    assert world.missing == [(100, 500)] and bytes(world.out) == world.expected() and len(world.out) == 600


def test_another_process_begins_anew() -> None:
    world = World()
    world.pipe.output(Output(0, STREAM[:100], 1))
    world.pipe.restart()
    world.pipe.output(Output(0, b"new", 2))
    assert bytes(world.out) == STREAM[:100] + b"new"
