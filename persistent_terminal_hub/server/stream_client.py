"""One attached client: the protocol's machine, a socket under it, a session's room above it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from persistent_terminal_hub.keeper.journal import Reader
from persistent_terminal_hub.protocol import messages
from persistent_terminal_hub.protocol.codes import Code, Limits
from persistent_terminal_hub.protocol.frames import Kind, encode_output
from persistent_terminal_hub.protocol.journal_view import JournalView
from persistent_terminal_hub.protocol.messages import (
    Attach,
    Attached,
    Exit,
    Message,
    Mode,
    Skipped,
    Token,
    encode,
)
from persistent_terminal_hub.protocol.server_actions import (
    Action,
    Admit,
    Heard,
    RequestKeyframe,
    Send,
    SendData,
    SendFetched,
    SendFrame,
    Shut,
    WriteInput,
)
from persistent_terminal_hub.protocol.server_stream import DEFAULT_LIMITS, ServerStream

from . import metrics
from .keeper_link import KeeperError, SessionOver
from .keyframe import Keyframe
from .stream_pump import Pump

log = logging.getLogger(__name__)

#: Close codes that mean that the client is broken or hostile; said once in the log.
_SUSPICIOUS: Final = frozenset({Code.PROTOCOL, Code.TOO_LARGE, Code.FLOOD})
#: Seconds between two looks at the clock.
SHORTEST: Final = 0.005
#: Frames that go out with the answer to an attach: a keyframe of the usual size, and the window behind it.
OPENING: Final = 8


#: Seconds after which the same is worth saying again, and how many different things are remembered.
_SAY_AGAIN: Final = 600.0
_REMEMBERED: Final = 200
_said: dict[str, float] = {}


def warn_once(sentence: str) -> None:
    """Log it, but not for every connection of a client that is broken or hostile."""
    now = time.monotonic()
    if now - _said.get(sentence, -_SAY_AGAIN) < _SAY_AGAIN:
        return
    if len(_said) >= _REMEMBERED:
        _said.clear()
    _said[sentence] = now
    log.warning("%s", sentence)


class Transport(Protocol):
    """The socket, as the stream sees it."""

    @property
    def busy(self) -> bool:
        """Whether what was sent last is not yet taken; `StreamClient.drained` is called when it is."""

    def send_text(self, text: str) -> None:
        """Send a text frame."""

    def send_binary(self, data: bytes) -> None:
        """Send a binary frame."""

    def send_journal(self, reader: Reader, start: int, stop: int) -> bool:
        """Send bytes of the journal as one stream frame; False if they are gone."""

    def cork(self) -> None:
        """Collect what is sent until `uncork`."""

    def uncork(self) -> None:
        """Send what was collected in one write."""

    def shut(self, code: int, reason: str) -> None:
        """Close."""


class Room(Protocol):
    """The session, as one of its clients sees it."""

    @property
    def view(self) -> JournalView:
        """The journal, as of `refresh`."""

    @property
    def reader(self) -> Reader:
        """The journal itself."""

    def refresh(self) -> None:
        """Bring the view up to date."""

    def enter(self, client: StreamClient, request: Attach) -> None:
        """Somebody wants in; `admit` or `shut` follows."""

    def leave(self, client: StreamClient) -> None:
        """Somebody is gone."""

    def heard(self, client: StreamClient, message: Message) -> None:
        """A client told its size, that it can be seen, or that it has the focus."""

    def typed(self, client: StreamClient) -> None:
        """A client typed."""

    def skipped(self, client: StreamClient, skipped: Skipped) -> None:
        """A client will not see these bytes."""

    def keyframe(self, client: StreamClient, near: int) -> None:
        """A client needs a keyframe; `keyframe` or `keyframe_unavailable` follows."""

    def input(self, client: StreamClient, seq: int, data: bytes) -> None:
        """Hand input to the keeper; `taken` follows."""


class StreamClient:
    """Does what the machine says. Everything happens in the event loop's thread."""

    def __init__(
        self,
        room: Room,
        transport: Transport,
        pump: Pump,
        loop: asyncio.AbstractEventLoop,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.name = ""  # the client's id, once it said it
        self.closed = False
        self.of_owner = True  # else what is typed is no presence of the owner
        self.on_token: Callable[[str], None] | None = None  # the client proves itself again
        self._room = room
        self._transport = transport
        self._pump = pump
        self._loop = loop
        self._stream = ServerStream(loop.time(), limits)
        self._timer: asyncio.TimerHandle | None = None
        self._bytes_in = self._bytes_out = 0  # since the metrics were told
        self._counted = (0, 0)  # jumps and stalls that the metrics know
        self._attach: tuple[str, float, int] | None = None  # kind, since, what it must reach
        self._admitted = False
        self._stepping = False
        self._arm()

    # What the socket says ---------------------------------------------------------------------------

    def receive(self, frame: str | bytes) -> None:
        """A frame from the client."""
        self._do(self._stream.receive(frame, self._loop.time()))
        # After input too, though it makes nothing ready: what was printed before it must be known now, so
        # that a client that waits for the output of what it typed is not taken for one that lags.
        self.kick()

    def drained(self) -> None:
        """The socket takes bytes again."""
        self.kick()

    def gone(self) -> None:
        """The connection is over, whoever ended it."""
        if self.closed:
            return
        self.closed = True
        self._count()
        if self._timer is not None:
            self._timer.cancel()
        if self._admitted:
            metrics.CLIENTS.dec()
        self._stream.refuse(Code.NORMAL, "")  # whatever still comes for it is dropped
        self._room.leave(self)

    # What the room says -----------------------------------------------------------------------------

    def kick(self) -> None:
        """There may be something to send."""
        if self._admitted and not self.closed and not self._stepping:
            self._pump.kick(self)

    def admit(self, *, mode: Mode, input_ack: int, responder: bool) -> None:
        """Come in."""
        if self.closed:
            return
        view = self._room.view
        asked = self._loop.time()
        actions = self._stream.admit(view, mode=mode, input_ack=input_ack, responder=responder)
        self._admitted = True
        metrics.CLIENTS.inc()
        for action in actions:
            if isinstance(action, Send) and isinstance(action.message, Attached):
                attached = action.message
                whole = "replay" if attached.start is not None else "keyframe"
                kind = "resumed" if attached.resumed else whole
                metrics.ATTACHES.labels(kind).inc()
                self._attach = (kind, asked, view.head)
        # In one write: each of them would wake the client, and cost as much as making the keyframe.
        self._transport.cork()
        try:
            self._do(actions)
            for _ in range(OPENING):
                if not self.step():
                    break
        finally:
            self._transport.uncork()
        self.kick()

    def shut(self, code: Code, reason: str) -> None:
        """Close the connection."""
        self._do(self._stream.refuse(code, reason))

    def lock(self, message: str) -> None:
        """The workspace is locked."""
        self._do(self._stream.lock(message))

    def end(self, exit_: Exit) -> None:
        """The session has ended; the rest of its output comes first."""
        self._stream.end(exit_)
        self.kick()

    def tell(self, message: Message) -> None:
        """Something for the person."""
        if self._admitted and not self.closed:
            self._do([Send(message)])

    def set_responder(self, responder: bool) -> None:
        """Whether this client answers the terminal's queries from now on."""
        self._do(self._stream.set_responder(responder, self._room.view))

    def keyframe(self, frame: Keyframe) -> None:
        """The keyframe that was asked for."""
        self._room.refresh()
        told = messages.Keyframe(
            frame.offset, len(frame.data), frame.rows, frame.cols, frame.begin, frame.own
        )
        self._stream.keyframe(told, frame.data, self._room.view)
        self.kick()

    def keyframe_unavailable(self) -> None:
        """There is none."""
        self._stream.keyframe_unavailable()
        self.kick()

    # Output -----------------------------------------------------------------------------------------

    def step(self) -> bool:
        """One frame; see `stream_pump`."""
        if self.closed or self._transport.busy:
            return False
        room = self._room
        room.refresh()
        action = self._stream.pull(room.view, self._loop.time())
        if type(action) is SendData:
            self._send_data(action)
            if action.stop < room.view.head or self._transport.busy:
                return True
            # That was the last of it; what a turn of its own would find is found for less here.
            action = self._stream.pull(room.view, self._loop.time())
        if action is None:
            self._caught_up()
            if self._stream.cursor.due is not None:  # the heartbeat's time only moves away
                self._arm()
            return False
        self._stepping = True  # what follows from it is the next step
        try:
            self._do((action,))
        finally:
            self._stepping = False
        return not self.closed

    def _send_data(self, action: SendData) -> None:
        if self._transport.send_journal(self._room.reader, action.start, action.stop):
            self._stream.sent(action.stop, self._loop.time())
            self._bytes_out += action.stop - action.start
        # Else the journal overtook us: the next pull sees that, because the view is brought up to date.

    def _send_fetched(self, action: SendFetched) -> None:
        size = action.stop - action.start
        chunk = self._room.reader.read(action.start, size)
        whole = not chunk.lost and len(chunk.data) == size
        if whole:
            self._transport.send_binary(encode_output(Kind.FETCHED, action.start, chunk.data))
        self._do(self._stream.fetched(whole))

    # Doing ------------------------------------------------------------------------------------------

    def _do(self, actions: Iterable[Action]) -> None:
        transport = self._transport
        for action in actions:
            if self.closed:
                return
            if isinstance(action, Send):
                transport.send_text(encode(action.message))
                if type(action.message) is Skipped:
                    self._room.skipped(self, action.message)
            elif isinstance(action, WriteInput):
                self._write_input(action)
            elif isinstance(action, SendFrame):
                transport.send_binary(action.frame)
            elif isinstance(action, SendData):
                self._send_data(action)
            elif isinstance(action, SendFetched):
                self._send_fetched(action)
            elif isinstance(action, RequestKeyframe):
                self._room.keyframe(self, action.near)
            elif isinstance(action, Heard):
                if not isinstance(action.message, Token):
                    self._room.heard(self, action.message)
                elif self.on_token is not None:
                    self.on_token(action.message.token)
            elif isinstance(action, Admit):
                self.name = action.request.client
                self._room.enter(self, action.request)
            elif isinstance(action, Shut):
                self._shut(action)

    def _write_input(self, action: WriteInput) -> None:
        if action.epoch != self._room.view.epoch:
            return  # typed for a process that is gone
        self._bytes_in += len(action.data)
        if action.data:
            self._room.typed(self)  # first the size of the window that is typed into, then what is typed
        self._room.input(self, action.seq, action.data)

    def taken(self, answer: int | Exception) -> None:
        """The keeper has input up to a number, or never will have a piece of it."""
        if self.closed:
            return
        if isinstance(answer, int):
            self._do(self._stream.input_written(answer))
        elif isinstance(answer, KeeperError) and answer.code == "gap":
            self.shut(Code.PROTOCOL, "Input numbers must rise by one without a gap.")
        elif not isinstance(answer, SessionOver):  # then the stream tells how it ended
            self.shut(Code.REATTACH, "The keeper did not take the input.")

    def _shut(self, action: Shut) -> None:
        metrics.CLOSES.labels(str(int(action.code))).inc()
        if action.code in _SUSPICIOUS:
            warn_once(f"A terminal's client was disconnected ({int(action.code)}): {action.reason}")
        self._transport.shut(action.code, action.reason)
        self.gone()

    # Time -------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Have `_tick` called in time. A timer that is too early is left alone: it arms itself again."""
        wake_at = self._stream.wake_at
        if self._timer is not None:
            if self._timer.when() <= wake_at:
                return
            self._timer.cancel()
        # What is overdue waits for the socket or its turn, and must not keep the loop busy.
        self._timer = self._loop.call_at(max(wake_at, self._loop.time() + SHORTEST), self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self.closed:
            return
        now = self._loop.time()
        if now >= self._stream.wake_at:
            self._do(self._stream.tick(now))
            self._count()
            self.kick()
        if not self.closed and self._timer is None:
            self._arm()

    def _count(self) -> None:
        cursor = self._stream.cursor
        jumps, stalls = self._counted
        metrics.BYTES_IN.inc(self._bytes_in)
        metrics.BYTES_OUT.inc(self._bytes_out)
        self._bytes_in = self._bytes_out = 0
        metrics.JUMPS.inc(cursor.jumps - jumps)
        metrics.STALLS.inc(cursor.stalls - stalls)
        self._counted = (cursor.jumps, cursor.stalls)

    def _caught_up(self) -> None:
        """How long an attach took."""
        if self._attach is not None:
            kind, since, head = self._attach
            place = self._stream.cursor.place
            if place is not None and place >= head:
                metrics.ATTACH_SECONDS.labels(kind).observe(self._loop.time() - since)
                self._attach = None
