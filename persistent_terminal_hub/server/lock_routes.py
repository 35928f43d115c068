"""The routes of the lock: the page, the status, unlocking, and locking now."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import APIHandler
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler, stream_request_body

from persistent_terminal_hub.keeper.channel import KeeperError
from persistent_terminal_hub.tokens import TokenError

from .lock import SETTING, Gate
from .lock_answers import MAX_FORM, AlreadyLocked, LockPage, PlainAnswer, Status
from .lock_rules import ROOT, clean_reason, safe_next
from .lock_tokens import HubTokens

#: Where the routes find what verifies the hub's tokens.
TOKENS: Final = "persistent_terminals_hub_tokens"

_REFUSALS: Final[Mapping[str, str]] = {
    "malformed": "This is not an unlock of your hub; log in again.",
    "signature": "This unlock was not signed by your hub; log in again.",
    "expired": "This unlock came too late; log in again.",
    "not_yet": "This unlock is from the future: the clocks of hub and workspace differ.",
    "audience": "This unlock is for another workspace.",
    "issuer": "This unlock is from another hub.",
    "purpose": "This is no unlock but a token for something else.",
    "subject": "This unlock is another user's; only the owner opens a workspace.",
    "too_long": "This unlock is valid for longer than an unlock may be; tell an administrator.",
    "used": "This unlock was used before; each opens once. Log in again.",
    "not_recorded": "The unlock could not be written down on the workspace's volume; free some space there.",
}
_OTHER: Final = "The keeper of this workspace refused the unlock; try again."
_AWAY: Final = "The keeper of this workspace does not answer, so it cannot be opened now; try again."
_TOO_LONG: Final = "The form is too long to be an unlock."
_NO_LOCK: Final = "This server is not a workspace of a hub, so there is no login that could unlock it."


@stream_request_body
class Unlock(PlainAnswer):
    """`persistent-terminals/unlock`: the hub's single-use token, by a form that the hub's page posts.

    Needs no cookie and no XSRF field: the token itself is the proof, is bound to user and workspace, and a
    stranger's page has none.
    """

    def initialize(self) -> None:
        """The form comes in pieces."""
        self._form = bytearray()

    async def prepare(self) -> None:
        """Wait for the form; other methods have none."""
        if self.request.method != "POST":
            if self.gate.is_open:
                self.redirect(self.gate.place.base_url, status=303)
            else:
                await self.refuse(self.gate.place.base_url)

    def data_received(self, chunk: bytes) -> None:
        """A piece."""
        self._form += chunk[: MAX_FORM + 1 - len(self._form)]

    async def post(self) -> None:
        """Open, or say why not."""
        gate = self.gate
        token, wanted = self._fields()
        next_ = safe_next(wanted, gate.place.base_url)
        refusal = _TOO_LONG if len(self._form) > MAX_FORM else await self._open(token)
        if refusal:
            await self.refuse(next_, refusal)
        elif "application/json" in self.request.headers.get("Accept", ""):
            self.set_status(204)
            self.finish()
        else:
            self.redirect(next_, status=303)

    def _fields(self) -> tuple[str, str | None]:
        try:
            form = parse_qs(bytes(self._form[:MAX_FORM]).decode(), max_num_fields=10)
        except ValueError:
            return "", None
        return form.get("token", [""])[0], form.get("next", [None])[0]

    async def _open(self, token: str) -> str:
        """Why not; empty when it is open."""
        gate, tokens = self.gate, self.settings.get(TOKENS)
        if gate.keeper is None or not isinstance(tokens, HubTokens):
            return _NO_LOCK
        try:
            verified = await tokens.unlock(token)
        except TokenError as error:
            return _REFUSALS.get(error.reason, _REFUSALS["malformed"])
        try:
            state = await gate.keeper.unlock(verified.token_id, verified.expires)
        except KeeperError as error:
            # Opened in another tab meanwhile: then this one may go on as well.
            return "" if error.code == "not_locked" else _REFUSALS.get(error.code, _OTHER)
        except OSError:
            return _AWAY
        gate.changed(state)
        return ""


class LockNow(APIHandler):
    """`persistent-terminals/api/lock` of an open workspace: by its owner, or by hub and culler."""

    auth_resource = "terminals"

    async def prepare(self) -> None:  # type: ignore[override]
        """Who asks: a steer token first, because Jupyter would take it for one of the hub's API tokens."""
        tokens = self.settings.get(TOKENS)
        self._steered = isinstance(tokens, HubTokens) and await tokens.steers(self.request, "lock")
        if not self._steered:
            await super().prepare()

    @allow_unauthenticated
    async def post(self) -> None:
        """Lock."""
        gate: Gate = self.settings[SETTING]
        if not self._steered:
            if not self.current_user:
                self._answer(403, "Log in to lock this workspace.", "")
                return
            owner = os.environ.get("JUPYTERHUB_USER")
            if owner and self.current_user.username != owner:
                self._answer(403, "Only its owner locks this workspace from here.", "")
                return
        if gate.keeper is None:
            self._answer(409, "This server cannot be locked.", _NO_LOCK)
            return
        try:
            body = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError):
            body = None
        reason = body.get("reason", "") if isinstance(body, dict) else None
        if not isinstance(reason, str):
            self._answer(400, "The body is not a JSON object with a text `reason`.", "It may be left out.")
            return
        try:
            state = await gate.keeper.lock(
                clean_reason(reason) or ("administrator" if self._steered else "user")
            )
        except OSError:
            self._answer(503, "The keeper of this workspace does not answer.", "Try again in a moment.")
            return
        except KeeperError as error:
            self._answer(503, str(error), "Try again in a moment.")
            return
        gate.changed(state)
        self.finish(json.dumps({"locked": True, "since": state.since_text, "already": False}))

    def _answer(self, status: int, message: str, hint: str) -> None:
        self.set_status(status)
        reason = self._reason
        self.finish(json.dumps({"status": status, "reason": reason, "message": message, "hint": hint}))


class LockRoutes:
    """The handler of an exact path, whether locked or not."""

    def __init__(self, base_url: str) -> None:
        root = base_url + ROOT
        self._lock_now = root + "api/lock"
        self._paths: dict[str, type[RequestHandler]] = {
            root + "lock": LockPage,
            root + "unlock": Unlock,
            root + "api/status": Status,
        }
        self.gate: Gate | None = None

    def __call__(self, request: HTTPServerRequest) -> tuple[type[RequestHandler], dict[str, Any]] | None:
        """None: not one of ours."""
        if request.path == self._lock_now and self.gate is not None:
            return (LockNow if self.gate.is_open else AlreadyLocked), {}
        handler = self._paths.get(request.path)
        return None if handler is None else (handler, {})
