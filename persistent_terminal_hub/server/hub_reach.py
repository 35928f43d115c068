"""Whether the hub answers: for the lock page, which must not send somebody to a hub that is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp
from jupyterhub.httpclient import fetch
from jupyterhub.utils import make_ssl_context

#: Seconds that the hub has for its answer, and that an answer counts.
HUB_SECONDS: Final = 2.0
FRESH_SECONDS: Final = 5.0


class HubReach:
    """Asks at most once in FRESH_SECONDS, however many want to know."""

    def __init__(self, ask: Callable[[], Awaitable[bool]]) -> None:
        self._ask = ask
        self._seen: tuple[float, bool] | None = None
        self._asking: asyncio.Task[bool] | None = None

    async def answers(self) -> bool:
        """Whether it answers now, or did a moment ago."""
        if self._seen is not None and time.monotonic() - self._seen[0] < FRESH_SECONDS:
            return self._seen[1]
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._look())
        return await asyncio.shield(self._asking)

    async def _look(self) -> bool:
        try:
            async with asyncio.timeout(HUB_SECONDS):
                found = await self._ask()
        except (OSError, aiohttp.ClientError, TimeoutError, ValueError):
            found = False
        finally:
            self._asking = None
        self._seen = (time.monotonic(), found)
        return found


def tls_options(certfile: str = "", keyfile: str = "", client_ca: str = "") -> dict[str, Any]:
    """For `fetch`: how to show this server's certificate to a hub that asks for one."""
    if not (certfile or keyfile):
        return {}
    return {"ssl": make_ssl_context(keyfile, certfile, cafile=client_ca)}


def hub_of(
    api_url: str, certfile: str = "", keyfile: str = "", client_ca: str = ""
) -> Callable[[], Awaitable[bool]]:
    """Asks the hub for its version, which it tells everybody."""

    async def ask() -> bool:
        options = tls_options(certfile, keyfile, client_ca)
        # With its slash at the end it is no redirect.
        response = await fetch(api_url.rstrip("/") + "/", raise_for_status=False, **options)
        # A proxy whose hub is away answers, too: with 503.
        return bool(response.status < 500)

    return ask
