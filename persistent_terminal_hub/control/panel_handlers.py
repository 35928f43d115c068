"""`api/admin`: what the administration panel needs besides the other resources."""

from __future__ import annotations

import asyncio
import json

from tornado.iostream import StreamClosedError

from persistent_terminal_hub.config.text import to_yaml
from persistent_terminal_hub.control.board import Event, resumed
from persistent_terminal_hub.control.documented import documented
from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.web import ApiHandler, Reply

#: Seconds after which something is sent in any case, so that nobody between takes the line for dead.
QUIET = 15.0
#: Seconds between two events at least: what changes faster is sent together.
BREATH = 0.5
#: Seconds that one stream lasts; the panel comes back with its version, and its rights are looked at anew.
LONGEST = 300.0
#: Panels that may look at the same time.
MOST = 100


class PanelHandler(ApiHandler):
    """For administrators and operators."""

    async def prepare(self) -> None:
        """Refuse everybody else."""
        await super().prepare()
        if not (self.caller.sees_all and self.caller.steers_all):
            raise ApiError(
                403, "The administration is for administrators and operators.",
                "Your own workspaces are on the hub's home page.",
            )  # fmt: skip


class BoardHandler(PanelHandler):
    """Users, workspaces and sessions, as they change."""

    _gone = False
    _open = 0

    def on_connection_close(self) -> None:
        """The panel was closed."""
        self._gone = True

    @documented(
        answers={200: None},
        media={200: ("text/event-stream", "id: 1f2e3d4c.7\nevent: board\n")},
        headers={"Last-Event-ID": r"^[0-9a-f]{8}\.[0-9]{1,15}$"},
        refuses=(429,),
    )
    async def get(self) -> None:
        """All rows, then what changes, as server-sent events; resumes after Last-Event-ID."""
        if BoardHandler._open >= MOST:
            raise ApiError(429, f"{MOST} panels are open already.", "Close one.", retry_after=30)
        BoardHandler._open += 1
        try:
            await self._follow()
        except StreamClosedError:
            return
        finally:
            BoardHandler._open -= 1

    async def _follow(self) -> None:
        gathering = self.control.gathering
        board = gathering.board
        at = resumed(board, self.request.headers.get("Last-Event-ID", ""))
        self.set_header("Content-Type", "text/event-stream")
        # nginx would keep it back otherwise.
        self.set_header("X-Accel-Buffering", "no")
        loop = asyncio.get_running_loop()
        until = loop.time() + LONGEST
        async with gathering.listening():
            await self.flush()
            while not board.version and not self._gone and loop.time() < until:
                await gathering.news(1.0)  # of the first round: an empty table would be a lie
            while not self._gone and loop.time() < until:
                events = board.after(at)
                for event in events:
                    self.write(_text(board.life, event))
                    await self.flush()  # waits for a slow panel; what changes meanwhile is sent together
                    at = event.version
                if events:
                    await asyncio.sleep(BREATH)
                    continue
                await gathering.news(QUIET)
                if board.version == at:
                    self.write(": still here\n\n")
                    await self.flush()
        await self.finish()


class SettingsReply(Reply):
    """The settings as they took effect."""

    yaml: str


class SettingsHandler(PanelHandler):
    """The effective settings."""

    @documented(answers={200: SettingsReply})
    async def get(self) -> None:
        """As YAML, secrets masked. For administrators."""
        if "admin:servers" not in self.caller.scopes:
            raise ApiError(403, "The settings are for administrators.", "Ask one of them.")
        self.reply(SettingsReply(yaml=to_yaml(self.control.settings)))


def _text(life: str, event: Event) -> str:
    data = {"rows": event.rows, "gone": event.gone, "whole": event.whole, "more": event.more}
    # Only the last part of several may be resumed after.
    name = "" if event.more else f"id: {life}.{event.version}\n"
    return f"{name}event: board\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


panel_routes = [(r"api/admin/events", BoardHandler), (r"api/admin/settings", SettingsHandler)]
