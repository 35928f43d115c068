"""Keeps child processes running: starts them, prefixes their output, restarts them with back-off.

`after_exit` decides and is pure; `Supervisor` does what it says.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
#: A child that ran this long was healthy: its next end counts as the first.
HEALTHY_SECONDS = 60.0
#: A child that ends on `SIGTERM` has this long to do so.
STOP_SECONDS = 20.0

_PR_SET_PDEATHSIG = 1

#: Colours, and whatever a log line must not do to the terminal that shows it.
_CONTROLS = re.compile("\x1b\\[[0-9;]*m|[\x00-\x08\x0a-\x1f\x7f-\x9f]")

Say = Callable[[str], None]


@dataclass(frozen=True)
class History:
    """How often a child ended in a row without having been healthy."""

    failures: int = 0


def after_exit(history: History, ran_seconds: float) -> tuple[History, float]:
    """The history after a child ended, and the seconds to wait before it is started again."""
    failures = 1 if ran_seconds >= HEALTHY_SECONDS else history.failures + 1
    # The exponent is bounded too: 2.0 ** 2000 would raise.
    delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(failures - 1, 16))
    return History(failures), delay


def describe_exit(returncode: int) -> str:
    """How a child ended, for people."""
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"was ended by signal {-returncode}"


@dataclass(frozen=True)
class ChildSpec:
    """A process to keep running."""

    name: str
    argv: Sequence[str]
    env: dict[str, str]
    #: Descriptors that the child inherits.
    pass_fds: tuple[int, ...] = ()
    #: True once the child does its work; asked again and again until then.
    is_ready: Callable[[], Awaitable[bool]] | None = None
    #: Awaited whenever the child is ready again after it ended.
    on_restart: Callable[[], Awaitable[None]] | None = None


@dataclass
class Child:
    """A child and its present process."""

    spec: ChildSpec
    history: History = field(default_factory=History)
    process: asyncio.subprocess.Process | None = None
    task: asyncio.Task[None] | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    starts: int = 0


def die_with_parent(parent: int) -> Callable[[], None]:
    """What a new child runs before exec: it gets SIGTERM when the supervisor is gone, however that ended."""
    libc = ctypes.CDLL(None, use_errno=True)

    def in_child() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before prctl took effect
            os.kill(os.getpid(), signal.SIGTERM)

    return in_child


class Supervisor:
    """Runs children until told to stop."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._children: list[Child] = []
        self._stopping = False

    def start(self, spec: ChildSpec) -> Child:
        """Begin to keep a process running."""
        child = Child(spec)
        child.task = asyncio.create_task(self._keep(child))
        self._children.append(child)
        return child

    async def stop(self) -> None:
        """End all children, the last started first; returns when none runs."""
        self._stopping = True
        for child in reversed(self._children):
            process = child.process
            if process is not None and process.returncode is None:
                self._say(f"Stopping {child.spec.name}.")
                _signal(process, signal.SIGTERM)
                try:
                    await asyncio.wait_for(process.wait(), STOP_SECONDS)
                except TimeoutError:
                    self._say(f"{child.spec.name} did not stop within {STOP_SECONDS:.0f} s: killing it.")
                    _signal(process, signal.SIGKILL)
                    await process.wait()
            if child.task is not None:
                child.task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await child.task

    async def _keep(self, child: Child) -> None:
        while not self._stopping:
            began = time.monotonic()
            child.starts += 1
            returncode = await self._run_once(child)
            child.ready.clear()
            if self._stopping:
                return
            child.history, delay = after_exit(child.history, time.monotonic() - began)
            self._say(f"{child.spec.name} {describe_exit(returncode)}; starting it again in {delay:g} s.")
            await asyncio.sleep(delay)

    async def _run_once(self, child: Child) -> int:
        spec = child.spec
        try:
            child.process = process = await asyncio.create_subprocess_exec(
                *spec.argv,
                env=spec.env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=spec.pass_fds,
                start_new_session=True,  # Ctrl-C reaches the supervisor only, which stops them in order
                preexec_fn=die_with_parent(os.getpid()),
                limit=1024 * 1024,
            )
        except OSError as error:
            self._say(f"{spec.name} cannot be started: {error}.")
            return 127
        assert process.stdout is not None  # noqa: S101  (asked for above)
        output = asyncio.create_task(relay(process.stdout, f"[{spec.name}] "))
        waiting = asyncio.create_task(self._await_ready(child))
        try:
            return await process.wait()
        finally:
            waiting.cancel()
            # What it said last may say why it ended; its own children may hold the pipe open for ever.
            with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                await asyncio.wait_for(output, 1.0)

    async def _await_ready(self, child: Child) -> None:
        if child.spec.is_ready is not None:
            began = time.monotonic()
            said = 2.0
            while not await child.spec.is_ready():
                await asyncio.sleep(0.1)
                if time.monotonic() - began >= said:
                    self._say(f"Waiting for {child.spec.name} to answer ({time.monotonic() - began:.0f} s).")
                    said = min(said * 2, said + 30)
        child.ready.set()
        if child.starts > 1:
            self._say(f"{child.spec.name} is back.")
            if child.spec.on_restart is not None:
                await child.spec.on_restart()


async def relay(stream: asyncio.StreamReader, prefix: str) -> None:
    """Copy lines to our standard output, each with a prefix."""
    while True:
        try:
            line = await stream.readline()
        except ValueError:  # a line beyond the limit: the reader dropped it
            line = b"(a line longer than 1 MiB was left out)\n"
        if not line:
            return
        sys.stdout.write(prefix + _CONTROLS.sub("", line.decode(errors="replace")) + "\n")
        sys.stdout.flush()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
