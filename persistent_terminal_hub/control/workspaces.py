"""Workspaces: what the hub knows of its servers, joined with our own rows.

The hub decides what runs; a row gives a server an opaque id, a display name, a repository, an environment. A
server that was made without us (on the hub's own pages) gets its row when it is first seen.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from persistent_terminal_hub.control.claims import OPERATION
from persistent_terminal_hub.control.database import Database
from persistent_terminal_hub.control.errors import ApiError, not_found
from persistent_terminal_hub.control.hub import Server
from persistent_terminal_hub.control.idempotency import Claim
from persistent_terminal_hub.control.models import Workspace
from persistent_terminal_hub.control.names import ById, ByName
from persistent_terminal_hub.control.operation_store import OperationStore, Task

CREATING, READY, DELETING = "creating", "ready", "deleting"


@dataclass(frozen=True, slots=True)
class Row:
    """A row as plain values."""

    id: str
    owner: str
    name: str
    display_name: str
    options: Mapping[str, Any]
    source: Mapping[str, Any] | None
    root_path: str
    env: Mapping[str, str]
    state: str
    created: float
    #: What is under way for it: kind and id of the newest operation.
    operation: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for what, as an operation keeps it. `claim`: with an Idempotency-Key."""

    actor: str
    origin: str
    token: str
    claim: Claim | None = None

    def made(self, session: Session, operation: str) -> None:
        """Note the operation for the case that the request comes again; raises ApiError for a lost claim."""
        if self.claim is not None:
            self.claim.note(session, {OPERATION: operation})


class Workspaces:
    """The rows. Calls block."""

    def __init__(self, database: Database, operations: OperationStore) -> None:
        self._database = database
        self._operations = operations

    def rows(self, owners: Iterable[str] | None, servers: Iterable[Server]) -> list[Row]:
        """Those of these owners (None: all), with a new one for each server that had none."""
        wanted = None if owners is None else list(owners)
        seen = list(servers)
        for _ in range(3):
            try:
                return self._database.run(lambda session: self._rows(session, wanted, seen))
            except IntegrityError:  # another request adopted the same one just now
                continue
        raise ApiError(503, "The workspaces are being changed by many at once.", "Try again.", retry_after=1)

    def _rows(self, session: Session, owners: list[str] | None, servers: list[Server]) -> list[Row]:
        query = select(Workspace)
        if owners is not None:
            query = query.where(Workspace.owner.in_(owners))
        known = {(row.owner, row.name): row for row in session.scalars(query)}
        for server in servers:
            if (server.owner, server.name) not in known:
                row = _new(server.owner, server.name, server.display_name, READY)
                session.add(row)
                known[server.owner, server.name] = row
        session.flush()
        at_hub = {(server.owner, server.name) for server in servers}
        newest = self._operations.newest(session)
        return [
            _view(row, newest.get(row.id))
            for key, row in sorted(known.items())
            # Removed on the hub's own pages: its row waits for a server of that name, nobody sees it.
            if key in at_hub or row.state != READY or not row.name
        ]

    def by_id(self, identity: str) -> Row | None:
        """The row with this id."""

        def work(session: Session) -> Row | None:
            row = session.get(Workspace, identity)
            return None if row is None else self._view(session, row)

        return self._database.run(work)

    def find(self, key: ById | ByName, servers: Iterable[Server]) -> Row | None:
        """One workspace; `servers` are all of its owner's at the hub."""
        owner = self.owner_of(key)
        for row in self.rows([owner], servers) if owner else ():
            if row.id == key.id if isinstance(key, ById) else row.name == key.name:
                return row
        return None

    def owner_of(self, key: ById | ByName) -> str | None:
        """Whose it is, None if nobody's."""
        if isinstance(key, ByName):
            return key.owner
        row = self.by_id(key.id)
        return None if row is None else row.owner

    # -- changing ------------------------------------------------------------------------------------------
    def ready(self, owner: str, name: str) -> str | None:
        """The id of the row of this name, if it says that the hub has it."""

        def work(session: Session) -> str | None:
            row = _one(session, owner, name)
            return row.id if row is not None and row.state == READY else None

        return self._database.run(work)

    def create(
        self, owner: str, name: str, asked: Asked, *, display_name: str, options: Mapping[str, Any],
        env: Mapping[str, str], source: Mapping[str, Any] | None, credentials: Mapping[str, str] | None,
        start: bool, at_hub: bool, leftover: str | None, most: int,
        also: Callable[[Session], None] = lambda _session: None,
    ) -> tuple[Row, str]:  # fmt: skip
        """A new row and the operation that makes it true, in one transaction with `also`.

        `at_hub`: whether the hub has it; `leftover`: what `ready` said before the hub was asked, so that a
        row that was made true since is not taken for one whose workspace is gone.
        Raises ApiError 409, and whatever `also` raises; then nothing is written.
        """

        def work(session: Session) -> tuple[Row, str]:
            also(session)
            row = _one(session, owner, name)
            if row is not None and (row.id != leftover or self._operations.active(session, row.id)):
                raise ApiError(409, f"There is a workspace {owner}/{name} already.", "Choose another name.")
            if at_hub:
                raise ApiError(409, f"There is a workspace {owner}/{name} already.", "Choose another name.")
            if row is not None:  # what is left of one that was removed on the hub's own pages
                session.execute(delete(Workspace).where(Workspace.id == row.id))
                session.expunge(row)
            making = select(func.count()).where(Workspace.owner == owner, Workspace.state == CREATING)
            if name and (session.scalar(making) or 0) >= most:
                raise ApiError(
                    409, f"You may have {most} named workspaces at most; that many are being created.",
                    "Delete one that you no longer need.",
                )  # fmt: skip
            new = _new(owner, name, display_name, CREATING)
            new.options, new.env = dict(options), dict(env)
            new.source = dict(source) if source else None
            session.add(new)
            session.flush()
            request = {
                "name": name, "displayName": display_name, "options": dict(options), "start": start,
                "source": dict(source) if source else None, "origin": asked.origin,
            }  # fmt: skip
            private: dict[str, Any] = {"token": asked.token}
            if credentials:
                private["credentials"] = dict(credentials)
            operation = self._operations.insert(
                session, "create", owner=owner, actor=asked.actor, workspace=new.id,
                request=request, private=private,
            )  # fmt: skip
            asked.made(session, operation)
            return self._view(session, new), operation

        try:
            return self._database.run(work)
        except IntegrityError:
            raise ApiError(
                409, f"There is a workspace {owner}/{name} already.", "Choose another name."
            ) from None

    def ask(self, identity: str, kind: str, asked: Asked) -> tuple[Row, str, bool]:
        """The operation that starts, stops, restarts or deletes it, and whether it is a new one.

        The last one asked for decides the end. The same twice is one operation; a deletion calls off what can
        be called off and is never undone.
        """

        def work(session: Session) -> tuple[Row, str, bool]:
            row = session.get(Workspace, identity, with_for_update=True)
            if row is None:
                raise not_found("workspace")
            active = self._operations.active(session, identity)
            if active and active[-1].kind == kind and not active[-1].cancel:
                asked.made(session, active[-1].id)
                return self._view(session, row), active[-1].id, False
            if row.state == DELETING:
                raise ApiError(409, "This workspace is being deleted.", "Wait for the end of that.")
            if kind == "delete":
                if not row.name:
                    raise ApiError(
                        409, "The default workspace cannot be deleted; nothing was done.",
                        "Stop it, and remove what is in it.",
                    )  # fmt: skip
                row.state = DELETING
            if kind in ("delete", "stop"):
                for other in active:
                    if other.kind != "create" or kind == "delete":
                        self._operations.cancel_row(other)
            request = {
                "name": row.name, "displayName": row.display_name, "options": row.options,
                "origin": asked.origin,
            }  # fmt: skip
            operation = self._operations.insert(
                session, kind, owner=row.owner, actor=asked.actor, workspace=row.id,
                request=request, private={"token": asked.token},
            )  # fmt: skip
            asked.made(session, operation)
            return self._view(session, row), operation, True

        return self._database.run(work)

    def change(
        self, identity: str, display_name: str | None, options: Mapping[str, Any],
        env: Mapping[str, str] | None,
    ) -> Row:  # fmt: skip
        """Note what changes; its container gets it at the next start."""

        def work(session: Session) -> Row:
            row = session.get(Workspace, identity, with_for_update=True)
            if row is None:
                raise not_found("workspace")
            if row.state == DELETING:
                raise ApiError(409, "This workspace is being deleted; nothing was changed.")
            if display_name is not None:
                row.display_name = display_name
            if options:
                row.options = {**row.options, **options}
            if env is not None:
                row.env = dict(env)
            return self._view(session, row)

        return self._database.run(work)

    def _view(self, session: Session, row: Workspace) -> Row:
        active = self._operations.active(session, row.id)
        return _view(row, (active[-1].kind, active[-1].id) if active else None)


def _view(row: Workspace, operation: tuple[str, str] | None) -> Row:
    return Row(
        id=row.id, owner=row.owner, name=row.name, display_name=row.display_name,
        options=row.options, source=row.source, root_path=row.root_path, env=row.env,
        state=row.state, created=row.created, operation=operation,
    )  # fmt: skip


def row_of(task: Task) -> Row:
    """The workspace of an operation that took it away again, or of one that was."""
    return Row(
        id=task.workspace, owner=task.owner, name=str(task.request.get("name", "")),
        display_name=str(task.request.get("displayName", "")), options=task.request.get("options") or {},
        source=task.request.get("source"), root_path="", env={}, state=DELETING, created=task.created,
    )  # fmt: skip


def status_of(row: Row, server: Server | None) -> str:
    """One word for it."""
    if row.state in (CREATING, DELETING):
        return row.state
    status = server.status if server is not None else "stopped"
    kind = row.operation[0] if row.operation is not None else ""
    if status == "stopped" and kind in ("start", "restart"):
        return "starting"
    if status == "running" and kind in ("stop", "restart"):
        return "stopping"
    return status


def _new(owner: str, name: str, display_name: str, state: str) -> Workspace:
    return Workspace(
        id=secrets.token_hex(16), owner=owner, name=name, display_name=display_name or name or "default",
        options={}, source=None, root_path="", env={}, state=state, created=time.time(),
    )  # fmt: skip


def _one(session: Session, owner: str, name: str) -> Workspace | None:
    query = select(Workspace).where(Workspace.owner == owner, Workspace.name == name)
    return session.scalar(query.with_for_update())
