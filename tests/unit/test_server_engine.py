"""The engine, on real PTYs."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable

import pytest

from persistent_terminal_hub.server.engine import (
    WRITE_HIGH_WATER,
    EngineError,
    ExitStatus,
    LocalEngine,
    LocalProcess,
    SpawnSpec,
)


class Running:
    """A process, what it printed, how it ended."""

    def __init__(self, *argv: str, cwd: str = "/", env: dict[str, str] | None = None) -> None:
        self.output = b""
        self.exits: list[ExitStatus] = []
        spec = SpawnSpec(argv, env or {"PATH": os.environ["PATH"], "PS1": "$ "}, cwd, cols=91, rows=33)
        self.process: LocalProcess = LocalEngine().spawn(spec, self._more, self.exits.append)

    def _more(self, data: bytes) -> None:
        assert not self.exits, "output after the end was reported"
        self.output += data

    async def until(self, condition: Callable[[], object], seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.output[-500:]
            await asyncio.sleep(0.01)

    async def ended(self) -> ExitStatus:
        await self.until(lambda: self.exits)
        return self.exits[0]


async def test_output_size_directory_and_exit_code() -> None:
    run = Running(
        "sh", "-c", "stty size; pwd; echo $0 $A; exit 7", cwd="/usr", env={"A": "b", "PATH": "/bin"}
    )
    assert await run.ended() == ExitStatus(7, None)
    assert run.output == b"33 91\r\n/usr\r\nsh b\r\n"
    assert not run.process.alive


async def test_everything_printed_before_the_end_arrives() -> None:
    run = Running("sh", "-c", "seq 1 100000")
    assert await run.ended() == ExitStatus(0, None)
    assert run.output.split() == [b"%d" % n for n in range(1, 100001)]


async def test_it_has_a_controlling_terminal_and_job_control() -> None:
    run = Running("bash", "--norc", "-i")
    await run.process.write(b"sleep 100\n")
    await run.until(lambda: b"sleep 100\r\n" in run.output)
    await asyncio.sleep(0.2)
    await run.process.write(b"\x03")
    await run.process.write(b"echo code=$?\n")
    await run.until(lambda: b"code=130" in run.output)
    await run.process.terminate()
    assert (await run.ended()).signal == "SIGHUP"


async def test_a_signal_is_named() -> None:
    run = Running("sleep", "100")
    os.kill(run.process.pid, signal.SIGKILL)
    assert await run.ended() == ExitStatus(None, "SIGKILL")


async def test_resize_reaches_the_program() -> None:
    run = Running(
        "bash", "--norc", "-c", "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done"
    )
    await run.until(lambda: b"ready" in run.output)
    run.process.resize(120, 40)
    await run.ended()
    assert b"40 120" in run.output
    assert run.process.size == (120, 40)


async def test_much_input_arrives_whole_while_the_loop_goes_on() -> None:
    data = os.urandom(1_000_000).hex().encode() + b"\n"
    run = Running("sh", "-c", "stty raw -echo; echo ready; sleep 0.5; head -c 2000001 | md5sum; sleep 0.2")
    await run.until(lambda: b"ready" in run.output)
    started = time.monotonic()
    writing = asyncio.ensure_future(run.process.write(data))
    await asyncio.sleep(0)
    assert time.monotonic() - started < 0.3, "a write blocked the event loop"
    assert len(data) > WRITE_HIGH_WATER and not writing.done(), "more than the high-water mark must wait"
    await run.ended()
    await writing
    import hashlib

    assert hashlib.md5(data, usedforsecurity=False).hexdigest().encode() in run.output


async def test_what_ignores_hangup_and_terminate_is_killed() -> None:
    run = Running("bash", "--norc", "-c", "trap '' HUP TERM; echo ready; while :; do sleep 0.1; done")
    await run.until(lambda: b"ready" in run.output)
    await run.process.terminate(grace=0.1)
    assert run.exits == [ExitStatus(None, "SIGKILL")]


async def test_without_pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError("no pidfds")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    run = Running("sh", "-c", "echo hi; exit 3")
    assert await run.ended() == ExitStatus(3, None)
    assert run.output == b"hi\r\n"


async def test_no_descriptor_is_left() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        await Running("true").ended()
    with pytest.raises(EngineError, match="could not be started"):
        Running("/nonexistent/program")
    with pytest.raises(EngineError, match="could not be started"):
        Running("true", cwd="/nonexistent")
    assert len(os.listdir("/proc/self/fd")) == before
