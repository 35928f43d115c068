"""The other end of the keeper's socket: for the Jupyter server (:class:`Client`, asyncio) and for tools
and tests that have no loop (:class:`BlockingClient`).

Neither reconnects: when the connection is gone, every open call fails with :class:`KeeperGone`,
``on_close`` is called, and the caller connects again and asks for what is there.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from array import array
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from persistent_terminal_hub.keeper import wire
from persistent_terminal_hub.keeper.journal import Reader

_RECEIVE_BYTES = 64 * 1024
_FDS_ROOM = socket.CMSG_SPACE(16 * array("i").itemsize)

Event = dict[str, Any]


class KeeperError(Exception):
    """The keeper refused. ``code`` is for programs, the text for people, ``header`` the whole answer."""

    def __init__(self, header: wire.Header) -> None:
        super().__init__(str(header.get("message", "The keeper refused.")))
        self.code = str(header.get("error", "error"))
        self.header = header


class KeeperGone(ConnectionError):
    """The connection to the keeper is lost."""


class Reply(NamedTuple):
    """An answer; whoever gets ``fds`` owns them."""

    header: wire.Header
    payload: bytes
    fds: tuple[int, ...]


class _Channel:
    """What both clients share: numbering of requests, frames and descriptors in, answers sorted out."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._decoder = wire.Decoder()
        self._fds: deque[int] = deque()
        self._last_id = 0

    def request(self, op: str, payload: bytes, fields: dict[str, Any]) -> tuple[int, bytes]:
        self._last_id += 1
        return self._last_id, wire.encode({"op": op, "id": self._last_id, **fields}, payload)

    def receive(self) -> list[Reply | wire.Ack]:
        """One receive; raises BlockingIOError, KeeperGone, WireError."""
        try:
            # Descriptors must not leak into programs that the server starts.
            data, ancillary, _, _ = self.sock.recvmsg(_RECEIVE_BYTES, _FDS_ROOM, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            raise
        except OSError as error:
            raise KeeperGone(f"The keeper cannot be reached ({error.strerror}).") from None
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array("i")
                received.frombytes(content[: len(content) - len(content) % received.itemsize])
                self._fds.extend(received)
        if not data:
            raise KeeperGone("The keeper closed the connection.")
        self._decoder.feed(data)
        return [self._reply(frame) for frame in self._decoder.frames()]

    def _reply(self, frame: wire.Frame | wire.Input | wire.Ack) -> Reply | wire.Ack:
        if not isinstance(frame, wire.Frame):
            if isinstance(frame, wire.Ack):
                return frame
            raise wire.WireError("the keeper does not type")
        # Descriptors come with the first byte of their frame, so they are here when it is complete.
        count = frame.header.get("fds", 0)
        if not isinstance(count, int) or not 0 <= count <= len(self._fds):
            raise wire.WireError("descriptors are missing")
        return Reply(frame.header, frame.payload, tuple(self._fds.popleft() for _ in range(count)))

    def close(self) -> None:
        self.sock.close()
        while self._fds:
            os.close(self._fds.popleft())


class Subscription:
    """A session's journal, mapped, and what to call when there is something new in it."""

    def __init__(
        self, reply: Reply, on_close: Callable[[int], None], loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        journal_fd, self._wake_fd = reply.fds
        self._loop = loop
        self._on_close = on_close
        self._woken: Callable[[], None] = lambda: None
        self._paused: asyncio.TimerHandle | None = None
        self._number = int(reply.header["subscription"])
        self.session: Event = reply.header["session"]
        try:
            self.reader = Reader(journal_fd)
        except BaseException:
            os.close(self._wake_fd)
            raise
        finally:
            os.close(journal_fd)

    def _watch(self, on_wake: Callable[[], None]) -> None:
        def woken() -> None:
            self.clear_wake()
            on_wake()

        self._woken = woken
        if self._loop is not None:
            self._loop.add_reader(self._wake_fd, woken)

    def pause(self, seconds: float) -> None:
        """Be woken again only after so long; what happens meanwhile wakes then. For floods."""
        if self._loop is not None and self._wake_fd >= 0 and self._paused is None:
            self._loop.remove_reader(self._wake_fd)
            self._paused = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._paused = None
        if self._loop is not None and self._wake_fd >= 0:
            self._loop.add_reader(self._wake_fd, self._woken)

    def clear_wake(self) -> None:
        """Consume the wakes so far; do that before reading, so that none is lost."""
        try:  # noqa: SIM105 - on the way of every echo
            os.eventfd_read(self._wake_fd)
        except BlockingIOError:
            pass

    def wait(self, seconds: float) -> bool:
        """For users without a loop: wait until there is something to read."""
        poller = select.poll()
        poller.register(self._wake_fd, select.POLLIN)
        if not poller.poll(seconds * 1000):
            return False
        self.clear_wake()
        return True

    def close(self) -> None:
        """Unmap the journal and stop being woken."""
        if self._wake_fd >= 0:
            if self._loop is not None:
                self._loop.remove_reader(self._wake_fd)
            if self._paused is not None:
                self._paused.cancel()
            os.close(self._wake_fd)
            self._wake_fd = -1
            self.reader.close()
            self._on_close(self._number)


class Client:
    """A connection from an asyncio program. Make it with :meth:`connect`.

    ``on_event`` gets every event after :meth:`watch`; ``on_close`` is called once when the connection is
    lost, not when :meth:`close` was called; ``on_ack`` and ``on_refused`` tell what became of :meth:`type`.
    """

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self._channel = _Channel(sock)
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


class BlockingClient:
    """The same for programs without a loop. Events that arrive are kept in :attr:`events`."""

    def __init__(self, path: Path, timeout: float = 10.0) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.settimeout(timeout)
        self._channel = _Channel(sock)
        self._replies: deque[Reply] = deque()
        self.events: deque[Event] = deque()
        try:
            with wire.socket_address(path) as address:
                sock.connect(address)
            self.keeper = self.call("hello", versions=[wire.VERSION]).header
        except BaseException:
            self.close()
            raise

    def call(self, op: str, payload: bytes = b"", **fields: Any) -> Reply:
        """Send a request and wait for its answer."""
        number, data = self._channel.request(op, payload, fields)
        try:
            self._channel.sock.sendall(data)
        except OSError as error:
            raise KeeperGone(f"The keeper cannot be reached ({error.strerror}).") from None
        while True:
            reply = self._next()
            if reply.header.get("re") == number:
                if not reply.header.get("ok"):
                    raise KeeperError(reply.header)
                return reply

    def _next(self) -> Reply:
        while True:
            while self._replies:
                reply = self._replies.popleft()
                if "event" not in reply.header:
                    return reply
                self.events.append(reply.header)
            self._receive()

    def _receive(self) -> None:
        found = self._channel.receive()
        self._replies.extend(reply for reply in found if isinstance(reply, Reply))

    def wait_event(self, kind: str, session: str | None = None) -> Event:
        """The next event of a kind (of one session); others before it are dropped."""
        while True:
            while self.events:
                event = self.events.popleft()
                if event["event"] == kind and session in (None, event.get("session")):
                    return event
            if not self._replies:
                self._receive()
            while self._replies:  # no call is under way, so these are events
                self.events.append(self._replies.popleft().header)

    def subscribe(self, session: str) -> Subscription:
        """Map a session's journal."""
        reply = self.call("subscribe", session=session)
        return Subscription(reply, lambda _number: None)

    def close(self) -> None:
        """Disconnect."""
        self._channel.close()
