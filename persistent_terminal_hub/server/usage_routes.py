"""`GET persistent-terminals/api/usage`: what the workspace and its sessions use.

Counters (CPU, network) grow from the start of the workspace, which `life` names; whoever samples takes
differences. Null: not known here.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.utils import url_path_join

from .disk_quota import DiskQuota
from .manager import PersistentTerminalManager
from .rules_clock import SETTING as CLOCK
from .rules_routes import RulesHandler
from .usage_sampler import FRESH_SECONDS, Sampler

SETTING = "persistent_terminals_usage"


class Usage:
    """The figures, read at most once a second however many ask."""

    def __init__(self, sampler: Sampler, manager: PersistentTerminalManager) -> None:
        self.sampler = sampler
        self._manager = manager
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._figures: dict[str, Any] = {}

    async def figures(self) -> dict[str, Any]:
        """All of them."""
        async with self._lock:
            if time.monotonic() - self._read_at >= FRESH_SECONDS:
                sessions = {session.info.pid: session.id for session in self._manager.terminals.values()}
                self._figures = await asyncio.to_thread(self.sampler.read, sessions)
                self._read_at = time.monotonic()
            return self._figures

    async def of_sessions(self) -> dict[str, tuple[float, float]]:
        """Of each session: CPU seconds, MiB."""
        found = (await self.figures())["sessions"]
        return {each["id"]: (each["cpuSeconds"], each["memoryBytes"] / (1 << 20)) for each in found}


class UsageHandler(RulesHandler):
    """The figures of now."""

    while_locked = "steer"
    steer_action = "usage"

    @allow_unauthenticated
    async def get(self) -> None:
        """Read them."""
        usage: Usage = self.settings[SETTING]
        figures = await usage.figures()
        quota = self.sessions.quota
        self.set_header("Cache-Control", "no-store")
        self.reply({**figures, "diskQuotaBytes": quota.limit if quota is not None else None})


def set_up(serverapp: Any, manager: PersistentTerminalManager) -> None:
    """The route, and the watch over the files. Only in a workspace."""
    settings = serverapp.web_app.settings
    # A local process shares its control group and its network with the whole machine.
    own_group = not os.environ.get("PTH_WORKSPACE_KEY")
    sampler = Sampler(Path.home(), os.getppid(), own_group=own_group)
    usage = settings[SETTING] = Usage(sampler, manager)
    quota = manager.quota = DiskQuota(sampler, os.environ.get("PTH_DISK_QUOTA", ""))
    clock = settings.get(CLOCK)
    if clock is not None:
        quota.tell = clock.tell
        clock.used = usage.of_sessions
    serverapp.io_loop.add_callback(quota.start)
    route = url_path_join(settings["base_url"], "/persistent-terminals/api/usage")
    serverapp.web_app.add_handlers(".*$", [(route, UsageHandler)])
