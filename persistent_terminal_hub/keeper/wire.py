"""The keeper's messages as bytes: pure, except for the address of the socket.

A frame is two big-endian 32-bit lengths, a header of the first length, raw bytes of the second. The header
is a JSON object, but for what is said with every keystroke: :class:`Input` and :class:`Ack` have 13 bytes of
their own, which begin with a byte that no JSON text begins with.
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
_SHORT = struct.Struct(">BIQ")
_SHORT_FRAME = struct.Struct(">IIBIQ")
_INPUT, _ACK = 1, 2
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


class Input(NamedTuple):
    """What a client types; ``line`` is the number that its `attach` was answered with."""

    line: int
    seq: int
    payload: bytes


class Ack(NamedTuple):
    """All input of a line up to ``seq`` is accepted."""

    line: int
    seq: int


def encode_input(line: int, seq: int, payload: bytes) -> bytes:
    """An :class:`Input` as bytes."""
    if len(payload) > MAX_PAYLOAD:
        raise WireError(f"A message has {len(payload)} bytes; {MAX_PAYLOAD} are the most.")
    return _SHORT_FRAME.pack(_SHORT.size, len(payload), _INPUT, line, seq) + payload


def encode_ack(line: int, seq: int) -> bytes:
    """An :class:`Ack` as bytes."""
    return _SHORT_FRAME.pack(_SHORT.size, 0, _ACK, line, seq)


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
        self._data = b""
        self._at = 0  # where the next frame begins

    @property
    def buffered(self) -> int:
        """Bytes that are waiting to become frames."""
        return len(self._data) - self._at

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0

    def next(self) -> Frame | Input | Ack | None:
        """The next complete frame, or None. Raises :class:`WireError`; the decoder is of no use then."""
        data, at = self._data, self._at
        if len(data) - at < _LENGTHS.size:
            return None
        header_size, payload_size = _LENGTHS.unpack_from(data, at)
        if header_size > MAX_HEADER or payload_size > MAX_PAYLOAD:
            raise WireError(f"a frame of {header_size} + {payload_size} bytes was announced")
        at += _LENGTHS.size
        body = at + header_size
        end = body + payload_size
        if len(data) < end:
            return None
        self._at = end
        if header_size == _SHORT.size and data[at] in (_INPUT, _ACK):
            kind, line, seq = _SHORT.unpack_from(data, at)
            return Input(line, seq, data[body:end]) if kind == _INPUT else Ack(line, seq)
        try:
            header = json.loads(data[at:body].decode())
        except (ValueError, RecursionError):
            raise WireError("a header is not JSON") from None
        if not isinstance(header, dict):
            raise WireError("a header is not a JSON object")
        return Frame(header, data[body:end])

    def frames(self) -> Iterator[Frame | Input | Ack]:
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
