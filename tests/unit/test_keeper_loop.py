"""The loop: order, timers, and errors that stay where they happen."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from persistent_terminal_hub.keeper import log
from persistent_terminal_hub.keeper.loop import READ, Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def test_timers_run_in_order_and_can_be_cancelled(loop: Loop) -> None:
    seen: list[str] = []
    loop.call_later(0.02, lambda: seen.append("late"))
    loop.call_later(0.0, lambda: seen.append("first"))
    loop.call_later(0.0, lambda: seen.append("second"))
    loop.call_later(0.001, lambda: seen.append("never")).cancel()
    loop.call_later(0.03, loop.stop)
    loop.run()
    assert seen == ["first", "second", "late"]


def test_a_stop_before_the_start_counts(loop: Loop) -> None:
    loop.stop()
    loop.run()


def test_an_error_costs_only_the_descriptor_that_made_it(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(log, "say", said.append)
    broken_r, broken_w = os.pipe()
    good_r, good_w = os.pipe()
    seen: list[str] = []

    def fail(_events: int) -> None:
        raise ValueError("hunter2")

    loop.add(broken_r, READ, fail, lambda: seen.append("told"))
    loop.add(good_r, READ, lambda _events: seen.append(os.read(good_r, 10).decode()))
    os.write(broken_w, b"x")
    os.write(good_w, b"good")
    loop.turn(0)
    loop.turn(0)
    assert sorted(seen) == ["good", "told"]
    assert len(said) == 1 and "ValueError" in said[0] and "hunter2" not in said[0]
    for fd in (broken_r, broken_w, good_r, good_w):
        loop.remove(fd)
        os.close(fd)


def test_what_is_removed_in_a_turn_is_not_called_in_it(loop: Loop) -> None:
    pairs = [os.pipe() for _ in range(2)]
    calls: list[int] = []

    def handler(own: int, other: int) -> None:
        calls.append(own)
        loop.remove(other)

    for (own, _), (other, _) in (pairs, pairs[::-1]):
        loop.add(own, READ, lambda _events, own=own, other=other: handler(own, other))  # type: ignore[misc]
    for _, writer in pairs:
        os.write(writer, b"x")
    loop.turn(0)
    assert len(calls) == 1
    for pair in pairs:
        for fd in pair:
            loop.remove(fd)
            os.close(fd)


def test_a_log_that_nobody_reads_does_not_block(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    monkeypatch.setattr(log, "_fd", writer)
    for _ in range(3000):
        log.say("x" * 100)
    assert log.dropped_total() > 100_000
    os.read(reader, 1 << 20)
    log.say("again")
    assert b"bytes of log were dropped before this line" in os.read(reader, 1 << 20)
    os.close(reader)
    os.close(writer)
