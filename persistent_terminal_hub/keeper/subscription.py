"""A session's journal on this side of the keeper's socket."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable

from persistent_terminal_hub.keeper.channel import Event, Reply
from persistent_terminal_hub.keeper.journal import Reader


class Subscription:
    """A session's journal, mapped, and what to call when there is something new in it."""

    def __init__(
        self, reply: Reply, on_close: Callable[[int], None], loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        journal_fd, self._wake_fd = reply.fds
        self._loop = loop
        self._on_close = on_close
        self._woken: Callable[[], None] = lambda: None
        self._paused: asyncio.TimerHandle | None = None
        self._number = int(reply.header["subscription"])
        self.session: Event = reply.header["session"]
        try:
            self.reader = Reader(journal_fd)
        except BaseException:
            os.close(self._wake_fd)
            raise
        finally:
            os.close(journal_fd)

    def _watch(self, on_wake: Callable[[], None]) -> None:
        def woken() -> None:
            self.clear_wake()
            on_wake()

        self._woken = woken
        if self._loop is not None:
            self._loop.add_reader(self._wake_fd, woken)

    def pause(self, seconds: float) -> None:
        """Be woken again only after so long; what happens meanwhile wakes then. For floods."""
        if self._loop is not None and self._wake_fd >= 0 and self._paused is None:
            self._loop.remove_reader(self._wake_fd)
            self._paused = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._paused = None
        if self._loop is not None and self._wake_fd >= 0:
            self._loop.add_reader(self._wake_fd, self._woken)

    def clear_wake(self) -> None:
        """Consume the wakes so far; do that before reading, so that none is lost."""
        try:  # noqa: SIM105 - on the way of every echo
            os.eventfd_read(self._wake_fd)
        except BlockingIOError:
            pass

    def wait(self, seconds: float) -> bool:
        """For users without a loop: wait until there is something to read."""
        poller = select.poll()
        poller.register(self._wake_fd, select.POLLIN)
        if not poller.poll(seconds * 1000):
            return False
        self.clear_wake()
        return True

    def close(self) -> None:
        """Unmap the journal and stop being woken."""
        if self._wake_fd >= 0:
            if self._loop is not None:
                self._loop.remove_reader(self._wake_fd)
            if self._paused is not None:
                self._paused.cancel()
            os.close(self._wake_fd)
            self._wake_fd = -1
            self.reader.close()
            self._on_close(self._number)
