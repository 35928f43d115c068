"""The engine: processes on PTYs. Everything above it sees only the two protocols here.

`LocalEngine` keeps the PTYs in this process. A keeper process over a unix socket will take its place; that
is why nothing but bytes, sizes, signals and an exit status crosses this wall.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import termios
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

#: Bytes taken from one PTY before the event loop may do something else.
READ_BATCH = 64 * 1024
#: Input waiting for a program that does not read; beyond it, `write` waits.
WRITE_HIGH_WATER = 1024 * 1024
#: Seconds that output may take to arrive after its process ended.
DRAIN_SECONDS = 0.5

_IUTF8 = 0o40000  # <asm/termbits.h>; the termios module does not name it


class EngineError(Exception):
    """A process could not be started; the text is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class SpawnSpec:
    """What to start."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    cols: int
    rows: int


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended: with a code, or by a signal."""

    code: int | None
    signal: str | None


class Process(Protocol):
    """One process on its own PTY."""

    @property
    def pid(self) -> int:
        """The process, leader of its own session."""

    @property
    def size(self) -> tuple[int, int]:
        """(cols, rows) of the PTY."""

    @property
    def alive(self) -> bool:
        """Whether its end has not been reported yet."""

    async def write(self, data: bytes) -> None:
        """Send input, whole and in order; waits only while too much waits already."""

    def resize(self, cols: int, rows: int) -> None:
        """Set the size of the PTY."""

    def signal(self, number: int) -> None:
        """Send a signal to the process and to what runs in the foreground."""

    async def terminate(self, grace: float = 1.0) -> None:
        """End it: hang up, then terminate, then kill; returns when it has ended."""


class Engine(Protocol):
    """Starts processes."""

    def spawn(
        self,
        spec: SpawnSpec,
        on_output: Callable[[bytes], None],
        on_exit: Callable[[ExitStatus], None],
    ) -> Process:
        """Start one; the callbacks come on the event loop, `on_exit` once and last. Raises `EngineError`."""


class LocalEngine:
    """An `Engine` whose PTYs belong to this process."""

    def spawn(
        self,
        spec: SpawnSpec,
        on_output: Callable[[bytes], None],
        on_exit: Callable[[ExitStatus], None],
    ) -> LocalProcess:
        """Start a process on a new PTY."""
        try:
            master, slave = os.openpty()
        except OSError as error:
            raise EngineError(
                f"No terminal device is left ({error.strerror}). End a session that you no longer need."
            ) from error
        try:
            termios.tcsetwinsize(slave, (spec.rows, spec.cols))
            attributes = termios.tcgetattr(slave)
            attributes[0] |= _IUTF8  # so that erasing erases whole characters
            termios.tcsetattr(slave, termios.TCSANOW, attributes)
            popen = subprocess.Popen(
                list(spec.argv),
                stdin=slave,
                stdout=slave,
                stderr=slave,
                cwd=spec.cwd,
                env=dict(spec.env),
                start_new_session=True,
                preexec_fn=_take_terminal,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            os.close(master)
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise EngineError(f"The program {spec.argv[0]!r} could not be started: {reason}.") from error
        finally:
            os.close(slave)
        os.set_blocking(master, False)
        return LocalProcess(popen, master, on_output, on_exit)


def _take_terminal() -> None:
    # In the child, after setsid(): standard input becomes the controlling terminal.
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class LocalProcess:
    """A `Process` whose PTY belongs to this process."""

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        master: int,
        on_output: Callable[[bytes], None],
        on_exit: Callable[[ExitStatus], None],
    ) -> None:
        self._popen = popen
        self._master = master
        self._on_output = on_output
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._size = (0, 0)
        self._eof = False
        self._exited = False
        self._ended = asyncio.Event()
        self._input = bytearray()
        self._writable = asyncio.Event()
        self._writable.set()
        self._size = self._read_size()
        self._loop.add_reader(master, self._read)
        self._watch()

    @property
    def pid(self) -> int:
        """The process, leader of its own session."""
        return self._popen.pid

    @property
    def size(self) -> tuple[int, int]:
        """(cols, rows) of the PTY."""
        return self._size

    @property
    def alive(self) -> bool:
        """Whether its end has not been reported yet."""
        return not self._ended.is_set()

    async def write(self, data: bytes) -> None:
        """Send input, whole and in order; waits only while too much waits already."""
        if not self.alive or self._eof:
            return
        self._input += data
        if len(self._input) == len(data):
            self._flush()
        if len(self._input) > WRITE_HIGH_WATER:
            self._writable.clear()
            await self._writable.wait()

    def resize(self, cols: int, rows: int) -> None:
        """Set the size of the PTY; the kernel tells the foreground program."""
        if self.alive and (cols, rows) != self._size:
            with contextlib.suppress(OSError):
                termios.tcsetwinsize(self._master, (rows, cols))
            self._size = self._read_size()

    def signal(self, number: int) -> None:
        """Send a signal to the process and to what runs in the foreground."""
        if self._exited:
            return
        groups = {self.pid}
        with contextlib.suppress(OSError):
            groups.add(os.tcgetpgrp(self._master))
        for group in groups:
            if group > 1:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, number)

    async def terminate(self, grace: float = 1.0) -> None:
        """End it: hang up, then terminate, then kill; returns when it has ended."""
        for numbers, wait in (((signal.SIGHUP, signal.SIGCONT), grace), ((signal.SIGTERM,), grace / 2)):
            for number in numbers:
                self.signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), wait)
                return
        for pid in _session_members(self.pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        await self._ended.wait()

    def _read_size(self) -> tuple[int, int]:
        rows, cols = termios.tcgetwinsize(self._master)
        return cols, rows

    def _read(self) -> None:
        # The kernel gives at most 4 KiB a read; a batch costs its readers one message.
        parts: list[bytes] = []
        room = READ_BATCH
        while room > 0:
            try:
                data = os.read(self._master, room)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                data = b""  # hung up: no process has the terminal open
            if not data:
                self._eof = True
                self._loop.remove_reader(self._master)
                break
            parts.append(data)
            room -= len(data)
        if parts:
            self._on_output(b"".join(parts))
        if self._eof and self._exited:
            self._finish()

    def _flush(self) -> None:
        """Write what the PTY takes; the rest follows when it takes more."""
        try:
            while self._input:
                with memoryview(self._input) as view:
                    written = os.write(self._master, view[:READ_BATCH])
                del self._input[:written]
        except (BlockingIOError, InterruptedError):
            self._loop.add_writer(self._master, self._flush)
        except OSError:
            self._input.clear()  # hung up: nobody is left to read it
        if not self._input:
            self._loop.remove_writer(self._master)
        if len(self._input) <= WRITE_HIGH_WATER // 2:
            self._writable.set()

    def _watch(self) -> None:
        try:
            pidfd = os.pidfd_open(self.pid)
        except OSError:  # a kernel or a sandbox without pidfds
            threading.Thread(target=self._wait_in_thread, daemon=True, name=f"wait-{self.pid}").start()
            return

        def ended() -> None:
            self._loop.remove_reader(pidfd)
            os.close(pidfd)
            self._popen.wait()
            self._process_ended()

        self._loop.add_reader(pidfd, ended)

    def _wait_in_thread(self) -> None:
        self._popen.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for the news
            self._loop.call_soon_threadsafe(self._process_ended)

    def _process_ended(self) -> None:
        self._exited = True
        if self._eof:
            self._finish()
        else:
            # Its last output may still be on the way; the hang-up comes after it.
            self._loop.call_later(DRAIN_SECONDS, self._finish)

    def _finish(self) -> None:
        if self._ended.is_set():
            return
        self._loop.remove_reader(self._master)
        self._loop.remove_writer(self._master)
        os.close(self._master)
        self._input.clear()
        self._writable.set()
        self._ended.set()
        self._on_exit(_exit_status(self._popen.returncode))


def _exit_status(returncode: int) -> ExitStatus:
    if returncode >= 0:
        return ExitStatus(returncode, None)
    try:
        return ExitStatus(None, signal.Signals(-returncode).name)
    except ValueError:
        return ExitStatus(None, f"SIG{-returncode}")


def _session_members(leader: int) -> list[int]:
    """Every process of the session that `leader` leads."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                # The name in parentheses may hold anything; the session is the fourth field after it.
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if int(fields[3]) == leader:
                    members.append(int(entry.name))
    return members
