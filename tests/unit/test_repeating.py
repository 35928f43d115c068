"""Work that goes on whatever one round of it meets."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path

import pytest

from persistent_terminal_hub.client.cells import keep
from persistent_terminal_hub.repeating import Repeating


async def test_a_failed_round_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    rounds: list[int] = []
    done = asyncio.Event()

    async def work() -> None:
        rounds.append(len(rounds))
        if len(rounds) == 1:
            raise OSError("not there")
        if len(rounds) == 2:
            raise ValueError("hunter2")
        done.set()

    repeating = Repeating("The work", work, lambda: 0.01, quiet=(OSError,))
    with caplog.at_level(logging.INFO):
        repeating.start()
        repeating.start()
        await asyncio.wait_for(done.wait(), 10)
    await repeating.close()
    await repeating.close()
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("The work failed (ValueError, test_repeating.py line ") and "hunter2" not in said
    count = len(rounds)
    await asyncio.sleep(0.05)
    assert len(rounds) == count


async def test_it_is_said_where_our_code_was(caplog: pytest.LogCaptureFixture) -> None:
    done = asyncio.Event()

    async def work() -> None:
        done.set()
        keep("hunter2", "name", Path("/proc/nothing/here"))

    repeating = Repeating("The work", work, lambda: 3600)
    repeating.start()
    await asyncio.wait_for(done.wait(), 10)
    await repeating.close()
    (said,) = [record.getMessage() for record in caplog.records]
    assert re.fullmatch(
        r"The work failed \(FileNotFoundError, \w+\.py line \d+, cells\.py line \d+\)\.", said
    )


async def test_it_can_be_woken() -> None:
    rounds = asyncio.Queue[int]()

    async def work() -> None:
        rounds.put_nowait(1)

    repeating = Repeating("The work", work, lambda: 3600)
    repeating.wake()  # before it begins: the first round is followed by another at once
    repeating.start()
    for _ in range(2):
        await asyncio.wait_for(rounds.get(), 10)
    assert rounds.empty()
    repeating.wake()
    await asyncio.wait_for(rounds.get(), 10)
    await repeating.close()
