"""One session: a process on a PTY, what it printed, and who watches. Knows terminado's face, no sockets."""

from __future__ import annotations

import signal
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from terminado.management import PtyWithClients

from .engine import Engine, ExitStatus, Process, SpawnSpec
from .scrollback import Cursor, Scrollback

MAX_COLS = MAX_ROWS = 1000


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


def iso(moment: datetime | None) -> str | None:
    """A time as the API writes it."""
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Client(Protocol):
    """One attached connection, as the session sees it."""

    #: (cols, rows) that it last said, if it did.
    screen: tuple[int, int] | None

    def pump(self) -> None:
        """There may be something to send."""

    def set_quiet(self, quiet: bool) -> None:
        """Whether another client answers the program's questions."""

    def on_pty_died(self) -> None:
        """The session has ended."""


@dataclass(frozen=True, slots=True)
class EndedSession:
    """What is remembered of a session that has ended."""

    id: str
    name: str
    model: dict[str, Any]


class PersistentPty(PtyWithClients):
    """A session, in the shape that terminado's manager and handlers expect of a terminal.

    Clients are kept with the most recent one to attach, type or resize last: its size is the PTY's, and it
    alone answers the program's questions.
    """

    term_name: str

    def __init__(
        self,
        engine: Engine,
        spec: SpawnSpec,
        *,
        name: str,
        session_id: str | None = None,
        scrollback_bytes: int,
        on_output: Callable[[PersistentPty], None],
        on_end: Callable[[PersistentPty, ExitStatus], None],
    ) -> None:
        # Not terminado's own __init__: it would start a process of its own.
        self.id = session_id or uuid.uuid4().hex
        self.term_name = name
        self.clients: list[Any] = []
        #: Stock code replays this; here a cursor does.
        self.read_buffer: deque[str] = deque(maxlen=0)
        self.scrollback = Scrollback(scrollback_bytes)
        self.spec = spec
        self.created = self.last_activity = now()
        self.last_input: datetime | None = None
        self.last_output: datetime | None = None
        self.last_attached: datetime | None = None
        self.exit: dict[str, Any] | None = None
        self.end_reason: str | None = None
        self._tell_output = on_output
        self._tell_end = on_end
        self.process: Process = engine.spawn(spec, self._output, self._ended)
        self.ptyproc = StockProcess(self)

    @property
    def state(self) -> str:
        """`active` while a client is attached, `dormant` while none is, `ended` after that."""
        if self.exit is not None:
            return "ended"
        return "active" if self.clients else "dormant"

    def model(self) -> dict[str, Any]:
        """The session as the API shows it."""
        cols, rows = self.process.size
        return {
            "id": self.id,
            "name": self.term_name,
            "state": self.state,
            "created": iso(self.created),
            "last_input": iso(self.last_input),
            "last_output": iso(self.last_output),
            "last_attached": iso(self.last_attached),
            "pid": self.process.pid,
            "argv": list(self.spec.argv),
            "cwd": self.spec.cwd,
            "cols": cols,
            "rows": rows,
            "clients": len(self.clients),
            "exit": self.exit,
            "bytes_out": self.scrollback.head,
        }

    def attach(self, client: Client) -> Cursor:
        """Let a client watch; it reads from the cursor whenever it is pumped."""
        if client not in self.clients:  # stock code may have added it already
            self.clients.append(client)
        self.last_attached = now()
        cursor = Cursor(self.scrollback)
        self._answer_by_latest()
        return cursor

    def detach(self, client: Client) -> None:
        """Forget a client; the next most recent one takes over."""
        if client in self.clients:
            self.clients.remove(client)
            self.last_attached = now()
            self._answer_by_latest()
            self.resize_to_latest()

    def touch(self, client: Client) -> None:
        """The client types or resizes: the terminal is now its size, and it answers questions."""
        if client in self.clients and self.clients[-1] is not client:
            self.clients.remove(client)
            self.clients.append(client)
            self._answer_by_latest()
        self.resize_to_latest()

    def resize_to_latest(self) -> None:
        """Give the PTY the size of the most recent client that said one."""
        for client in reversed(self.clients):
            if client.screen is not None:
                self.process.resize(*client.screen)
                return

    #: terminado calls it when a client resizes or leaves.
    resize_to_smallest = resize_to_latest

    async def write(self, data: bytes) -> None:
        """Send input to the program."""
        self.last_input = self.last_activity = now()
        await self.process.write(data)

    def kill(self, sig: int = signal.SIGTERM) -> None:
        """Send a signal."""
        self.process.signal(sig)

    killpg = kill

    async def terminate(self, force: bool = False) -> bool:
        """End the session; with or without `force` it is gone afterwards."""
        if self.exit is None:
            self.end_reason = self.end_reason or "terminated"
            await self.process.terminate()
        return True

    def _answer_by_latest(self) -> None:
        for client in self.clients:
            client.set_quiet(client is not self.clients[-1])

    def _output(self, data: bytes) -> None:
        self.last_output = self.last_activity = now()
        self.scrollback.append(data)
        self._tell_output(self)
        for client in list(self.clients):
            client.pump()

    def _ended(self, status: ExitStatus) -> None:
        self.exit = {"code": status.code, "signal": status.signal, "reason": self.end_reason}
        clients = list(self.clients)
        self._tell_end(self, status)
        for client in clients:
            client.on_pty_died()


class StockProcess:
    """What other extensions use of terminado's `ptyproc`, passed on to the session."""

    def __init__(self, session: PersistentPty) -> None:
        self._session = session
        self._writes: set[Any] = set()

    @property
    def pid(self) -> int:
        """The shell."""
        return self._session.process.pid

    def isalive(self) -> bool:
        """Whether it runs."""
        return self._session.process.alive

    def write(self, text: str) -> int:
        """Send input; from the event loop's thread only."""
        import asyncio

        data = text.encode("utf-8", "replace")
        task = asyncio.ensure_future(self._session.write(data))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return len(data)

    def getwinsize(self) -> Sequence[int]:
        """(rows, cols)."""
        cols, rows = self._session.process.size
        return rows, cols

    def setwinsize(self, rows: int, cols: int) -> None:
        """Set the size."""
        self._session.process.resize(cols, rows)

    def kill(self, sig: int) -> None:
        """Send a signal."""
        self._session.process.signal(sig)
