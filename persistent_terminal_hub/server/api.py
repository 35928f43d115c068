"""REST resources of the sessions: `persistent-terminals/api/sessions`."""

from __future__ import annotations

import json
import re
import traceback
from http.client import responses
from typing import Annotated, Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from tornado import web

from . import attach_tokens, names
from .attach_tokens import AttachTokens
from .errors import SessionError
from .manager import PersistentTerminalManager
from .session import MAX_COLS, MAX_ROWS

#: Bytes of a request's body.
MAX_BODY = 256 * 1024
MAX_ENV = 200
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")

# A NUL would end the string for the kernel.
Text = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")]
Argument = Annotated[str, Field(max_length=32 * 1024, pattern=r"^[^\x00]*$")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    @field_validator("name", check_fields=False)
    @classmethod
    def _name(cls, value: str | None) -> str | None:
        return None if value is None else names.check(value)


class CreateSession(_Body):
    """The body of a POST; everything has a default."""

    name: str | None = None
    cwd: Text | None = None
    env: dict[str, Argument] = Field(default_factory=dict, max_length=MAX_ENV)
    cols: int | None = Field(None, ge=2, le=MAX_COLS)
    rows: int | None = Field(None, ge=1, le=MAX_ROWS)
    argv: list[Argument] | None = Field(None, min_length=1, max_length=1024)
    shell: Text | None = None

    @field_validator("env")
    @classmethod
    def _env(cls, value: dict[str, str]) -> dict[str, str]:
        if not all(_ENV_NAME.fullmatch(name) for name in value):
            raise ValueError(
                "Names of environment variables are letters, digits and '_', and do not begin with a digit."
            )
        return value

    @model_validator(mode="after")
    def _one_program(self) -> CreateSession:
        if self.argv is not None and self.shell is not None:
            raise ValueError("Give argv or shell, not both.")
        if self.argv is not None and not self.argv[0]:
            raise ValueError("The first item of argv names the program and must not be empty.")
        return self


class RenameSession(_Body):
    """The body of a PATCH."""

    name: str


class SessionsHandler(APIHandler):
    """What all resources here share: the manager, bodies and errors."""

    auth_resource = "terminals"

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

    def body(self, model: type[_Body]) -> Any:
        """The request's body as `model`; an empty one counts as `{}`."""
        if len(self.request.body) > MAX_BODY:
            raise SessionError(413, f"The body is larger than {MAX_BODY} bytes.")
        try:
            value = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError) as error:
            raise SessionError(400, "The body is not JSON.", "Send a JSON object.") from error
        try:
            return model.model_validate(value)
        except ValidationError as error:
            raise SessionError(
                422, _sentence(error), "docs/reference/sessions-api.md lists the fields."
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


def _sentence(error: ValidationError) -> str:
    """The first thing that is wrong, as a sentence."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"The field {where!r} is not known."
    text = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "value_error":
        return text
    return f"{where or 'body'}: {text}."


class SessionList(SessionsHandler):
    """All sessions."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """List running and ended sessions."""
        self.reply(self.sessions.models())

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Create a session."""
        body: CreateSession = self.body(CreateSession)
        session = await self.sessions.create_session(**body.model_dump())
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

    @web.authenticated
    @authorized
    async def get(self, key: str) -> None:
        """Show it."""
        self.reply(self.sessions.find(key).model())

    @web.authenticated
    @authorized
    async def patch(self, key: str) -> None:
        """Rename it."""
        self.sessions.find(key)
        body: RenameSession = self.body(RenameSession)
        self.reply((await self.sessions.rename(key, body.name)).model())

    @web.authenticated
    @authorized
    async def delete(self, key: str) -> None:
        """End it if it runs, else forget it."""
        await self.sessions.delete(key)
        self.set_status(204)
        self.finish()


def handlers(base_url: str) -> list[tuple[str, type[SessionsHandler]]]:
    """Routes under the server's base URL."""
    root = url_path_join(base_url, "/persistent-terminals/api/sessions")
    return [(root, SessionList), (root + r"/([^/]+)", SessionItem)]
