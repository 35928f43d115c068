"""One client's input on its way to the keeper: held until accepted, sent again when it must be."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from persistent_terminal_hub.keeper.client import KeeperError, KeeperGone


class SessionOver(Exception):
    """The session has ended; nobody will read this input."""


Send = Callable[[str, str, int, bytes], "asyncio.Future[Any] | None"]


class InputLine:
    """Messages of one client to one session that are not accepted yet, in order.

    The keeper takes each number once, so sending one again is always safe. It refuses what is out of order,
    so after a refusal nothing is lost either: everything from there on is sent again, when there is room.
    """

    def __init__(self, send: Send, session: str, client: str) -> None:
        self._send = send
        self._session = session
        self._client = client
        self._waiting: deque[tuple[int, bytes, asyncio.Future[int]]] = deque()
        # Answers to what was sent before the latest resend tell nothing about it.
        self._round = 0
        self._blocked = False

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._waiting

    def put(self, seq: int, data: bytes) -> asyncio.Future[int]:
        """Send a message, now or when it can be taken."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((seq, data, future))
        if not self._blocked:
            self._transmit(seq, data)
        return future

    def resend(self) -> None:
        """There is room again, or another connection: send all that waits."""
        self._round += 1
        self._blocked = False
        for seq, data, _ in tuple(self._waiting):
            self._transmit(seq, data)

    def fail(self, error: Exception) -> None:
        """Nothing that waits will be taken."""
        waiting, self._waiting = self._waiting, deque()
        for _, _, future in waiting:
            _fail(future, error)

    def _transmit(self, seq: int, data: bytes) -> None:
        sent = self._send(self._session, self._client, seq, data)
        if sent is None:
            self._blocked = True  # until the connection is back
            return
        number = self._round
        sent.add_done_callback(lambda done: self._answered(done, number, seq))

    def _answered(self, done: asyncio.Future[Any], number: int, seq: int) -> None:
        error = None if done.cancelled() else done.exception()
        if error is None and not done.cancelled():
            self._accepted(int(done.result().header["ack"]))
        elif isinstance(error, KeeperError):
            self._refused(error, number, seq)
        elif not isinstance(error, KeeperGone) and error is not None:
            self.fail(SessionOver(str(error)))
        # KeeperGone: it is sent again when the connection is back.

    def _accepted(self, ack: int) -> None:
        while self._waiting and self._waiting[0][0] <= ack:
            future = self._waiting.popleft()[2]
            if not future.done():
                future.set_result(ack)

    def _refused(self, error: KeeperError, number: int, seq: int) -> None:
        self._accepted(int(error.header.get("ack", 0)))
        if error.code in ("ended", "not_found"):
            self.fail(SessionOver(str(error)))
        elif error.code == "full":
            if number == self._round:
                self._blocked = True  # until `input_ready`
        elif error.code == "gap":
            ack = int(error.header.get("ack", 0))
            # After a `full`, what was sent behind it comes back like this, and is sent again with it.
            if (
                number == self._round
                and not self._blocked
                and self._waiting
                and self._waiting[0][0] > ack + 1
            ):
                self.fail(error)
        else:
            self._drop(seq, error)

    def _drop(self, seq: int, error: KeeperError) -> None:
        for item in tuple(self._waiting):
            if item[0] == seq:
                self._waiting.remove(item)
                _fail(item[2], error)


def _fail(future: asyncio.Future[int], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # nobody may be waiting for it
