"""Runs one command and says how it ended: exit status, both outputs apart and bounded, a time limit.

A command has no terminal and nobody to ask. What is to outlive it belongs into a session: whatever is left of
its process group when it ends, or when its time is up, is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .errors import SessionError

#: Seconds from TERM to KILL.
GRACE = 2.0
#: Seconds that a program's children may hold its outputs open after it has ended.
LINGER = 0.5
READ_BYTES = 64 * 1024

Stream = Literal["stdout", "stderr"]
OnOutput = Callable[[Stream, bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. `limit` bounds each output in bytes, `timeout` is in seconds."""

    argv: Sequence[str]
    cwd: str
    env: Mapping[str, str]
    stdin: bytes = b""
    timeout: float = 30.0
    limit: int = 1024 * 1024


@dataclass(slots=True)
class Output:
    """The first `limit` bytes of an output, and how many there were."""

    limit: int
    data: bytearray = field(default_factory=bytearray)
    total: int = 0

    def add(self, data: bytes) -> bytes:
        """Take what came; returns what of it was kept."""
        kept = data[: max(0, self.limit - len(self.data))]
        self.data += kept
        self.total += len(data)
        return kept

    @property
    def truncated(self) -> bool:
        """Whether something was dropped."""
        return self.total > len(self.data)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended: an exit code, or a signal. `seconds` is how long it ran."""

    code: int | None
    signal: int | None
    timed_out: bool
    seconds: float
    stdout: Output
    stderr: Output


async def execute(command: Command, on_output: OnOutput | None = None) -> Outcome:
    """Run it to its end. Raises SessionError (422) when it cannot be started.

    Cancelled, it kills what it started. `on_output` gets what is kept, as it comes; while it waits the
    program is not read, as with a pipe.
    """
    began = time.monotonic()
    starting = asyncio.ensure_future(_start(command))
    try:
        # Cancelled half-way, asyncio would kill the program and then wait for its children.
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(SessionError):
            process = await starting
            _kill_group(process.pid, signal.SIGKILL)
            await _exit_of(process.pid)
        raise
    outputs: dict[Stream, Output] = {"stdout": Output(command.limit), "stderr": Output(command.limit)}
    readers = [
        asyncio.ensure_future(_read(process, "stdout", outputs["stdout"], on_output)),
        asyncio.ensure_future(_read(process, "stderr", outputs["stderr"], on_output)),
        asyncio.ensure_future(_write(process.stdin, command.stdin)),
    ]
    timed_out = False
    try:
        try:
            async with asyncio.timeout(command.timeout):
                await _exit_of(process.pid)
        except TimeoutError:
            timed_out = True
            await _end(process)
        await asyncio.wait(readers[:2], timeout=LINGER)
        _kill_group(process.pid, signal.SIGKILL)
        await asyncio.wait(readers[:2], timeout=GRACE)
    finally:
        _kill_group(process.pid, signal.SIGKILL)
        for reader in readers:
            reader.cancel()
        results = await asyncio.gather(*readers, return_exceptions=True)
        await _exit_of(process.pid)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), GRACE)
    for result in results:
        if isinstance(result, Exception):
            raise result
    status = process.returncode
    return Outcome(
        code=status if status is not None and status >= 0 else None,
        signal=-status if status is not None and status < 0 else None,
        timed_out=timed_out,
        seconds=time.monotonic() - began,
        stdout=outputs["stdout"],
        stderr=outputs["stderr"],
    )


async def _start(command: Command) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command.argv,
            cwd=command.cwd,
            env=dict(command.env),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=READ_BYTES,
            # A group of its own, so that all of it can be ended, and nothing else is.
            start_new_session=True,
        )
    except FileNotFoundError:
        what = command.cwd if not os.path.isdir(command.cwd) else command.argv[0]  # noqa: PTH112, ASYNC240
        raise SessionError(
            422, f"There is no {what[:200]!r} in this workspace.", "Check the spelling."
        ) from None
    except NotADirectoryError:
        raise SessionError(422, f"{command.cwd[:200]!r} is not a folder.") from None
    except PermissionError:
        raise SessionError(422, f"{command.argv[0][:200]!r} may not be run.", "Is it executable?") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its arguments cannot be passed on"
        raise SessionError(
            422, f"The command cannot be started: {reason}.", "End programs, or shorten the command."
        ) from None


async def _read(
    process: asyncio.subprocess.Process, name: Stream, output: Output, on_output: OnOutput | None
) -> None:
    stream = process.stdout if name == "stdout" else process.stderr
    assert stream is not None  # noqa: S101 - asked for as a pipe
    try:
        while data := await stream.read(READ_BYTES):
            kept = output.add(data)
            if on_output is not None and kept:
                await on_output(name, kept)
    except Exception:  # nobody listens any more: no reason to go on
        _kill_group(process.pid, signal.SIGKILL)
        raise


async def _write(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    assert stream is not None  # noqa: S101 - asked for as a pipe
    # A program that does not read all of it is no failure of ours.
    with contextlib.suppress(ConnectionError):
        stream.write(data)
        await stream.drain()
    with contextlib.suppress(ConnectionError):
        stream.close()
        await stream.wait_closed()


async def _end(process: asyncio.subprocess.Process) -> None:
    """TERM to the whole group, KILL when that did not help."""
    _kill_group(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(GRACE):
            await _exit_of(process.pid)
    except TimeoutError:
        _kill_group(process.pid, signal.SIGKILL)
        await _exit_of(process.pid)


async def _exit_of(pid: int) -> None:
    """Wait for the process alone: asyncio's own `wait` also waits for whoever holds its outputs open."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    exited = asyncio.Event()
    loop.add_reader(fd, exited.set)
    try:
        await exited.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)


def _kill_group(group: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signum)
