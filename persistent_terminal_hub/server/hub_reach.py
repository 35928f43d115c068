"""Whether the hub answers: for the lock page, which must not send somebody to a hub that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp
from jupyterhub.httpclient import fetch

from .hub_http import Lately, tls_of_environment

#: Seconds that the hub has for its answer, and that an answer counts.
HUB_SECONDS: Final = 2.0
FRESH_SECONDS: Final = 5.0


class HubReach:
    """Asks at most once in FRESH_SECONDS, however many want to know."""

    def __init__(self, ask: Callable[[], Awaitable[bool]]) -> None:
        async def look() -> bool:
            try:
                async with asyncio.timeout(HUB_SECONDS):
                    return await ask()
            except (OSError, aiohttp.ClientError, TimeoutError, ValueError):
                return False

        #: Whether it answers now, or did a moment ago.
        self.answers = Lately(look, FRESH_SECONDS).get


def hub_of(api_url: str) -> Callable[[], Awaitable[bool]]:
    """Asks the hub for its version, which it tells everybody."""

    async def ask() -> bool:
        # With its slash at the end it is no redirect.
        response = await fetch(api_url.rstrip("/") + "/", raise_for_status=False, **tls_of_environment())
        # A proxy whose hub is away answers, too: with 503.
        return bool(response.status < 500)

    return ask
