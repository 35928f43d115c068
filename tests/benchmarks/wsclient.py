"""A WebSocket client that is never the bottleneck: one blocking socket, one buffer, no copy of a payload.

Only what a benchmark on loopback needs of RFC 6455: no compression, no TLS, and a masking key of zero, which
is a legal key and makes masking free for every peer alike.
"""

from __future__ import annotations

import base64
import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Mapping
from typing import Final

TEXT: Final = 1
BINARY: Final = 2
_CLOSE: Final = 8
_PING: Final = 9
_PONG: Final = 10
_BUFFER: Final = 1024 * 1024


class Closed(ConnectionError):
    """The other side closed the connection."""


class WebSocket:
    """A connected WebSocket. What `receive` returns is valid until it is called again."""

    def __init__(
        self,
        address: tuple[str, int],
        path: str,
        *,
        headers: Mapping[str, str],
        subprotocol: str | None = None,
        receive_buffer: int | None = None,
        timeout: float = 10.0,
    ) -> None:
        self.wire = 0  # bytes of frames received, headers included
        self._buffer = bytearray(_BUFFER)
        self._start = 0
        self._end = 0
        self._fragments: list[bytes] = []
        self._opcode = 0
        self._socket = socket.socket()
        try:
            if receive_buffer:  # before connecting: the window scale is chosen in the handshake
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.settimeout(timeout)
            self._socket.connect(address)
            self._handshake(address, path, headers, subprotocol, time.monotonic() + timeout)
        except BaseException:
            self._socket.close()
            raise

    def _handshake(
        self,
        address: tuple[str, int],
        path: str,
        headers: Mapping[str, str],
        subprotocol: str | None,
        deadline: float,
    ) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {address[0]}:{address[1]}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        if subprotocol:
            lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        while (end := self._buffer.find(b"\r\n\r\n", 0, self._end)) < 0:
            self._fill(deadline)
        head = bytes(self._buffer[:end]).decode("latin-1")
        status = head.partition("\r\n")[0]
        if " 101 " not in status + " ":
            raise Closed(f"The WebSocket {path} was refused: {status}")
        if subprotocol and subprotocol.lower() not in head.lower():
            raise Closed(f"The server of {path} does not speak {subprotocol}")
        self._start = end + 4

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def send(self, opcode: int, payload: bytes) -> None:
        """Send one whole message."""
        size = len(payload)
        if size < 126:
            head = struct.pack(">BB4x", 0x80 | opcode, 0x80 | size)
        elif size < 65536:
            head = struct.pack(">BBH4x", 0x80 | opcode, 0x80 | 126, size)
        else:
            head = struct.pack(">BBQ4x", 0x80 | opcode, 0x80 | 127, size)
        self._socket.settimeout(10.0)
        self._socket.sendall(head + payload)

    def receive(self, deadline: float) -> list[tuple[int, memoryview]]:
        """The data messages of one read from the socket, perhaps none; `TimeoutError` after `deadline`."""
        messages = self._messages()
        if not messages:
            self._fill(deadline)
            messages = self._messages()
        return messages

    def _fill(self, deadline: float) -> None:
        if self._start == self._end:
            self._start = self._end = 0
        elif len(self._buffer) - self._end < _BUFFER // 4:
            # Never in place: views of the old buffer may still be around.
            rest = self._buffer[self._start : self._end]
            self._buffer = bytearray(max(_BUFFER, 2 * len(rest)))
            self._buffer[: len(rest)] = rest
            self._start, self._end = 0, len(rest)
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._socket], [], [], left)[0]:
            raise TimeoutError("Nothing arrived in time.")
        got = self._socket.recv_into(memoryview(self._buffer)[self._end :])
        if not got:
            raise Closed("The server closed the connection.")
        self._end += got

    def _messages(self) -> list[tuple[int, memoryview]]:
        messages: list[tuple[int, memoryview]] = []
        buffer = self._buffer
        view = memoryview(buffer)
        start, end = self._start, self._end
        while end - start >= 2:
            first, size = buffer[start], buffer[start + 1]
            at = start + 2
            if size == 126:
                if end - start < 4:
                    break
                size = (buffer[at] << 8) | buffer[at + 1]
                at += 2
            elif size == 127:
                if end - start < 10:
                    break
                size = int.from_bytes(view[at : at + 8], "big")
                at += 8
            if end - at < size:
                if at + size > len(buffer):
                    self._grow(start, end, at - start + size)
                    return messages
                break
            payload = view[at : at + size]
            self.wire += at + size - start
            start = at + size
            self._start = start
            if first & 0x0F >= _CLOSE:
                self._control(first & 0x0F, bytes(payload))
            elif first & 0x80 and not self._fragments:
                messages.append((first & 0x0F, payload))
            else:
                self._opcode = first & 0x0F or self._opcode
                self._fragments.append(bytes(payload))
                if first & 0x80:
                    messages.append((self._opcode, memoryview(b"".join(self._fragments))))
                    self._fragments = []
        self._start = start
        return messages

    def _grow(self, start: int, end: int, needed: int) -> None:
        rest = self._buffer[start:end]
        self._buffer = bytearray(max(_BUFFER, needed + _BUFFER // 2))
        self._buffer[: len(rest)] = rest
        self._start, self._end = 0, len(rest)

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self.send(_PONG, payload)
        elif opcode == _CLOSE:
            code = int.from_bytes(payload[:2], "big") if payload else 1005
            raise Closed(f"The server closed the connection: {code} {payload[2:].decode(errors='replace')}")

    def drop(self) -> None:
        """Cut: the server sees a reset, as when a network goes away."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Leave politely."""
        with contextlib.suppress(OSError):
            self.send(_CLOSE, struct.pack(">H", 1000))
        self._socket.close()
