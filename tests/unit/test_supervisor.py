"""The back-off is a pure function; a real child is restarted, told to stop, killed when it is deaf."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.hub import supervisor
from persistent_terminal_hub.hub.supervisor import (
    FIRST_DELAY,
    HEALTHY_SECONDS,
    LONGEST_DELAY,
    ChildSpec,
    History,
    Supervisor,
    after_exit,
    describe_exit,
)


def test_the_first_restart_is_quick_and_the_next_ones_slower() -> None:
    history, delays = History(), []
    for _ in range(9):
        history, delay = after_exit(history, 1.0)
        delays.append(delay)
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_child_that_was_healthy_starts_afresh() -> None:
    history, delay = after_exit(History(failures=50), HEALTHY_SECONDS)
    assert (history, delay) == (History(1), FIRST_DELAY)


@given(st.lists(st.floats(0, 1e6), max_size=200), st.integers(0, 10**6))
def test_delays_stay_in_bounds_and_never_shrink_while_it_keeps_failing(
    runs: list[float], failures: int
) -> None:
    history = History(failures)
    last = 0.0
    for ran in runs:
        history, delay = after_exit(history, ran)
        assert FIRST_DELAY <= delay <= LONGEST_DELAY
        assert delay >= last or ran >= HEALTHY_SECONDS
        last = delay


def test_how_an_exit_is_told() -> None:
    assert describe_exit(3) == "ended with exit code 3"
    assert describe_exit(-9) == "was ended by SIGKILL"
    assert describe_exit(-200) == "was ended by signal 200"


def child(code: str, **options: object) -> ChildSpec:
    return ChildSpec("child", [sys.executable, "-u", "-c", code], dict(os.environ), **options)  # type: ignore[arg-type]


async def test_a_child_that_dies_comes_back_and_is_asked_to_restore(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY", 0.01)
    said: list[str] = []
    restored = asyncio.Event()

    async def restore() -> None:
        restored.set()

    keeper = Supervisor(said.append)
    kept = keeper.start(child("print('hello', flush=True); import time; time.sleep(60)", on_restart=restore))
    await asyncio.wait_for(kept.ready.wait(), 5)
    assert not restored.is_set()
    assert kept.process is not None
    first = kept.process.pid
    await asyncio.sleep(0.2)
    os.kill(first, signal.SIGKILL)
    await asyncio.wait_for(restored.wait(), 5)
    assert kept.process.pid != first
    assert os.getsid(kept.process.pid) == kept.process.pid
    assert "child was ended by SIGKILL; starting it again in 0.01 s." in said
    assert "child is back." in said
    await keeper.stop()
    assert "[child] hello\n" in capsys.readouterr().out
    assert kept.process.returncode == -signal.SIGTERM


async def test_a_deaf_child_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.2)
    said: list[str] = []
    keeper = Supervisor(said.append)
    kept = keeper.start(
        child("import signal, time; signal.signal(15, signal.SIG_IGN); print(1); time.sleep(60)")
    )
    await asyncio.wait_for(kept.ready.wait(), 5)
    await asyncio.sleep(0.3)
    await keeper.stop()
    assert kept.process is not None
    assert kept.process.returncode == -signal.SIGKILL
    assert any("did not stop within" in text for text in said)


async def test_a_missing_program_is_said_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY", 0.01)
    said: list[str] = []
    keeper = Supervisor(said.append)
    keeper.start(ChildSpec("child", ["/does/not/exist"], {}))
    while sum("cannot be started" in text for text in said) < 3:
        await asyncio.sleep(0.01)
    await keeper.stop()
    assert "No such file" in said[0]


async def test_an_endless_line_does_not_stop_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    reader = asyncio.StreamReader(limit=64)
    reader.feed_data(b"x" * 1000 + b"\n\x1b[31mafter\x1b[0m\x07\n")
    reader.feed_eof()
    await supervisor.relay(reader, "[c] ")
    out = capsys.readouterr().out
    assert "left out" in out
    assert "[c] after\n" in out
