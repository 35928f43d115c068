"""The WebSocket under `pth.v1`: Tornado's handshake and closing, our own way of the bytes.

One copy per output byte: from the journal into the frame, which goes to the kernel at once. Only what the
kernel does not take is handed to Tornado, and until that is gone nothing more is read from the journal; so a
client that does not read costs at most one frame of memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
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


class PthWebSocket(WebSocketProtocol13):
    """One connection after its handshake. `handler` gets `on_frame(str | bytes)` and `on_drained()`."""

    handler: Any

    def __init__(self, handler: Any) -> None:
        params = _WebSocketParams(compression_options=None)  # deflate costs more than it saves here
        super().__init__(handler, False, params)
        self._socket: socket.socket | None = None
        self._pending: asyncio.Future[None] | None = None

    def begin(self) -> None:
        """The handshake is done."""
        self.set_nodelay(True)
        found = self.stream.socket
        # TLS cannot be written to behind Tornado's back.
        self._socket = None if isinstance(found, ssl.SSLSocket) else found

    @property
    def busy(self) -> bool:
        """Whether the kernel has not yet taken everything; `handler.on_drained()` tells when it has."""
        return self._pending is not None

    # Sending ----------------------------------------------------------------------------------------

    def send_text(self, text: str) -> None:
        """Send a text frame."""
        data = text.encode()
        self._write(server_header(TEXT, len(data)) + data)

    def send_binary(self, data: bytes) -> None:
        """Send a binary frame."""
        self._write(server_header(BINARY, len(data)) + data)

    def send_journal(self, reader: Reader, start: int, stop: int) -> bool:
        """Send these bytes as one stream frame; False, and nothing was sent, if the journal overtook them."""
        size = stop - start
        if not reader.read_into(start, _FRAME[_ROOM : _ROOM + size]):
            return False
        header = server_header(BINARY, HEADER + size) + data_header(start)
        begin = _ROOM - len(header)
        _FRAME[begin:_ROOM] = header
        self._write(_FRAME[begin : _ROOM + size])
        return True

    def _write(self, frame: bytes | memoryview) -> None:
        if self.server_terminated:
            return
        if self._socket is not None and self._pending is None and not self.stream.writing():
            with contextlib.suppress(OSError):  # full: nothing sent; broken: Tornado finds out below
                sent = self._socket.send(frame)
                if sent == len(frame):
                    return
                frame = frame[sent:]
        try:
            # Tornado keeps what it is given, and the frame's place is used again.
            written = self.stream.write(bytes(frame))
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

    # Receiving --------------------------------------------------------------------------------------

    async def _receive_frame_loop(self) -> None:
        """Tornado calls this after the handshake; it returns when the connection is over."""
        parser = FrameParser()
        try:
            while not self.client_terminated:
                data = await self.stream.read_bytes(_READ, partial=True)
                for opcode, payload in parser.feed(data):
                    self._take(opcode, payload)
        except StreamClosedError:
            self._abort()
        except BadFrame as error:
            self.handler.on_bad_frame(str(error))
            self.close(error.close_code, str(error))
            await self._linger()
        finally:
            self.handler.on_ws_connection_close(self.close_code, self.close_reason)

    def _take(self, opcode: int, payload: bytes) -> None:
        if self.client_terminated:
            return
        if opcode == BINARY:
            self._run_callback(self.handler.on_frame, payload)
        elif opcode == TEXT:
            try:
                text = payload.decode()
            except UnicodeDecodeError:
                raise BadFrame("A text frame is not UTF-8.", 1007) from None
            self._run_callback(self.handler.on_frame, text)
        elif opcode in (CLOSE, PING, PONG):
            self._handle_message(opcode, payload)

    async def _linger(self) -> None:
        """Take no more notice of the client, but let it read why; a reset would throw that away."""
        with contextlib.suppress(StreamClosedError, TimeoutError):
            async with asyncio.timeout(2):
                while not self.client_terminated:
                    await self.stream.read_bytes(_READ, partial=True)
        self._abort()

    def shut(self, code: int, reason: str) -> None:
        """Close with a code. A client that does not answer is dropped after a few seconds."""
        # RFC 6455: a control frame has at most 125 bytes, two of them the code.
        short = reason.encode()[:120].decode(errors="ignore")
        with contextlib.suppress(StreamClosedError):
            self.close(int(code), short)
