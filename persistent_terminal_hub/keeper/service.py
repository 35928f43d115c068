"""The unix socket: connections, what they may ask, and what they are told. The wire format is in wire.py."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from persistent_terminal_hub.keeper import log, wire
from persistent_terminal_hub.keeper.loop import READ, WRITE, Loop
from persistent_terminal_hub.keeper.sessions import Event

MAX_CONNECTIONS = 64
HELLO_SECONDS = 10.0
# The share of one connection in one turn of the loop.
TURN_FRAMES = 64
RECEIVE_BYTES = 64 * 1024
# A client that does not read its answers is not read any further ...
OUT_PAUSE = 256 * 1024
# ... and is let go when even the events it asked for have grown to this.
OUT_MOST = 4 * 1024 * 1024
# Accepted input is acknowledged so much later, or together with whatever is sent before: an acknowledgement
# of each keystroke would wake the server just when the processor is needed for its echo.
ACK_SECONDS = 0.01


class Connection:
    """One client of the keeper: a Jupyter server, a tool, a test."""

    def __init__(self, service: Service, sock: socket.socket, number: int) -> None:
        self._service = service
        self._loop = service.loop
        self._sock = sock
        self._decoder = wire.Decoder()
        self._out: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        self._out_bytes = 0
        self._acks: dict[int, int] = {}  # by line, what is not yet told
        self._acks_due = False
        self._interest = READ
        self._postponed = False
        self.number = number
        self.greeted = False
        self.watching = False
        self.open = True
        self._loop.add(sock.fileno(), READ, self._on_ready, self.close)
        self._hello_timer = self._loop.call_later(HELLO_SECONDS, self._expect_hello)

    def _expect_hello(self) -> None:
        if self.open and not self.greeted:
            self.fail("no hello came in time")

    # -- in ------------------------------------------------------------------------------------------
    def _on_ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if self.open and events & ~WRITE:
            self._receive()

    def _receive(self) -> None:
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._decoder.feed(data)
        self._serve()

    def _serve(self) -> None:
        """Serve frames that are here, up to our share of a turn."""
        self._postponed = False
        for _ in range(TURN_FRAMES):
            if not self.open or self._out_bytes > OUT_PAUSE:
                break
            try:
                frame = self._decoder.next()
            except wire.WireError as error:
                self.fail(str(error))
                return
            if frame is None:
                break
            self._service.serve(self, frame)
        else:
            self._postponed = True
            self._loop.call_later(0, self._serve)
        self._update_interest()

    def fail(self, what: str) -> None:
        """Refuse a client that does not speak our protocol."""
        self._service.note_garbage(what)
        self.send({"error": "protocol", "message": f"This is not the keeper's protocol: {what}."})
        self.close()

    # -- out -----------------------------------------------------------------------------------------
    def send(self, header: wire.Header, payload: bytes = b"", fds: tuple[int, ...] = ()) -> None:
        """Send a frame, now or when the client reads; ``fds`` are closed when they are sent."""
        if not self.open:
            _close_all(fds)
            return
        if fds:
            header = {**header, "fds": len(fds)}
        try:
            data = wire.encode(header, payload)
        except wire.WireError:
            data = wire.encode(
                {
                    "re": header.get("re"),
                    "ok": False,
                    "error": "too_large",
                    "message": "The answer is too large.",
                }
            )
        idle = not self._out
        self._put_acks()  # answers come in the order of what they answer
        self._put(data, fds)
        if idle:
            self._flush()
        if self._out_bytes > OUT_MOST:
            log.say("A client of the keeper does not read what it asked for; it is let go.")
            self.close()

    def acknowledge(self, line: int, seq: int, *, soon: bool = False) -> None:
        """Tell that all input of ``line`` up to ``seq`` is accepted: a little later, or now."""
        self._acks[line] = seq
        if soon:
            self._flush_acks()
        elif not self._acks_due:
            self._acks_due = True
            self._loop.call_later(ACK_SECONDS, self._acks_are_due)

    def _acks_are_due(self) -> None:
        self._acks_due = False
        self._flush_acks()

    def _flush_acks(self) -> None:
        if self.open and self._acks:
            idle = not self._out
            self._put_acks()
            if idle:
                self._flush()

    def _put_acks(self) -> None:
        for line, seq in self._acks.items():
            self._put(wire.encode_ack(line, seq), ())
        self._acks.clear()

    def _put(self, data: bytes, fds: tuple[int, ...]) -> None:
        self._out.append((memoryview(data), fds))
        self._out_bytes += len(data)

    def _flush(self) -> None:
        try:
            while self._out:
                data, fds = self._out[0]
                if fds:
                    count = socket.send_fds(self._sock, [data], list(fds))
                    _close_all(fds)
                else:
                    count = self._sock.send(data)
                self._out_bytes -= count
                if count == len(data):
                    self._out.popleft()
                else:
                    self._out[0] = (data[count:], ())
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if not self._postponed and self._decoder.buffered and self._out_bytes <= OUT_PAUSE:
            self._postponed = True  # frames may have been left lying while the client did not read
            self._loop.call_later(0, self._serve)
        self._update_interest()

    def _update_interest(self) -> None:
        if not self.open:
            return
        paused = self._postponed or self._out_bytes > OUT_PAUSE
        interest = (0 if paused else READ) | (WRITE if self._out else 0)
        if interest != self._interest:
            self._interest = interest
            self._loop.modify(self._sock.fileno(), interest)

    def close(self) -> None:
        """Let the client go; its attachments and subscriptions end."""
        if not self.open:
            return
        self.open = False
        self._hello_timer.cancel()
        self._loop.remove(self._sock.fileno())
        self._sock.close()
        for _, fds in self._out:
            _close_all(fds)
        self._out.clear()
        self._service.closed(self)


class Service:
    """Listens, and knows the connections."""

    def __init__(
        self,
        loop: Loop,
        path: Path,
        serve: Callable[[Connection, wire.Frame | wire.Input | wire.Ack], None],
        forget: Callable[[int], None],
    ) -> None:
        """Start to listen on ``path``. Raises OSError; FileExistsError if another keeper does.

        ``serve`` is called with each frame, ``forget`` with the number of each connection that is gone.
        """
        self.loop = loop
        self.path = path
        self.serve = serve
        self._forget = forget
        self.connections: dict[int, Connection] = {}
        self._count = 0
        self._garbage: dict[str, int] = {}
        self._refused_full = False
        self._sock = _listen(path)
        loop.add(self._sock.fileno(), READ, self._on_connect)

    def _on_connect(self, _events: int) -> None:
        try:
            sock, _ = self._sock.accept()
        except OSError:
            return
        sock.setblocking(False)
        _, uid, _ = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in (os.geteuid(), 0):
            self.note_garbage(f"a connection of uid {uid}")
            sock.close()
        elif len(self.connections) >= MAX_CONNECTIONS:
            if not self._refused_full:
                self._refused_full = True
                log.say(f"There are {MAX_CONNECTIONS} connections; further ones are refused.")
            sock.close()
        else:
            self._count += 1
            self.connections[self._count] = Connection(self, sock, self._count)

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self.connections.pop(connection.number, None)
        self._refused_full = False
        self._forget(connection.number)

    def announce(self, event: Event) -> None:
        """Tell an event to those who watch."""
        event = {**event, "time": time.time()}
        for connection in list(self.connections.values()):
            if connection.watching:
                connection.send(event)

    def note_garbage(self, what: str) -> None:
        """Log each kind of nonsense once, so that a flood of it is not a flood of log."""
        kind = "".join(c for c in what if not c.isdigit())
        self._garbage[kind] = self._garbage.get(kind, 0) + 1
        if self._garbage[kind] == 1:
            log.say(f"Refused on the keeper's socket: {what}. (Said once.)")

    @property
    def garbage(self) -> int:
        """How many connections were refused for what they sent."""
        return sum(self._garbage.values())

    def close(self) -> None:
        """Stop listening and let everybody go."""
        for connection in list(self.connections.values()):
            connection.close()
        self.loop.remove(self._sock.fileno())
        self._sock.close()
        with contextlib.suppress(OSError):
            self.path.unlink()


def _listen(path: Path) -> socket.socket:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        with wire.socket_address(path) as address:
            try:
                sock.bind(address)
            except OSError:
                if _somebody_listens(address):
                    raise FileExistsError(f"another keeper serves {path}") from None
                path.unlink(missing_ok=True)
                sock.bind(address)
        sock.listen(16)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(before)
    return sock


def _somebody_listens(address: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(address)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
        return True


def _close_all(fds: tuple[int, ...]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
