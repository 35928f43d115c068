"""Keyframes are made from what the journal holds, one at a time, and shared."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from persistent_terminal_hub.keeper.journal import Journal, Reader
from persistent_terminal_hub.server import stream_keyframes
from persistent_terminal_hub.server.keyframe import History, Keyframe
from persistent_terminal_hub.server.plain_text import PlainText
from persistent_terminal_hub.server.stream_keyframes import KeyframeSource


class Maker:
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[History] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.exact = True

    async def make(self, history: History) -> Keyframe:
        self.asked.append(history)
        await self.gate.wait()
        return Keyframe(history.end, 24, 80, b"K", exact=self.exact, alternate=True, method="raw")


@pytest.fixture
def journal() -> Iterator[Journal]:
    """A small one."""
    made = Journal(64 * 1024)
    made.record_resize(80, 24)
    yield made
    made.close()


@pytest.fixture
def reader(journal: Journal) -> Iterator[Reader]:
    """Its reader."""
    made = Reader(journal.fd)
    yield made
    made.close()


async def test_history_holds_bytes_and_sizes(journal: Journal, reader: Reader) -> None:
    maker, redraws = Maker(), []
    source = KeyframeSource(maker, lambda: reader, lambda: redraws.append(1))
    journal.append(b"abc")
    journal.record_resize(100, 30)
    journal.append(b"def")
    frame = await source.get(6)
    assert frame is not None and frame.offset == 6 and not redraws
    (history,) = maker.asked
    assert (history.start, history.data, history.rows, history.cols) == (0, b"abcdef", 24, 80)
    assert [(r.offset, r.rows, r.cols) for r in history.resizes] == [(3, 30, 100)]
    assert await source.get(6) is frame and len(maker.asked) == 1  # nothing happened since
    maker.exact = False
    journal.append(b"x" * 100_000)
    frame = await source.get(100_000)
    assert frame is not None and maker.asked[1].start == reader.floor > 0 and redraws == [1]
    await source.close()


async def test_text_needs_no_emulator_and_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(1024 * 1024)
    journal.record_resize(80, 24)
    journal.append(b"$ ")
    journal.record_resize(100, 30)  # as the first client does to every session
    reader = Reader(journal.fd)
    maker = Maker()
    source = KeyframeSource(maker, lambda: reader, lambda: None)
    journal.append(b"".join(b"line %d of some text that is printed\r\n" % i for i in range(2500)))
    assert source.at_once() is None  # too much to look at in the event loop
    first = await source.get(reader.head)
    assert first is not None and first.exact and first.offset == reader.head and not maker.asked
    assert (first.rows, first.cols) == (30, 100)
    journal.append(b"more\r\n" * 10)
    read: list[int] = []
    feed = PlainText.feed
    monkeypatch.setattr(PlainText, "feed", lambda self, data: read.append(len(data)) or feed(self, data))
    second = source.at_once()
    assert second is not None and second.offset == first.offset + 60 and second.data.endswith(b"more\r\n")
    await source.close()
    again = KeyframeSource(maker, lambda: reader, lambda: None, source)
    journal.append(b"\x1b7 and now something that lasts")
    assert again.at_once() is None
    frame = await again.get(reader.head)
    assert frame is not None and frame.method == "raw"  # the other way
    assert maker.asked[0].start == second.offset  # from the last keyframe on
    assert read == [60, reader.head - second.offset]
    await again.close()
    reader.close()
    journal.close()


async def test_the_cursor_catches_up_in_a_calm_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_keyframes, "CALM_SECONDS", 0.01)
    journal = Journal(1024 * 1024)
    journal.record_resize(80, 24)
    reader = Reader(journal.fd)
    source = KeyframeSource(Maker(), lambda: reader, lambda: None)
    journal.append(b"line of text\r\n" * 20_000)
    assert reader.head > source.wake_at
    source.grown(reader.head)
    for _ in range(200):
        await asyncio.sleep(0.01)
        if source.wake_at > reader.head:
            break
    assert source.wake_at > reader.head and source.at_once() is not None
    await source.close()
    reader.close()
    journal.close()


async def test_several_who_ask_share_one(journal: Journal, reader: Reader) -> None:
    maker = Maker()
    maker.gate.clear()
    source = KeyframeSource(maker, lambda: reader, lambda: None)
    journal.append(b"abc")
    asking = [asyncio.create_task(source.get(3)) for _ in range(5)]
    await asyncio.sleep(0.05)
    maker.gate.set()
    frames = await asyncio.gather(*asking)
    assert len(maker.asked) == 1 and len({id(frame) for frame in frames}) == 1
    await source.close()


async def test_checkpoint_is_made_in_a_calm_moment(
    journal: Journal, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_keyframes, "CALM_SECONDS", 0.02)
    monkeypatch.setattr(stream_keyframes, "CALM_BYTES", 1000)
    maker = Maker()
    source = KeyframeSource(maker, lambda: reader, lambda: None)
    journal.append(b"x" * 40_000)
    source.grown(reader.head)
    journal.append(b"x" * 5000)  # still printing
    await asyncio.sleep(0.03)
    assert not maker.asked
    for _ in range(100):
        await asyncio.sleep(0.01)
        if source.checkpoint is not None:
            break
    assert source.checkpoint is not None and source.checkpoint.offset == 45_000
    journal.append(b"y" * 30_000)
    await source.get(75_000)
    assert maker.asked[-1].start == 45_000 and maker.asked[-1].checkpoint is source.checkpoint
    await source.close()
    again = KeyframeSource(maker, lambda: reader, lambda: None, source)
    assert again.checkpoint is source.checkpoint
    await again.close()


async def test_a_maker_that_fails_is_no_keyframe(journal: Journal, reader: Reader) -> None:
    class Broken:
        async def make(self, history: History) -> Keyframe:
            raise RuntimeError("no")

    source = KeyframeSource(Broken(), lambda: reader, lambda: None)
    assert await source.get(0) is None
    await source.close()
