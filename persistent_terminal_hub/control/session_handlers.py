"""`api/sessions`: a person's sessions in all workspaces, running or not.

The owner's requests go to the workspace with the owner's own token, so that a locked workspace refuses them.
An operator gets what the hub itself may know of a session, and may end it, but not open it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import Field, field_validator

from persistent_terminal_hub.control.documented import documented
from persistent_terminal_hub.control.errors import ApiError, not_found
from persistent_terminal_hub.control.hub import Server
from persistent_terminal_hub.control.idempotency import Answer, Claim
from persistent_terminal_hub.control.names import parse_session_key
from persistent_terminal_hub.control.rights import Action, may
from persistent_terminal_hub.control.web import Body, Reply
from persistent_terminal_hub.control.workspace_handlers import WorkspaceHandler, iso
from persistent_terminal_hub.control.workspace_link import QUIET
from persistent_terminal_hub.control.workspace_models import EnvValue, check_env
from persistent_terminal_hub.control.workspaces import Row
from persistent_terminal_hub.lifecycle import State, state_of

#: Workspaces that are asked at once, and seconds that one has for its answer.
AT_ONCE = 20
SECONDS = 5.0

Argument = Annotated[str, Field(max_length=32 * 1024, pattern=r"^[^\x00]*$")]


class CreateSession(Body):
    """A new session; the workspace must run."""

    workspace: str = Field(min_length=1, max_length=512, description="its id, or user~name")
    name: str | None = Field(None, min_length=1, max_length=128)
    cwd: str | None = Field(None, min_length=1, max_length=4096, pattern=r"^[^\x00]*$")
    env: dict[str, EnvValue] = Field(default_factory=dict, max_length=100)
    argv: list[Argument] | None = Field(None, min_length=1, max_length=1024)
    cols: int | None = Field(None, ge=2, le=1000)
    rows: int | None = Field(None, ge=1, le=1000)

    _environment = field_validator("env")(check_env)


class PatchSession(Body):
    """A new name."""

    name: str = Field(min_length=1, max_length=128)


class ListQuery(Body):
    """Arguments of a list."""

    owner: str = Field("", max_length=255)
    workspace: str = Field("", max_length=512)
    state: Literal["", "active", "dormant", "locked", "ended"] = ""


class EndQuery(Body):
    """Arguments of an end."""

    message: str = Field("", max_length=300, description="shown in the session before it ends")

    @field_validator("message")
    @classmethod
    def _line(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("A message is one line of printable characters.")
        return value.strip()


class SessionModel(Reply):
    """A session."""

    id: str = Field(description="<workspace id>.<session id>")
    workspace_id: str
    workspace: str = Field(description="user~name")
    session_id: str
    name: str
    state: str = Field(description="active, dormant, locked or ended")
    created: str
    last_input: str | None = None
    last_output: str | None = None
    clients: int = 0
    cwd: str | None = None
    argv: list[str] | None = None
    cols: int | None = None
    rows: int | None = None
    exit: dict[str, Any] | None = Field(None, description="how it ended")
    stale: bool = Field(False, description="the workspace did not answer: this is what was last seen")


class SessionList(Reply):
    """All sessions."""

    sessions: list[SessionModel]


class CreatedSession(SessionModel):
    """A session, and how to attach to it directly."""

    token: str
    token_expires_in: float
    web_socket_url: str


class SessionsBase(WorkspaceHandler):
    """What both resources share."""

    async def of_workspace(
        self, row: Row, server: Server | None, seen: list[dict[str, Any]]
    ) -> list[SessionModel]:
        """The sessions of one workspace; `seen` is what the index has of it."""
        if server is None or server.status in ("stopped", "starting"):
            return [_model(row, _ended(model), False) for model in seen]
        try:
            models, complete = await self.ask_for(row)
        except ApiError:
            return [_model(row, model, True) for model in seen]
        if complete:
            await self.control.blocking(self.control.sessions.saw, row.id, models)
        return [_model(row, model, False) for model in models]

    async def ask_for(self, row: Row) -> tuple[list[dict[str, Any]], bool]:
        """What the workspace says, and whether ended sessions are among it."""
        link, caller = self.control.workspaces, self.caller
        if may(caller, Action.OPEN, row.owner, row.name):
            try:
                models = await link.ask(
                    row.owner, row.name, "GET", f"sessions?{QUIET}", "sessions",
                    actor=caller.name, token=caller.token, seconds=SECONDS,
                )  # fmt: skip
                return [model for model in models if isinstance(model, dict)], True
            except ApiError as error:
                if error.status != 423:
                    raise
        facts = await link.ask(
            row.owner, row.name, "GET", f"facts?{QUIET}", "facts", actor=caller.name, seconds=SECONDS
        )
        locked = bool(facts.get("locked"))
        return [_of_facts(entry, locked) for entry in facts.get("sessions", [])], False

    async def found_session(self, key: str, action: Action) -> tuple[Row, Server | None, str]:
        """The workspace and the session's id, if the caller may do that there."""
        parsed = parse_session_key(key)
        if parsed is None:
            raise not_found("session")
        try:
            row, server = await self.found(parsed[0], action)
        except ApiError as error:
            if error.status == 404:
                raise not_found("session") from None
            raise
        return row, server, parsed[1]

    async def to_workspace(self, row: Row, method: str, path: str, body: Any = None) -> Any:
        """Ask as the caller."""
        return await self.control.workspaces.ask(
            row.owner, row.name, method, path, "sessions",
            actor=self.caller.name, token=self.caller.token, body=body,
        )  # fmt: skip


class SessionsHandler(SessionsBase):
    """All sessions."""

    @documented(query=ListQuery, answers={200: SessionList}, refuses=(404,))
    async def get(self) -> None:
        """Those of every workspace that the caller may see."""
        query = self.query(ListQuery)
        control = self.control
        if query.workspace:
            pairs = [await self.found(query.workspace, Action.VIEW)]
        else:
            pairs = await self._workspaces(query.owner)
        seen = await control.blocking(control.sessions.of, [row.id for row, _ in pairs])
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(row: Row, server: Server | None) -> list[SessionModel]:
            async with gate:
                return await self.of_workspace(row, server, seen.get(row.id, []))

        lists = await asyncio.gather(*(one(row, server) for row, server in pairs))
        models = [model for found in lists for model in found]
        self.reply(SessionList(sessions=[m for m in models if not query.state or m.state == query.state]))

    async def _workspaces(self, owner: str) -> list[tuple[Row, Server | None]]:
        control, caller = self.control, self.caller
        if not owner and not caller.sees_all:
            owner = caller.name
        servers = await (control.hub.servers(owner) if owner else control.hub.all_servers())
        servers = [s for s in servers if may(caller, Action.VIEW, s.owner, s.name)]
        rows = await control.blocking(control.table.rows, [owner] if owner else None, servers)
        by_name = {(server.owner, server.name): server for server in servers}
        return [
            (row, by_name.get((row.owner, row.name)))
            for row in rows
            if may(caller, Action.VIEW, row.owner, row.name)
        ]

    @documented(
        body=CreateSession,
        answers={201: CreatedSession},
        refuses=(404, 409, 423, 429),
        idempotent=True,
        example={"workspace": "alice~lab", "name": "run-1", "argv": ["python3", "train.py"]},
    )
    async def post(self) -> None:
        """Create one; the answer says how to attach to it."""
        body = self.body(CreateSession)
        row, _ = await self.found(body.workspace, Action.OPEN)

        await self.once(lambda claim: self._made(row, body, claim))

    async def _made(self, row: Row, body: CreateSession, claim: Claim | None) -> Answer:
        fields = body.model_dump(exclude={"workspace", "env"}, exclude_none=True)
        fields["env"] = {**row.env, **body.env}
        if claim is not None:
            fields["request"] = await self._request(claim)
        # A secret that was set a moment ago is meant for it.
        await self.control.delivery.ensure(row.owner, row.name)
        # Written down before and after: a service that is killed in between leaves no session unrecorded.
        await self._note(row, "begun", fields, name=body.name)
        made = await self.to_workspace(row, "POST", "sessions", fields)
        await self._note(row, "ok", fields, session=made.get("id"))
        public = urlsplit(self.request.full_url())
        scheme = "wss" if public.scheme == "https" else "ws"
        # The workspace was asked at its internal address; people come through the proxy.
        path = urlsplit(str(made.get("webSocketUrl", ""))).path
        model = CreatedSession(
            **_model(row, made, False).model_dump(by_alias=True),
            token=str(made.get("token", "")),
            tokenExpiresIn=float(made.get("tokenExpiresIn") or 0),
            webSocketUrl=f"{scheme}://{public.netloc}{path}",
        )
        return Answer(201, model)

    async def _note(self, row: Row, result: str, asked: Mapping[str, Any], **fields: object) -> None:
        request = asked.get("request")
        event = sha256(f"{request}:{result}".encode()).hexdigest()[:32] if request else None
        await self.audit("session.create", f"{row.owner}/{row.name}", result, id=event, **fields)

    async def _request(self, claim: Claim) -> str:
        """By which the workspace knows the session again, if this service does not live to see it."""
        if claim.noted:
            return str(claim.noted["session"])
        request = secrets.token_hex(16)
        await self.control.blocking(self.control.database.run, lambda s: claim.note(s, {"session": request}))
        return request


class SessionHandler(SessionsBase):
    """One session."""

    @documented(answers={200: SessionModel})
    async def get(self, key: str) -> None:
        """Show it."""
        row, server, session = await self.found_session(key, Action.VIEW)
        control = self.control
        seen = await control.blocking(control.sessions.of, [row.id])
        for model in await self.of_workspace(row, server, seen.get(row.id, [])):
            if model.session_id == session:
                self.reply(model)
                return
        raise not_found("session")

    @documented(body=PatchSession, answers={200: SessionModel}, refuses=(409, 410, 423))
    async def patch(self, key: str) -> None:
        """Rename it."""
        row, _, session = await self.found_session(key, Action.OPEN)
        body = self.body(PatchSession)
        async with self.audited("session.rename", f"{row.owner}/{row.name}", session=session, name=body.name):
            made = await self.to_workspace(row, "PATCH", f"sessions/{session}", {"name": body.name})
        self.reply(_model(row, made, False))

    @documented(query=EndQuery, answers={204: None}, refuses=(409, 410, 423))
    async def delete(self, key: str) -> None:
        """End it if it runs, else forget it."""
        message = self.query(EndQuery).message
        row, server, session = await self.found_session(key, Action.STEER)
        async with self.audited("session.end", f"{row.owner}/{row.name}", session=session, reason=message):
            if server is None or server.status == "stopped":
                self.need(Action.OPEN, row.owner, row.name)
                if not await self.control.blocking(self.control.sessions.forget, row.id, session):
                    raise not_found("session")
            else:
                await self._end(row, session, message)
        self.control.gathering.hurry()
        self.nothing()

    async def _end(self, row: Row, session: str, message: str) -> None:
        if self.caller.name == row.owner:
            await self.to_workspace(row, "DELETE", f"sessions/{session}")
            return
        # As the hub, so that a lock is no obstacle; whoever looks at the session is told first by whom.
        link, actor = self.control.workspaces, self.caller.name
        said = f": {message}" if message else ""
        why = f"{actor} ended this session{said or '.'}"
        notice = {"code": "administrator", "seconds": 0, "session": session, "reason": why}
        with contextlib.suppress(ApiError):
            await link.ask(
                row.owner, row.name, "POST", "warn", "warn", actor=actor, body=notice, seconds=SECONDS
            )
        try:
            # The notice is gone in a moment; this stays with what is left of the session.
            clause = quote(f"{actor} ended it{said}", safe="")
            path = f"sessions/{session}?reason=terminated&message={clause}"
            await link.ask(row.owner, row.name, "DELETE", path, "end", actor=actor)
        except ApiError as error:
            # It has ended: forgetting it is for who may open the workspace.
            if error.status != 410 or not may(self.caller, Action.OPEN, row.owner, row.name):
                raise
            await self.to_workspace(row, "DELETE", f"sessions/{session}")


def _model(row: Row, model: Mapping[str, Any], stale: bool) -> SessionModel:
    created = model.get("created")
    identity = str(model.get("id", ""))
    return SessionModel(
        id=f"{row.id}.{identity}",
        workspace_id=row.id,
        workspace=f"{row.owner}~{row.name}",
        session_id=identity,
        name=str(model.get("name", "")),
        state=str(model.get("state", "")),
        created=iso(created) if isinstance(created, int | float) else str(created or ""),
        last_input=model.get("last_input"),
        last_output=model.get("last_output"),
        clients=int(model.get("clients") or 0),
        cwd=model.get("cwd"),
        argv=model.get("argv"),
        cols=model.get("cols"),
        rows=model.get("rows"),
        exit=model.get("exit"),
        stale=stale,
    )


def _ended(model: dict[str, Any]) -> dict[str, Any]:
    """Of a workspace that has stopped: nothing in it runs."""
    if model["state"] == State.ENDED:
        return model
    return model | {"state": State.ENDED, "clients": 0, "exit": model.get("exit") or {"reason": "restarted"}}


def _of_facts(entry: Mapping[str, Any], locked: bool) -> dict[str, Any]:
    state = state_of(running=True, attached=bool(entry.get("attached")), locked=locked)
    return {"id": entry.get("id"), "name": entry.get("name"), "state": state}


def routes() -> list[tuple[Any, ...]]:
    """Relative to the service's prefix."""
    return [(r"api/sessions", SessionsHandler), (r"api/sessions/([^/]+)", SessionHandler)]
