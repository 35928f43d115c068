"""The WebSocket `persistent-terminals/ws/sessions/{id or name}`, subprotocol `pth.v1`: who may come in."""

from __future__ import annotations

import time
from typing import Any, Final

from jupyter_core.utils import ensure_async
from jupyter_server._tz import utcnow
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.auth.utils import warn_disabled_authorization
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.websocket import WebSocketHandler

from persistent_terminal_hub.protocol.codes import SUBPROTOCOL, Code

from .pth_websocket import PthWebSocket
from .stream import Streams
from .stream_client import StreamClient, warn_once
from .stream_start import find_streams

#: Seconds between two notes that somebody types.
ACTIVITY: Final = 1.0


class PthSocket(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """One connection. What it is refused for is told by a close code, because a page that asks for a
    WebSocket cannot see an HTTP status; only what no client of ours does is refused before the upgrade."""

    auth_resource = "terminals"
    ws_connection: Any

    def initialize(self) -> None:
        """Nothing is known of the client yet."""
        self._client: StreamClient | None = None
        self._refusal: tuple[Code, str] | None = None
        self._streams: Streams | None = None
        self._session = ""
        self._activity = 0.0

    @property
    def ping_interval(self) -> float:
        """The protocol has its own heartbeat."""
        return 0

    @allow_unauthenticated
    async def get(self, key: str) -> None:
        """Check who asks, then upgrade. Tornado checks the origin before it does."""
        offered = self.request.headers.get("Sec-WebSocket-Protocol", "")
        if SUBPROTOCOL not in [name.strip() for name in offered.split(",")]:
            raise web.HTTPError(400, "This address is a WebSocket of the subprotocol pth.v1.")
        if "token" in self.request.query_arguments:
            raise web.HTTPError(400, "A token belongs into the Authorization header, never into a URL.")
        self._refusal = await self._check(key)
        await WebSocketHandler.get(self, key)

    async def _check(self, key: str) -> tuple[Code, str] | None:
        """Why not to let them in, if so."""
        user = self.current_user
        if not user:
            return Code.SIGN_IN, "Sign in again."
        if self.authorizer is None:
            warn_disabled_authorization()
        elif not await ensure_async(self.authorizer.is_authorized(self, user, "execute", self.auth_resource)):
            return Code.FORBIDDEN, "You may not use the terminals of this server."
        self._streams = await find_streams(self.settings)
        if self._streams is None:
            return Code.TRY_LATER, "The keeper of this workspace cannot be reached; try again."
        session = await self._streams.look_for(key)
        if session is None:
            return Code.NO_SESSION, "There is no such session."
        self._session = session
        return None

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Ours."""
        return SUBPROTOCOL if SUBPROTOCOL in subprotocols else None

    def get_websocket_protocol(self) -> PthWebSocket | None:
        """Frames are ours too."""
        version = self.request.headers.get("Sec-WebSocket-Version")
        return PthWebSocket(self) if version == "13" else None

    def open(self, *args: Any, **kwargs: Any) -> None:
        """The upgrade is done."""
        self.ws_connection.begin()
        if self._refusal is not None or self._streams is None:
            self.ws_connection.shut(*(self._refusal or (Code.TRY_LATER, "Try again.")))
            return
        self._client = self._streams.connect(self._session, self.ws_connection)

    def shut_by_lock(self, code: int, reason: str) -> None:
        """The workspace is locked: say it, and close. What a slow client has not taken is not sent."""
        client = self._client
        if self.ws_connection.busy:
            self.ws_connection.drop()
        elif client is None:
            self.ws_connection.shut(code, reason)
        elif code == Code.LOCKED:
            client.lock(reason)
        else:
            client.shut(Code(code), reason)

    # What PthWebSocket tells ------------------------------------------------------------------------

    def on_frame(self, frame: str | bytes) -> None:
        """A message of the client."""
        client = self._client
        if client is None or client.closed:
            return
        client.receive(frame)
        if isinstance(frame, bytes) and time.monotonic() - self._activity > ACTIVITY:
            self._activity = time.monotonic()
            self.settings["terminal_last_activity"] = utcnow()

    def on_bad_frame(self, sentence: str) -> None:
        """What came is not a WebSocket frame; the connection is being closed."""
        warn_once(f"A terminal's client was disconnected: {sentence}")
        self.on_close()

    def on_drained(self) -> None:
        """The kernel takes bytes again."""
        if self._client is not None:
            self._client.drained()

    def on_message(self, message: str | bytes) -> None:
        """Tornado's name for `on_frame`; nobody calls it."""
        self.on_frame(message)

    def on_close(self) -> None:
        """The connection is over; the session stays."""
        if self._client is not None:
            self._client.gone()


def handlers(base_url: str) -> list[tuple[str, type[PthSocket]]]:
    """The route under the server's base URL."""
    return [(url_path_join(base_url, r"/persistent-terminals/ws/sessions/([^/]+)"), PthSocket)]
