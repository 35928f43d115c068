"""The host of a `ClientStream`: one WebSocket at a time, its timer, and whoever wants the events.

It never gives up by itself: the machine decides when to try again, this file only does it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import Callable
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from persistent_terminal_hub.protocol.client_events import (
    CloseSocket,
    Connect,
    Event,
    SendBinary,
    SendText,
    State,
)
from persistent_terminal_hub.protocol.client_stream import ClientStream, code_of_status
from persistent_terminal_hub.protocol.codes import MAX_OUTPUT, SUBPROTOCOL, Code
from persistent_terminal_hub.protocol.frames import HEADER
from persistent_terminal_hub.protocol.messages import Ack, encode

from .place import Place
from .unlock_watch import UnlockWatch

#: Nothing of the server's is larger: a data frame; one text frame is smaller.
_MAX_FRAME: Final = MAX_OUTPUT + HEADER
#: Seconds that a closing handshake may take; nobody waits for it.
_CLOSE_WITHIN: Final = 1.0


class _Connect(connect):
    """`connect` that follows no redirect: the token is for this server only."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class _Line:
    """One WebSocket, from the attempt to open it to its end."""

    def __init__(self, owner: Connection) -> None:
        self._owner = owner
        self._out: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._ack: str | None = None  # the newest; None in the queue keeps its place
        self.task = asyncio.get_running_loop().create_task(self._run())

    def send(self, frame: str | bytes) -> None:
        self._out.put_nowait(frame)

    def acknowledge(self, frame: str) -> None:
        """Of several acknowledgements that wait only the newest is sent."""
        if self._ack is None:
            self._out.put_nowait(None)
        self._ack = frame

    def _next(self, frame: str | bytes | None) -> str | bytes:
        if frame is None:
            frame, self._ack = self._ack or "", None
        return frame

    async def _run(self) -> None:
        owner = self._owner
        try:
            socket = await _Connect(
                owner.url,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                additional_headers=owner.place.headers,
                ssl=owner.tls if owner.url.startswith("wss:") else None,
                proxy=None if owner.place.local else True,
                compression=None,  # the proxy and TLS see the same bytes; a terminal wants latency
                max_size=_MAX_FRAME,
                ping_interval=None,  # the protocol has its own heartbeat
                open_timeout=None,  # and its own patience
                close_timeout=_CLOSE_WITHIN,
            )
        except InvalidStatus as error:
            owner.line_closed(self, code_of_status(error.response.status_code), "")
            return
        except (OSError, InvalidHandshake, InvalidURI, EOFError, ValueError) as error:
            owner.line_closed(self, Code.TRY_LATER, str(error))
            return
        writer = asyncio.get_running_loop().create_task(self._write(socket))
        try:
            if socket.subprotocol != SUBPROTOCOL:
                owner.line_closed(self, Code.PROTOCOL, "The server does not speak pth.v1: it is too old.")
                return
            owner.line_opened(self)
            async for frame in socket:
                owner.line_frame(self, frame)
        except ConnectionClosed:
            pass
        finally:
            writer.cancel()
            with contextlib.suppress(Exception):
                # What was left to say, such as the last acknowledgement, before the close.
                while not self._out.empty():
                    await socket.send(self._next(self._out.get_nowait()))
                await socket.close(owner.close_code)
        # No close frame came: the line broke.
        owner.line_closed(self, socket.close_code or 1006, socket.close_reason or "")

    async def _write(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await socket.send(self._next(await self._out.get()))


class Connection:
    """Runs a `ClientStream`. `handle` gets every event that is not about the socket, in order, at once.

    `after` is called when anything may have changed, also what makes no event, such as acknowledged input.
    """

    def __init__(
        self,
        url: str,
        place: Place,
        stream: ClientStream,
        handle: Callable[[Event], None],
        after: Callable[[], None],
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.url = url
        self.place = place
        self.stream = stream
        self.tls = tls
        self.close_code = int(Code.NORMAL)
        self._handle = handle
        self._after = after
        self._line: _Line | None = None
        self._old: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._watch = UnlockWatch(url, self._opened, local=place.local, tls=tls, random=jitter)

    @property
    def state(self) -> State:
        """The honest state of the connection."""
        return self.stream.state

    @property
    def now(self) -> float:
        """The time that the machine lives by."""
        return self._loop.time()

    def start(self) -> None:
        """Begin; also after `refused`."""
        self.do(self.stream.start(self.now))

    async def stop(self) -> None:
        """Leave; the session goes on."""
        self.do(self.stream.stop(self.now))
        self._watch.turn(False)
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._old):
            with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                await asyncio.wait_for(asyncio.shield(task), _CLOSE_WITHIN * 2)
            task.cancel()

    def do(self, events: list[Event]) -> None:
        """Carry out what the machine returned, then set the timer for its next wish."""
        for event in events:
            if isinstance(event, SendBinary):
                if self._line is not None:
                    self._line.send(event.frame)
            elif isinstance(event, SendText):
                if self._line is None:
                    continue
                if isinstance(event.message, Ack):
                    self._line.acknowledge(encode(event.message))
                else:
                    self._line.send(encode(event.message))
            elif isinstance(event, Connect):
                self._drop()
                self._line = _Line(self)
            elif isinstance(event, CloseSocket):
                self.close_code = int(event.code)
                self._drop()
            else:
                self._handle(event)
        self._watch.turn(self.state.name == "locked")
        self._arm()
        self._after()

    def _drop(self) -> None:
        """Forget the socket: nothing of it counts any more."""
        line, self._line = self._line, None
        if line is not None:
            self._old.add(line.task)
            line.task.add_done_callback(self._old.discard)
            line.task.cancel()

    def _arm(self) -> None:
        wake = self.stream.wake_at
        if self._timer is not None:
            if wake is not None and self._timer.when() <= wake:
                return  # it arms itself again
            self._timer.cancel()
        self._timer = None if wake is None else self._loop.call_at(wake, self._tick)

    def _opened(self) -> None:
        """The workspace is not locked any more: attach now, at the place that was kept."""
        self.do(self.stream.nudge(self.now))

    def _tick(self) -> None:
        self._timer = None
        self.do(self.stream.tick(self.now))

    # What a line says; a line that was dropped is not heard -----------------------------------------

    def line_opened(self, line: _Line) -> None:
        if line is self._line:
            self.do(self.stream.opened(self.now))

    def line_frame(self, line: _Line, frame: str | bytes) -> None:
        if line is self._line:
            self.do(self.stream.receive(frame, self.now))

    def line_closed(self, line: _Line, code: int, reason: str) -> None:
        if line is self._line:
            self._line = None
            self.do(self.stream.closed(code, self.now, reason))


def jitter() -> float:
    """Spreads the reconnects of many clients; nothing secret depends on it."""
    return random.random()  # noqa: S311
