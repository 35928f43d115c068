"""`GET /hub/persistent-terminals/api/logs`: the last lines that a workspace's own programs printed.

Whoever asks is the control service, which has looked at its caller's rights, or an administrator.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from tornado import web

from persistent_terminal_hub.hub.service_api import ServiceApiHandler

MAX_LINES = 10_000
#: Bytes of the end of a log that are looked at, and characters of a line that are told.
MAX_BYTES = 2 * 1024 * 1024
MAX_LINE = 4096


class LogsHandler(ServiceApiHandler):
    """Logs of one workspace, running or not."""

    async def get(self) -> None:
        """The last `lines` of `user`'s `workspace`."""
        user = self.find_user(self.get_query_argument("user", ""))
        name = self.get_query_argument("workspace", "")
        try:
            lines = min(max(int(self.get_query_argument("lines", "200")), 1), MAX_LINES)
        except ValueError:
            raise web.HTTPError(400, "`lines` is a number.") from None
        if user is None or (name and name not in user.orm_spawners):
            raise web.HTTPError(404, "There is no such workspace.")
        spawner = user.get_spawner(name)
        tail = getattr(spawner, "log_tail", None)
        found = await tail(lines) if tail is not None else ""
        self.answer({"lines": [line[:MAX_LINE] for line in found.splitlines()[-lines:]]})


def tail_of(path: Path) -> str:
    """The end of a file; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - MAX_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


async def tail_of_file(path: Path) -> str:
    """The same, without holding the hub up."""
    return await asyncio.to_thread(tail_of, path)


def text_of(output: Any) -> str:
    """What Docker's client answers for logs."""
    return output.decode(errors="replace") if isinstance(output, bytes) else ""
