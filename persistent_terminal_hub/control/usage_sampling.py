"""Measures every running workspace in turn, and thins out what is old."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.hub import Hub
from persistent_terminal_hub.control.usage_samples import reading_of
from persistent_terminal_hub.control.usage_store import UsageStore
from persistent_terminal_hub.control.workspace_link import WorkspaceLink
from persistent_terminal_hub.repeating import Repeating
from persistent_terminal_hub.settings import UsageSettings

PATH = "usage"
ACTOR = "service:terminals"
AT_ONCE = 20
SECONDS = 5.0
COMPACT_SECONDS = 600.0
#: Questions are spread over so much of the time between two measurements.
SPREAD = 0.5

Blocking = Callable[..., Awaitable[Any]]


class UsageSampling:
    """See the module. `blocking` takes a call to a thread."""

    def __init__(
        self, hub: Hub, workspaces: WorkspaceLink, store: UsageStore, settings: UsageSettings,
        blocking: Blocking,
    ) -> None:  # fmt: skip
        self._hub = hub
        self._workspaces = workspaces
        self._store = store
        self._settings = settings
        self._blocking = blocking
        self._limit = asyncio.Semaphore(AT_ONCE)
        self._began = 0.0
        # While the hub is away counters go on.
        self._measuring = Repeating("Measuring the use", self._round, self._pause, quiet=(ApiError,))
        self._compacted = float("-inf")

    def start(self) -> None:
        """Begin."""
        self._measuring.start()

    async def close(self) -> None:
        """End."""
        await self._measuring.close()

    async def _round(self) -> None:
        self._began = time.monotonic()
        await self.measure()
        if self._began - self._compacted >= COMPACT_SECONDS:
            self._compacted = self._began
            await self._blocking(self._store.compact, time.time(), self._settings.keep_days)

    def _pause(self) -> float:
        return max(1.0, self._settings.sample_seconds - (time.monotonic() - self._began))

    async def measure(self) -> None:
        """Ask every running workspace once. Raises ApiError when the hub does not answer."""
        entries = [entry for entry in await self._hub.running() if entry.get("address")]
        spread = self._settings.sample_seconds * SPREAD if len(entries) > 1 else 0.0
        places = [(str(entry.get("user")), str(entry.get("workspace", ""))) for entry in entries]
        await asyncio.gather(*(self._one(*place, random.uniform(0, spread)) for place in places))  # noqa: S311

    async def _one(self, owner: str, name: str, pause: float) -> None:
        await asyncio.sleep(pause)
        async with self._limit:
            try:
                answer = await self._workspaces.ask(
                    owner, name, "GET", PATH, "usage", actor=ACTOR, seconds=SECONDS
                )
            except ApiError:
                return  # it does not run, does not answer, or its image is too old
            reading = reading_of(answer)
            if reading is not None:
                await self._blocking(self._store.record, owner, name, reading, time.time())
