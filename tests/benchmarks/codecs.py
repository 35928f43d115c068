"""What differs between the peers' WebSocket protocols, and nothing else."""

from __future__ import annotations

import json
import math
import secrets
import struct
from typing import Any, Final

from .wsclient import BINARY, TEXT

ROWS: Final = 24
COLS: Final = 80

Frame = tuple[int, bytes]


class Codec:
    """One connection's protocol. A subclass says what its peer speaks."""

    subprotocol: str | None = None
    ready: bool = True  # whether input may be sent
    due: float = math.inf  # when `replies` wants to be asked although nothing arrived

    def hello(self) -> list[Frame]:
        """What the client says first."""
        return []

    def feed(self, opcode: int, payload: memoryview, now: float) -> bytes:
        """The terminal's bytes in a message; empty for a control message."""
        raise NotImplementedError

    def replies(self, now: float) -> list[Frame]:
        """What to answer after all that one read brought."""
        return []

    def input(self, data: bytes) -> Frame:
        """A message that types `data`."""
        raise NotImplementedError

    def again(self) -> Codec:
        """The codec of the connection after this one, of the same client."""
        return type(self)()


class StockCodec(Codec):
    """terminado's JSON lists, as JupyterLab speaks them."""

    def hello(self) -> list[Frame]:
        """The size."""
        return [(TEXT, json.dumps(["set_size", ROWS, COLS, 0, 0]).encode())]

    def feed(self, opcode: int, payload: memoryview, now: float) -> bytes:
        """Every output byte is inside a JSON string."""
        message = json.loads(bytes(payload))
        return str(message[1]).encode() if message[0] == "stdout" else b""

    def input(self, data: bytes) -> Frame:
        """`["stdin", text]`."""
        return TEXT, json.dumps(["stdin", data.decode()]).encode()


class TtydCodec(Codec):
    """ttyd's one-letter commands."""

    subprotocol = "tty"

    def hello(self) -> list[Frame]:
        """ttyd starts its program when it gets this."""
        return [(BINARY, json.dumps({"AuthToken": "", "columns": COLS, "rows": ROWS}).encode())]

    def feed(self, opcode: int, payload: memoryview, now: float) -> bytes:
        """`0` is output; titles and preferences are not."""
        return bytes(payload[1:]) if payload[0] == 0x30 else b""

    def input(self, data: bytes) -> Frame:
        """`0` and the bytes."""
        return BINARY, b"0" + data


class PthCodec(Codec):
    """`pth.v1`: acknowledges like our own clients (4 KiB or 20 ms), but without an emulator to wait for."""

    subprotocol = "pth.v1"
    _ACK_BYTES: Final = 4096
    _ACK_SECONDS: Final = 0.02
    _HEARTBEAT: Final = 5.0

    def __init__(self) -> None:
        self.client = secrets.token_hex(16)
        self.epoch = ""
        self.offset = 0
        self.seq = 0
        self.attached: dict[str, Any] = {}
        self.skipped: list[tuple[int, int]] = []
        self._acked = 0
        self._force = False
        self._keyframe = (0, 0)
        self._pongs: list[Frame] = []
        self._ack_at = math.inf
        self._ping_at = math.inf

    @property
    def due(self) -> float:  # type: ignore[override]
        """The next acknowledgement or ping."""
        return min(self._ack_at, self._ping_at)

    @property
    def ready(self) -> bool:  # type: ignore[override]
        """Once the attach was answered."""
        return bool(self.attached)

    def again(self) -> Codec:
        """The same client, which goes on at its offset."""
        other = PthCodec()
        other.client, other.epoch, other.offset, other.seq = self.client, self.epoch, self.offset, self.seq
        return other

    def hello(self) -> list[Frame]:
        """The attach."""
        attach = {
            "type": "attach", "client": self.client, "epoch": self.epoch, "offset": self.offset,
            "input_seq": self.seq, "rows": ROWS, "cols": COLS, "visible": True, "mode": "rw",
        }  # fmt: skip
        return [(TEXT, json.dumps(attach).encode())]

    def feed(self, opcode: int, payload: memoryview, now: float) -> bytes:
        """Stream and keyframe bytes alike are what an emulator would get."""
        if opcode == TEXT:
            self._control(json.loads(bytes(payload)), now)
            return b""
        (head,) = struct.unpack_from(">Q", payload)
        kind, position = head >> 56, head & (1 << 56) - 1
        data = bytes(payload[8:])
        if kind == 0:
            self.offset = position + len(data)
            if self._ack_at == math.inf:
                self._ack_at = now + self._ACK_SECONDS
        elif kind == 1 and position + len(data) >= self._keyframe[1]:
            self._jump(self._keyframe[0])
        return data if kind < 2 else b""

    def _control(self, message: dict[str, Any], now: float) -> None:
        kind = message["type"]
        if kind == "attached":
            self.attached = message
            self.epoch = message["epoch"]
            self.seq = max(self.seq, message["input_ack"])
            self._acked = self.offset
            self._ping_at = now + self._HEARTBEAT
        elif kind == "reset":
            self.offset = self._acked = self.attached.get("start") or 0
            self._ack_at = math.inf
        elif kind == "keyframe":
            self._keyframe = (message["offset"], message["size"])
            if not message["size"]:
                self._jump(message["offset"])
        elif kind == "skipped":
            self.skipped.append((message["from"], message["to"]))
        elif kind == "ping":
            self._pongs.append((TEXT, json.dumps({"type": "pong", "id": message["id"]}).encode()))

    def _jump(self, offset: int) -> None:
        self.offset = self._acked = offset
        self._force = True

    def replies(self, now: float) -> list[Frame]:
        """Acknowledgements, pings and pongs."""
        frames, self._pongs = self._pongs, []
        if now >= self._ping_at:
            self._ping_at = now + self._HEARTBEAT
            frames.append((TEXT, b'{"type":"ping","id":1}'))
        if self._force or self.offset - self._acked >= self._ACK_BYTES or now >= self._ack_at:
            self._acked, self._force, self._ack_at = self.offset, False, math.inf
            frames.append((TEXT, b'{"type":"ack","offset":%d}' % self.offset))
        return frames

    def input(self, data: bytes) -> Frame:
        """The number and the bytes."""
        self.seq += 1
        return BINARY, struct.pack(">Q", self.seq) + data
