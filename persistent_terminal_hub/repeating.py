"""Work that a service does again and again while it runs, whatever one round of it meets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

log = logging.getLogger(__name__)

_OURS = Path(__file__).resolve().parent


class Repeating:
    """Calls `work`, then rests for `pause()` seconds or until `wake` is called; a failed round ends nothing.

    The first round begins `after` seconds. `quiet`: failures that are somebody else's to report. Everything
    else is logged as `what`, by its type and place only: its text may hold anything.
    """

    def __init__(
        self,
        what: str,
        work: Callable[[], Awaitable[object]],
        pause: Callable[[], float],
        *,
        quiet: tuple[type[Exception], ...] = (),
        after: float = 0.0,
    ) -> None:
        self._what = what
        self._work = work
        self._pause = pause
        self._quiet = quiet
        self._after = after
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; again is nothing. From the event loop."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    async def close(self) -> None:
        """End."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def wake(self) -> None:
        """Do not rest (any longer) before the next round."""
        self._wake.set()

    async def _run(self) -> None:
        await asyncio.sleep(self._after)
        while True:
            try:
                await self._work()
            except self._quiet:
                pass
            except Exception as error:  # a round that ends the others would be noticed by nobody
                log.error("%s failed (%s).", self._what, _where(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()
            self._wake.clear()


def _where(error: Exception) -> str:
    """Its type, where it was raised, and where that was called from our code."""
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    places = [frames[-1], *[frame for frame in frames[:-1] if _OURS in frame[0].parents][-1:]]
    if _OURS in frames[-1][0].parents:
        del places[1:]
    return ", ".join([type(error).__name__, *(f"{path.name} line {line}" for path, line in places)])
