"""Answers that a server gives although it is locked. None asks who is there: nothing in them is secret.

They derive from Tornado's plain handler, not from Jupyter's: no cookie, no user, no template, no setting of
an extension has a part in what they send.
"""

from __future__ import annotations

import json
from http.client import responses
from typing import Any, Final

from tornado.web import RequestHandler, stream_request_body
from tornado.websocket import WebSocketHandler

from persistent_terminal_hub.protocol.codes import SUBPROTOCOL, Code
from persistent_terminal_hub.protocol.messages import Locked, encode

from .hub_reach import HubReach
from .lock import LOCKED_SENTENCE, SETTING, Gate
from .lock_page import HEADERS, lock_page, refusal_page, unknown_page
from .lock_rules import LockState, kind_of, safe_next
from .pth_websocket import PthWebSocket

LOCKED: Final = 423
#: Characters of a form that is read.
MAX_FORM: Final = 16 * 1024
_HINT: Final = (
    "Open the workspace in a browser and log in again; attached clients are back by themselves then."
)
_UNKNOWN: Final = "Whether this workspace is locked is not known: its keeper does not answer."
_UNKNOWN_HINT: Final = "Try again in a moment; if that does not help, restart the workspace."
#: Where answers find what tells whether the hub is there.
REACH: Final = "persistent_terminals_hub_reach"


class _Every:
    """All methods, also such as nobody has heard of."""

    def __contains__(self, method: object) -> bool:
        return True


@stream_request_body  # the answer does not wait for a body, and none is kept
class PlainAnswer(RequestHandler):
    """One answer, whatever is asked; `reply` gives it."""

    SUPPORTED_METHODS = _Every()  # type: ignore[assignment]

    @property
    def gate(self) -> Gate:
        """The lock."""
        gate: Gate = self.settings[SETTING]
        return gate

    def set_default_headers(self) -> None:
        """Nothing is to be kept by anybody."""
        self.clear_header("Server")
        self.set_header("Connection", "close")  # as Tornado does with an answer that does not wait for a body
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")

    def check_xsrf_cookie(self) -> None:
        """Nothing here acts on a cookie."""

    def _cross_origin_protection(self) -> None:
        """The same, as Tornado 6.6 calls it."""

    def compute_etag(self) -> str | None:
        """None."""
        return None

    def data_received(self, chunk: bytes) -> None:
        """A body is of no interest."""

    async def prepare(self) -> None:
        """Called for every method."""
        await self.reply()
        if not self._finished:
            self.finish()

    async def reply(self) -> None:
        """Give the answer."""
        raise NotImplementedError

    def write_error(self, status_code: int, **_kwargs: Any) -> None:
        """Should something go wrong here, it is not shown."""
        self._json(status_code, "The server made a mistake.", "Its log says which; please report it.")

    async def refuse(self, next_: str | None = None, refusal: str = "") -> None:
        """The lock page, or the same as JSON. `refusal`: why it was not opened just now (status 403)."""
        gate = self.gate
        if kind_of(self.request.headers) != "page":
            if refusal:
                hint = "The workspace is open." if gate.is_open else "The workspace stays locked."
                self._json(403, refusal, hint)
            elif gate.status == "unknown":
                self.set_header("Retry-After", "2")
                self._json(503, _UNKNOWN, _UNKNOWN_HINT)
            else:
                self._json(LOCKED, LOCKED_SENTENCE, _HINT)
            return
        if next_ is None:
            next_ = self.request.uri if self.request.method in ("GET", "HEAD") else None
        next_ = safe_next(next_, gate.place.base_url)
        for name, value in HEADERS.items():
            self.set_header(name, value)
        state = gate.state
        if state is None and not refusal:
            self.set_status(503)
            self.set_header("Retry-After", "5")
            self.finish(unknown_page(gate.place, next_))
            return
        hub = await self.hub_reachable()
        if gate.is_open:
            if refusal:
                self.set_status(403)
                self.finish(refusal_page(gate.place, next_, refusal))
            else:  # meanwhile
                self.redirect(next_, status=303)
            return
        self.set_status(403 if refusal else LOCKED)
        self.finish(lock_page(gate.place, state or LockState(True), next_, hub, refusal))

    def _json(self, status: int, message: str, hint: str) -> None:
        reason = responses.get(status, "Unknown")
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"status": status, "reason": reason, "message": message, "hint": hint}))

    async def hub_reachable(self) -> bool | None:
        """Whether the hub answers; None when there is none."""
        reach: HubReach | None = self.settings.get(REACH)
        return None if reach is None else await reach.answers()


class Refused(PlainAnswer):
    """Every request that is not let through."""

    async def reply(self) -> None:
        """Say so."""
        await self.refuse()


class LockPage(PlainAnswer):
    """`persistent-terminals/lock`."""

    async def reply(self) -> None:
        """The page; from an open workspace, lead on."""
        wanted = self.get_query_argument("next", None)
        if self.gate.is_open:
            self.redirect(safe_next(wanted, self.gate.place.base_url), status=303)
        else:
            await self.refuse(wanted or self.gate.place.base_url)


class Status(PlainAnswer):
    """`persistent-terminals/api/status`: what everybody may know."""

    async def reply(self) -> None:
        """Unknown counts as locked, with status 503."""
        gate = self.gate
        hub = await self.hub_reachable()
        known = gate.status != "unknown"
        state = gate.state
        since = state.since_text if state is not None else None
        reason = state.sentence if state is not None and state.locked else None
        self.set_status(200 if known else 503)
        self.set_header("Content-Type", "application/json")
        answer = {"locked": not gate.is_open, "since": since, "reason": reason, "hubReachable": hub}
        self.finish(json.dumps(answer))


class AlreadyLocked(PlainAnswer):
    """`persistent-terminals/api/lock` when there is nothing to do."""

    async def reply(self) -> None:
        """Yes."""
        if self.gate.state is None or self.request.method != "POST":
            await self.refuse()
            return
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"locked": True, "since": self.gate.state.since_text, "already": True}))


class LockedSocket(WebSocketHandler):
    """A `pth.v1` WebSocket of a locked workspace: upgraded, told so, and closed, because a page that asks for
    a WebSocket cannot see an HTTP status. Which sessions there are is not looked at."""

    ws_connection: Any

    def set_default_headers(self) -> None:
        """See `PlainAnswer`."""
        self.clear_header("Server")

    def write_error(self, status_code: int, **_kwargs: Any) -> None:
        """No words."""
        self.finish()

    def check_origin(self, origin: str) -> bool:
        """Whoever it is learns that it is locked, and nothing else."""
        return True

    @property
    def ping_interval(self) -> float:
        """It is over before one is due."""
        return 0

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Ours."""
        return SUBPROTOCOL if SUBPROTOCOL in subprotocols else None

    def get_websocket_protocol(self) -> PthWebSocket | None:
        """As the open workspace's."""
        version = self.request.headers.get("Sec-WebSocket-Version")
        return PthWebSocket(self) if version == "13" else None

    def open(self, *args: Any, **kwargs: Any) -> None:
        """Say it."""
        gate: Gate = self.settings[SETTING]
        self.ws_connection.begin()
        if gate.status == "unknown":
            self.ws_connection.shut(Code.TRY_LATER, "The keeper of this workspace cannot be reached.")
            return
        self.ws_connection.send_text(encode(Locked(LOCKED_SENTENCE)))
        self.ws_connection.shut(Code.LOCKED, LOCKED_SENTENCE)

    def on_frame(self, frame: str | bytes) -> None:
        """Not looked at."""

    def on_bad_frame(self, sentence: str) -> None:
        """Not looked at."""

    def on_drained(self) -> None:
        """Nothing waits."""

    def on_message(self, message: str | bytes) -> None:
        """Not looked at."""
