"""Everybody attached to a session, of whatever protocol: whose size holds, and who answers questions.

One :class:`Attachments` per session, shared by stock and `pth.v1` sockets; the decision itself is the pure
`protocol.arbiter`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from persistent_terminal_hub.protocol.arbiter import Arbiter, SizePolicy


class Host(Protocol):
    """The socket of an attached client."""

    def set_responder(self, responder: bool) -> None:
        """Whether this client answers the program's questions from now on. Called when it changes."""


class Attachments:
    """The clients of one session.

    ``resize(cols, rows)`` is called when the size that holds changes; ``unattended(is_so)`` when there
    begins or ceases to be a client that answers.
    """

    def __init__(
        self,
        resize: Callable[[int, int], None],
        unattended: Callable[[bool], None] = lambda _so: None,
        policy: SizePolicy = "latest",
    ) -> None:
        self.arbiter = Arbiter(policy)
        self._resize = resize
        self._unattended = unattended
        self._hosts: dict[str, Host] = {}
        self._size: tuple[int, int] | None = None
        self.responder: str | None = None

    def __len__(self) -> int:
        return len(self._hosts)

    def join(
        self,
        client: str,
        host: Host,
        *,
        rows: int,
        cols: int,
        writes: bool = True,
        visible: bool = True,
        resumed: bool = False,
    ) -> None:
        """A client attached (again)."""
        self._hosts[client] = host
        self.arbiter.join(client, rows=rows, cols=cols, writes=writes, visible=visible, resumed=resumed)
        if self.responder == client:
            host.set_responder(True)
        self._decide()

    def leave(self, client: str, host: Host) -> None:
        """A client's socket is gone; not if another socket of the same client has taken its place."""
        if self._hosts.get(client) is host:
            del self._hosts[client]
            self.arbiter.leave(client)
            self._decide()

    def active(self, client: str) -> None:
        """A client typed or got the focus."""
        self.arbiter.active(client)
        self._decide()

    def resize(self, client: str, rows: int, cols: int) -> None:
        """A client's window changed."""
        self.arbiter.resize(client, rows, cols)
        self._decide()

    def visible(self, client: str, visible: bool) -> None:
        """A client's terminal can be seen, or not."""
        self.arbiter.visible(client, visible)
        self._decide()

    def size_is(self, cols: int, rows: int) -> None:
        """The session's size, whoever set it. Not to be told while a ``resize`` is on its way."""
        self._size = (rows, cols)

    def size_was_lost(self) -> None:
        """What ``resize`` was called for last did not arrive, and can now."""
        self._decide()

    def _decide(self) -> None:
        decision = self.arbiter.decide()
        if decision.responder != self.responder:
            before, self.responder = self.responder, decision.responder
            for client, responder in ((before, False), (decision.responder, True)):
                host = self._hosts.get(client or "")
                if host is not None:
                    host.set_responder(responder)
            if (before is None) != (decision.responder is None):
                self._unattended(decision.responder is None)
        if decision.size is not None and decision.size != self._size:
            self._size = decision.size
            rows, cols = decision.size
            self._resize(cols, rows)
