"""REST resources of the sessions: `persistent-terminals/api/sessions`."""

from __future__ import annotations

import json
import traceback
from http.client import responses
from typing import Annotated, Any

from jupyter_server.auth.decorator import allow_unauthenticated, authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from pydantic import Field, ValidationError, field_validator, model_validator
from tornado import web

from persistent_terminal_hub.bodies import Body, check_env_names, sentence
from persistent_terminal_hub.keeper.channel import KeeperError

from . import attach_tokens, names
from .attach_tokens import AttachTokens
from .errors import SessionError, refusal
from .lock_rules import clean_text
from .manager import PersistentTerminalManager
from .past_sessions import PastSession
from .rules_clock import SETTING as RULES
from .rules_clock import WorkspaceClock
from .rules_wishes import check_wishes, keep_alive_seconds
from .session import ENDED_BY, MAX_COLS, MAX_ROWS
from .steering import is_steered

#: Bytes of a request's body.
MAX_BODY = 256 * 1024
MAX_ENV = 200
#: Characters of what an owner is told about an end.
MAX_MESSAGE = 500
#: Why the hub may end a session.
END_REASONS = frozenset({"ttl", "max_age", "cpu", "memory", "terminated"})

# A NUL would end the string for the kernel.
Text = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")]
Argument = Annotated[str, Field(max_length=32 * 1024, pattern=r"^[^\x00]*$")]


class SessionBody(Body):
    """What the bodies of these resources share."""

    @field_validator("name", check_fields=False)
    @classmethod
    def _name(cls, value: str | None) -> str | None:
        return None if value is None else names.check(value)


class CreateSession(SessionBody):
    """The body of a POST; everything has a default."""

    name: str | None = None
    cwd: Text | None = None
    env: dict[str, Argument] = Field(default_factory=dict, max_length=MAX_ENV)
    cols: int | None = Field(None, ge=2, le=MAX_COLS)
    rows: int | None = Field(None, ge=1, le=MAX_ROWS)
    argv: list[Argument] | None = Field(None, min_length=1, max_length=1024)
    ttl: float | None = Field(None, alias="ttlSeconds", ge=0, le=1e9)
    max_age: float | None = Field(None, alias="maxAgeSeconds", ge=0, le=1e9)
    keep_alive: float | None = Field(None, alias="keepAlive", ge=0, le=1e9)
    shell: Text | None = None
    #: Names this request: the same again is answered with the session that it made.
    request: str | None = Field(None, pattern=r"^[0-9a-f]{32}$")

    @field_validator("env")
    @classmethod
    def _env(cls, value: dict[str, str]) -> dict[str, str]:
        check_env_names(value)
        return value

    @model_validator(mode="after")
    def _one_program(self) -> CreateSession:
        if self.argv is not None and self.shell is not None:
            raise ValueError("Give argv or shell, not both.")
        if self.argv is not None and not self.argv[0]:
            raise ValueError("The first item of argv names the program and must not be empty.")
        return self


class RenameSession(SessionBody):
    """The body of a PATCH."""

    name: str


class SessionsHandler(APIHandler):
    """What all resources here share: the manager, bodies and errors."""

    auth_resource = "terminals"
    max_body = MAX_BODY

    @property
    def sessions(self) -> PersistentTerminalManager:
        """The server's manager."""
        manager: PersistentTerminalManager = self.settings["terminal_manager"]
        return manager

    async def prepare(self) -> None:  # type: ignore[override]
        """Wait for the keeper's sessions: a server that has just started does not know them yet."""
        await super().prepare()
        if not self._finished and self.current_user:
            await self.sessions.ready()

    def body(self, model: type[Body]) -> Any:
        """The request's body as `model`; an empty one counts as `{}`."""
        if len(self.request.body) > self.max_body:
            raise SessionError(413, f"The body is larger than {self.max_body} bytes.")
        try:
            value = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError) as error:
            raise SessionError(400, "The body is not JSON.", "Send a JSON object.") from error
        try:
            return model.model_validate(value)
        except ValidationError as error:
            raise SessionError(
                422, sentence(error), "docs/reference/sessions-api.md lists the fields."
            ) from error

    def reply(self, value: Any, status: int = 200) -> None:
        """Send JSON."""
        self.set_status(status)
        self.finish(json.dumps(value))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every error has the same four fields."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        reason = responses.get(status_code, "Unknown")
        message, hint = reason + ".", ""
        if isinstance(error, SessionError):
            message, hint = error.message, error.hint
        elif isinstance(error, web.HTTPError):
            reason = error.reason or reason
            text = error.log_message or ""
            message = (text % error.args if error.args else text) or message
        elif error is not None:
            self.log.error("%s", "".join(traceback.format_exception(error)))
            message, hint = "The server made a mistake.", "Its log says which; please report it."
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"status": status_code, "reason": reason, "message": message, "hint": hint}))


class SessionList(SessionsHandler):
    """All sessions."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """List running and ended sessions."""
        self.reply(await self.sessions.all_models())

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Create a session."""
        body: CreateSession = self.body(CreateSession)
        rules: WorkspaceClock = self.settings[RULES]
        wishes = check_wishes(rules.rules, body.ttl, body.max_age)
        fields = body.model_dump(exclude={"ttl", "max_age", "keep_alive", "request"})
        if body.request is None:
            session = await self.sessions.create_session(**fields, meta=wishes)
        else:
            session = await self.sessions.create_once(body.request, wishes, fields)
        if body.keep_alive is not None:
            seconds = keep_alive_seconds(rules.rules, body.keep_alive)
            await rules.watch(session.info, session.info.pid, seconds)
        self.set_header("Location", url_path_join(self.request.path, session.id))
        self.set_header("Cache-Control", "no-store")
        self.reply(session.model() | self._access(session.id), 201)

    def _access(self, session: str) -> dict[str, Any]:
        """How to attach to it without the hub: in this answer only, never in a list."""
        tokens: AttachTokens = self.settings[attach_tokens.SETTING]
        person = tokens.person(self, self.current_user.username)
        scheme = "wss" if self.request.protocol == "https" else "ws"
        path = url_path_join(self.base_url, "persistent-terminals/ws/sessions", session)
        return {
            "token": tokens.issue(person, session),
            "tokenExpiresIn": tokens.lifetime,
            "webSocketUrl": f"{scheme}://{self.request.host}{path}",
        }


class SessionItem(SessionsHandler):
    """One session, by id or name."""

    # The hub and the culler end a session also while the workspace is locked.
    while_locked = "steer"
    steer_action = "end"
    _steered = False

    async def prepare(self) -> None:  # type: ignore[override]
        """Find out who asks; who steers may end, and nothing else."""
        self._steered = await is_steered(self, self.steer_action)
        if not self._steered:
            await super().prepare()
        elif self.request.method != "DELETE":
            raise SessionError(403, "This token is for ending a session only.")
        else:
            await self.sessions.ready()

    @web.authenticated
    @authorized
    async def get(self, key: str) -> None:
        """Show it."""
        found = await self.sessions.find_any(key)
        self.reply(self.sessions.past_model(found) if isinstance(found, PastSession) else found.model())

    @web.authenticated
    @authorized
    async def patch(self, key: str) -> None:
        """Rename it."""
        self.sessions.find(key)
        body: RenameSession = self.body(RenameSession)
        self.reply((await self.sessions.rename(key, body.name)).model())

    @allow_unauthenticated
    async def delete(self, key: str) -> None:
        """End it if it runs, else forget it."""
        if self._steered:
            await self._end_for_hub(key)
        else:
            deleting = self._delete(key)
            if deleting is not None:  # else a redirect to the login
                await deleting
        self.set_status(204)
        self.finish()

    @web.authenticated
    @authorized
    async def _delete(self, key: str) -> None:
        """As the user whom Jupyter knows."""
        await self.sessions.delete(key)

    async def _end_for_hub(self, key: str) -> None:
        session = self.sessions.find(key)
        reason = self.get_query_argument("reason", "terminated")
        if reason not in END_REASONS:
            raise SessionError(422, "`reason` is one of: " + ", ".join(sorted(END_REASONS)) + ".")
        if not session.info.running:
            raise SessionError(410, "This session has ended.")
        clock: WorkspaceClock = self.settings[RULES]
        message = clean_text(self.get_query_argument("message", ""), MAX_MESSAGE)
        try:
            if message:
                await clock.link.annotate(session.id, {ENDED_BY: message})
            await clock.end(session.id, reason, f"Session {session.term_name} was ended by the hub.")
        except (KeeperError, OSError) as error:
            raise refusal(error) from error


def handlers(base_url: str) -> list[tuple[str, type[SessionsHandler]]]:
    """Routes under the server's base URL."""
    root = url_path_join(base_url, "/persistent-terminals/api/sessions")
    return [(root, SessionList), (root + r"/([^/]+)", SessionItem)]
