"""Commands run for real: how they end, what is kept of them, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from persistent_terminal_hub.server.errors import SessionError
from persistent_terminal_hub.server.execute import Command, Outcome, execute


def command(*argv: str, **kwargs: Any) -> Command:
    return Command(argv, **{"cwd": "/", "env": dict(os.environ), **kwargs})


def shell(text: str, **kwargs: Any) -> Command:
    return command("/bin/sh", "-c", text, **kwargs)


def texts(outcome: Outcome) -> tuple[bytes, bytes]:
    return bytes(outcome.stdout.data), bytes(outcome.stderr.data)


async def test_outputs_apart_and_the_exit_code() -> None:
    outcome = await execute(shell("echo out; echo err >&2; exit 7"))
    assert texts(outcome) == (b"out\n", b"err\n")
    assert (outcome.code, outcome.signal, outcome.timed_out) == (7, None, False)


async def test_signal() -> None:
    outcome = await execute(shell("kill -SEGV $$"))
    assert (outcome.code, outcome.signal) == (None, signal.SIGSEGV)


async def test_stdin_and_environment_and_folder(tmp_path: Path) -> None:
    outcome = await execute(
        shell("cat; echo $X; pwd", stdin=b"in\0\xff", env={"X": "é", "PATH": "/bin"}, cwd=str(tmp_path))
    )
    assert texts(outcome)[0] == b"in\0\xff" + f"é\n{tmp_path}\n".encode()


async def test_stdin_that_nobody_reads() -> None:
    assert (await execute(shell("exit 0", stdin=bytes(1 << 20)))).code == 0


async def test_more_output_than_is_kept_is_drained_and_counted() -> None:
    program = "import sys; sys.stdout.buffer.write(b'x' * 3000000); sys.stderr.buffer.write(b'y' * 10)"
    outcome = await execute(command(sys.executable, "-c", program, limit=1000))
    assert outcome.code == 0
    assert (len(outcome.stdout.data), outcome.stdout.total, outcome.stdout.truncated) == (1000, 3000000, True)
    assert not outcome.stderr.truncated


async def test_time_limit_kills_the_whole_group(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    text = f"sleep 300 & echo $! >> {pids}; (trap '' TERM; sleep 300) & echo $! >> {pids}; echo begun; wait"
    began = time.monotonic()
    outcome = await execute(shell(text, timeout=0.5))
    assert outcome.timed_out and outcome.signal in (signal.SIGTERM, signal.SIGKILL)
    assert texts(outcome)[0] == b"begun\n"
    assert time.monotonic() - began < 60
    for pid in pids.read_text().split():
        assert not alive(int(pid))


async def test_a_program_that_ignores_term() -> None:
    outcome = await execute(shell("trap '' TERM; while :; do sleep 0.1; done", timeout=0.3))
    assert outcome.timed_out and outcome.signal == signal.SIGKILL


async def test_what_it_leaves_behind_is_ended(tmp_path: Path) -> None:
    outcome = await execute(shell(f"sleep 300 & echo $! > {tmp_path}/pid; echo done", timeout=60))
    assert outcome.code == 0 and not outcome.timed_out and texts(outcome)[0] == b"done\n"
    assert not alive(int((tmp_path / "pid").read_text()))


async def test_cancelled_it_ends(tmp_path: Path) -> None:
    task = asyncio.ensure_future(execute(shell(f"echo $$ > {tmp_path}/pid; sleep 300")))
    async with asyncio.timeout(20):
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(int((tmp_path / "pid").read_text()))


async def test_output_as_it_comes() -> None:
    got: list[tuple[str, bytes]] = []

    async def on_output(stream: str, data: bytes) -> None:
        got.append((stream, data))

    await execute(shell("echo one; sleep 0.2; echo two >&2"), on_output)
    assert got == [("stdout", b"one\n"), ("stderr", b"two\n")]


async def test_a_listener_that_fails_ends_it(tmp_path: Path) -> None:
    async def on_output(_stream: str, _data: bytes) -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await execute(shell(f"echo $$ > {tmp_path}/pid; exec yes", timeout=5), on_output)
    assert not alive(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (command("/no/such/program"), "There is no '/no/such/program'"),
        (command("true", cwd="/no/such/folder"), "There is no '/no/such/folder'"),
        (command("true", cwd="/etc/passwd"), "is not a folder"),
        (command("/etc/passwd"), "may not be run"),
        (command("true", "x" * 3_000_000), "cannot be started"),
        (command("tr\0ue"), "cannot be started"),
    ],
)
async def test_what_cannot_be_started_is_a_sentence(bad: Command, says: str) -> None:
    with pytest.raises(SessionError, match=says) as caught:
        await execute(bad)
    assert caught.value.status_code == 422


def alive(pid: int) -> bool:
    """A zombie whose parent is not us counts as dead."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"
