"""Questions to the hub: with this server's certificate where it asks for one, and not again and again."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from jupyterhub.httpclient import fetch
from jupyterhub.utils import make_ssl_context

T = TypeVar("T")


def tls_options(certfile: str, keyfile: str, client_ca: str) -> dict[str, Any]:
    """What `fetch` takes to show a certificate."""
    if not (certfile or keyfile):
        return {}
    return {"ssl": make_ssl_context(keyfile, certfile, cafile=client_ca)}


def tls_of_environment() -> dict[str, Any]:
    """The same with the files that the hub named to this server."""
    return tls_options(
        *(os.environ.get(f"JUPYTERHUB_SSL_{name}", "") for name in ("CERTFILE", "KEYFILE", "CLIENT_CA"))
    )


def hub_url(api: str, path: str) -> str:
    """An address of ours at the hub, from JUPYTERHUB_API_URL."""
    return f"{api.rstrip('/').removesuffix('/api')}/persistent-terminals/{path}"


async def ask_hub(url: str, *, seconds: float, most: int, token: str = "") -> tuple[int, bytes]:
    """Status and body, in at most `seconds` and `most` bytes; else OSError, ClientError, TimeoutError."""
    headers = {"Authorization": f"token {token}"} if token else {}
    async with asyncio.timeout(seconds):
        # The token is for this address only.
        response = await fetch(
            url, raise_for_status=False, allow_redirects=False, headers=headers, **tls_of_environment()
        )
        try:
            body = bytearray()
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > most:
                    raise OSError("the answer is too long")
        finally:
            response.close()
    return response.status, bytes(body)


class Lately(Generic[T]):
    """Asks at most once in `seconds`, however many want to know. What is raised is not remembered."""

    def __init__(self, ask: Callable[[], Awaitable[T]], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._seen: tuple[float, T] | None = None
        self._asking: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """The answer of now, or of a moment ago."""
        if self._seen is not None and time.monotonic() - self._seen[0] < self._seconds:
            return self._seen[1]
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._look())
        # Who gives up waiting does not take the answer from the others.
        return await asyncio.shield(self._asking)

    async def _look(self) -> T:
        try:
            found = await self._ask()
        finally:
            self._asking = None
        self._seen = (time.monotonic(), found)
        return found
