"""Keyframes: what recreates a terminal for a cursor that cannot be given the bytes themselves.

`KeyframeMaker.make` takes what the journal holds and returns bytes for a reset xterm.js together with the
offset at which the stream goes on. It runs in a thread and mostly in another process; no byte to a client
ever waits for it. Nothing is kept per session between two keyframes, except a `Checkpoint` that the caller
may keep for a session whose journal has begun to forget.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from persistent_terminal_hub.server.emulator_base import SCROLLBACK_LINES, Emulator, EmulatorError, ground_cut
from persistent_terminal_hub.server.emulator_node import NodeEmulator, NodeWorker, find_node, find_xterm
from persistent_terminal_hub.server.emulator_replay import ReplayEmulator, plain_tail

log = logging.getLogger(__name__)

RAW_BYTES = 64 * 1024
"""Up to here a session's whole output is its own keyframe."""
MANY_ESCAPES = 20_000
"""Looking at more than this, with this interpreter's lock held, is worse than another process."""
WORKER_IDLE_SECONDS = 60.0
"""After this long without a keyframe the emulator process is ended."""


@dataclass(frozen=True)
class Resize:
    """The PTY had this size from this offset on."""

    offset: int
    rows: int
    cols: int


@dataclass(frozen=True)
class Checkpoint:
    """A keyframe kept as a place to start from once the journal no longer holds the beginning."""

    offset: int
    rows: int
    cols: int
    data: bytes
    begin: int | None = None
    """As in the keyframe that it was."""


@dataclass(frozen=True)
class History:
    """What is known of a session's output."""

    start: int
    """Offset of the first byte of `data`; 0 means that nothing was lost."""
    data: bytes
    rows: int
    """The size in force at `start`."""
    cols: int
    resizes: Sequence[Resize] = ()
    checkpoint: Checkpoint | None = None

    @property
    def end(self) -> int:
        """Offset after the last byte."""
        return self.start + len(self.data)


@dataclass(frozen=True)
class Keyframe:
    """Bytes for a reset terminal of this size, and where the stream goes on."""

    offset: int
    rows: int
    cols: int
    data: bytes = field(repr=False)
    exact: bool
    """Equal to what an uninterrupted xterm.js shows."""
    alternate: bool
    """The alternate screen is shown: when not exact, ask the program to redraw."""
    method: str
    """`raw`, `tail`, `xterm` or `replay`, for logs and metrics."""
    begin: int | None = None
    """Nothing that was printed before this offset is on its lines; None: not known."""
    own: int | None = None
    """So many bytes at its end are the output's own; None: it was not made of them."""

    @property
    def needs_redraw(self) -> bool:
        """Whether the server should wiggle the PTY's size, so that the program draws its screen anew."""
        return self.alternate and not self.exact

    def checkpoint(self) -> Checkpoint | None:
        """This keyframe as a place to start from, if it is exact."""
        return Checkpoint(self.offset, self.rows, self.cols, self.data, self.begin) if self.exact else None


def checkpoint_due(checkpoint: Checkpoint | None, head: int, capacity: int) -> bool:
    """Whether a new checkpoint should be made before the journal (of `capacity` bytes) forgets what the last
    one needs. Made when half of it was written since, the work is at most twice the emulator's own speed, and
    sessions that never filled half of their journal cost nothing."""
    return head - (checkpoint.offset if checkpoint else 0) >= capacity // 2


class KeyframeMaker:
    """Makes keyframes for all sessions of a server, one at a time, in threads."""

    def __init__(self, worker: NodeWorker | None = None) -> None:
        self._worker = worker
        self._used = 0.0
        self._turn = asyncio.Lock()
        self._reaper: asyncio.TimerHandle | None = None

    @classmethod
    def detect(cls) -> KeyframeMaker:
        """With xterm.js in Node where both are installed, else with replay only."""
        node, xterm = find_node(), find_xterm()
        if node is None or xterm is None:
            log.info(
                "Keyframes are made by replay: %s was not found. "
                "Install the extra 'keyframes' to make them exact.",
                "Node" if node is None else "xterm-headless.js",
            )
            return cls()
        return cls(NodeWorker(node, xterm))

    async def warm(self) -> None:
        """Start the emulator process in advance, when an attach is about to happen."""
        if self._worker is not None:
            worker = self._worker
            async with self._turn:
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(worker.start)
            self._touch()

    async def make(self, history: History) -> Keyframe:
        """The keyframe at (or a few bytes before) the end of `history`.

        It does not fail: the last resort is replay."""
        quick = await asyncio.to_thread(shortcut, history, MANY_ESCAPES if self._worker else None)
        if quick is not None:
            return quick
        async with self._turn:
            self._touch()
            return await asyncio.to_thread(self._make, history)

    def close(self) -> None:
        """End the emulator process."""
        if self._reaper is not None:
            self._reaper.cancel()
        if self._worker is not None:
            self._worker.close()

    def _make(self, history: History) -> Keyframe:
        worker = self._worker
        if worker is not None:
            try:
                return emulate(history, lambda rows, cols: NodeEmulator(worker, rows, cols), "xterm")
            except (EmulatorError, OSError) as error:
                worker.close()
                log.warning("A keyframe is made by replay: %s", error)
        return emulate(history, ReplayEmulator, "replay")

    def _touch(self) -> None:
        self._used = time.monotonic()
        if self._reaper is None and self._worker is not None:
            self._reaper = asyncio.get_running_loop().call_later(WORKER_IDLE_SECONDS, self._reap)

    def _reap(self) -> None:
        self._reaper = None
        left = self._used + WORKER_IDLE_SECONDS - time.monotonic()
        if left > 0 or self._turn.locked():
            self._reaper = asyncio.get_running_loop().call_later(max(left, 1.0), self._reap)
        elif self._worker is not None:
            self._worker.close()


def shortcut(history: History, most_escapes: int | None = None) -> Keyframe | None:
    """A keyframe that needs no emulator and is exact all the same, or None.

    With more than `most_escapes` to look at, it is not tried.
    """
    base = _base(history)
    if any((r.rows, r.cols) != (base.rows, base.cols) for r in base.resizes):
        return None
    cut = ground_cut(history.data)
    data = base.prefix + history.data[base.start - history.start : cut]
    if base.known and len(data) <= RAW_BYTES:
        replay = ReplayEmulator(base.rows, base.cols)
        replay.feed(data)
        frame = replay.keyframe()
        method = "raw"
    else:
        if most_escapes is not None and data.count(b"\x1b") > most_escapes:
            return None
        tail = plain_tail(data, base.rows)
        if tail is None:
            return None
        frame, method = tail, "tail"
    alternate = method == "raw" and replay.alternate
    offset = history.start + cut
    return Keyframe(offset, base.rows, base.cols, frame, exact=True, alternate=alternate, method=method)


@dataclass(frozen=True)
class _Base:
    """Where to start feeding an emulator."""

    start: int
    rows: int
    cols: int
    prefix: bytes
    known: bool
    """Whether the state at `start` is `prefix`, or unknown."""
    resizes: Sequence[Resize]
    begin: int | None
    """Nothing from before this offset is on the lines that it starts with."""


def _base(history: History) -> _Base:
    point = history.checkpoint
    if history.start > 0 and point is not None and history.start <= point.offset <= history.end:
        resizes = [r for r in history.resizes if r.offset >= point.offset]
        return _Base(point.offset, point.rows, point.cols, point.data, True, resizes, point.begin)
    known = history.start == 0
    return _Base(history.start, history.rows, history.cols, b"", known, history.resizes, history.start)


def emulate(history: History, factory: Callable[[int, int], Emulator], method: str) -> Keyframe:
    """Feed an emulator all that is known and ask it."""
    cut = ground_cut(history.data)
    offset = history.start + cut
    base = _base(history)
    size = _size_at_end(history)
    start = base.start
    body = history.data[start - history.start : cut]
    if not base.known:
        body = _from_a_line(body)
        start = offset - len(body)
    first, exact, alternate, above = _run(factory, base, base.prefix, start, body)
    begin = start + above - len(base.prefix) if above > len(base.prefix) else base.begin
    if not base.known:
        exact = False
        if method == "xterm":
            # Started from nothing and from a full screen: if both end alike, the beginning no longer matters.
            second, *_ = _run(factory, base, _disturbance(base.rows), start, body)
            exact = first == second
    return Keyframe(offset, *size, first, exact=exact, alternate=alternate, method=method, begin=begin)


def _run(
    factory: Callable[[int, int], Emulator], base: _Base, prefix: bytes, start: int, body: bytes
) -> tuple[bytes, bool, bool, int]:
    emulator = factory(base.rows, base.cols)
    try:
        emulator.feed(prefix)
        at = 0
        for resize in base.resizes:
            upto = min(max(resize.offset - start, at), len(body))
            emulator.feed(body[at:upto])
            emulator.resize(resize.rows, resize.cols)
            at = upto
        emulator.feed(body[at:])
        return emulator.keyframe(), emulator.exact, emulator.alternate, emulator.above
    finally:
        emulator.close()


def _size_at_end(history: History) -> tuple[int, int]:
    last = history.resizes[-1] if history.resizes else history
    return last.rows, last.cols


def _from_a_line(data: bytes) -> bytes:
    """Drop what may be the rest of a sequence that began before the journal's floor."""
    newline = data.find(b"\n", 0, 64 * 1024)
    escape = data.find(b"\x1b", 0, 64 * 1024)
    found = [at for at in (newline + 1 if newline >= 0 else -1, escape) if at >= 0]
    return data[min(found) :] if found else data


def _disturbance(rows: int) -> bytes:
    """A screen and scrollback as different from empty ones as text makes them."""
    return b"\x1b[7;35m" + b"\xef\xbf\xbd#\r\n" * (SCROLLBACK_LINES + rows) + b"\x1b[H\x1b[3B\x1b[5C"
