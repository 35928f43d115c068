"""One session: a program on a terminal, its journal, its input, its clocks, and who listens."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from persistent_terminal_hub.keeper import process
from persistent_terminal_hub.keeper.inputs import InputQueue, Verdict
from persistent_terminal_hub.keeper.journal import Journal, Resize
from persistent_terminal_hub.keeper.loop import READ, WRITE, Loop
from persistent_terminal_hub.keeper.process import PtyProcess
from persistent_terminal_hub.keeper.watching import Watches

# What one session may read in one turn of the loop before the others have theirs.
TURN_BYTES = 64 * 1024
# A read that brings less than this has most likely emptied the terminal: do not ask again just to hear so.
SHORT_READ = 2048
# What the kernel can still hold for us when the shell is dead is far below this.
FINAL_DRAIN_BYTES = 1024 * 1024
ARGUMENTS_SHOWN, ARGUMENT_SHOWN = 32, 200
# After a handler failed: not at once, so that it cannot spin.
RETRY_SECONDS = 1.0


class Instant(NamedTuple):
    """A moment on both clocks: wall for people, monotonic (one for all processes) for arithmetic."""

    wall: float
    monotonic: float


def now() -> Instant:
    """This moment."""
    return Instant(time.time(), time.monotonic())


class Exit(NamedTuple):
    """How a session ended: exit status or signal, why, and when."""

    code: int | None
    signal: int | None
    reason: str
    at: Instant


class Owner(Protocol):
    """What a session tells the registry."""

    def grown(self, session: Session, bytes_out: int, memory: int) -> None:
        """The journal has ``bytes_out`` bytes and ``memory`` bytes of memory more."""

    def input_ready(self, session: Session) -> None:
        """There is room again for input that was refused."""


class Session:
    """See the module. Methods are called from the loop only."""

    def __init__(
        self,
        loop: Loop,
        owner: Owner,
        serial: int,
        identity: str,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str | None,
        size: tuple[int, int],
        capacity: int,
    ) -> None:
        self._loop = loop
        self._owner = owner
        self.serial = serial  # in the order of creation
        self.id = identity
        self.name = name
        self.argv = list(argv)
        self.cwd = cwd
        self.meta: dict[str, Any] = {}
        self.cols, self.rows = size
        self.created = now()
        self.input_at: Instant | None = None
        self.output_at: Instant | None = None
        self.attached_at: Instant | None = None  # when somebody was last attached; see `clocks`
        self.unattended_from = 0  # what is printed from this offset on was never any client's to answer
        self.exit: Exit | None = None
        self.end_reason: str | None = None
        self.bytes_in = 0
        self.input = InputQueue()
        self.attached: set[tuple[int, str]] = set()  # (connection, client)
        self.watches = Watches(loop)
        self.busy_since: Instant | None = None  # as seen whenever somebody asked
        self._wakes: dict[tuple[int, int], int] = {}  # (connection, subscription) -> eventfd
        self._subscriptions = 0
        self._refused = False
        self._writing = False
        self.journal = Journal(capacity)
        try:
            self.process = PtyProcess(argv, env, cwd, self.cols, self.rows)
        except BaseException:
            self.journal.close()
            raise
        self.journal.record_resize(self.cols, self.rows)
        self._listen()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def dormant_since(self) -> float:
        """Monotonic time since when nobody is attached; infinity while somebody is."""
        return float("inf") if self.attached else (self.attached_at or self.created).monotonic

    # -- output --------------------------------------------------------------------------------------
    def _listen(self) -> None:
        if self.exit is None:
            self._loop.add(self.process.master, READ, self._on_master, self._broken)

    def _broken(self) -> None:
        self._writing = False
        self._loop.call_later(RETRY_SECONDS, self._listen)

    def _on_master(self, events: int) -> None:
        if events & WRITE:
            self.flush_input()
        if events & ~WRITE and not self.drain(TURN_BYTES):
            # Hung up: nothing more will come, and the kernel would tell us so for ever. The rest is
            # done when the shell's death is reported.
            self._loop.remove(self.process.master)

    def drain(self, most: int) -> bool:
        """Read what is there, up to ``most`` bytes; False if the terminal is hung up."""
        journal = self.journal
        memory = journal.allocated
        count = 0
        alive = True
        try:
            count = journal.read_from(self.process.master, most, SHORT_READ)
            alive = count > 0
        except BlockingIOError:
            pass
        except OSError:  # EIO
            alive = False
        if count:
            self.wake()
            self.output_at = now()
            self._owner.grown(self, count, journal.allocated - memory)
        return alive

    def subscribe(self, connection: int) -> tuple[int, int]:
        """A number, and the eventfd that is written to when there is something new, once at first."""
        fd = os.eventfd(1, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._subscriptions += 1
        self._wakes[connection, self._subscriptions] = fd
        return self._subscriptions, fd

    def subscribed(self, connection: int) -> int:
        """How many subscriptions a connection has."""
        return sum(key[0] == connection for key in self._wakes)

    def unsubscribe(self, connection: int, subscription: int | None = None) -> None:
        """Stop waking a subscription, or all of a connection."""
        for key in [k for k in self._wakes if k[0] == connection and subscription in (None, k[1])]:
            os.close(self._wakes.pop(key))

    def wake(self) -> None:
        """Tell all readers to look. Wakes that are not yet consumed add up to one."""
        for fd in self._wakes.values():
            try:  # noqa: SIM105 - on the way of every echo
                os.eventfd_write(fd, 1)
            except BlockingIOError:
                pass

    # -- input ---------------------------------------------------------------------------------------
    def take_input(self, client: str, seq: int, data: bytes, *, sparse: bool = False) -> Verdict:
        """Accept a message of a client, exactly once, and write as much as the terminal takes."""
        verdict = self.input.offer(client, seq, data, sparse=sparse)
        if verdict is Verdict.ACCEPTED:
            if not self._writing:
                self.flush_input()
            self.bytes_in += len(data)
            self.input_at = now()
        elif verdict is Verdict.FULL:
            self._refused = True
        return verdict

    def flush_input(self) -> None:
        """Write what waits, as far as the terminal takes it."""
        waiting = False
        try:
            while (piece := self.input.head()) is not None:
                self.input.written(os.write(self.process.master, piece))
        except BlockingIOError:
            waiting = True
        except OSError:  # hung up: no program will ever read this
            self.input.clear()
        if waiting != self._writing:
            self._writing = waiting
            with contextlib.suppress(OSError):  # not in the loop any more
                self._loop.modify(self.process.master, READ | WRITE if waiting else READ)
        if self._refused and self.input.waiting == 0:
            self._refused = False
            self._owner.input_ready(self)

    # -- size ----------------------------------------------------------------------------------------
    def resize(self, cols: int, rows: int) -> Resize:
        """Change the size. What programs wrote before is read before, so that the record is in its place."""
        self.drain(TURN_BYTES)
        self.process.set_size(cols, rows)
        self.cols, self.rows = cols, rows
        record = self.journal.record_resize(cols, rows)
        self.wake()
        return record

    # -- attachment ----------------------------------------------------------------------------------
    def attach(self, connection: int, client: str) -> None:
        """Note that a client is there."""
        self.attached.add((connection, client))
        self.attached_at = now()

    def detach(self, connection: int, client: str | None = None) -> bool:
        """Note that a client (or all of a connection) is gone; say whether one was there."""
        gone = {pair for pair in self.attached if pair[0] == connection and client in (None, pair[1])}
        if gone:
            self.attached -= gone
            self.attached_at = now()
            if not self.attached:
                if self.exit is None:
                    self.drain(TURN_BYTES)  # printed before, so still the client's
                self.unattended_from = self.journal.head
        return bool(gone)

    # -- the end -------------------------------------------------------------------------------------
    def finish(self, status: int) -> None:
        """The shell was reaped: take the last output, then let go of the terminal."""
        end = self.journal.head + FINAL_DRAIN_BYTES
        while self.journal.head < end:
            before = self.journal.head
            if not self.drain(TURN_BYTES) or self.journal.head == before:
                break
        self._loop.remove(self.process.master)
        self.process.close()
        self.input.clear()
        code = os.waitstatus_to_exitcode(status)
        self.exit = Exit(
            code if code >= 0 else None, -code if code < 0 else None, self.end_reason or "exited", now()
        )
        self.journal.mark_ended()
        self.watches.clear()
        self.wake()

    def close(self) -> None:
        """Release everything of an ended session."""
        while self._wakes:
            os.close(self._wakes.popitem()[1])
        self.journal.close()

    # -- telling -------------------------------------------------------------------------------------
    def info(self) -> dict[str, Any]:
        """What others may know."""
        running = self.exit is None
        foreground = self.process.foreground() if running else None
        attachment = now() if self.attached else self.attached_at
        busy = running and ((foreground is not None and foreground != self.pid) or bool(self.watches))
        self.busy_since = (self.busy_since or now()) if busy else None
        return {
            "id": self.id,
            "name": self.name,
            "state": "running" if running else "ended",
            "pid": self.pid,
            "argv": _shortened(self.argv),
            "cwd": self.cwd,
            "cwd_now": process.current_directory(self.pid) if running else None,
            "created": self.created,
            "cols": self.cols,
            "rows": self.rows,
            "epoch": self.journal.epoch,
            "start": self.journal.floor,
            "end": self.journal.head,
            "capacity": self.journal.capacity,
            "memory": self.journal.allocated,
            "bytes_in": self.bytes_in,
            "attached": len(self.attached),
            "unattended_from": None if self.attached else self.unattended_from,
            "clocks": {"input": self.input_at, "output": self.output_at, "attachment": attachment},
            "foreground": foreground,
            "foreground_name": process.process_name(foreground),
            "busy": busy,
            "busy_since": self.busy_since,
            "watched": self.watches.info(),
            "exit": self.exit and self.exit._asdict(),
            "meta": self.meta,
        }


def _shortened(argv: list[str]) -> list[str]:
    """A command as far as people want to read it; it can be megabytes long."""
    return [
        part if len(part) <= ARGUMENT_SHOWN else part[:ARGUMENT_SHOWN] + "…"
        for part in argv[:ARGUMENTS_SHOWN]
    ]
