"""The keeper's messages as bytes: pure, except for the address of the socket.

A frame is two big-endian 32-bit lengths, a JSON object of the first length, raw bytes of the second.
docs/reference/keeper-wire.md says what the objects mean.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

VERSION = 1
SOCKET_NAME = "keeper.sock"
MAX_HEADER = 1024 * 1024
MAX_PAYLOAD = 1024 * 1024
_LENGTHS = struct.Struct(">II")
# sizeof(sockaddr_un.sun_path), less the final NUL
_MAX_ADDRESS = 107

Header = dict[str, Any]


class WireError(Exception):
    """What arrived is not our protocol; the connection cannot go on."""


# Made once: json.dumps would make an encoder for each message.
_to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class Frame(NamedTuple):
    """One message."""

    header: Header
    payload: bytes


def encode(header: Header, payload: bytes = b"") -> bytes:
    """A frame as bytes."""
    text = _to_json(header).encode("utf-8", "surrogatepass")
    if len(text) > MAX_HEADER or len(payload) > MAX_PAYLOAD:
        raise WireError(
            f"A message has {len(text)} + {len(payload)} bytes; {MAX_HEADER} + {MAX_PAYLOAD} are the most."
        )
    return b"".join((_LENGTHS.pack(len(text), len(payload)), text, payload))


class Decoder:
    """Turns a stream of bytes into frames, however it was cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def buffered(self) -> int:
        """Bytes that are waiting to become frames."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._buffer += data

    def next(self) -> Frame | None:
        """The next complete frame, or None. Raises :class:`WireError`; the decoder is of no use then."""
        buffer = self._buffer
        if len(buffer) < _LENGTHS.size:
            return None
        header_size, payload_size = _LENGTHS.unpack_from(buffer)
        if header_size > MAX_HEADER or payload_size > MAX_PAYLOAD:
            raise WireError(f"a frame of {header_size} + {payload_size} bytes was announced")
        body = _LENGTHS.size + header_size
        end = body + payload_size
        if len(buffer) < end:
            return None
        try:
            header = json.loads(buffer[_LENGTHS.size : body].decode())
        except (ValueError, RecursionError):
            raise WireError("a header is not JSON") from None
        if not isinstance(header, dict):
            raise WireError("a header is not a JSON object")
        payload = bytes(memoryview(buffer)[body:end]) if payload_size else b""
        del buffer[:end]
        return Frame(header, payload)

    def frames(self) -> Iterator[Frame]:
        """All frames that are complete."""
        while (frame := self.next()) is not None:
            yield frame


@contextlib.contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """A name for ``path`` that fits into a socket address, valid inside the ``with``."""
    if len(os.fsencode(path)) <= _MAX_ADDRESS:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
