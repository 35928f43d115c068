"""Begins the streams of a server: the connection to the keeper, keyframes, metrics."""

from __future__ import annotations

import gc
import logging
import os
from typing import Any, Final

from persistent_terminal_hub.protocol.arbiter import SizePolicy

from . import metrics
from .attachments import Attachments
from .keeper_link import Info, KeeperError, KeeperGone
from .keyframe import KeyframeMaker
from .manager import PersistentTerminalManager
from .presence import SETTING as PRESENCE
from .presence import Presence
from .rules_clock import SETTING as RULES
from .rules_clock import WorkspaceClock
from .stream import Streams

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
    """The streams of the manager's sessions."""

    def __init__(
        self,
        manager: PersistentTerminalManager,
        presence: Presence | None = None,
        clock: WorkspaceClock | None = None,
    ) -> None:
        self.manager = manager
        self.link = manager.link
        self.maker = KeyframeMaker.detect()
        self._policy = size_policy()
        self.streams = Streams(self.link, self.maker, self._attachments, self._former)
        if presence is not None and clock is not None:
            self.streams.typed = presence.typed
            self.streams.greeting = clock.greeting
        metrics.SessionStates(lambda: self.link.sessions.values()).register()

    def _attachments(self, info: Info) -> Attachments:
        """What our clients of a session share with stock ones."""
        attachments = self.manager.by_id[info.id].attachments
        attachments.arbiter.policy = self._policy
        return attachments

    def _former(self, name: str) -> str | None:
        """A session by a name that it had before."""
        session = self.manager.find_running(name)
        return None if session is None else session.id

    async def ready(self) -> bool:
        """Whether the keeper is there."""
        try:
            await self.link.ready(PATIENCE)
        except KeeperGone:
            return False
        return True


async def start(settings: dict[str, Any]) -> None:
    """Begin; called once, in the server's event loop."""
    # What a Jupyter server consists of stays for ever; a collector that looks through it again and again
    # stops every terminal for tens of milliseconds.
    gc.collect()
    gc.freeze()
    service = settings[SETTING] = StreamService(
        settings["terminal_manager"], settings.get(PRESENCE), settings.get(RULES)
    )
    if await service.ready():
        try:
            stats = await service.link.stats()
        except (KeeperError, OSError):
            return  # it matters for one metric only
        metrics.RESTARTS.set(stats.get("server_restarts_total", 0))


async def find_streams(settings: dict[str, Any]) -> Streams | None:
    """The streams of this server, if the keeper is there."""
    service: StreamService | None = settings.get(SETTING)
    return service.streams if service is not None and await service.ready() else None
