"""A FAKE of a hub with many workspaces, for measuring the culler: one process that answers as all of them.

It knows three routes: the hub's `running` and `orphans`, and `facts` of any workspace (ten sessions each,
nothing to do). It checks no token, and says in the header `Server` that it is a fake.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys


def facts(number: int, sessions: int) -> bytes:
    """Facts of one workspace, as a workspace writes them."""
    model = {
        "state": "running", "age": 4000.0 + number, "since_presence": 12.5, "since_connected": 0.0,
        "busy": False, "busy_for": 0.0, "since_busy": None, "locked": False, "warned": {},
        "rulesHash": "RULES", "events": [],
        "sessions": [
            {
                "id": f"{number:08x}{each:024x}", "name": f"session {each}", "age": 3600.0 + each,
                "attached": each == 0, "busy": each % 3 == 0, "busy_for": 60.0, "ttl": None, "max_age": None,
                "extended": 0.0, "warned": {},
            }
            for each in range(sessions)
        ],
    }  # fmt: skip
    return json.dumps(model).encode()


def running(count: int, origin: str) -> bytes:
    """The hub's answer: `count` workspaces."""
    entries = [
        {
            "user": f"user-{number}", "workspace": "", "groups": ["analysts", f"team-{number % 20}"],
            "pending": None, "ready": True, "address": f"{origin}/user/user-{number}/",
        }
        for number in range(count)
    ]  # fmt: skip
    return json.dumps({"workspaces": entries}).encode()


class Fake(asyncio.Protocol):
    """One connection."""

    count = 0
    origin = ""
    rules_hash = b""
    answers: dict[int, bytes]
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self.transport = transport  # type: ignore[assignment]
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        """Called by asyncio; requests have no body here."""
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            body = self.answer(head.split(b" ", 2)[1].decode().partition("?")[0])
            close = b"connection: close" in head.lower()
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nServer: fake-fleet\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n%s\r\n%s"
                % (len(body), b"Connection: close\r\n" if close else b"", body)
            )
            if close:
                self.transport.close()

    def answer(self, path: str) -> bytes:
        """The body of an answer."""
        if path.endswith("/running"):
            return running(self.count, self.origin)
        if path.endswith("/orphans"):
            return b'{"orphans": [], "stopped": []}'
        return self.answers[int(path.split("/")[2].removeprefix("user-"))]


async def main() -> None:
    """Serve until standard input ends; prints the port."""
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("sessions", type=int)
    parser.add_argument("rules_hash")
    parser.add_argument("--origin", default="", help="what the hub says instead of its own address")
    options = parser.parse_args()
    Fake.count = options.count
    Fake.answers = {
        number: facts(number, options.sessions).replace(b'"RULES"', json.dumps(options.rules_hash).encode())
        for number in range(options.count)
    }
    server = await asyncio.get_running_loop().create_server(Fake, "127.0.0.1", 0, backlog=512)
    port = server.sockets[0].getsockname()[1]
    Fake.origin = options.origin or f"http://127.0.0.1:{port}"
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
