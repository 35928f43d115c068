"""Binary frames of `pth.v1`: eight bytes, then payload.

From the server: one byte that says what follows, seven bytes big-endian position. For the stream itself the
first byte is zero, so there the header is simply the 8-byte big-endian offset.
From the client: the 8-byte big-endian number of this input, then the bytes to type.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final

from .codes import MAX_INPUT, MAX_OFFSET, MAX_OUTPUT, Code, ProtocolError

HEADER: Final = 8
_U64: Final = Struct(">Q")
_KIND_SHIFT: Final = 56
_POSITION: Final = (1 << _KIND_SHIFT) - 1

Buffer = bytes | bytearray | memoryview


class Kind(IntEnum):
    """What the payload of a frame from the server is."""

    STREAM = 0  # bytes of the PTY; position: their offset
    KEYFRAME = 1  # part of the announced keyframe; position: place in the keyframe
    FETCHED = 2  # bytes of the PTY that were asked for with `fetch`; position: their offset


def data_header(offset: int) -> bytes:
    """The header of a stream frame, for a sender that writes header and payload without joining them."""
    return _U64.pack(offset)


def encode_output(kind: Kind, position: int, data: Buffer) -> bytes:
    """A frame from the server to a client."""
    return _U64.pack(kind << _KIND_SHIFT | position) + data


def decode_output(frame: Buffer) -> tuple[int, int, memoryview]:
    """(kind, position, payload) of a frame from the server; the payload is not copied."""
    size = len(frame)
    if size <= HEADER:
        raise ProtocolError("A data frame needs a header of 8 bytes and at least one byte of data.")
    if size > HEADER + MAX_OUTPUT:
        raise ProtocolError(f"A data frame may carry at most {MAX_OUTPUT} bytes.", Code.TOO_LARGE)
    (head,) = _U64.unpack_from(frame)
    kind = head >> _KIND_SHIFT
    position = head & _POSITION
    if kind > Kind.FETCHED:
        raise ProtocolError(f"A data frame of unknown kind {kind}.")
    if position + size - HEADER > MAX_OFFSET:
        raise ProtocolError("A data frame lies beyond the largest offset.")
    return kind, position, memoryview(frame)[HEADER:]


def encode_input(seq: int, data: Buffer) -> bytes:
    """A frame of input from a client to the server."""
    return _U64.pack(seq) + data


def decode_input(frame: bytes) -> tuple[int, bytes]:
    """(number, bytes) of a frame of input; without bytes it only uses up its number."""
    size = len(frame)
    if size < HEADER:
        raise ProtocolError("An input frame needs a header of 8 bytes.")
    if size > HEADER + MAX_INPUT:
        raise ProtocolError(f"An input frame may carry at most {MAX_INPUT} bytes.", Code.TOO_LARGE)
    (seq,) = _U64.unpack_from(frame)
    if not 0 < seq <= MAX_OFFSET:
        raise ProtocolError("Input is numbered from 1 to 2^53 - 1.")
    return seq, bytes(frame[HEADER:])
