"""The WebSocket `persistent-terminals/ws/sessions/{id or name}`, subprotocol `pth.v1`: who may come in."""

from __future__ import annotations

import asyncio
import re
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

from persistent_terminal_hub.protocol.codes import SUBPROTOCOL, Code, ProtocolError
from persistent_terminal_hub.protocol.messages import Attach, decode_client
from persistent_terminal_hub.protocol.server_stream import DEFAULT_LIMITS

from . import attach_tokens
from .attach_renewal import Renewal
from .attach_tokens import AttachTokens, Person, Refused
from .presence import is_owners_name
from .pth_websocket import PthWebSocket
from .stream import Streams
from .stream_client import StreamClient, warn_once
from .stream_start import find_streams

#: Seconds between two notes that somebody types.
ACTIVITY: Final = 1.0
#: Connections that may be open before anybody has proved who they are.
MAX_STRANGERS: Final = 32
_BEARER: Final = re.compile(r"bearer\s+(eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*)", re.IGNORECASE)
SIGN_IN: Final = (Code.SIGN_IN, "Sign in again.")
NO_SESSION: Final = (Code.NO_SESSION, "There is no such session.")


class PthSocket(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """One connection. What it is refused for is told by a close code, because a page that asks for a
    WebSocket cannot see an HTTP status; only what no client of ours does is refused before the upgrade.

    Who asks is known by the hub's cookie or token, else by an attach token: in the header `Authorization:
    Bearer`, or in the attach message. Until that is read a stranger learns nothing of any session.
    """

    auth_resource = "terminals"
    ws_connection: Any

    def initialize(self) -> None:
        """Nothing is known of the client yet."""
        self._client: StreamClient | None = None
        self._key = ""  # id or name, as the client wrote it
        self._person: Person | None = None
        self._stranger: asyncio.TimerHandle | None = None  # by when the attach message must have come
        self._opening: asyncio.Task[None] | None = None
        self._renewal: Renewal | None = None
        self._hub_away = False
        self._refusal: tuple[Code, str] | None = None
        self._streams: Streams | None = None
        self._session = ""
        self._activity = 0.0

    @property
    def ping_interval(self) -> float:
        """The protocol has its own heartbeat."""
        return 0

    @property
    def _tokens(self) -> AttachTokens:
        tokens: AttachTokens = self.settings[attach_tokens.SETTING]
        return tokens

    async def prepare(self) -> None:  # type: ignore[override]
        """Find out who asks. A hub that is away is no reason to refuse who has an attach token."""
        if self._bearer:
            self._jupyterhub_user = (
                None  # nothing that the hub knows: it is not asked, and not shown the token
            )
        try:
            await super().prepare()
        except web.HTTPError as error:
            if error.status_code != 503:
                raise
            self._hub_away = True
            self.current_user = None

    @property
    def _bearer(self) -> str:
        """The attach token of the handshake."""
        found = _BEARER.fullmatch(self.request.headers.get("Authorization", "").strip())
        return found[1] if found else ""

    @allow_unauthenticated
    async def get(self, key: str) -> None:
        """Check who asks, then upgrade. Tornado checks the origin before it does."""
        offered = self.request.headers.get("Sec-WebSocket-Protocol", "")
        if SUBPROTOCOL not in [name.strip() for name in offered.split(",")]:
            raise web.HTTPError(400, "This address is a WebSocket of the subprotocol pth.v1.")
        if "token" in self.request.query_arguments:
            self.request.uri = self.request.path  # what is logged of a refused request
            raise web.HTTPError(400, "A token belongs into the Authorization header, never into a URL.")
        self._key = key
        if self.current_user:
            self._refusal = await self._check(key)
        elif self._bearer:
            self._refusal = await self._check_token(self._bearer)
        elif self._tokens.has_credentials(self) and not self._hub_away:
            self._refusal = SIGN_IN  # the hub has said no; no token of ours knows better
        elif len(_strangers) >= MAX_STRANGERS:
            self._refusal = (Code.TRY_LATER, "Too many connections wait for their attach message; try again.")
        await WebSocketHandler.get(self, key)

    async def _check(self, key: str) -> tuple[Code, str] | None:
        """Why not to let in somebody whom the hub knows, if so."""
        user = self.current_user
        if self.authorizer is None:
            warn_disabled_authorization()
        elif not await ensure_async(self.authorizer.is_authorized(self, user, "execute", self.auth_resource)):
            return Code.FORBIDDEN, "You may not use the terminals of this server."
        if refusal := await self._find():
            return refusal
        if not self._session:
            return NO_SESSION
        self._person = self._tokens.person(self, user.username)
        return None

    async def _check_token(self, token: str) -> tuple[Code, str] | None:
        """Why not to let in somebody with this token, if so."""
        try:
            person = self._tokens.verify(token)
        except Refused as error:
            return error.code, str(error)
        if refusal := await self._find():
            return refusal
        if not self._session and self._key == person.session:
            return NO_SESSION
        if self._session != person.session:
            return attach_tokens.OTHER_SESSION
        self._person = person
        return None

    async def _find(self) -> tuple[Code, str] | None:
        """Find the session that is meant; what keeps us from looking."""
        self._streams = await find_streams(self.settings)
        if self._streams is None:
            return Code.TRY_LATER, "The keeper of this workspace cannot be reached; try again."
        self._session = await self._streams.look_for(self._key) or ""
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
        if self._refusal is not None:
            self.ws_connection.shut(*self._refusal)
        elif self._person is not None:
            self._come_in(self._person)
        else:
            loop = asyncio.get_running_loop()
            self._stranger = loop.call_later(DEFAULT_LIMITS.attach_within, self._too_late)
            _strangers.add(self)

    def _come_in(self, person: Person) -> None:
        if self._streams is None:
            self.ws_connection.shut(Code.TRY_LATER, "Try again.")
            return
        client = self._client = self._streams.connect(self._session, self.ws_connection)
        client.of_owner = is_owners_name(person.user)
        self._renewal = Renewal(self._tokens, self._session, person, client.tell, client.shut)
        client.on_token = self._renewal.presented

    # A stranger, until the attach message is read -----------------------------------------------------

    def _too_late(self) -> None:
        self._turn_away(Code.TIMEOUT, "No attach message came.")

    def _turn_away(self, code: Code, reason: str) -> None:
        self._known()
        self._refusal = (code, reason)
        self.ws_connection.shut(code, reason)

    def _known(self) -> None:
        """Not a stranger any more."""
        _strangers.discard(self)
        if self._stranger is not None:
            self._stranger.cancel()
            self._stranger = None

    def _first(self, frame: str | bytes) -> None:
        """The first message must bring the token."""
        try:
            message = decode_client(frame) if isinstance(frame, str) else None
        except ProtocolError as error:
            self._turn_away(error.code, str(error))
            return
        if self._opening is not None or not isinstance(message, Attach):
            self._turn_away(
                Code.PROTOCOL, "The first message of a connection must be attach, and its answer awaited."
            )
        elif message.token is None:
            if self._hub_away:
                self._turn_away(
                    Code.TRY_LATER, "The hub does not answer, so nobody can be asked who you are."
                )
            else:
                self._turn_away(*SIGN_IN)
        else:
            self._opening = asyncio.create_task(self._open_with(message.token, frame))

    async def _open_with(self, token: str, frame: str | bytes) -> None:
        refusal = await self._check_token(token)
        if self._refusal is not None or self._stranger is None:
            return  # gone, or turned away meanwhile
        if refusal is not None or self._person is None:
            self._turn_away(*(refusal or SIGN_IN))
            return
        self._known()
        self._come_in(self._person)
        self.on_frame(frame)

    def shut_by_lock(self, code: int, reason: str) -> None:
        """The workspace is locked: say it, and close. What a slow client has not taken is not sent."""
        client = self._client
        if self.ws_connection.busy:
            self.ws_connection.drop()
        elif client is None:
            self._turn_away(Code(code), reason)  # also who waits for an answer to its token
        elif code == Code.LOCKED:
            client.lock(reason)
        else:
            client.shut(Code(code), reason)

    # What PthWebSocket tells ------------------------------------------------------------------------

    def on_frame(self, frame: str | bytes) -> None:
        """A message of the client."""
        client = self._client
        if client is None:
            if self._stranger is not None:
                self._first(frame)
            return
        if client.closed:
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
        self._known()
        if self._renewal is not None:
            self._renewal.stop()
        if self._client is not None:
            self._client.gone()


_strangers: set[PthSocket] = set()


def handlers(base_url: str) -> list[tuple[str, type[PthSocket]]]:
    """The route under the server's base URL."""
    return [(url_path_join(base_url, r"/persistent-terminals/ws/sessions/([^/]+)"), PthSocket)]
