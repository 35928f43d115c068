"""Turns between streams."""

from __future__ import annotations

import asyncio

from persistent_terminal_hub.server.stream_pump import Pump


class Stream:
    """Has so many frames to send."""

    def __init__(self, name: str, frames: int, log: list[str]) -> None:
        self.name, self.frames, self.log = name, frames, log

    def step(self) -> bool:
        if not self.frames:
            return False
        self.frames -= 1
        self.log.append(self.name)
        return True


async def test_bulk_takes_turns_and_an_echo_does_not_wait() -> None:
    log: list[str] = []
    pump = Pump(asyncio.get_running_loop())
    a, b = Stream("a", 4000, log), Stream("b", 4000, log)
    pump.kick(a)
    pump.kick(b)
    await asyncio.sleep(0)
    assert 0 < len(log) < 8000  # the loop has its turns between
    echo = Stream("echo", 1, log)
    before = len(log)
    pump.kick(echo)
    assert log[before] == "echo"  # at once, not behind anybody's bulk
    while a.frames or b.frames:
        await asyncio.sleep(0)
    both = [name for name in log if name != "echo"]
    for at in range(2, len(both), 500):
        assert abs(both[:at].count("a") - both[:at].count("b")) <= 2


async def test_a_stream_in_the_queue_is_not_queued_twice() -> None:
    log: list[str] = []
    pump = Pump(asyncio.get_running_loop())
    a = Stream("a", 3, log)
    for _ in range(5):
        pump.kick(a)
    assert log == ["a"]
    while a.frames:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    a.frames = 1
    pump.kick(a)
    assert log == ["a"] * 4
