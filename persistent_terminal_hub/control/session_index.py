"""Sessions as they were last seen, so that a list needs no running workspace. Calls block."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from persistent_terminal_hub.control.database import Database
from persistent_terminal_hub.control.models import SessionEntry, Workspace

#: Sessions of one workspace that are remembered.
MOST = 500
_DETAIL = ("cwd", "argv", "exit", "last_input", "last_output", "cols", "rows", "clients", "pid")


class SessionIndex:
    """The rows."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def saw(self, workspace: str, models: Iterable[Mapping[str, Any]]) -> None:
        """All sessions that a running workspace has, ended ones included. Others are forgotten."""
        seen = list(models)[:MOST]
        for _ in range(3):
            try:
                self._database.run(lambda session: self._saw(session, workspace, seen))
            except IntegrityError:  # the same was seen by another request just now
                continue
            return

    def _saw(self, session: Session, workspace: str, seen: list[Mapping[str, Any]]) -> None:
        if session.get(Workspace, workspace) is None:
            return  # deleted meanwhile
        rows = {
            row.id: row
            for row in session.scalars(select(SessionEntry).where(SessionEntry.workspace == workspace))
        }
        now = self._clock()
        for model in seen:
            identity = str(model.get("id", ""))[:64]
            row = rows.pop(identity, None)
            if row is None:
                row = SessionEntry(workspace=workspace, id=identity)
                session.add(row)
            detail = {name: model.get(name) for name in _DETAIL}
            ended = _moment((model.get("exit") or {}).get("at"))
            row.name, row.state = str(model.get("name", ""))[:255], str(model.get("state", ""))[:16]
            row.created, row.ended, row.seen = _moment(model.get("created")) or now, ended, now
            row.detail = detail
        if rows:
            gone = SessionEntry.workspace == workspace, SessionEntry.id.in_(list(rows))
            session.execute(delete(SessionEntry).where(*gone))

    def of(self, workspaces: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """What was last seen of these workspaces, in the shape that a workspace answers."""
        wanted = list(workspaces)

        def work(session: Session) -> dict[str, list[dict[str, Any]]]:
            rows = session.scalars(
                select(SessionEntry)
                .where(SessionEntry.workspace.in_(wanted))
                .order_by(SessionEntry.created, SessionEntry.id)
            )
            found: dict[str, list[dict[str, Any]]] = {}
            for row in rows:
                model = {"id": row.id, "name": row.name, "state": row.state, "created": row.created}
                found.setdefault(row.workspace, []).append(model | row.detail)
            return found

        return self._database.run(work)

    def forget(self, workspace: str, identity: str) -> bool:
        """Remove one; whether there was one."""
        gone = delete(SessionEntry).where(SessionEntry.workspace == workspace, SessionEntry.id == identity)
        result: Any = self._database.run(lambda session: session.execute(gone))
        return bool(result.rowcount)


def _moment(at: object) -> float | None:
    if isinstance(at, int | float):
        return float(at)
    try:
        return datetime.fromisoformat(str(at)).timestamp() if at else None
    except ValueError:
        return None
