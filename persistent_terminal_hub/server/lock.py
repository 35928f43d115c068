"""The lock at the door of this server: every request passes here, before any route is looked up.

The keeper holds the lock; this is its mirror. While it is shut, or nobody knows whether it is, no handler of
the server runs: the hook stands in front of the application's own search for one, so that what was registered
later, redirects, and the pages of what does not exist are covered as well. A lock closes what is open
(`lock_connections`). Which paths answer nevertheless is in `lock_routes`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, Protocol

from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.web import Application, RequestHandler

from persistent_terminal_hub.protocol.codes import SUBPROTOCOL, Code

from .lock_connections import Connections
from .lock_page import Place
from .lock_rules import LockState, is_handshake

log = logging.getLogger(__name__)

#: Where handlers find the gate in the application's settings.
SETTING: Final = "persistent_terminals_gate"
#: Seconds that a request waits until the state is known: a server starts a moment before it knows.
PATIENCE: Final = 5.0
#: Seconds without the keeper after which what is open is closed, because nobody knows any more.
UNKNOWN_FOR: Final = 10.0
LOCKED_SENTENCE: Final = "The workspace is locked. Log in again to open it."

Status = Literal["off", "unknown", "open", "locked"]
#: Which handler serves a path whether locked or not: an exact path, to a class and its arguments.
Routes = Callable[[HTTPServerRequest], tuple[type[RequestHandler], dict[str, Any]] | None]


class LockKeeper(Protocol):
    """Who holds the lock."""

    def follow(self, changed: Callable[[LockState | None], None]) -> None:
        """Call `changed` with the state as soon as it is known, with every change, and with None when the
        keeper cannot be asked any more."""

    async def lock(self, reason: str) -> LockState:
        """Lock. Raises KeeperError, KeeperGone."""

    async def ask(self, text: str) -> LockState:
        """Show the owner a request to unlock. Raises KeeperGone when the lock is not known."""

    async def unlock(self, token_id: str, expires: float) -> LockState:
        """Open, once for each id. Raises KeeperError (`used`, `not_locked`), KeeperGone."""


class Gate:
    """Decides for each request who serves it. `keeper=None`: there is no lock here, everything is open."""

    def __init__(
        self,
        application: Application,
        place: Place,
        keeper: LockKeeper | None,
        *,
        refuse: type[RequestHandler],
        shut_socket: tuple[str, type[RequestHandler]],
        routes: Routes,
        steered: Callable[[HTTPServerRequest, type[RequestHandler]], Awaitable[bool]],
    ) -> None:
        """`refuse` answers what is refused; `shut_socket`: a path's beginning and the handler of WebSockets
        there, which are upgraded and closed; `steered` says whether a request that names a handler class
        with `while_locked = "steer"` comes from the hub."""
        self.place = place
        self.keeper = keeper
        self.state: LockState | None = None
        #: Whether nothing was ever known yet, and nobody gave up waiting for it.
        self.starting = True
        self.connections = Connections()
        self._application = application
        self._find = application.find_handler
        self._refuse = refuse
        self._shut_socket = shut_socket
        self._routes = routes
        self._steered = steered
        self._known = asyncio.Event()
        self._giving_up: asyncio.TimerHandle | None = None

    def install(self) -> None:
        """Stand in front of the application. Before the server listens."""
        self._application.settings[SETTING] = self
        self._application.find_handler = self.find_handler  # type: ignore[method-assign]

    def start(self) -> None:
        """Begin to follow the keeper. From the event loop."""
        if self.keeper is not None:
            self._shut_in(UNKNOWN_FOR)
            self.keeper.follow(self.changed)

    # The state --------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """What holds now."""
        if self.keeper is None:
            return "off"
        if self.state is None:
            return "unknown"
        return "locked" if self.state.locked else "open"

    @property
    def is_open(self) -> bool:
        """Whether requests are served."""
        return self.status in ("off", "open")

    def changed(self, state: LockState | None) -> None:
        """The keeper tells, or (None) cannot be asked."""
        before = self.state
        if state is None and before is not None and before.locked:
            return  # only the keeper opens, and it did not: it is locked until it is heard again
        self.state = state
        if state is None:
            self._known.clear()
            if before is not None:
                self._shut_in(UNKNOWN_FOR)
            return
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
        self._known.set()
        self.starting = False
        if state.locked:
            closed = self.connections.close_all(Code.LOCKED, LOCKED_SENTENCE)
            if before is None or not before.locked:
                log.info("The workspace is locked (%s); %d connections closed.", state.reason, closed)
        elif before is not None and before.locked:
            log.info("The workspace is open again.")

    def _shut_in(self, seconds: float) -> None:
        if self._giving_up is None:
            self._giving_up = asyncio.get_running_loop().call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        self._giving_up = None
        self.starting = False
        if self.state is None:
            log.error("The keeper does not say whether the workspace is locked, so it is closed until then.")
            self.connections.close_all(Code.TRY_LATER, "The keeper of this workspace cannot be reached.")

    async def known(self, seconds: float = PATIENCE) -> bool:
        """Wait until the state is known; False when that takes longer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._known.wait()
        return self.state is not None

    # Requests ---------------------------------------------------------------------------------------

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """In place of the application's: who answers."""
        ours = self._routes(request)
        if ours is not None:
            delegate = self._application.get_handler_delegate(request, *ours)
            return self.connections.note(request, delegate, may_stay=True)
        if self.is_open:
            return self._admit(request, **kwargs)
        if self.status == "unknown":
            return _Later(lambda: self._when_known(request, kwargs))
        return self._refused(request, kwargs)

    def _admit(self, request: HTTPServerRequest, **kwargs: Any) -> HTTPMessageDelegate:
        return self.connections.note(request, self._find(request, **kwargs), may_stay=False)

    async def _when_known(self, request: HTTPServerRequest, kwargs: dict[str, Any]) -> HTTPMessageDelegate:
        await self.known()
        if self.is_open:
            return self._admit(request, **kwargs)
        answer = self._refused(request, kwargs)
        return await answer.choose() if isinstance(answer, _Later) else answer

    def _refused(self, request: HTTPServerRequest, kwargs: dict[str, Any]) -> HTTPMessageDelegate:
        prefix, handler = self._shut_socket
        if request.path.startswith(prefix) and is_handshake(request.method, request.headers, SUBPROTOCOL):
            return self._reply(request, handler)
        if request.headers.get("Authorization", "").lower().startswith("bearer "):
            return _Later(lambda: self._perhaps_steered(request, kwargs))
        return self._reply(request, self._refuse)

    def _reply(self, request: HTTPServerRequest, handler: type[RequestHandler]) -> HTTPMessageDelegate:
        delegate = self._application.get_handler_delegate(request, handler)
        return self.connections.note(request, delegate, may_stay=True)

    async def _perhaps_steered(
        self, request: HTTPServerRequest, kwargs: dict[str, Any]
    ) -> HTTPMessageDelegate:
        """The hub and the culler ask a locked workspace by a signed token; some of our handlers allow it."""
        found = self._find(request, **kwargs)
        wanted = getattr(found, "handler_class", RequestHandler)
        # Only what a class itself says counts, not what it inherits.
        if vars(wanted).get("while_locked") == "steer" and await self._steered(request, wanted):
            return self.connections.note(request, found, may_stay=True)
        return self._reply(request, self._refuse)


class _Later(HTTPMessageDelegate):
    """Chooses who answers when the headers are here; the body waits."""

    def __init__(self, choose: Callable[[], Awaitable[HTTPMessageDelegate]]) -> None:
        self.choose = choose
        self._inner: HTTPMessageDelegate | None = None

    async def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        self._inner = await self.choose()
        waiting = self._inner.headers_received(start_line, headers)
        if waiting is not None:
            await waiting

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return None if self._inner is None else self._inner.data_received(chunk)

    def finish(self) -> None:
        if self._inner is not None:
            self._inner.finish()

    def on_connection_close(self) -> None:
        if self._inner is not None:
            self._inner.on_connection_close()
