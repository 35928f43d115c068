"""Jupyter's own terminal resources (`/api/terminals`) on sessions that another process owns.

The stock handlers call the manager as if terminals were made in this process; these wait for the keeper.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server_terminals.api_handlers import TerminalHandler, TerminalRootHandler
from tornado import web

from . import names
from .manager import PersistentTerminalManager


class _Ready:
    """Waits for the keeper's sessions before the request is looked at."""

    settings: dict[str, Any]
    current_user: Any
    _finished: bool

    @property
    def manager(self) -> PersistentTerminalManager:
        manager: PersistentTerminalManager = self.settings["terminal_manager"]
        return manager

    async def prepare(self) -> None:
        await super().prepare()  # type: ignore[misc]
        if not self._finished and self.current_user:
            await self.manager.ready()


class Terminals(_Ready, TerminalRootHandler):  # type: ignore[misc]
    """All running sessions."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Create one."""
        data = self.get_json_body() or {}
        if not isinstance(data, dict):
            raise web.HTTPError(400, "The body is not a JSON object.")
        if "cwd" in data:
            data["cwd"] = self._existing(data["cwd"])
        self.finish(json.dumps(await self.manager.create_stock(**data)))

    def _existing(self, cwd: object) -> str | None:
        """A directory as stock code understands it; one that is not there counts as none."""
        if not isinstance(cwd, str) or "\0" in cwd:
            return None
        root = Path(self.settings["server_root_dir"]).expanduser()
        found = (path for path in (Path(cwd), root / cwd) if path.resolve().exists())
        path = next(found, None)
        return None if path is None else str(path.resolve())


class Terminal(_Ready, TerminalHandler):  # type: ignore[misc]
    """One running session."""


#: To be put in front of the stock routes.
handlers = [
    (r"/api/terminals", Terminals),
    (rf"/api/terminals/({names.NAME_PATTERN})", Terminal),
]
