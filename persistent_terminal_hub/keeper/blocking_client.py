"""The other end of the keeper's socket for tools and tests that have no event loop."""

from __future__ import annotations

import socket
from collections import deque
from pathlib import Path
from typing import Any

from persistent_terminal_hub.keeper import wire
from persistent_terminal_hub.keeper.channel import Channel, Event, KeeperError, KeeperGone, Reply
from persistent_terminal_hub.keeper.subscription import Subscription


class BlockingClient:
    """A connection. Events that arrive are kept in :attr:`events`."""

    def __init__(self, path: Path, timeout: float = 10.0) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.settimeout(timeout)
        self._channel = Channel(sock)
        self._replies: deque[Reply] = deque()
        self.events: deque[Event] = deque()
        try:
            with wire.socket_address(path) as address:
                sock.connect(address)
            self.keeper = self.call("hello", versions=[wire.VERSION]).header
        except BaseException:
            self.close()
            raise

    def call(self, op: str, payload: bytes = b"", **fields: Any) -> Reply:
        """Send a request and wait for its answer."""
        number, data = self._channel.request(op, payload, fields)
        try:
            self._channel.sock.sendall(data)
        except OSError as error:
            raise KeeperGone(f"The keeper cannot be reached ({error.strerror}).") from None
        while True:
            reply = self._next()
            if reply.header.get("re") == number:
                if not reply.header.get("ok"):
                    raise KeeperError(reply.header)
                return reply

    def _next(self) -> Reply:
        while True:
            while self._replies:
                reply = self._replies.popleft()
                if "event" not in reply.header:
                    return reply
                self.events.append(reply.header)
            self._receive()

    def _receive(self) -> None:
        found = self._channel.receive()
        self._replies.extend(reply for reply in found if isinstance(reply, Reply))

    def wait_event(self, kind: str, session: str | None = None) -> Event:
        """The next event of a kind (of one session); others before it are dropped."""
        while True:
            while self.events:
                event = self.events.popleft()
                if event["event"] == kind and session in (None, event.get("session")):
                    return event
            if not self._replies:
                self._receive()
            while self._replies:  # no call is under way, so these are events
                self.events.append(self._replies.popleft().header)

    def subscribe(self, session: str) -> Subscription:
        """Map a session's journal."""
        reply = self.call("subscribe", session=session)
        return Subscription(reply, lambda _number: None)

    def close(self) -> None:
        """Disconnect."""
        self._channel.close()
