"""What the person who waits for a start sees, in plain words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any


class Progress:
    """Messages of one start; any number of pages may follow them."""

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []
        self._more = asyncio.Event()

    def say(self, percent: int, message: str) -> None:
        """Add a message."""
        self._messages.append({"progress": percent, "message": message})
        self._more.set()
        self._more = asyncio.Event()

    async def follow(self) -> AsyncIterator[dict[str, Any]]:
        """All messages from the first on; the reader stops when the start has ended."""
        seen = 0
        while True:
            more = self._more
            while seen < len(self._messages):
                yield self._messages[seen]
                seen += 1
            await more.wait()

    @property
    def texts(self) -> list[str]:
        """The messages so far."""
        return [str(entry["message"]) for entry in self._messages]
