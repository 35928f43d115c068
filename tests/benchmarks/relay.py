"""`python -m tests.benchmarks.relay HOST PORT RATE`: a TCP relay on loopback that throttles what comes back.

Prints its port. A process of its own, so that its work and the client's do not share an interpreter. Its
buffers are small, as a link's are: what does not fit on the link waits where the server keeps it.
"""

from __future__ import annotations

import select
import socket
import sys
import time

TICK = 0.01  # seconds between two portions
SMALL = 16 * 1024  # bytes of kernel buffer asked for, each way


def pump(client: socket.socket, server: socket.socket, rate: float) -> None:
    """Carry bytes until either side leaves: input at once, output `rate` bytes a second."""
    portion = int(rate * TICK)
    due = time.monotonic()
    while True:
        now = time.monotonic()
        watch = [client, server] if now >= due else [client]
        ready, _, _ = select.select(watch, [], [], None if now >= due else due - now)
        if client in ready:
            data = client.recv(65536)
            if not data:
                return
            server.sendall(data)
        if server in ready:
            data = server.recv(portion)
            if not data:
                return
            client.sendall(data)
            due = max(due, now - TICK) + len(data) / rate


def main() -> None:
    """Serve one connection after the other until killed."""
    host, port, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            server = socket.socket()
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
            with client, server:
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    server.connect((host, port))
                    pump(client, server, rate)
                except OSError:
                    continue


if __name__ == "__main__":
    main()
