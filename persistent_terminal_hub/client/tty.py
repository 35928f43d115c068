"""The outer terminal: raw mode, size, writing without blocking anybody, and putting all back at the end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import queue
import termios
import threading
import tty
from collections.abc import Callable
from typing import Any, Final

#: Ends a sequence that was cut, then the modes that programs set, as an ordinary shell expects them.
MODES_OFF: Final = (
    b"\x18\x1b\\\x1b[!p"
    b"\x1b[?1;5;6;9;1000;1001;1002;1003;1004;1005;1006;1015;1016;2004;2026;2031;2048l"
    b"\x1b[?7;25h\x1b[4;20l\x1b>\x1b(B\x0f\x1b[0m\x1b]8;;\x1b\\"
    b"\x1b[<9u\x1b[>4m\x1b[0 q"
    b"\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\"
)
LEAVE_ALTERNATE: Final = b"\x1b[?1049l"
CLEAR: Final = b"\x1b[r\x1b[H\x1b[2J"
CLEAR_HISTORY: Final = b"\x1b[3J"
#: Output that is written at once, at most (bytes).
_AT_ONCE: Final = 256 * 1024
PUSH_TITLE: Final = b"\x1b[22;0t"
POP_TITLE: Final = b"\x1b[23;0t"


def title(text: str) -> bytes:
    """Call the window this."""
    clean = "".join(char for char in text if char.isprintable())[:200]
    return b"\x1b]2;" + clean.encode() + b"\x1b\\"


def size_of(handle: int) -> tuple[int, int]:
    """(rows, cols) of a terminal, within what a session may have."""
    try:
        size = os.get_terminal_size(handle)
    except OSError:
        return 24, 80
    return min(max(size.lines, 1), 1000), min(max(size.columns, 2), 1000)


class RawMode:
    """Raw while entered. `leave` may be called from anywhere, as often as one likes."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._before: list[Any] | None = None

    def enter(self) -> None:
        """Every key is passed on as it is."""
        if self._before is None:
            self._before = termios.tcgetattr(self._handle)
        tty.setraw(self._handle, termios.TCSANOW)

    def leave(self, *, forget_input: bool = False) -> None:
        """As it was. `forget_input`: an answer of the terminal may still come, and is no command line."""
        before, self._before = self._before, None
        if before is None:
            return
        with contextlib.suppress(termios.error, OSError):
            if forget_input:
                termios.tcflush(self._handle, termios.TCIFLUSH)
            termios.tcsetattr(self._handle, termios.TCSANOW, before)


class Writer:
    """Writes in a thread: a terminal that is stopped, or a slow pipe, must not stop the heartbeat.

    The descriptor stays blocking, because its flags belong to other processes too.
    """

    def __init__(self, handle: int, broken: Callable[[], None]) -> None:
        self._handle = handle
        self._loop = asyncio.get_running_loop()
        self._broken = broken
        self._jobs: queue.SimpleQueue[tuple[bytes, Callable[[], None] | None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="pth-writer", daemon=True)
        self._thread.start()

    def write(self, data: bytes, then: Callable[[], None] | None = None) -> None:
        """Write after all that was given before; `then` runs in the event loop when it is done."""
        self._jobs.put((data, then))

    def close(self, seconds: float) -> bool:
        """Write the rest; False if that took too long."""
        self._jobs.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        end = False
        while not end:
            jobs = [self._jobs.get()]
            size = 0
            while jobs[-1] is not None:  # what else waits goes with it: each write wakes two processes
                size += len(jobs[-1][0])
                if size >= _AT_ONCE:
                    break
                try:
                    jobs.append(self._jobs.get_nowait())
                except queue.Empty:
                    break
            end = jobs[-1] is None
            work = [job for job in jobs if job is not None]
            try:
                view = memoryview(b"".join(data for data, _ in work))
                while view:
                    view = view[os.write(self._handle, view) :]
            except OSError:
                self._call(self._broken)
                return
            if done := [then for _, then in work if then is not None]:
                self._call(functools.partial(_each, done))

    def _call(self, what: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(what)


def _each(done: list[Callable[[], None]]) -> None:
    for then in done:
        then()


class Reader:
    """Reads a descriptor of any kind, and can pause."""

    def __init__(self, handle: int, got: Callable[[bytes], None]) -> None:
        self._handle = handle
        self._got = got
        self._loop = asyncio.get_running_loop()
        self._on = self._ended = False
        self._thread: threading.Thread | None = None
        self._room = threading.Event()

    def resume(self) -> None:
        """Read on; b"" is delivered once at the end."""
        if self._on or self._ended:
            return
        self._on = True
        if self._thread is not None:
            self._room.set()
            return
        try:
            self._loop.add_reader(self._handle, self._ready)
        except (PermissionError, ValueError):  # a regular file, /dev/null: always ready, and epoll refuses
            self._room.set()
            self._thread = threading.Thread(target=self._run, name="pth-reader", daemon=True)
            self._thread.start()

    def pause(self) -> None:
        """Leave what comes where it is."""
        if not self._on:
            return
        self._on = False
        if self._thread is not None:
            self._room.clear()
        else:
            self._loop.remove_reader(self._handle)

    def _ready(self) -> None:
        try:
            data = os.read(self._handle, 16 * 1024)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # the terminal hung up
            data = b""
        self._deliver(data)

    def _deliver(self, data: bytes) -> None:
        if not data:
            self.pause()
            self._ended = True
        self._got(data)

    def _run(self) -> None:
        data = b"?"
        while data:
            self._room.wait()
            try:
                data = os.read(self._handle, 16 * 1024)
            except OSError:
                data = b""
            try:
                # One piece at a time, so that a pause takes effect.
                asyncio.run_coroutine_threadsafe(self._hand_over(data), self._loop).result()
            except (RuntimeError, asyncio.CancelledError):
                return

    async def _hand_over(self, data: bytes) -> None:
        self._deliver(data)
