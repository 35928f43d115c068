"""A small event loop: file descriptors, signals, child deaths and a few timers. No threads, no polling.

Fairness: every ready descriptor is served once a turn, and each handler bounds the work of one call,
so a terminal that floods delays another one by no more than one such bound.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import select
import signal
import sys
import time
from collections.abc import Callable

from persistent_terminal_hub.keeper import log

READ = select.EPOLLIN
WRITE = select.EPOLLOUT

Handler = Callable[[int], None]


class Timer:
    """A call in the future; ``cancel`` makes it a no-op."""

    __slots__ = ("_order", "callback", "when")

    def __init__(self, when: float, order: int, callback: Callable[[], None]) -> None:
        self.when = when
        self._order = order
        self.callback: Callable[[], None] | None = callback

    def __lt__(self, other: Timer) -> bool:
        return (self.when, self._order) < (other.when, other._order)

    def cancel(self) -> None:
        """Do not call."""
        self.callback = None


class Loop:
    """Runs handlers until :meth:`stop`."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, tuple[Handler, Callable[[], None] | None]] = {}
        self._timers: list[Timer] = []
        self._order = itertools.count()
        self._signals: dict[int, Callable[[], None]] = {}
        self._running = True  # until stop(), which may come before run()
        self._wake_r, self._wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.add(self._wake_r, READ, self._on_wake)

    # -- descriptors ---------------------------------------------------------------------------------
    def add(self, fd: int, events: int, handler: Handler, on_error: Callable[[], None] | None = None) -> None:
        """Call ``handler(events)`` when ``fd`` is ready.

        If the handler raises, the descriptor is dropped from the loop, the error is logged and
        ``on_error`` is called: one broken session or connection must not take the others with it.
        """
        self._epoll.register(fd, events)
        self._handlers[fd] = (handler, on_error)

    def modify(self, fd: int, events: int) -> None:
        """Change what ``fd`` is watched for; 0 keeps it registered for errors and hang-ups only."""
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Forget ``fd``; call it before closing it. Unknown descriptors are fine."""
        if self._handlers.pop(fd, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)

    # -- time ----------------------------------------------------------------------------------------
    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` once, ``delay`` seconds from now."""
        timer = Timer(time.monotonic() + delay, next(self._order), callback)
        heapq.heappush(self._timers, timer)
        return timer

    # -- signals -------------------------------------------------------------------------------------
    def on_signal(self, signum: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` in the loop, not in signal context, when ``signum`` arrives."""
        self._signals[signum] = callback
        # A Python handler must exist for the wake-up descriptor to be written.
        signal.signal(signum, lambda _signum, _frame: None)
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)

    def _on_wake(self, _events: int) -> None:
        try:
            pending = os.read(self._wake_r, 4096)
        except BlockingIOError:
            return
        for signum in dict.fromkeys(pending):  # each once, in order of arrival
            callback = self._signals.get(signum)
            if callback is not None:
                self._guard(callback)

    # -- running -------------------------------------------------------------------------------------
    def stop(self) -> None:
        """Make :meth:`run` return after the current turn."""
        self._running = False

    def run(self) -> None:
        """Serve until :meth:`stop`."""
        while self._running:
            self.turn(None)

    def turn(self, limit: float | None) -> None:
        """Wait for something (at most ``limit`` seconds) and serve everything that is ready, once."""
        for fd, events in self._epoll.poll(self._timeout(limit)):
            entry = self._handlers.get(fd)
            if entry is None:  # removed by an earlier handler of this turn
                continue
            handler, on_error = entry
            try:
                handler(events)
            except Exception:
                self._report()
                self.remove(fd)
                if on_error is not None:
                    self._guard(on_error)
        now = time.monotonic()
        while self._timers and self._timers[0].when <= now:
            callback = heapq.heappop(self._timers).callback
            if callback is not None:
                self._guard(callback)

    def _timeout(self, limit: float | None) -> float | None:
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return limit
        wait = max(0.0, self._timers[0].when - time.monotonic())
        return wait if limit is None else min(wait, limit)

    def _guard(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            self._report()

    @staticmethod
    def _report() -> None:
        # Places only, not the message: an exception's text can quote data.
        kind, _, trace = sys.exc_info()
        places = []
        while trace is not None:
            places.append(f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}")
            trace = trace.tb_next
        where = " < ".join(reversed(places[-4:]))
        log.say(f"internal error {kind.__name__ if kind else ''} at {where}; going on")

    def close(self) -> None:
        """Release the descriptors."""
        with contextlib.suppress(ValueError):
            signal.set_wakeup_fd(-1)
        self._epoll.close()
        os.close(self._wake_r)
        os.close(self._wake_w)
