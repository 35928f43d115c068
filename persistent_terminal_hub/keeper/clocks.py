"""When the owner was last there, and when anybody was last connected: the clocks of the workspace's rules.

They live here because a server that is killed must not set them back. Instants are of both clocks; only the
monotonic one is for arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable

from persistent_terminal_hub.keeper.session import Instant, Session, now


class RulesClock:
    """See the module."""

    def __init__(self) -> None:
        self.started = now()
        self.presence = self.started  # whoever starts a workspace is there
        self._connected = self.started
        self._counts: dict[int, int] = {}  # connection of the keeper -> WebSockets open in that server

    def present(self, at: float | None = None) -> Instant:
        """The owner was there, now or at a monotonic time; never later than now, never set back."""
        moment = now()
        if at is not None and at < moment.monotonic:
            moment = Instant(moment.wall - (moment.monotonic - at), at)
        if moment.monotonic > self.presence.monotonic:
            self.presence = moment
        return self.presence

    def count(self, connection: int, open_now: int) -> None:
        """A server says how many WebSockets it has open."""
        before = self._counts.pop(connection, 0)
        if open_now:
            self._counts[connection] = open_now
        if before or open_now:
            self._connected = now()

    def forget(self, connection: int) -> None:
        """A server is gone, and its WebSockets with it."""
        self.count(connection, 0)

    def connected(self, sessions: Iterable[Session]) -> Instant:
        """When a page or client was last connected; now while one is."""
        moment = now()
        for session in sessions:
            if session.attached:
                self._connected = moment
            elif session.attached_at is not None:
                # Kept here as well: the session may be removed.
                self._connected = max(self._connected, session.attached_at, key=lambda at: at.monotonic)
        if self._counts:
            self._connected = moment
        return self._connected

    def is_connected(self, sessions: Iterable[Session]) -> bool:
        """Whether a page or client is connected now."""
        return bool(self._counts) or any(session.attached for session in sessions)

    @property
    def websockets(self) -> int:
        """How many WebSockets are open, as the servers say."""
        return sum(self._counts.values())
