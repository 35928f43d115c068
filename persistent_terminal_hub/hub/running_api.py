"""`GET /hub/persistent-terminals/api/running`: every workspace that the hub holds to be running, at once.

The culler asks once in a cycle. Answered from the hub's memory: JupyterHub's own list of users costs several
queries and a model for each user, in pages, on the hub's only database connection
(docs/explanation/culler.md has both figures), and it does not say where a workspace listens.
"""

from __future__ import annotations

from typing import Any

from jupyterhub import orm
from sqlalchemy import inspect
from sqlalchemy.orm import selectinload

from persistent_terminal_hub.hub.service_api import ServiceApiHandler

#: Users whose groups are fetched with one query; SQLite takes no more than 999 parameters on old systems.
GROUPS_AT_ONCE = 500


class RunningHandler(ServiceApiHandler):
    """The running workspaces with their owners' groups and their internal addresses."""

    def get(self) -> None:
        """One entry for each workspace that runs, starts or stops."""
        users = [user for user in self.users.values() if user.active]
        self._fetch_groups([user.orm_user for user in users])
        self.answer({"workspaces": [model for user in users for model in _models(user)]})

    def _fetch_groups(self, users: list[Any]) -> None:
        """Groups are kept in memory once they were read; fetch those of users who were never asked about."""
        missing = [user.id for user in users if "groups" in inspect(user).unloaded]
        for start in range(0, len(missing), GROUPS_AT_ONCE):
            some = missing[start : start + GROUPS_AT_ONCE]
            query = self.db.query(orm.User).options(selectinload(orm.User.groups))
            query.filter(orm.User.id.in_(some)).all()


def _models(user: Any) -> list[dict[str, Any]]:
    groups = [group.name for group in user.orm_user.groups]
    models = []
    for name, spawner in user.spawners.items():
        if not spawner.active:
            continue
        models.append(
            {
                "user": user.name,
                "workspace": name,
                "groups": groups,
                "pending": spawner.pending,
                "ready": spawner.ready,
                "started": _started(spawner),
                # What an administrator looks for on the host: the container, or the first process.
                "container": str(getattr(spawner, "object_id", "") or getattr(spawner, "pid", "") or ""),
                # Where the proxy finds it. Asked directly, it is spared the proxy, whose figures of
                # activity would otherwise never show an idle workspace.
                "address": spawner.server.url if spawner.ready and spawner.server else None,
            }
        )
    return models


def _started(spawner: Any) -> str | None:
    started = getattr(spawner.orm_spawner, "started", None)
    return started.isoformat() if started else None
