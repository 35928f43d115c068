"""`python -m tests.benchmarks.ceiling`: how fast the client itself is, so that no figure measures it instead.

A forked child sends ready-made frames of each protocol over loopback as fast as it can. The figure is per
second of the client's processor time, so that a busy machine does not change it.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Callable

from .codecs import PthCodec, StockCodec, TtydCodec
from .report import grid
from .terminal import WebTerminal
from .work import text
from .wsclient import WebSocket

TOTAL = 200_000_000
END = b"END-OF-CEILING."


def message(opcode: int, payload: bytes) -> bytes:
    """An unmasked frame, as servers send."""
    if len(payload) < 65536:
        return struct.pack(">BBH", 0x80 | opcode, 126, len(payload)) + payload
    return struct.pack(">BBQ", 0x80 | opcode, 127, len(payload)) + payload


def blast(listener: socket.socket, frame: Callable[[bytes], bytes], chunk: bytes) -> None:
    """In the child: accept, answer the handshake, send, wait for the client to go."""
    connection, _ = listener.accept()
    request = connection.recv(65536).decode()
    protocol = next((line for line in request.split("\r\n") if "Protocol" in line), "X: y")
    connection.sendall(f"HTTP/1.1 101 Switching Protocols\r\n{protocol}\r\n\r\n".encode())
    batch = frame(chunk) * (1 + 262144 // len(chunk))
    per_batch = len(chunk) * (1 + 262144 // len(chunk))
    for _ in range(TOTAL // per_batch):
        connection.sendall(batch)
    connection.sendall(frame(chunk) + frame(END))
    connection.settimeout(30)
    while connection.recv(65536):
        pass


def measure(codec: PthCodec | StockCodec | TtydCodec, frame: Callable[[bytes], bytes], size: int) -> float:
    """MB of terminal output in a second of the client's processor time."""
    listener = socket.create_server(("127.0.0.1", 0))
    pid = os.fork()
    if pid == 0:
        try:
            blast(listener, frame, text(size).replace(b"\n", b"\r\n")[:size])
        finally:
            os._exit(0)
    terminal = WebTerminal(
        WebSocket(listener.getsockname(), "/", headers={}, subprotocol=codec.subprotocol), codec
    )
    start = time.process_time()
    terminal.read_until(END, 60)
    used = time.process_time() - start
    terminal.drop()
    listener.close()
    os.waitpid(pid, 0)
    return terminal.received / used / 1e6


def main() -> None:
    """Print the table; the sizes are those that the real servers send."""
    stock = measure(
        StockCodec(), lambda data: message(1, json.dumps(["stdout", data.decode()]).encode()), 4095
    )
    pth = measure(PthCodec(), lambda data: message(2, bytes(8) + data), 65536)
    pth_small = measure(PthCodec(), lambda data: message(2, bytes(8) + data), 4095)
    ttyd = measure(TtydCodec(), lambda data: message(2, b"0" + data), 16384)
    body = [
        ["stock, 4 KB messages", f"{stock:,.0f}"],
        ["pth.v1, 4 KB", f"{pth_small:,.0f}"],
        ["pth.v1, 64 KB", f"{pth:,.0f}"],
        ["ttyd, 16 KB", f"{ttyd:,.0f}"],
    ]
    print(grid(["client alone", "MB/s"], body))


if __name__ == "__main__":
    main()
