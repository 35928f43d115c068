"""The WebSocket under `pth.v1`: Tornado's handshake and closing, our own way of the bytes.

After the handshake the socket is read and written by ourselves: Tornado's streams cost several turns of the
event loop for each message, which is most of what a keystroke would wait for. (With TLS they stay; a
workspace's server speaks plain HTTP behind the hub's proxy.)

One copy per output byte: from the journal into the frame, which goes to the kernel at once. While the kernel
does not take everything, nothing more is read from the journal; so a client that does not read costs at most
one frame of memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
from collections import deque
from typing import Any, Final

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketProtocol13, _WebSocketParams

from persistent_terminal_hub.keeper.journal import Reader
from persistent_terminal_hub.protocol.codes import Limits
from persistent_terminal_hub.protocol.frames import HEADER, data_header

from .pth_frames import BINARY, CLOSE, PING, PONG, TEXT, BadFrame, FrameParser, server_header

_READ: Final = 64 * 1024
_ROOM: Final = 10 + HEADER  # the longest WebSocket header, and ours
#: The frame that is being sent. One is enough: it is filled and handed over without a pause between.
_FRAME: Final = memoryview(bytearray(_ROOM + Limits().chunk))
#: Control messages that may wait for a client that does not read, in bytes; then it is dropped.
_WAITING_MOST: Final = 1024 * 1024
_LINGER: Final = 2.0


class PthWebSocket(WebSocketProtocol13):
    """One connection after its handshake.

    `handler` gets `on_frame(str | bytes)`, `on_drained()` and `on_bad_frame(sentence)`.
    """

    handler: Any

    def __init__(self, handler: Any) -> None:
        params = _WebSocketParams(compression_options=None)  # deflate costs more than it saves here
        super().__init__(handler, False, params)
        self._parser = FrameParser()
        self._bad = False  # what comes is not looked at any more
        self._socket: socket.socket | None = None  # ours, when it is read and written by ourselves
        self._fd = -1
        self._released = False
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._waiting_out: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._corked: list[bytes] | None = None
        self._pending: asyncio.Future[None] | None = None  # with TLS: what Tornado still writes

    def begin(self) -> None:
        """The handshake is done."""
        self.set_nodelay(True)

    @property
    def busy(self) -> bool:
        """Whether the kernel has not yet taken everything; `handler.on_drained()` tells when it has."""
        return bool(self._waiting_out) or self._pending is not None

    # Sending ----------------------------------------------------------------------------------------

    def send_text(self, text: str) -> None:
        """Send a text frame."""
        data = text.encode()
        self._send(server_header(TEXT, len(data)) + data)

    def send_binary(self, data: bytes) -> None:
        """Send a binary frame."""
        self._send(server_header(BINARY, len(data)) + data)

    def send_journal(self, reader: Reader, start: int, stop: int) -> bool:
        """Send these bytes as one stream frame; False, and nothing was sent, if the journal overtook them."""
        size = stop - start
        if not reader.read_into(start, _FRAME[_ROOM : _ROOM + size]):
            return False
        header = server_header(BINARY, HEADER + size) + data_header(start)
        begin = _ROOM - len(header)
        _FRAME[begin:_ROOM] = header
        self._send(_FRAME[begin : _ROOM + size])
        return True

    def cork(self) -> None:
        """Collect what is sent until `uncork`: one write wakes the other side once."""
        self._corked = []

    def uncork(self) -> None:
        """Send what was collected."""
        frames, self._corked = self._corked, None
        if frames:
            self._send_now(frames[0] if len(frames) == 1 else b"".join(frames))

    def _send(self, frame: bytes | memoryview) -> None:
        if self.server_terminated:
            return
        if self._corked is None:
            self._send_now(frame)
        else:
            self._corked.append(bytes(frame))

    def _send_now(self, frame: bytes | memoryview) -> None:
        if self._released:
            return
        if self._socket is None:
            self._send_by_tornado(bytes(frame))
            return
        sent = 0
        if not self._waiting_out:
            try:
                sent = self._socket.send(frame)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                self._broken()
                return
            if sent == len(frame):
                return
            self._loop.add_writer(self._fd, self._writable)
        self._waiting_out.append(bytes(frame[sent:]))
        self._waiting_bytes += len(frame) - sent
        if self._waiting_bytes > _WAITING_MOST:
            self._broken()

    def _writable(self) -> None:
        if self._socket is None:
            return
        waiting = self._waiting_out
        try:
            while waiting:
                sent = self._socket.send(waiting[0])
                self._waiting_bytes -= sent
                if sent < len(waiting[0]):
                    waiting[0] = waiting[0][sent:]
                    return
                waiting.popleft()
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._broken()
            return
        self._loop.remove_writer(self._fd)
        self.handler.on_drained()

    def _send_by_tornado(self, frame: bytes) -> None:
        try:
            written = self.stream.write(frame)
        except StreamClosedError:
            return  # the receiving side tells
        self._pending = written
        written.add_done_callback(self._written)

    def _written(self, future: asyncio.Future[None]) -> None:
        failed = future.cancelled() or future.exception() is not None
        if future is self._pending:  # nothing was written after it
            self._pending = None
            if not failed:
                self.handler.on_drained()

    def _write_frame(self, fin: bool, opcode: int, data: bytes, flags: int = 0) -> asyncio.Future[None]:
        """Tornado's way to send: closes and pongs."""
        self._send(server_header(opcode, len(data)) + data)
        done: asyncio.Future[None] = self._loop.create_future()
        done.set_result(None)
        return done

    # Receiving --------------------------------------------------------------------------------------

    async def _receive_frame_loop(self) -> None:
        """Tornado calls this after the handshake; it returns when the connection is over."""
        try:
            while not self.client_terminated:
                data = await self.stream.read_bytes(_READ, partial=True)
                # Less than was asked for: Tornado has nothing left, and may let go.
                if len(data) < _READ and not isinstance(self.stream.socket, ssl.SSLSocket):
                    self._take_over()
                self._feed(data)
                if self._socket is not None:
                    await self._over
                    break
        except StreamClosedError:
            self._abort()
        finally:
            self._release()
            self.handler.on_ws_connection_close(self.close_code, self.close_reason)

    def _take_over(self) -> None:
        found = self.stream.socket
        self.stream.io_loop.remove_handler(found)
        self._socket, self._fd = found, found.fileno()
        self._loop.add_reader(self._fd, self._readable)
        self.stream.set_close_callback(self._release)  # should somebody else close it, such as a server's end

    def _readable(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(_READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            self._feed(data)
        else:
            self._broken()

    def _feed(self, data: bytes) -> None:
        if self._bad:
            return
        try:
            for opcode, payload in self._parser.feed(data):
                self._take(opcode, payload)
        except BadFrame as error:
            # Take no more notice of the client, but let it read why; a reset would throw that away.
            self._bad = True
            self.handler.on_bad_frame(str(error))
            self.shut(error.close_code, str(error))
            self._loop.call_later(_LINGER, self._abort)

    def _take(self, opcode: int, payload: bytes) -> None:
        if self.client_terminated:
            return
        if opcode == BINARY:
            self._tell(payload)
        elif opcode == TEXT:
            try:
                text = payload.decode()
            except UnicodeDecodeError:
                raise BadFrame("A text frame is not UTF-8.", 1007) from None
            self._tell(text)
        elif opcode in (CLOSE, PING, PONG):
            self._handle_message(opcode, payload)

    def _tell(self, message: str | bytes) -> None:
        try:
            self.handler.on_frame(message)
        except Exception:  # as Tornado does it
            self.handler.log_exception(*sys.exc_info())
            self._abort()

    # Ending -----------------------------------------------------------------------------------------

    def shut(self, code: int, reason: str) -> None:
        """Close with a code. A client that does not answer is dropped after a few seconds."""
        # RFC 6455: a control frame has at most 125 bytes, two of them the code.
        short = reason.encode()[:120].decode(errors="ignore")
        with contextlib.suppress(StreamClosedError):
            self.close(int(code), short)

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """As Tornado does it; but when it will close the socket, we let go of it before."""
        if self.client_terminated:
            if not self.server_terminated:
                self._write_frame(True, CLOSE, b"" if code is None else code.to_bytes(2, "big"))
                self.server_terminated = True
            self._release()
        super().close(code, reason)

    def drop(self) -> None:
        """End it now, without a word; what waits is not sent."""
        self._abort()

    def _abort(self) -> None:
        self._release()
        super()._abort()

    def _broken(self) -> None:
        """The line is gone. Not from within a send: whoever sends is not prepared for its own end."""
        self._release()
        self._loop.call_soon(self._abort)

    def _release(self) -> None:
        """Stop looking at the socket, for good."""
        self._released = True
        self._socket = None
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)
        self._waiting_out.clear()
        if not self._over.done():
            self._over.set_result(None)
