"""People's secrets in the database: sealed, listed by name, opened only for the person's own workspace.

A secret belongs to a user; it is for all of that user's workspaces, or for one, where it wins over one of the
same name that is for all. Methods block; the service calls them in threads.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from persistent_terminal_hub.control.database import Database
from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.models import IdempotentRequest, Operation, Secret, Workspace
from persistent_terminal_hub.sealing import Sealer, SealingError, Tampered, UnknownKey
from persistent_terminal_hub.secret_names import MAX_SECRETS, MAX_TOTAL, MAX_VALUE

log = logging.getLogger(__name__)

#: Characters of an envelope for each byte, and besides.
_PER_BYTE, _BESIDES = 4 / 3, 128
_MAX_ENVELOPES = int(MAX_TOTAL * _PER_BYTE) + MAX_SECRETS * _BESIDES


@dataclass(frozen=True, slots=True)
class SecretInfo:
    """What may be known of a secret. `workspace` is a server's name; None: all of them."""

    name: str
    workspace: str | None
    created: float
    updated: float
    #: Why it cannot be opened; empty when it can.
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a workspace gets. `version` names the state without telling anything of a value."""

    version: str
    values: dict[str, bytes]
    #: The workspace's own environment, which is no secret and goes the same way.
    env: Mapping[str, str] = field(default_factory=dict)
    #: Names that were left out because they do not open.
    damaged: tuple[str, ...] = ()


#: (name, scope, updated)
Mark = tuple[str, str, float]


class SecretStore:
    """See the module. Raises SealingError as long as the sealer's keys cannot be reached."""

    def __init__(self, database: Database, sealer: Sealer, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock

    def infos(self, owner: str) -> list[SecretInfo]:
        """All secrets of a user, by name; each was opened to see whether that is possible."""
        rows = self._database.run(lambda session: _rows(session, owner))
        return [
            SecretInfo(row.name, workspace_of(row.workspace), row.created, row.updated, self._problem(row))
            for row in rows
        ]

    def put(self, owner: str, workspace: str | None, name: str, value: bytes) -> bool:
        """Set it; whether it is new. Raises ApiError 413 or 429, SealingError."""
        return self._database.run(lambda session: self.put_in(session, owner, workspace, name, value))

    def put_in(self, session: Session, owner: str, workspace: str | None, name: str, value: bytes) -> bool:
        """The same as a part of the caller's transaction."""
        if len(value) > MAX_VALUE:
            raise ApiError(413, f"A secret has at most {MAX_VALUE} bytes; nothing was stored.")
        scope = scope_of(workspace)
        # Before sealing: whoever removes an old key waits for us, or we see the new one.
        writing(session)
        known = session.get(Secret, (owner, scope, name))
        count, size = _sums(session, owner, scope, name)
        if known is None and count >= MAX_SECRETS:
            raise ApiError(429, f"You have {count} secrets, the most there may be.", "Delete one first.")
        if size + len(value) * _PER_BYTE + _BESIDES > _MAX_ENVELOPES:
            raise ApiError(
                413,
                f"Your secrets would have more than {MAX_TOTAL} bytes together; nothing was stored.",
                "Data belongs into a file of the workspace.",
            )
        envelope = self._sealer.seal(value, owner=_owner(owner), purpose=_purpose(scope, name))
        now = self._clock()
        if known is None:
            session.add(
                Secret(owner=owner, workspace=scope, name=name, envelope=envelope, created=now, updated=now)
            )
        else:
            # Never the same moment twice: the version of a bundle is made of it.
            known.envelope, known.updated = envelope, max(now, known.updated + 1e-5)
        return known is None

    def value(self, owner: str, workspace: str, name: str) -> bytes | None:
        """What a workspace gets under that name, None if nothing. Raises SealingError."""
        for last in (False, False, True):
            rows = self._database.run(lambda session: _rows(session, owner, scope_of(workspace)))
            for row in _chosen(rows):
                if row.name == name:
                    try:
                        return self._open(row)
                    except UnknownKey:
                        if last:
                            raise
                        break  # rotated between reading and opening
            else:
                return None
        raise AssertionError  # the last round returns or raises something else

    def delete(self, owner: str, workspace: str | None, name: str) -> bool:
        """Forget it; whether there was one."""
        return self._delete(
            Secret.owner == owner, Secret.workspace == scope_of(workspace), Secret.name == name
        )

    def bundle(self, owner: str, workspace: str) -> Bundle:
        """What one workspace gets. Raises SealingError when the keys cannot be reached."""
        for last in (False, False, True):
            rows, env = self._database.run(lambda session: _of_workspace(session, owner, workspace))
            chosen = _chosen(rows)
            try:
                values, damaged = self._open_all(chosen, last)
            except UnknownKey:
                continue  # rotated between reading and opening: the row is under another key now
            marks = [(row.name, row.workspace, row.updated) for row in chosen]
            return Bundle(version_of(marks, env), values, env, tuple(damaged))
        raise AssertionError  # the last round returns or raises something else

    def _open_all(self, rows: list[Secret], last: bool) -> tuple[dict[str, bytes], list[str]]:
        values, damaged = {}, []
        for row in rows:
            try:
                values[row.name] = self._open(row)
            except (Tampered, UnknownKey) as error:
                if isinstance(error, UnknownKey) and not last:
                    raise
                log.error("The secret %s of %s is not delivered: %s", row.name, row.owner, error)
                damaged.append(row.name)
        return values, damaged

    def versions(self, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """The version of each workspace's (owner, name) bundle; opens nothing."""
        wanted = set(places)
        owners = {owner for owner, _ in wanted}
        columns = select(Secret.owner, Secret.name, Secret.workspace, Secret.updated)
        envs = select(Workspace.owner, Workspace.name, Workspace.env)
        marks, given = self._database.run(
            lambda session: (session.execute(columns).all(), session.execute(envs).all())
        )
        found: dict[str, list[Mark]] = {}
        for owner, name, scope, updated in marks:
            if owner in owners:
                found.setdefault(owner, []).append((name, scope, updated))
        env = {(owner, name): values for owner, name, values in given}
        return {
            place: version_of(
                _chosen_marks(found.get(place[0], []), scope_of(place[1])), env.get(place) or {}
            )
            for place in wanted
        }

    def _delete(self, *which: object) -> bool:
        statement = delete(Secret).where(*which)  # type: ignore[arg-type]
        return bool(self._database.run(lambda session: session.execute(statement).rowcount))  # type: ignore[attr-defined]

    def _open(self, row: Secret) -> bytes:
        return self._sealer.open(
            row.envelope, owner=_owner(row.owner), purpose=_purpose(row.workspace, row.name)
        )

    def _problem(self, row: Secret) -> str:
        try:
            self._open(row)
        except SealingError as error:
            return str(error)
        return ""


def scope_of(workspace: str | None) -> str:
    """The column's value: the default workspace has an empty name, and so needs a mark."""
    return "" if workspace is None else f"/{workspace}"


def workspace_of(scope: str) -> str | None:
    """The other way."""
    return scope[1:] if scope else None


def version_of(marks: Iterable[Mark], env: Mapping[str, str] | None = None) -> str:
    """A name for a state: the same in every instance and after a restart; empty when there is nothing."""
    found: list[object] = [*sorted(marks), *([sorted(env.items())] if env else [])]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:32] if found else ""


def reseal(database: Database, sealer: Sealer) -> tuple[int, list[str]]:
    """Put every secret under the newest key, row by row; (how many changed, sentences on those that cannot).

    The service may run meanwhile: a row that somebody sets at the same time is under the newest key anyway.
    """
    keys = database.run(
        lambda session: session.execute(select(Secret.owner, Secret.workspace, Secret.name)).all()
    )
    changed, problems = 0, []
    for owner, scope, name in keys:
        try:
            changed += database.run(partial(_reseal, sealer, (owner, scope, name)))
        except SealingError as error:
            problems.append(f"{name} of {owner}: {error}")
    return changed, problems


def when_unused(database: Database, key_id: str, forget: Callable[[], None]) -> bool:
    """Call `forget` while nobody can seal, if this key seals nothing; whether it was called."""

    def work(session: Session) -> bool:
        writing(session, alone=True)
        if any(_sealed_with(envelope) == key_id for envelope in _all_envelopes(session)):
            return False
        forget()
        return True

    return database.run(work)


def _all_envelopes(session: Session) -> Iterator[str]:
    """Secrets, and what lives for a day at most: tokens of operations, answers to repeated requests."""
    yield from session.scalars(select(Secret.envelope))
    yield from session.scalars(select(Operation.sealed).where(Operation.sealed != ""))
    for answer in session.scalars(select(IdempotentRequest.answer)):
        sealed = answer.get("body") if isinstance(answer, dict) else None
        yield from (part for part in sealed if isinstance(part, str)) if isinstance(sealed, list) else ()


def _sealed_with(envelope: str) -> str:
    return envelope.partition(".")[2].partition(".")[0]


def writing(session: Session, *, alone: bool = False) -> None:
    """Keep those who seal and those who remove keys apart. SQLite has one writer anyway."""
    if session.get_bind().dialect.name == "postgresql":
        mode = "SHARE ROW EXCLUSIVE" if alone else "ROW EXCLUSIVE"
        session.execute(text(f"LOCK TABLE secrets IN {mode} MODE"))


def _reseal(sealer: Sealer, key: tuple[str, str, str], session: Session) -> int:
    writing(session)
    row = session.get(Secret, key, with_for_update=True)
    if row is None or sealer.is_current(row.envelope):
        return 0
    row.envelope = sealer.reseal(
        row.envelope, owner=_owner(row.owner), purpose=_purpose(row.workspace, row.name)
    )
    return 1


def _rows(session: Session, owner: str, scope: str | None = None) -> list[Secret]:
    query = select(Secret).where(Secret.owner == owner).order_by(Secret.name, Secret.workspace)
    if scope is not None:
        query = query.where(Secret.workspace.in_(("", scope)))
    return list(session.scalars(query))


def _of_workspace(session: Session, owner: str, workspace: str) -> tuple[list[Secret], Mapping[str, str]]:
    env = select(Workspace.env).where(Workspace.owner == owner, Workspace.name == workspace)
    return _rows(session, owner, scope_of(workspace)), session.scalar(env) or {}


def _chosen(rows: Iterable[Secret]) -> list[Secret]:
    """Of each name the one for the workspace, if there is one."""
    return list({row.name: row for row in sorted(rows, key=lambda row: row.workspace)}.values())


def _chosen_marks(marks: Iterable[Mark], scope: str) -> list[Mark]:
    some = sorted((mark for mark in marks if mark[1] in ("", scope)), key=lambda mark: mark[1])
    return list({mark[0]: mark for mark in some}.values())


def _sums(session: Session, owner: str, scope: str, name: str) -> tuple[int, int]:
    """How many secrets a user has, and the length of all envelopes but this one's."""
    other = select(func.count(), func.coalesce(func.sum(func.length(Secret.envelope)), 0)).where(
        Secret.owner == owner, ~((Secret.workspace == scope) & (Secret.name == name))
    )
    count, size = session.execute(other).one()
    return int(count), int(size)


def _owner(owner: str) -> str:
    return f"user:{owner}"


def _purpose(scope: str, name: str) -> str:
    return f"secret:{scope}:{name}"
