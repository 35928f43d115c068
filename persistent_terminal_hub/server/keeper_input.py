"""One client's input on its way to the keeper: held until accepted, sent again when it must be."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from persistent_terminal_hub.keeper.channel import KeeperError, KeeperGone


class SessionOver(Exception):
    """The session has ended; nobody will read this input."""


#: Called once for each message: with the last number accepted, or with why it never will be.
Taken = Callable[["int | Exception"], None]


class InputLine:
    """Messages of one client to one session that are not accepted yet, in order.

    The keeper takes each number once, so sending one again is always safe. It refuses what is out of order,
    so after a refusal nothing is lost either: everything from there on is sent again, when there is room.
    Answers come in the order of what they answer; whoever sends gives them to `accepted` and `refused`.
    """

    def __init__(self, send: Callable[[InputLine, int, bytes], bool], session: str, client: str) -> None:
        """`send` says whether there is a connection to send over."""
        self._send = send
        self.session = session
        self.client = client
        #: The keeper's short name for this line, on the present connection.
        self.number: int | None = None
        self._waiting: deque[tuple[int, bytes, Taken]] = deque()
        self._blocked = False

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._waiting

    def put(self, seq: int, data: bytes, taken: Taken) -> None:
        """Send a message, now or when it can be taken."""
        self._waiting.append((seq, data, taken))
        if not self._blocked and not self._send(self, seq, data):
            self._blocked = True  # until the connection is back

    def resend(self) -> None:
        """There is room again, or another connection: send all that waits."""
        self._blocked = False
        for seq, data, _ in tuple(self._waiting):
            if not self._send(self, seq, data):
                self._blocked = True
                return

    def fail(self, error: Exception) -> None:
        """Nothing that waits will be taken."""
        waiting, self._waiting = self._waiting, deque()
        for _, _, taken in waiting:
            taken(error)

    def accepted(self, ack: int) -> None:
        """The keeper has everything up to this number."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= ack:
            waiting.popleft()[2](ack)

    def refused(self, error: KeeperError, seq: int) -> None:
        """The keeper did not take this message."""
        ack = int(error.header.get("ack", 0))
        self.accepted(ack)
        if error.code in ("ended", "not_found"):
            self.fail(SessionOver(str(error)))
        elif error.code == "full":
            # Until `input_ready`. The room that this answer missed may have been told of already, by an
            # answer to the same message sent again; then another `input_ready` follows.
            self._blocked = bool(self._waiting)
        elif error.code == "gap":
            # After a `full`, what was sent behind it comes back like this, and is sent again with it.
            if not self._blocked and self._waiting and self._waiting[0][0] > ack + 1:
                self.fail(error)
        else:
            self._drop(seq, error)

    def answered(self, done: asyncio.Future[Any], seq: int) -> None:
        """What an older keeper says of one message."""
        error = None if done.cancelled() else done.exception()
        if error is None and not done.cancelled():
            self.accepted(int(done.result().header["ack"]))
        elif isinstance(error, KeeperError):
            self.refused(error, seq)
        elif not isinstance(error, KeeperGone) and error is not None:
            self.fail(SessionOver(str(error)))
        # KeeperGone: it is sent again when the connection is back.

    def _drop(self, seq: int, error: KeeperError) -> None:
        for item in tuple(self._waiting):
            if item[0] == seq:
                self._waiting.remove(item)
                item[2](error)
