"""The stock terminal WebSocket, as JupyterLab speaks it, on cursors: bounded memory, clean replays."""

from __future__ import annotations

import asyncio
import json
import math
import uuid
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server._tz import utcnow
from jupyter_server.auth.utils import warn_disabled_authorization
from jupyter_server_terminals.handlers import TermSocket
from tornado import web
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from .cursor import Cursor
from .keeper_link import Subscription
from .manager import PersistentTerminalManager
from .presence import SETTING as PRESENCE
from .presence import Presence, is_owner
from .rules_clock import SETTING as RULES
from .rules_clock import WorkspaceClock
from .rules_stock import LOOK, is_between_sequences, title_sequence
from .session import MAX_COLS, MAX_ROWS, PersistentPty, Typist

#: Bytes on the way to one client; beyond it the client lags, and costs nothing more.
WINDOW = 512 * 1024
#: Bytes of output in one message.
MESSAGE = 64 * 1024


class SessionSocket(TermSocket):
    """One attached client of the stock protocol."""

    term_manager: PersistentTerminalManager

    def initialize(  # type: ignore[override]
        self, name: str = "", term_manager: Any = None, **kwargs: Any
    ) -> None:
        """Take the manager from the settings: the route exists before the manager does."""
        super().initialize(name, term_manager or self.settings["terminal_manager"], **kwargs)
        self.terminal: PersistentPty | None = None
        self.client_id = uuid.uuid4().hex
        self.screen: tuple[int, int] | None = None
        self._session: PersistentPty | None = None
        self._subscription: Subscription | None = None
        self._cursor: Cursor | None = None
        self._typist: Typist | None = None
        self._responder = False
        self._in_flight = 0
        self._closing = False
        self._title = ""  # a warning that waits for its place between two sequences
        self._presence: Presence | None = None

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Check the user and the name as the stock socket does, then upgrade."""
        user = self.current_user
        if not user:
            raise web.HTTPError(403)
        if self.authorizer is None:
            warn_disabled_authorization()
        elif not await ensure_async(self.authorizer.is_authorized(self, user, "execute", self.auth_resource)):
            raise web.HTTPError(403)
        # A client that comes back may be quicker than a restarted server is with its keeper.
        await self.term_manager.ready()
        if self.term_manager.find_running(args[0]) is None:
            raise web.HTTPError(404, "There is no terminal of this name.")
        await WebSocketHandler.get(self, *args, **kwargs)

    def open(self, url_component: Any = None) -> None:
        """Attach, then send what was missed."""
        session = self.term_manager.find_running(str(url_component))
        if session is None:  # it ended during the upgrade
            self._say_ended()
            return
        # Stock code starts the pings, adds this client and sends "setup"; its own replay is empty.
        super().open(url_component)
        self.term_name = session.term_name
        self._session = session
        self._typist = session.typist(self.client_id)
        session.attach(self)
        self._subscription = session.link.subscribe(session.id, self.pump)
        self._cursor = Cursor(self._subscription.reader, session.history)
        self._cursor.set_quiet(not self._responder)
        if is_owner(self.current_user):
            self._presence = self.settings.get(PRESENCE)
        clock: WorkspaceClock | None = self.settings.get(RULES)
        for notice in clock.greeting(session.id) if clock is not None else ():
            self._title = notice.message
        self.pump()

    def set_responder(self, responder: bool) -> None:
        """Whether this client answers the program's questions; else it does not get to see them."""
        self._responder = responder
        if self._cursor is not None:
            self._cursor.set_quiet(not responder)

    def pump(self) -> None:
        """Send what the cursor has, as far as the window allows."""
        cursor, subscription, session = self._cursor, self._subscription, self._session
        if cursor is None or subscription is None or session is None or self._closing:
            return
        try:
            reader = subscription.reader
        except ValueError:  # the server stops
            return
        while self._in_flight < WINDOW and not self._closing and not cursor.at_head(reader):
            text = cursor.next(reader, MESSAGE)
            if text:
                self._send(["stdout", text])
        if self._title and not self._closing and cursor.at_head(reader):
            tail = reader.read(max(reader.floor, reader.head - LOOK))
            if tail.end == cursor.offset and is_between_sequences(tail.data):
                title, self._title = title_sequence(self._title), ""
                self._send(["stdout", title])
        if not session.info.running and not self._closing and cursor.at_head(reader):
            self._say_ended()

    def show_title(self, text: str) -> None:
        """Show a warning as the terminal's title, as soon as that tears nothing."""
        self._title = text
        self.pump()

    async def on_message(self, message: str | bytes) -> None:  # type: ignore[override]
        """Take one message of the client."""
        try:
            command = json.loads(message)
            kind = command[0]
        except (ValueError, LookupError, TypeError, RecursionError):
            self.log.debug("A terminal client sent something that is not a message; ignored.")
            return
        session, typist = self._session, self._typist
        if session is None or typist is None:
            return
        if kind == "stdin" and len(command) > 1 and isinstance(command[1], str):
            session.typed(self)
            self._update_activity()
            data = command[1].encode("utf-8", "replace")
            if self._presence is not None:
                self._presence.typed(data)
            # Waits only when too much input waits for the program; then this client is not read further.
            await typist.write(data)
        elif kind == "set_size":
            size = _size(command)
            if size is not None:
                self.screen = size
                session.resized(self)

    def on_close(self) -> None:
        """Detach; the session stays."""
        self._closing = True
        self._cursor = self.terminal = None
        session, self._session = self._session, None
        if session is not None:
            session.detach(self)
        if self._subscription is not None:
            self._subscription.close()

    def on_pty_read(self, text: str) -> None:
        """Stock code may still hand over text."""
        self._send(["stdout", text])

    def on_pty_died(self) -> None:
        """Send the rest, however long that takes, then say that the session has ended, and close."""
        self.terminal = None
        self.pump()

    def _say_ended(self) -> None:
        self._send(["disconnect", 1])
        self._closing = True
        self.close()

    def _send(self, content: list[Any]) -> None:
        payload = json.dumps(content, ensure_ascii=False).encode()
        try:
            # Bytes with binary=False go out as one text frame, encoded once.
            sent = WebSocketHandler.write_message(self, payload)
        except WebSocketClosedError:
            self._closing = True
            return
        self._in_flight += len(payload)
        sent.add_done_callback(lambda future: self._sent(future, len(payload)))

    def _sent(self, future: asyncio.Future[None], size: int) -> None:
        self._in_flight -= size
        if future.cancelled() or future.exception() is not None:
            self._closing = True
            return
        self.application.settings["terminal_last_activity"] = utcnow()
        if self._in_flight < WINDOW // 2:
            self.pump()

    def _update_activity(self) -> None:
        self.application.settings["terminal_last_activity"] = utcnow()


def _size(command: list[Any]) -> tuple[int, int] | None:
    """(cols, rows) of `["set_size", rows, cols, ...]`, if they make sense."""
    values = command[1:3]
    if len(values) != 2 or not all(type(value) in (int, float) and math.isfinite(value) for value in values):
        return None
    rows, cols = int(values[0]), int(values[1])
    return (min(cols, MAX_COLS), min(rows, MAX_ROWS)) if rows >= 1 and cols >= 2 else None
