"""Removes what is kept of people and workspaces that are gone: secrets, and the rows with their `env`.

A workspace that is deleted by the API takes its own along at once (`workspace_steps`). What was deleted at
the hub is found here: nobody tells us. Gone is only what the hub itself says it does not know, twice, with
`GRACE_SECONDS` between. A hub that does not answer says nothing, and one whose database is younger than what
we keep (it was lost, and begun anew) is not believed.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from persistent_terminal_hub.control.audit_log import AuditLog, Entry
from persistent_terminal_hub.control.database import Database
from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.hub import Hub, servers_of
from persistent_terminal_hub.control.models import Secret, Workspace
from persistent_terminal_hub.control.secrets import scope_of, workspace_of
from persistent_terminal_hub.control.workspaces import READY
from persistent_terminal_hub.repeating import Repeating

log = logging.getLogger(__name__)

ACTOR = "service:terminals"
FIRST_SECONDS = 30.0
LOOK_SECONDS = 300.0
GRACE_SECONDS = 600.0

Blocking = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Gone:
    """Whose things are to be removed."""

    owner: str
    #: The server's name; None: everything of the user's.
    workspace: str | None = None
    #: Only what is older (seconds since 1970).
    before: float = float("inf")


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a user: when the first and the last of it were written, and named workspaces that are
    ready, with the moment when they were first seen.
    """

    oldest: float
    newest: float
    workspaces: Mapping[str, float]


class Removal:
    """Removes secrets and rows, each secret with its record in the audit log. Calls block."""

    def __init__(self, database: Database, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit

    def remove(self, gone: Gone, reason: str, *, row: str = "", who: str = ACTOR, origin: str = "") -> int:
        """How many secrets went. `row` is the id of the workspace that is deleted; without it, rows that are
        ready go, unless somebody is making a workspace of that name just now.
        """
        rows = select(Workspace).where(Workspace.owner == gone.owner, Workspace.created < gone.before)
        theirs = select(Secret).where(Secret.owner == gone.owner, Secret.updated < gone.before)
        if gone.workspace is not None:
            rows = rows.where(Workspace.name == gone.workspace)
            theirs = theirs.where(Secret.workspace == scope_of(gone.workspace))

        def work(session: Session) -> int:
            found = [each for each in session.scalars(rows.with_for_update()) if row in ("", each.id)]
            if row and not found:
                return 0  # done before: what is there now belongs to another one
            if not row and gone.workspace is not None and any(each.state != READY for each in found):
                return 0
            secrets = list(session.scalars(theirs.with_for_update()))
            for each in secrets:
                session.delete(each)
            for workspace in found:
                if row or workspace.state == READY:
                    session.delete(workspace)
            self._audit.append_in(session, [_entry(each, reason, who, origin) for each in secrets])
            return len(secrets)

        return self._database.run(work)

    def kept(self) -> dict[str, Kept]:
        """By user, everybody of whom anything is kept."""
        secrets = select(Secret.owner, Secret.updated)
        rows = select(Workspace.owner, Workspace.name, Workspace.state, Workspace.created)
        marks, places = self._database.run(
            lambda session: (session.execute(secrets).all(), session.execute(rows).all())
        )
        moments: dict[str, list[float]] = {}
        named: dict[str, dict[str, float]] = {}
        for owner, updated in marks:
            moments.setdefault(owner, []).append(updated)
        for owner, name, state, created in places:
            moments.setdefault(owner, []).append(created)
            if name and state == READY:
                named.setdefault(owner, {})[name] = created
        return {owner: Kept(min(at), max(at), named.get(owner, {})) for owner, at in moments.items()}


class Leftovers:
    """See the module. `blocking` takes a call to a thread."""

    def __init__(
        self, hub: Hub, removal: Removal, blocking: Blocking, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._hub = hub
        self._removal = removal
        self._blocking = blocking
        self._clock = clock
        self._missing: dict[Gone, float] = {}
        self._looking = Repeating(
            # Not while a service that has just begun is waited for.
            "Looking for what is gone",
            self.look,
            lambda: LOOK_SECONDS,
            quiet=(ApiError,),
            after=FIRST_SECONDS,
        )

    def start(self) -> None:
        """Begin."""
        self._looking.start()

    async def close(self) -> None:
        """End."""
        await self._looking.close()

    async def look(self) -> None:
        """Note what is missing, and remove what was missing before. Raises ApiError: the hub is away."""
        kept: dict[str, Kept] = await self._blocking(self._removal.kept)
        if not kept:
            self._missing.clear()
            return
        users = {str(model.get("name")): model for model in await self._hub.users()}
        for owner in kept.keys() - users.keys():
            # A page of a list may have missed somebody.
            model = await self._hub.user(owner)
            if model is not None:
                users[owner] = model
        found = dict(missing(kept, users))
        now = self._clock()
        self._missing = {gone: self._missing.get(gone, now) for gone in found}
        for gone, since in list(self._missing.items()):
            if now - since < GRACE_SECONDS:
                continue
            count = await self._blocking(self._removal.remove, gone, found[gone])
            what = f"{gone.owner}/{'*' if gone.workspace is None else gone.workspace}"
            log.info("What was kept of %s was removed, %d secrets among it. %s", what, count, found[gone])
            del self._missing[gone]


def missing(kept: Mapping[str, Kept], users: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Gone, str]]:
    """What the hub no longer has, and the sentence for the log (pure). `users`: the hub's models by name."""
    # What is older than everybody the hub knows is of an earlier database of the hub's.
    began = min((_created(model) for model in users.values()), default=float("inf"))
    for owner, what in kept.items():
        model = users.get(owner)
        if model is None:
            if what.newest > began:
                yield Gone(owner), "The user is gone."
            continue
        created = _created(model)
        if began < what.oldest < created < float("inf"):
            yield Gone(owner, None, created), "It was an earlier user's of that name."
        there = {server.name for server in servers_of(model)}
        for name, seen in what.workspaces.items():
            if name not in there and seen > began:
                yield Gone(owner, name), "The workspace is gone."


def _created(model: Mapping[str, Any]) -> float:
    """Seconds since 1970; infinity when the hub does not say."""
    try:
        return datetime.fromisoformat(str(model.get("created"))).timestamp()
    except ValueError:
        return float("inf")


def _entry(secret: Secret, reason: str, who: str, origin: str) -> Entry:
    workspace = workspace_of(secret.workspace)
    return Entry.of(
        {
            "id": uuid.uuid4().hex,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "who": who,
            "what": "secret.delete",
            "on": f"{secret.owner}/{'*' if workspace is None else workspace}",
            "name": secret.name,
            "origin": origin,
            "result": "ok",
            "reason": reason,
        }
    )
