"""The other end of the keeper's socket for the Jupyter server (asyncio); `blocking_client` is for others.

Neither reconnects: when the connection is gone, every open call fails with :class:`KeeperGone`,
``on_close`` is called, and the caller connects again and asks for what is there.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from persistent_terminal_hub.keeper import wire
from persistent_terminal_hub.keeper.channel import Channel, Event, KeeperError, KeeperGone, Reply
from persistent_terminal_hub.keeper.subscription import Subscription


class Client:
    """A connection from an asyncio program. Make it with :meth:`connect`.

    ``on_event`` gets every event after :meth:`watch`; ``on_close`` is called once when the connection is
    lost, not when :meth:`close` was called; ``on_ack`` and ``on_refused`` tell what became of :meth:`type`.
    """

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self._channel = Channel(sock)
        self._loop = loop
        self._calls: dict[int, asyncio.Future[Reply]] = {}
        self._out = bytearray()
        self._open = True
        self.keeper: wire.Header = {}
        self.on_event: Callable[[Event], None] = lambda _event: None
        self.on_close: Callable[[], None] = lambda: None
        self.on_ack: Callable[[int, int], None] = lambda _line, _seq: None
        self.on_refused: Callable[[KeeperError], None] = lambda _error: None
        loop.add_reader(sock.fileno(), self._on_readable)

    @classmethod
    async def connect(cls, path: Path, *, timeout: float = 10.0) -> Client:  # noqa: ASYNC109
        """Connect and say hello. Raises OSError, :class:`KeeperError`, TimeoutError."""
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            async with asyncio.timeout(timeout):
                with wire.socket_address(path) as address:
                    await loop.sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        client = cls(sock, loop)
        try:
            async with asyncio.timeout(timeout):
                client.keeper = (await client.call("hello", versions=[wire.VERSION])).header
        except BaseException:
            client.close()
            raise
        return client

    @property
    def is_open(self) -> bool:
        """Whether the connection stands, as far as we know."""
        return self._open

    # -- calls ---------------------------------------------------------------------------------------
    def send(self, op: str, payload: bytes = b"", **fields: Any) -> asyncio.Future[Reply]:
        """Send a request now, in the order of the calls; the future gets the answer."""
        future: asyncio.Future[Reply] = self._loop.create_future()
        if not self._open:
            future.set_exception(KeeperGone("The connection to the keeper is closed."))
            return future
        number, data = self._channel.request(op, payload, fields)
        self._calls[number] = future
        self._write(data)
        return future

    async def call(self, op: str, payload: bytes = b"", **fields: Any) -> Reply:
        """Send a request and wait for the answer. Raises :class:`KeeperError`, :class:`KeeperGone`."""
        return await self.send(op, payload, **fields)

    async def create(self, **fields: Any) -> Event:
        """Start a session; see the reference for the fields. Returns what `get` does."""
        session: Event = (await self.call("create", **fields)).header["session"]
        return session

    async def list(self) -> list[Event]:
        """All sessions."""
        sessions: list[Event] = []
        after: int | None = 0
        while after is not None:
            page = (await self.call("list", after=after)).header
            sessions += page["sessions"]
            after = page["next"]
        return sessions

    async def get(self, session: str) -> Event:
        """One session, by id or name."""
        found: Event = (await self.call("get", session=session)).header["session"]
        return found

    def input(self, session: str, client: str, seq: int, data: bytes) -> asyncio.Future[Reply]:
        """Hand input over, in the order of the calls; ``header["ack"]`` of the answer is what is safe.

        Refused with `full`, `gap`, `ended` or `too_large`: see :attr:`KeeperError.header` for the ack.
        """
        return self.send("input", data, session=session, client=client, seq=seq)

    def type(self, line: int, seq: int, data: bytes) -> None:
        """The same at the least cost, under the number that `attach` answered as ``line``.

        ``on_ack`` gets the line and the last number accepted, a little later and for many at once;
        ``on_refused`` the refusal, whose header has ``line``, ``seq`` and ``ack``.
        """
        if self._open:
            self._write(wire.encode_input(line, seq, data))

    async def watch(self, on_event: Callable[[Event], None]) -> None:
        """Get every event from now on."""
        self.on_event = on_event
        await self.call("watch")

    async def subscribe(self, session: str, on_wake: Callable[[], None]) -> Subscription:
        """Map a session's journal; ``on_wake`` is called when there is something new, and once at first."""
        reply = await self.call("subscribe", session=session)

        def closed(number: int) -> None:
            if self._open:
                self.send("unsubscribe", session=session, subscription=number).add_done_callback(_ignore)

        subscription = Subscription(reply, closed, self._loop)
        subscription._watch(on_wake)
        return subscription

    # -- the connection ------------------------------------------------------------------------------
    def _write(self, data: bytes) -> None:
        if self._out:
            self._out += data
            return
        try:
            sent = self._channel.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lost()
            return
        if sent < len(data):
            self._out += data[sent:]
            self._loop.add_writer(self._channel.sock.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        try:
            sent = self._channel.sock.send(self._out)
        except BlockingIOError:
            return
        except OSError:
            self._lost()
            return
        del self._out[:sent]
        if not self._out:
            self._loop.remove_writer(self._channel.sock.fileno())

    def _on_readable(self) -> None:
        try:
            replies = self._channel.receive()
        except BlockingIOError:
            return
        except (KeeperGone, wire.WireError):
            self._lost()
            return
        for reply in replies:
            self._deliver(reply)

    def _deliver(self, reply: Reply | wire.Ack) -> None:
        if isinstance(reply, wire.Ack):
            self.on_ack(reply.line, reply.seq)
            return
        if "event" in reply.header:
            # Not from here: a handler that raises must not cost the answers that came with the event.
            self._loop.call_soon(self.on_event, reply.header)
            return
        if "line" in reply.header and "re" not in reply.header:
            self.on_refused(KeeperError(reply.header))
            return
        future = self._calls.pop(reply.header.get("re") or 0, None)
        if future is None or future.done():  # given up by the caller
            for fd in reply.fds:
                os.close(fd)
        elif reply.header.get("ok"):
            future.set_result(reply)
        else:
            future.set_exception(KeeperError(reply.header))

    def _lost(self) -> None:
        if self._open:
            self.close()
            self.on_close()

    def close(self) -> None:
        """Disconnect. Calls that are under way fail."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._channel.sock.fileno())
        self._loop.remove_writer(self._channel.sock.fileno())
        self._channel.close()
        calls, self._calls = self._calls, {}
        for future in calls.values():
            if not future.done():
                future.set_exception(KeeperGone("The connection to the keeper is lost."))
                future.exception()  # nobody may be waiting for it


def _ignore(future: asyncio.Future[Reply]) -> None:
    """Take note of a failure that does not matter."""
    if not future.cancelled():
        future.exception()
