"""WebSocket frames of a `pth.v1` client taken apart (RFC 6455, the server's side). Pure.

Tornado reads each frame in four small steps, which costs more than everything else that a keystroke needs;
here one read from the socket is taken apart at once, and a frame that is too large is refused by its header,
before it takes memory.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from persistent_terminal_hub.protocol.codes import MAX_CONTROL, MAX_INPUT, Code, ProtocolError
from persistent_terminal_hub.protocol.frames import HEADER

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

#: A character has at most four bytes; the protocol counts characters.
MAX_TEXT_BYTES: Final = 4 * MAX_CONTROL
MAX_BINARY_BYTES: Final = HEADER + MAX_INPUT
_MAX_RFC_CONTROL: Final = 125
_LARGEST: Final = {TEXT: MAX_TEXT_BYTES, BINARY: MAX_BINARY_BYTES}

_U16: Final = Struct(">H")
_U64: Final = Struct(">Q")
_FIN: Final = 0x80
_MASKED: Final = 0x80
#: What a frame says when it breaks RFC 6455 itself, the standard's own code.
_RFC_ERROR: Final = 1002


class Frame(NamedTuple):
    """A whole message: TEXT, BINARY, CLOSE, PING or PONG."""

    opcode: int
    data: bytes


class BadFrame(ProtocolError):
    """What arrived is not a WebSocket frame that a client may send; `close_code` is what to close with."""

    def __init__(self, message: str, close_code: int = _RFC_ERROR) -> None:
        super().__init__(message, Code.TOO_LARGE if close_code == Code.TOO_LARGE else Code.PROTOCOL)
        self.close_code = close_code


class FrameParser:
    """Turns what a socket gives into messages, whatever it is cut into."""

    def __init__(self) -> None:
        self._rest = b""
        self._opcode = 0  # of the message whose fragments are collected
        self._fragments = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The messages that are complete now. Raises `BadFrame`; nothing can follow that."""
        if self._rest:
            data = self._rest + data
        frames: list[Frame] = []
        at, end = 0, len(data)
        while end - at >= 2:
            first, second = data[at], data[at + 1]
            size = second & 0x7F
            body = at + 2
            if size == 126:
                body += 2
                if end < body:
                    break
                (size,) = _U16.unpack_from(data, at + 2)
            elif size == 127:
                body += 8
                if end < body:
                    break
                (size,) = _U64.unpack_from(data, at + 2)
            opcode = self._check(first, second, size)
            mask_at, body = body, body + 4
            if end - body < size:
                break
            payload = _unmask(data[mask_at:body], data[body : body + size])
            at = body + size
            if opcode >= CLOSE or (first & _FIN and not self._opcode):
                frames.append(Frame(opcode, payload))
            else:
                self._opcode = self._opcode or opcode
                self._fragments += payload
                if first & _FIN:
                    frames.append(Frame(self._opcode, bytes(self._fragments)))
                    self._opcode = 0
                    self._fragments.clear()
        self._rest = data[at:] if at else data
        return frames

    def _check(self, first: int, second: int, size: int) -> int:
        """The opcode of a frame, if it is one that may come now."""
        opcode = first & 0x0F
        if first & 0x70:
            raise BadFrame("A frame uses an extension that was not agreed on.")
        if not second & _MASKED:
            raise BadFrame("A frame of a client must be masked.")
        if opcode in (CLOSE, PING, PONG):
            if size > _MAX_RFC_CONTROL or not first & _FIN:
                raise BadFrame("A WebSocket control frame is too long or in fragments.")
            return opcode
        if opcode == CONTINUATION:
            if not self._opcode:
                raise BadFrame("A fragment of nothing.")
        elif opcode not in (TEXT, BINARY) or self._opcode:
            raise BadFrame("A frame of an unknown kind, or in the middle of another message.")
        if len(self._fragments) + size > _LARGEST[self._opcode or opcode]:
            raise BadFrame("A message is too large.", Code.TOO_LARGE)
        return opcode


def _unmask(mask: bytes, payload: bytes) -> bytes:
    size = len(payload)
    if mask == b"\0\0\0\0" or not size:
        return payload
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def server_header(opcode: int, size: int) -> bytes:
    """The header of one whole frame to a client."""
    if size < 126:
        return bytes((_FIN | opcode, size))
    if size < 65536:
        return bytes((_FIN | opcode, 126)) + _U16.pack(size)
    return bytes((_FIN | opcode, 127)) + _U64.pack(size)
