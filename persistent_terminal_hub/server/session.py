"""One session as the server sees it: what the keeper tells, and who watches. Terminado's face, no sockets."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from terminado.management import PtyWithClients

from persistent_terminal_hub.lifecycle import state_of

from .answers import ANSWER_TAIL, ANSWERER, Recogniser, waited_for
from .attachments import Attachments
from .history import PIECE, History
from .keeper_link import Info, KeeperLink, Subscription

MAX_COLS = MAX_ROWS = 1000
#: Seconds from hanging a session up to killing what is left of it.
END_GRACE = 2.0
#: The keeper takes no larger message.
INPUT_PIECE = 64 * 1024
#: Input of one client on its way to the keeper; beyond it, the client is not read.
INPUT_HIGH_WATER = 1024 * 1024
#: A program that goes on after a question this old has given up, and would take an answer for typing.
ANSWER_SECONDS = 5.0


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


def iso(moment: datetime | float | None) -> str | None:
    """A time as the API writes it."""
    if moment is None:
        return None
    if isinstance(moment, float):
        moment = datetime.fromtimestamp(moment, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class StockClient(Protocol):
    """One attached connection of the stock protocol, as the session sees it."""

    client_id: str
    #: (cols, rows) that it last said, if it did.
    screen: tuple[int, int] | None

    def set_responder(self, responder: bool) -> None:
        """Whether this client answers the program's questions."""


class Typist:
    """Numbers the input of one client of the stock protocol, which has no numbers of its own."""

    def __init__(self, link: KeeperLink, session: str, client: str) -> None:
        self._link = link
        self._session = session
        self._client = client
        self._seq = 0
        self._waiting = 0
        self._room = asyncio.Event()
        self._room.set()

    async def write(self, data: bytes) -> None:
        """Send input, whole and in order; waits only while too much waits already."""
        for at in range(0, len(data), INPUT_PIECE):
            self.send(data[at : at + INPUT_PIECE])
        await self._room.wait()

    def send(self, data: bytes) -> None:
        """Send a piece without waiting."""
        self._seq += 1
        self._waiting += len(data)
        if self._waiting > INPUT_HIGH_WATER:
            self._room.clear()
        # Should the session have ended, nobody is left to read it.
        self._link.input(self._session, self._client, self._seq, data, lambda _: self._taken(len(data)))

    def _taken(self, count: int) -> None:
        self._waiting -= count
        if self._waiting <= INPUT_HIGH_WATER // 2:
            self._room.set()


#: During a flood, following it is tried again after so long.
AFTER_FLOOD_SECONDS = 0.1


class PersistentPty(PtyWithClients):
    """A session, in the shape that terminado's manager and handlers expect of a terminal.

    `attachments` is for clients of every protocol; `clients` are the sockets of the stock one.
    """

    def __init__(self, link: KeeperLink, info: Info, on_output: Callable[[PersistentPty], None]) -> None:
        # Not terminado's own __init__: it would start a process of its own.
        self.link = link
        self.info = info
        self.clients: list[Any] = []
        #: Stock code replays this; here a cursor does.
        self.read_buffer: deque[str] = deque(maxlen=0)
        self.history = History()
        self.attachments = Attachments(self._resize, self._unattended)
        self._resizing = 0  # wishes that the keeper has not answered
        self._resize_lost = False
        self.size_changed()
        self._tell_output = on_output
        #: What the rules say of it, for the API.
        self.life: Callable[[Info], dict[str, Any]] = lambda _info: {}
        self._ended = asyncio.Event()
        self._touched: datetime | None = None
        self._head = -1
        self._working = False
        self._recogniser: Recogniser | None = None
        self._own_client = uuid.uuid4().hex
        self.ptyproc = StockProcess(self)
        self.subscription: Subscription = link.subscribe(info.id, self._woken)
        if info.running:
            self._recogniser = self._recogniser_at_start()
        else:
            self._ended.set()

    # -- facts ---------------------------------------------------------------------------------------
    @property
    def id(self) -> str:
        """Names the session for ever."""
        return self.info.id

    @property
    def term_name(self) -> str:  # type: ignore[override]
        """Its name at this time."""
        return self.info.name

    @property
    def last_activity(self) -> datetime:
        """The last input, output, or use of it by stock code."""
        info = self.info
        moment = datetime.fromtimestamp(max(info.created, info.input_at or 0, info.output_at or 0), UTC)
        return max(moment, self._touched) if self._touched else moment

    @last_activity.setter
    def last_activity(self, moment: datetime) -> None:
        self._touched = moment

    @property
    def state(self) -> str:
        """`active` while a client is attached, `dormant` while none is, `ended` after that."""
        return state_of(running=self.info.running, attached=bool(self.info.attached))

    def model(self) -> dict[str, Any]:
        """The session as the API shows it."""
        info = self.info
        return session_model(info, self.state, self.subscription.reader.head, self.life(info))

    # -- clients of the stock protocol ---------------------------------------------------------------
    def attach(self, client: StockClient) -> None:
        """A client is there."""
        if client not in self.clients:  # stock code may have added it already
            self.clients.append(client)
        self.link.attach_soon(self.id, client.client_id)
        info = self.info
        # Until it says its size, it has no say in it.
        self.attachments.join(client.client_id, client, rows=info.rows, cols=info.cols, visible=False)

    def detach(self, client: StockClient) -> None:
        """Forget a client; the next most recent one takes over."""
        if client in self.clients:
            self.clients.remove(client)
            self.link.detached(self.id, client.client_id)
            self.attachments.leave(client.client_id, client)

    def typed(self, client: StockClient) -> None:
        """The client types: the terminal is now its size, and it answers questions."""
        self.attachments.active(client.client_id)

    def resized(self, client: StockClient) -> None:
        """The client said its size."""
        if client.screen is not None and client in self.clients:
            cols, rows = client.screen
            self.attachments.resize(client.client_id, rows, cols)
            self.attachments.visible(client.client_id, True)
            self.attachments.active(client.client_id)

    def resize_to_smallest(self) -> None:
        """Stock code calls it when a client comes or goes; `attachments` has decided already."""

    # -- what can be done to it ----------------------------------------------------------------------
    def typist(self, client: str = "") -> Typist:
        """Who types for a client (for the server itself)."""
        return Typist(self.link, self.id, client or self._own_client)

    def kill(self, sig: int = signal.SIGTERM) -> None:
        """Send a signal to the program and to what runs in the foreground."""
        self.link.signal_soon(self.id, sig, "foreground")
        self.link.signal_soon(self.id, sig, "shell")

    killpg = kill

    async def terminate(self, force: bool = False) -> bool:
        """End the session; with or without `force` it is gone afterwards."""
        if self.info.running:
            await self.link.end(self.id, "terminated", END_GRACE)
            async with asyncio.timeout(END_GRACE + 5):
                await self._ended.wait()
        return True

    # -- what happens to it --------------------------------------------------------------------------
    def ended(self) -> None:
        """The session has ended: sockets send the rest and close."""
        self._recogniser = None
        self._ended.set()
        for client in list(self.clients):
            client.on_pty_died()

    def close(self) -> None:
        """The session is gone."""
        self._recogniser = None
        self.subscription.close()

    def _resize(self, cols: int, rows: int) -> None:
        if not self.info.running:
            return
        self._resizing += 1

        def answered(done: bool) -> None:
            self._resizing -= 1
            self._resize_lost = not done
            self.size_changed()

        self.link.resize_soon(self.id, cols, rows, answered)

    def size_changed(self) -> None:
        """The session has another size, or is as it was after all.

        What the keeper tells while a wish of ours is on its way is older than the wish; taken for the truth,
        it would let the next key be answered in a size that nobody wants any more.
        """
        if not self._resizing:
            self.attachments.size_is(self.info.cols, self.info.rows)

    def reconnected(self) -> None:
        """The keeper can be reached again."""
        self.size_changed()
        if self._resize_lost:
            self._resize_lost = False
            self.attachments.size_was_lost()

    def _unattended(self, nobody_answers: bool) -> None:
        """Questions from here on are the server's to answer, or not any more."""
        answer = nobody_answers and self.info.running
        self._recogniser = Recogniser(self.subscription.reader.head) if answer else None

    def _recogniser_at_start(self) -> Recogniser | None:
        """A program may wait for an answer since before this server was there."""
        info, reader = self.info, self.subscription.reader
        if info.unattended_from is None:
            return None
        if info.output_at is None or time.time() - info.output_at < ANSWER_SECONDS:
            return Recogniser(info.unattended_from)
        head = reader.head
        last = reader.read(max(info.unattended_from, head - ANSWER_TAIL))
        return Recogniser(last.start if waited_for(last.data, last.start) else head)

    def _woken(self) -> None:
        head = self.subscription.reader.head
        if head != self._head:
            first, self._head = self._head < 0, head
            if not first:
                self._tell_output(self)
        if not self._working:
            self._work()

    def _work(self) -> None:
        """A piece of what is to be done with new bytes; the event loop has its turn in between."""
        self._working = False
        try:
            reader = self.subscription.reader
        except ValueError:  # closed meanwhile
            return
        if self.subscription.flooding:
            # It would be forgotten before it is of use to anybody, and clients need the time.
            self._working = True
            asyncio.get_running_loop().call_later(AFTER_FLOOD_SECONDS, self._work)
            return
        more = self.history.follow(reader)
        recogniser = self._recogniser
        if recogniser is not None:
            chunk = reader.read(recogniser.offset, PIECE)
            if chunk.lost:
                recogniser = self._recogniser = Recogniser(chunk.start)
            for answer in recogniser.feed(chunk.data):
                self.link.answer(self.id, ANSWERER, answer.offset, answer.data)
            more = more or recogniser.offset < reader.head
        if more:
            self._working = True
            asyncio.get_running_loop().call_soon(self._work)


#: What the keeper keeps with a session that an administrator ended: a clause, as `olga ended it: too large`.
ENDED_BY = "ended_by"


def session_model(info: Info, state: str, bytes_out: int, life: dict[str, Any]) -> dict[str, Any]:
    """A session as the API shows it."""
    return {
        "id": info.id,
        "name": info.name,
        "state": state,
        "created": iso(info.created),
        "last_input": iso(info.input_at),
        "last_output": iso(info.output_at),
        "last_attached": iso(info.attached_at),
        "pid": info.pid,
        "argv": info.argv,
        "cwd": info.cwd,
        "cols": info.cols,
        "rows": info.rows,
        "clients": info.attached if info.running else 0,
        "exit": exit_model(info),
        "bytes_out": bytes_out,
        "program": info.foreground_name if info.running else None,
        **life,
    }


def exit_model(info: Info) -> dict[str, Any] | None:
    """How it ended, as the API shows it."""
    if info.exit is None:
        return None
    number, reason = info.exit["signal"], info.exit["reason"]
    name = None
    if number is not None:
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"SIG{number}"
    model = {"code": info.exit["code"], "signal": name, "reason": None if reason == "exited" else reason}
    message = info.meta.get(ENDED_BY)
    if reason == "terminated" and isinstance(message, str):
        model["message"] = message
    return model


class StockProcess:
    """What other extensions use of terminado's `ptyproc`, passed on to the session."""

    def __init__(self, session: PersistentPty) -> None:
        self._session = session
        self._typist: Typist | None = None

    @property
    def pid(self) -> int:
        """The shell."""
        return self._session.info.pid

    def isalive(self) -> bool:
        """Whether it runs."""
        return self._session.info.running

    def write(self, text: str) -> int:
        """Send input; from the event loop's thread only."""
        data = text.encode("utf-8", "replace")
        self._typist = self._typist or self._session.typist()
        for at in range(0, len(data), INPUT_PIECE):
            self._typist.send(data[at : at + INPUT_PIECE])
        return len(data)

    def getwinsize(self) -> Sequence[int]:
        """(rows, cols)."""
        return self._session.info.rows, self._session.info.cols

    def setwinsize(self, rows: int, cols: int) -> None:
        """Set the size."""
        self._session.link.resize_soon(self._session.id, cols, rows, lambda _done: None)

    def kill(self, sig: int) -> None:
        """Send a signal."""
        self._session.kill(sig)
