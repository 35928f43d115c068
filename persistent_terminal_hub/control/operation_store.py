"""Operations in the database: who works on which, how far it is, what it said. Calls block.

An instance works on an operation while it holds its lease; every change of it is refused to whoever has lost
the lease meanwhile. Operations on the same workspace are done one after another, in the order they were asked
for. What a step needs of its caller (the token, credentials) is kept sealed, and wiped at the end.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from persistent_terminal_hub.control.database import Database
from persistent_terminal_hub.control.models import Operation, OperationEvent
from persistent_terminal_hub.control.operations import (
    ACTIVE,
    FINAL,
    Course,
    State,
    asked_to_cancel,
    begin,
    plan_of,
)
from persistent_terminal_hub.sealing import Sealer

#: Seconds for which an instance is believed to be alive without a word.
LEASE_SECONDS = 15.0
KEPT_SECONDS = 7 * 86400.0
_ACTIVE = [str(state) for state in ACTIVE]


class LeaseLost(Exception):
    """Another instance works on it now."""


@dataclass(frozen=True, slots=True)
class Task:
    """An operation as its steps see it."""

    id: str
    kind: str
    owner: str
    actor: str
    workspace: str
    request: Mapping[str, Any]
    notes: Mapping[str, Any]
    course: Course
    created: float
    updated: float
    sealed: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Progress:
    """One line of progress."""

    number: int
    at: float
    percent: int
    message: str


class OperationStore:
    """All operations."""

    def __init__(self, database: Database, sealer: Sealer, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock

    # -- asking for one ------------------------------------------------------------------------------------
    def insert(
        self, session: Session, kind: str, *, owner: str, actor: str, workspace: str,
        request: Mapping[str, Any], private: Mapping[str, Any],
    ) -> str:  # fmt: skip
        """Write down that it is wanted, in the caller's transaction; its id."""
        identity, now = secrets.token_hex(16), self._clock()
        course = begin(plan_of(kind, request))
        sealed = self._sealer.seal(json.dumps(private).encode(), owner=actor, purpose=_purpose(identity))
        session.add(
            Operation(
                id=identity, owner=owner, actor=actor, kind=kind, workspace=workspace,
                state=course.state, step=course.step, request=dict(request), notes={}, sealed=sealed,
                error="", cancel=False, lease_holder="", lease_until=0.0, created=now, updated=now,
            )
        )  # fmt: skip
        session.flush()
        _say(session, identity, now, 0, "Waiting for its turn.")
        return identity

    def active(self, session: Session, workspace: str) -> list[Operation]:
        """What is under way for a workspace, the oldest first."""
        rows = select(Operation).where(Operation.workspace == workspace, Operation.state.in_(_ACTIVE))
        return list(session.scalars(rows.order_by(Operation.created, Operation.id)))

    def newest(self, session: Session) -> dict[str, tuple[str, str]]:
        """Kind and id of what was asked for last, for every workspace for which something is under way."""
        rows = session.execute(
            select(Operation.workspace, Operation.kind, Operation.id)
            .where(Operation.state.in_(_ACTIVE))
            .order_by(Operation.created, Operation.id)
        )
        return {workspace: (kind, identity) for workspace, kind, identity in rows}

    def get(self, identity: str) -> Task | None:
        """One operation."""

        def work(session: Session) -> Task | None:
            row = session.get(Operation, identity)
            return None if row is None else task_of(row)

        return self._database.run(work)

    def cancel(self, identity: str) -> Task | None:
        """Note the wish; None when it cannot be cancelled (any more)."""

        def work(session: Session) -> Task | None:
            row = session.get(Operation, identity, with_for_update=True)
            return None if row is None or not self.cancel_row(row) else task_of(row)

        return self._database.run(work)

    def cancel_row(self, row: Operation) -> bool:
        """The same within a transaction."""
        wanted = asked_to_cancel(plan_of(row.kind, row.request), course_of(row))
        if wanted is None:
            return False
        row.cancel = wanted.cancel
        return True

    # -- working on one ------------------------------------------------------------------------------------
    def claim(self, holder: str, room: int) -> list[Task]:
        """Take what nobody works on, and hold it from now on."""

        def work(session: Session) -> list[Task]:
            now = self._clock()
            rows = session.scalars(
                select(Operation)
                .where(Operation.state.in_(_ACTIVE))
                .order_by(Operation.created, Operation.id)
                .with_for_update(skip_locked=True)
            )
            taken: list[Task] = []
            busy: set[str] = set()
            for row in rows:
                first = row.workspace not in busy
                busy.add(row.workspace)
                if first and row.lease_until <= now and len(taken) < room and self._is_first(session, row):
                    row.lease_holder, row.lease_until = holder, now + LEASE_SECONDS
                    taken.append(task_of(row))
            return taken

        return self._database.run(work)

    def _is_first(self, session: Session, row: Operation) -> bool:
        # Rows that another instance has locked just now were skipped above.
        first = select(Operation.id).where(Operation.workspace == row.workspace, Operation.state.in_(_ACTIVE))
        return session.scalar(first.order_by(Operation.created, Operation.id).limit(1)) == row.id

    def renew(self, identity: str, holder: str) -> bool:
        """Hold it for longer; whether it shall be cancelled. Raises LeaseLost."""

        def work(session: Session) -> bool:
            row = self._held(session, identity, holder)
            row.lease_until = self._clock() + LEASE_SECONDS
            return row.cancel

        return self._database.run(work)

    def save(
        self, identity: str, holder: str, course: Course, percent: int, message: str,
        also: Callable[[Session], None] = lambda session: None,
    ) -> Course:  # fmt: skip
        """Note how far it is and say so; the course, with a cancellation that came meanwhile.

        `also` is done in the same transaction.
        """

        def work(session: Session) -> Course:
            row = self._held(session, identity, holder)
            now = self._clock()
            row.state, row.step, row.error, row.updated = course.state, course.step, course.error, now
            row.lease_until = now + LEASE_SECONDS
            if course.is_final:
                row.sealed, row.lease_until, row.lease_holder = "", 0.0, ""
            _say(session, identity, now, percent, message)
            also(session)
            return course_of(row)

        return self._database.run(work)

    def say(self, identity: str, holder: str, percent: int, message: str) -> None:
        """A line of progress within a step."""

        def work(session: Session) -> None:
            self._held(session, identity, holder)
            _say(session, identity, self._clock(), percent, message)

        self._database.run(work)

    def note(self, identity: str, holder: str, values: Mapping[str, Any]) -> None:
        """Remember something for a step that is done again, or for the answer."""

        def work(session: Session) -> None:
            row = self._held(session, identity, holder)
            row.notes = {**row.notes, **values}

        self._database.run(work)

    def let_go(self, holder: str) -> None:
        """This instance ends: let others go on at once."""
        self._database.run(
            lambda session: session.execute(
                update(Operation)
                .where(Operation.lease_holder == holder, Operation.state.in_(_ACTIVE))
                .values(lease_until=0.0, lease_holder="")
            )
        )

    def private(self, task: Task) -> dict[str, Any]:
        """What was sealed when it was asked for. Raises SealingError."""
        plain = self._sealer.open(task.sealed, owner=task.actor, purpose=_purpose(task.id))
        return dict(json.loads(plain))

    def _held(self, session: Session, identity: str, holder: str) -> Operation:
        row = session.get(Operation, identity, with_for_update=True)
        if row is None or row.lease_holder != holder:
            raise LeaseLost
        return row

    # -- looking -------------------------------------------------------------------------------------------
    def events(self, identity: str, after: int) -> tuple[list[Progress], State | None]:
        """What it said after that line, and its state then; None when there is no such operation."""

        def work(session: Session) -> tuple[list[Progress], State | None]:
            row = session.get(Operation, identity)
            rows = session.scalars(
                select(OperationEvent)
                .where(OperationEvent.operation == identity, OperationEvent.number > after)
                .order_by(OperationEvent.number)
                .limit(500)
            )
            found = [Progress(line.number, line.at, line.percent, line.message) for line in rows]
            return found, None if row is None else State(row.state)

        return self._database.run(work)

    def forget_old(self) -> None:
        """Remove operations that ended long ago, with what they said."""
        before = self._clock() - KEPT_SECONDS
        gone = Operation.state.in_([str(state) for state in FINAL]) & (Operation.updated < before)
        old = select(Operation.id).where(gone)

        def work(session: Session) -> None:
            session.execute(delete(OperationEvent).where(OperationEvent.operation.in_(old)))
            session.execute(delete(Operation).where(gone))

        self._database.run(work)


def course_of(row: Operation) -> Course:
    """Where it is."""
    return Course(State(row.state), row.step, row.cancel, row.error)


def task_of(row: Operation) -> Task:
    """As plain values."""
    return Task(
        id=row.id, kind=row.kind, owner=row.owner, actor=row.actor, workspace=row.workspace,
        request=row.request, notes=row.notes, course=course_of(row), created=row.created,
        updated=row.updated, sealed=row.sealed,
    )  # fmt: skip


def _purpose(identity: str) -> str:
    return f"operation:{identity}"


def _say(session: Session, identity: str, at: float, percent: int, message: str) -> None:
    last = session.scalar(select(func.max(OperationEvent.number)).where(OperationEvent.operation == identity))
    session.add(
        OperationEvent(
            operation=identity, number=(last or 0) + 1, at=at, percent=percent, message=message[:2000]
        )
    )
