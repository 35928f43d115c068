"""Gathers for all panels at once what they show, and only while one of them listens.

The hub is asked for its running workspaces (it has them in memory) every `ROUND` seconds; for its users,
which costs it more, so rarely that it takes a tenth of the time at most; and each running workspace for its
facts, `AT_ONCE` of them at the same time and `ASKED_PER_SECOND` at most. Whoever does not answer keeps its
row, marked, and is asked less and less often; nobody waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from persistent_terminal_hub.control.board import Board
from persistent_terminal_hub.control.board_rows import answered, orphan_row, silent, user_row, workspace_row
from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.hub import Hub, Server, servers_of
from persistent_terminal_hub.control.workspace_link import WorkspaceLink
from persistent_terminal_hub.control.workspaces import Row, Workspaces, status_of
from persistent_terminal_hub.repeating import Repeating

ROUND, SHORTEST_REST = 2.0, 0.2
AT_ONCE = 20
ASKED_PER_SECOND = 100.0
SECONDS = 3.0
#: Seconds until a silent workspace is asked again, doubled each time up to the second figure.
FIRST_PAUSE, LONGEST_PAUSE = 4.0, 60.0
LISTED_EVERY = 10.0
ORPHANS_EVERY = 30.0
LISTING_SHARE = 10.0
ACTOR = "service:terminals"
HUB = "hub"

Blocking = Callable[..., Awaitable[Any]]
Place = tuple[str, str]


class Gathering:
    """See the module. `listening()` is what a panel holds while it looks."""

    def __init__(self, hub: Hub, link: WorkspaceLink, table: Workspaces, blocking: Blocking) -> None:
        self.board = Board()
        self._hub = hub
        self._link = link
        self._table = table
        self._blocking = blocking
        self._listeners = 0
        # The panel itself says that the hub or the database does not answer.
        self._looking = Repeating(
            "Gathering for the panel", self._look, self._rest, quiet=(ApiError, SQLAlchemyError)
        )
        self._began = 0.0
        self._changed = asyncio.Event()
        self._asking: dict[Place, asyncio.Task[None]] = {}
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._due: dict[Place, float] = {}
        self._pause: dict[Place, float] = {}
        self._rows: dict[Place, Row] = {}
        self._servers: dict[Place, Server] = {}
        self._list_at = self._orphans_at = 0.0

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Somebody looks; the first one begins the work, the last one ends it."""
        self._listeners += 1
        if self._listeners == 1:
            self._list_at = self._orphans_at = 0.0
            self._looking.start()
        try:
            yield
        finally:
            self._listeners -= 1
            if not self._listeners:
                await self.close()

    async def close(self) -> None:
        """Ask nobody any more. What is on the board stays for the next panel."""
        tasks = list(self._asking.values())
        self._asking.clear()
        for task in tasks:
            task.cancel()
        await self._looking.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    def hurry(self) -> None:
        """Something was done: look at all of it again in the next round."""
        self._list_at = 0.0
        self._due.clear()

    async def news(self, seconds: float) -> None:
        """Wait until something changed, `seconds` at most."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    # -- rounds ----------------------------------------------------------------------------------------
    async def _look(self) -> None:
        self._began = time.monotonic()
        try:
            await self._round(self._began)
        except Exception:
            self._say(False)
            raise
        self._say(True)

    def _rest(self) -> float:
        return max(SHORTEST_REST, ROUND - (time.monotonic() - self._began))

    async def _round(self, now: float) -> None:
        running = {
            (str(entry.get("user", "")), str(entry.get("workspace", ""))): entry
            for entry in await self._hub.running()
        }
        if now >= self._list_at or any(place not in self._rows for place in running):
            await self._list()
        self._statuses(running)
        self._ask_who_is_due(running, now)
        if now >= self._orphans_at:
            self._orphans_at = now + ORPHANS_EVERY
            await self._orphans()

    async def _list(self) -> None:
        began = time.monotonic()
        users = await self._hub.users()
        servers = [server for model in users for server in servers_of(model)]
        rows = await self._blocking(self._table.rows, None, servers)
        self._servers = {(each.owner, each.name): each for each in servers}
        self._rows = {(row.owner, row.name): row for row in rows}
        self._replace("u:", {f"u:{model.get('name', '')}": user_row(model) for model in users})
        took = time.monotonic() - began
        self._list_at = time.monotonic() + max(LISTED_EVERY, LISTING_SHARE * took)

    def _statuses(self, running: dict[Place, dict[str, Any]]) -> None:
        rows = {}
        for place, row in self._rows.items():
            server, entry = self._servers.get(place), running.get(place)
            status = status_of(row, server)
            if entry is not None and status in ("stopped", "starting", "running"):
                status = "running" if entry.get("ready") and not entry.get("pending") else "starting"
            elif entry is None and status in ("running", "starting"):
                status = "stopped"
            key = _key(place)
            rows[key] = workspace_row(row, server, status, self.board.get(key))
        self._replace("w:", rows)

    def _ask_who_is_due(self, running: dict[Place, dict[str, Any]], now: float) -> None:
        ready = [p for p, entry in running.items() if entry.get("address") and not entry.get("pending")]
        every = max(ROUND, len(ready) / ASKED_PER_SECOND)
        for place in ready:
            if place not in self._asking and now >= self._due.get(place, 0.0):
                self._due[place] = now + every
                self._asking[place] = asyncio.ensure_future(self._one(place))
        for gone in [place for place in self._due if place not in running]:
            self._due.pop(gone, None)
            self._pause.pop(gone, None)

    async def _one(self, place: Place) -> None:
        try:
            async with self._gate:
                path = "facts?no_track_activity=1&since=9999999999"
                facts = await self._link.ask(*place, "GET", path, "facts", actor=ACTOR, seconds=SECONDS)
        except ApiError:
            pause = min(LONGEST_PAUSE, self._pause.get(place, FIRST_PAUSE / 2) * 2)
            self._pause[place] = pause
            self._due[place] = time.monotonic() + pause
            self._change(place, lambda row: silent(row, time.time()))
        else:
            self._pause.pop(place, None)
            self._change(place, lambda row: answered(row, facts, time.time()))
        finally:
            self._asking.pop(place, None)

    async def _orphans(self) -> None:
        answer = await self._hub.ours("GET", "/orphans", None)
        entries = [entry for entry in answer.get("orphans") or () if isinstance(entry, dict)]
        rows = {f"o:{e.get('user', '')}/{e.get('workspace', '')}": orphan_row(e) for e in entries}
        self._replace("o:", rows)

    # -- the board -------------------------------------------------------------------------------------
    def _change(self, place: Place, change: Callable[[Any], Any]) -> None:
        key = _key(place)
        row = self.board.get(key)
        if row is not None and row["status"] == "running" and self.board.put(key, change(row)):
            self._tell()

    def _replace(self, kind: str, rows: dict[str, Any]) -> None:
        news = [self.board.drop(key) for key in self.board.keys(kind) if key not in rows]
        news += [self.board.put(key, row) for key, row in rows.items()]
        if any(news):
            self._tell()

    def _say(self, answers: bool) -> None:
        before = self.board.get(HUB)
        since = before["since"] if before and before["answers"] == answers else float(round(time.time()))
        if self.board.put(HUB, {"answers": answers, "since": since}):
            self._tell()

    def _tell(self) -> None:
        # Whoever waits now is woken; who comes later waits for the next news.
        self._changed.set()
        self._changed = asyncio.Event()


def _key(place: Place) -> str:
    return f"w:{place[0]}/{place[1]}"
