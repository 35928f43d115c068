"""Waits until a locked workspace is open again, by asking it what everybody may know: its `api/status`."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final

import httpx

#: Seconds between two questions: they grow from the first to the last.
FIRST: Final = 1.0
LAST: Final = 10.0
GROWTH: Final = 1.5
#: Seconds for one answer.
PATIENCE: Final = 10.0
_ROOT: Final = "/persistent-terminals/"


def status_url(socket_url: str) -> str:
    """Where the workspace of a session's WebSocket tells whether it is locked."""
    base, _, _ = socket_url.partition(_ROOT + "ws/")
    return "http" + base.removeprefix("ws") + _ROOT + "api/status"


class UnlockWatch:
    """Asks while it is on, and calls `opened` when the answer is that the workspace is not locked."""

    def __init__(
        self,
        socket_url: str,
        opened: Callable[[], None],
        *,
        local: bool,
        tls: ssl.SSLContext | None,
        random: Callable[[], float],
    ) -> None:
        self._url = status_url(socket_url)
        self._opened = opened
        self._local = local
        self._tls = tls
        self._random = random
        self._task: asyncio.Task[None] | None = None

    def turn(self, on: bool) -> None:
        """Ask, or cease to."""
        if on and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        elif not on and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        wait = FIRST
        # Neither token nor cookie: there is no need for them.
        async with httpx.AsyncClient(
            timeout=PATIENCE,
            trust_env=not self._local,
            verify=True if self._tls is None else self._tls,
            headers={"Accept": "application/json"},
        ) as client:
            while True:
                await asyncio.sleep(wait * (0.75 + self._random() / 2))
                wait = min(wait * GROWTH, LAST)
                if await self._is_open(client):
                    self._opened()

    async def _is_open(self, client: httpx.AsyncClient) -> bool:
        try:
            answer = await client.get(self._url)
            told = answer.json() if answer.status_code == 200 else None
        except (httpx.HTTPError, ValueError):
            return False  # it may be on its way back; the WebSocket tries by itself, too
        return isinstance(told, dict) and told.get("locked") is False
