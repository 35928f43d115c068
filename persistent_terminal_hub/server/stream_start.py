"""Begins the streams of a server: the connection to the keeper, keyframes, metrics."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Final

from persistent_terminal_hub.protocol.arbiter import SizePolicy

from . import metrics
from .attachments import Attachments
from .keeper_link import Change, Info, KeeperGone, KeeperLink
from .keyframe import KeyframeMaker
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


class OwnAttachments:
    """For a server whose manager does not keep any: one `Attachments` per session."""

    def __init__(self, link: KeeperLink, policy: SizePolicy) -> None:
        self._link = link
        self._policy: SizePolicy = policy
        self._all: dict[str, Attachments] = {}
        link.on_change(self._changed)

    def of(self, info: Info) -> Attachments:
        """Those of a session."""
        found = self._all.get(info.id)
        if found is None:
            found = self._all[info.id] = Attachments(
                lambda cols, rows: self._link.resize_soon(info.id, cols, rows), policy=self._policy
            )
            found.size_is(info.cols, info.rows)
        return found

    def _changed(self, change: Change) -> None:
        info = change.info
        if info is not None and change.kind == "resized" and info.id in self._all:
            self._all[info.id].size_is(info.cols, info.rows)
        elif info is not None and change.kind == "removed":
            self._all.pop(info.id, None)


class StreamService:
    """The streams, and what they run on."""

    def __init__(self, link: KeeperLink) -> None:
        self.link = link
        self.streams = Streams(link, KeyframeMaker.detect(), OwnAttachments(link, size_policy()).of)
        self._states = metrics.SessionStates(lambda: link.sessions.values())
        self._states.register()

    async def ready(self) -> bool:
        """Whether the keeper is there."""
        try:
            await self.link.ready(PATIENCE)
        except KeeperGone:
            return False
        return True

    async def begin(self) -> None:
        """Connect, and note what does not change."""
        self.link.start()
        if await self.ready():
            stats = await self.link.stats()
            metrics.RESTARTS.set(stats.get("server_restarts_total", 0))


async def start(settings: dict[str, Any]) -> None:
    """Begin, once; called in the server's event loop."""
    runtime = os.environ.get("PTH_RUNTIME_DIR")
    if SETTING not in settings and runtime:
        service = settings[SETTING] = StreamService(KeeperLink(Path(runtime) / "keeper.sock"))
        await service.begin()


async def find_streams(settings: dict[str, Any]) -> Streams | None:
    """The streams of this server, if there is a keeper."""
    if SETTING not in settings:
        await start(settings)
    service: StreamService | None = settings.get(SETTING)
    return service.streams if service is not None and await service.ready() else None
