"""`api/workspaces`: create, clone, list, show, change, start, stop, restart, delete, logs, stats."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field
from sqlalchemy.orm import Session

from persistent_terminal_hub.control import operation_records
from persistent_terminal_hub.control.claims import OPERATION
from persistent_terminal_hub.control.clone_credentials import credentials_of
from persistent_terminal_hub.control.documented import documented
from persistent_terminal_hub.control.errors import ApiError, not_found
from persistent_terminal_hub.control.hub import Server
from persistent_terminal_hub.control.idempotency import Answer, Claim
from persistent_terminal_hub.control.names import parse_key
from persistent_terminal_hub.control.operation_store import Task
from persistent_terminal_hub.control.rights import Action, may
from persistent_terminal_hub.control.web import ApiHandler, Body
from persistent_terminal_hub.control.workspace_models import (
    CloneWorkspace,
    CreateWorkspace,
    Nothing,
    OperationModel,
    PatchWorkspace,
    WorkspaceChange,
    WorkspaceList,
    WorkspaceModel,
)
from persistent_terminal_hub.control.workspaces import Asked, Row, row_of, status_of

MAX_LISTED = 5000


def iso(at: float) -> str:
    """A time as the API writes it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class WorkspaceHandler(ApiHandler):
    """What all of them share."""

    async def found(self, key: str, action: Action) -> tuple[Row, Server | None]:
        """The workspace that an address names, if the caller may do that with it."""
        parsed = parse_key(key)
        if parsed is None:
            raise not_found("workspace")
        control = self.control
        owner = await control.blocking(control.table.owner_of, parsed)
        if owner is None:
            raise not_found("workspace")
        servers = await control.hub.servers(owner)
        row = await control.blocking(control.table.find, parsed, servers)
        if row is None:
            raise not_found("workspace")
        self.need(action, row.owner, row.name)
        return row, next((server for server in servers if server.name == row.name), None)

    def asked(self, claim: Claim | None = None) -> Asked:
        """Who asks, for an operation."""
        return Asked(self.caller.name, self.origin, self.caller.token, claim)

    async def model(self, row: Row, server: Server | None) -> WorkspaceModel:
        """As it is answered."""
        status = status_of(row, server)
        container = ""
        if server is not None and server.status == "running":
            entry = await self.control.workspaces.entry(row.owner, row.name)
            container = str(entry.get("container") or "")
        public = urlsplit(self.request.full_url())
        path = server.url if server is not None and server.url else ""
        opens = may(self.caller, Action.OPEN, row.owner, row.name)
        return WorkspaceModel(
            workspace_id=row.id,
            name=row.name,
            owner=row.owner,
            display_name=row.display_name,
            root_path=row.root_path,
            container_id=container,
            status=status,
            url=f"{public.scheme}://{public.netloc}{path}" if path else "",
            options=dict(row.options),
            # Values may be private: only for who may open the workspace.
            env=dict(row.env) if opens else {},
            source=dict(row.source) if row.source else None,
            created=iso(row.created),
            last_activity=server.last_activity if server is not None else None,
            operation=row.operation[1] if row.operation else None,
        )

    def operation_model(self, task: Task) -> OperationModel:
        """As it is answered."""
        return operation_model(task, self.control.place.prefix)

    async def begun(self, row: Row, server: Server | None, operation: str, new: bool = True) -> Answer:
        """202 with the workspace and what is under way for it, which is written down."""
        control = self.control
        control.runner.wake()
        task = await control.blocking(control.operations.get, operation)
        if task is None:
            raise not_found("operation")
        # The runner writes the same before it begins: a service that is killed here loses no record.
        event = operation_records.asked(task)
        if not new:
            event |= {"id": None, "who": self.caller.name, "origin": self.origin}
        await control.record(**{name: value for name, value in event.items() if name != "at"})
        return Answer(
            202,
            WorkspaceChange(workspace=await self.model(row, server), operation=self.operation_model(task)),
        )

    async def begun_before(self, operation: str) -> Answer:
        """The same for an operation that an earlier attempt of this request asked for."""
        control = self.control
        task = await control.blocking(control.operations.get, operation)
        if task is None:
            raise not_found("operation")
        row = await control.blocking(control.table.by_id, task.workspace)
        servers = await control.hub.servers(task.owner)
        row = row or row_of(task)
        return await self.begun(row, next((s for s in servers if s.name == row.name), None), operation)


def operation_model(task: Task, prefix: str) -> OperationModel:
    """An operation as it is answered."""
    return OperationModel(
        id=task.id,
        kind=task.kind,
        workspace_id=task.workspace,
        state=task.course.state.value,
        step=task.course.step,
        error=task.course.error,
        path=task.notes.get("path"),
        setup_session=task.notes.get("setupSession"),
        created=iso(task.created),
        updated=iso(task.updated),
        events=f"{prefix}api/operations/{task.id}/events",
    )


class CreationHandler(WorkspaceHandler):
    """What creating takes."""

    async def _create(self, kind: type[CreateWorkspace]) -> None:
        body = self.body(kind)
        caller = self.caller
        if not caller.is_user:
            raise ApiError(403, "A workspace belongs to a person; this token is a service's.")
        self.need(Action.MANAGE, caller.name, body.name)
        if body.secrets or (body.source and body.source.credentials_secret):
            # As with `api/secrets`: what may not be opened may get no secret slipped in.
            self.need(Action.OPEN, caller.name, body.name)
        await self.once(lambda claim: self._made(body, claim))

    async def _made(self, body: CreateWorkspace, claim: Claim | None) -> Answer:
        if claim is not None and OPERATION in claim.noted:
            return await self.begun_before(claim.noted[OPERATION])
        control, owner = self.control, self.caller.name
        if not body.name:
            raise ApiError(
                409, "The default workspace is always there; nothing was created.",
                "Start it, or name a new workspace.",
            )  # fmt: skip
        leftover = await control.blocking(control.table.ready, owner, body.name)
        servers = await control.hub.servers(owner)
        most = control.settings.workspace.max_per_user
        if body.name and len([s for s in servers if s.name and s.name != body.name]) >= most:
            raise ApiError(
                409, f"You have {most} named workspaces, which is as many as you may have.",
                "Delete one that you no longer need.",
            )  # fmt: skip
        await self._check_credentials(body)
        source = body.source
        fields = (
            source.model_dump(exclude={"credentials"}, exclude_none=True, by_alias=True) if source else None
        )
        row, operation = await control.blocking(
            control.table.create, owner, body.name, self.asked(claim),
            display_name=body.display_name or body.name or "default", options=body.options(),
            env=body.env, source=fields, start=body.start, most=most,
            credentials=source.credentials.model_dump() if source and source.credentials else None,
            at_hub=any(server.name == body.name for server in servers), leftover=leftover,
            also=self._keeper_of(body),
        )  # fmt: skip
        on = f"{owner}/{body.name}"
        for name in body.secrets:
            await self.audit("secret.put", on, name=name)
        return await self.begun(row, None, operation)

    def _keeper_of(self, body: CreateWorkspace) -> Callable[[Session], None]:
        """Stores the workspace's own secrets, in the transaction that makes the workspace."""
        store, owner = self.control.secrets, self.caller.name

        def keep(session: Session) -> None:
            for name, value in body.secrets.items():
                store.put_in(session, owner, body.name, name, value.encode())

        return keep

    async def _check_credentials(self, body: CreateWorkspace) -> None:
        """Refuse now what could not be cloned later: a secret that is not there or has another form."""
        source = body.source
        if source is None or source.credentials_secret is None:
            return
        control, name = self.control, source.credentials_secret
        value = body.secrets[name].encode() if name in body.secrets else None
        if value is None:
            value = await control.blocking(control.secrets.value, self.caller.name, body.name, name)
        if value is None:
            raise ApiError(
                422, f"You have no secret named {name}; nothing was created.",
                "Set it with PUT api/secrets, or give it in `secrets`.",
            )  # fmt: skip
        try:
            credentials_of(name, value, source.url)
        except ValueError as error:
            raise ApiError(422, f"{error} Nothing was created.") from None


class ListQuery(Body):
    """Arguments of a list."""

    owner: str = Field("", max_length=255)
    status: Literal["", "creating", "starting", "running", "stopping", "stopped", "deleting"] = ""


class WorkspacesHandler(CreationHandler):
    """All workspaces."""

    @documented(query=ListQuery, answers={200: WorkspaceList})
    async def get(self) -> None:
        """Those that the caller may see: the own ones, or everybody's."""
        query = self.query(ListQuery)
        control, caller = self.control, self.caller
        owner = query.owner
        if not owner and not caller.sees_all:
            owner = caller.name
        if owner:
            servers = await control.hub.servers(owner)
        else:
            servers = await control.hub.all_servers()
        servers = [s for s in servers if may(caller, Action.VIEW, s.owner, s.name)]
        rows = await control.blocking(control.table.rows, [owner] if owner else None, servers)
        by_name = {(server.owner, server.name): server for server in servers}
        models = [
            await self.model(row, by_name.get((row.owner, row.name)))
            for row in rows[:MAX_LISTED]
            if may(caller, Action.VIEW, row.owner, row.name)
        ]
        wanted = [model for model in models if not query.status or model.status == query.status]
        self.reply(WorkspaceList(workspaces=wanted))

    @documented(
        body=CreateWorkspace,
        answers={202: WorkspaceChange},
        refuses=(409, 429),
        idempotent=True,
        example={"name": "training", "resources": {"cpu": 2, "memory": "4G"}},
    )
    async def post(self) -> None:
        """Create one."""
        await self._create(CreateWorkspace)


class CloneHandler(CreationHandler):
    """A new workspace with a repository in it."""

    @documented(
        body=CloneWorkspace,
        answers={202: WorkspaceChange},
        refuses=(409, 429),
        idempotent=True,
        example={"name": "paper", "source": {"url": "https://git.example.org/team/paper.git", "depth": 1}},
    )
    async def post(self) -> None:
        """Create one and clone into it."""
        await self._create(CloneWorkspace)


class WorkspaceItemHandler(WorkspaceHandler):
    """One workspace."""

    @documented(answers={200: WorkspaceModel})
    async def get(self, key: str) -> None:
        """Show it."""
        row, server = await self.found(key, Action.VIEW)
        self.reply(await self.model(row, server))

    @documented(body=PatchWorkspace, answers={200: WorkspaceModel}, refuses=(409,))
    async def patch(self, key: str) -> None:
        """Change what it is called, and what it is made of from its next start."""
        row, server = await self.found(key, Action.MANAGE)
        body = self.body(PatchWorkspace)
        control = self.control
        if body.env is not None:
            self.need(Action.OPEN, row.owner, row.name)
        async with self.audited("workspace.change", f"{row.owner}/{row.name}"):
            changed = await control.blocking(
                control.table.change, row.id, body.display_name, body.options(), body.env
            )
            # The hub takes it only while the workspace is stopped; else it gets it at the next start.
            if body.display_name and row.name and server is not None and server.status == "stopped":
                await control.hub.rename(row.owner, row.name, body.display_name, self.caller.token)
        if body.env is not None:
            control.delivery.changed(row.owner)
        self.reply(await self.model(changed, server))

    @documented(answers={202: WorkspaceChange}, refuses=(409,))
    async def delete(self, key: str) -> None:
        """Delete it with its files."""
        row, server = await self.found(key, Action.MANAGE)
        control = self.control
        row, operation, new = await control.blocking(control.table.ask, row.id, "delete", self.asked())
        answer = await self.begun(row, server, operation, new)
        self.reply(answer.body, answer.status)


class WorkspaceActionHandler(WorkspaceHandler):
    """Start, stop, restart."""

    @documented(
        body=Nothing, answers={200: WorkspaceChange, 202: WorkspaceChange}, refuses=(409,), idempotent=True
    )
    async def post(self, key: str, kind: str) -> None:
        """Ask for it."""
        self.body(Nothing)
        action = Action.STEER if kind == "stop" else Action.MANAGE
        row, server = await self.found(key, action)

        await self.once(lambda claim: self._ask(row, server, kind, claim))

    async def _ask(self, row: Row, server: Server | None, kind: str, claim: Claim | None) -> Answer:
        if claim is not None and OPERATION in claim.noted:
            return await self.begun_before(claim.noted[OPERATION])
        control = self.control
        status = status_of(row, server)
        # Nothing under way and nothing to do.
        if row.operation is None and (kind, status) in (("start", "running"), ("stop", "stopped")):
            return Answer(200, WorkspaceChange(workspace=await self.model(row, server), operation=None))
        row, operation, new = await control.blocking(control.table.ask, row.id, kind, self.asked(claim))
        return await self.begun(row, server, operation, new)


def routes() -> list[tuple[Any, ...]]:
    """Relative to the service's prefix. `clone` is no id: ids are hexadecimal or hold a tilde."""
    item = r"api/workspaces/([^/]+)"
    return [
        (r"api/workspaces", WorkspacesHandler),
        (r"api/workspaces/clone", CloneHandler),
        (item, WorkspaceItemHandler),
        (item + r"/(start|stop|restart)", WorkspaceActionHandler),
    ]
