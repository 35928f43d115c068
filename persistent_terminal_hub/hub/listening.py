"""Waits until a new workspace's server takes connections.

JupyterHub asks a server that is not there yet ever more seldom, and so notices it seconds after it is
ready. Whoever waits here first has it noticed at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PAUSE_SECONDS = 0.1
CONNECT_SECONDS = 1.0


async def until_listening(host: str, port: int, seconds: float, alive: Callable[[], bool]) -> bool:
    """True as soon as somebody listens; False after `seconds`, or when `alive` says that nobody will."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while alive() and loop.time() < deadline:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), CONNECT_SECONDS)
        except (OSError, TimeoutError):
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            writer.close()
            return True
    return False
