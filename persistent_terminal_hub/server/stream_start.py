"""Begins the streams of a server: the connection to the keeper, keyframes, metrics."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Any, Final

from persistent_terminal_hub.keeper.client import KeeperGone
from persistent_terminal_hub.protocol.arbiter import SizePolicy

from . import metrics
from .keyframe import KeyframeMaker
from .stream import Streams
from .stream_link import ClientLink

log = logging.getLogger(__name__)

SETTING: Final = "persistent_terminal_streams"
#: Seconds that a client waits for the keeper, which is there before the server is.
PATIENCE: Final = 5.0


def size_policy() -> SizePolicy:
    """Whose size a terminal has: PTH_SIZE_POLICY."""
    wanted = os.environ.get("PTH_SIZE_POLICY", "latest")
    if wanted == "smallest":
        return "smallest"
    if wanted != "latest":
        log.warning("PTH_SIZE_POLICY is neither 'latest' nor 'smallest'; it is taken as 'latest'.")
    return "latest"


class StreamService:
    """The streams, and what they run on."""

    def __init__(self, runtime: Path) -> None:
        self.link = ClientLink(runtime / "keeper.sock")
        self.maker = KeyframeMaker.detect()
        self.streams = Streams(self.link, self.maker, policy=size_policy())
        self._states = metrics.SessionStates(lambda: self.link.sessions.values())
        self._states.register()
        self.link.start()

    async def ready(self) -> bool:
        """Whether the keeper is there."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.link.ready.wait()
        except (TimeoutError, KeeperGone):
            return False
        metrics.RESTARTS.set(self.link.stats.get("server_restarts_total", 0))
        return True


async def start(settings: dict[str, Any]) -> None:
    """Begin, once; called in the server's event loop."""
    runtime = os.environ.get("PTH_RUNTIME_DIR")
    if SETTING not in settings and runtime:
        settings[SETTING] = StreamService(Path(runtime))
        await settings[SETTING].ready()


async def find_streams(settings: dict[str, Any]) -> Streams | None:
    """The streams of this server, if there is a keeper."""
    if SETTING not in settings:
        await start(settings)
    service: StreamService | None = settings.get(SETTING)
    if service is None or not await service.ready():
        return None
    return service.streams
