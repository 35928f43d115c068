"""The audit log in the database: records go in once, in a chain; heads go out, signed.

`audit.record()` writes to outboxes on disk; `append` takes what was drained from them. It may be called again
with the same records (the drainer was killed before it confirmed): they are added once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from persistent_terminal_hub.control.audit_chain import (
    START,
    Anchor,
    Head,
    Link,
    Problem,
    anchor_seal,
    canonical,
    head_message,
    link_mac,
    verify,
)
from persistent_terminal_hub.control.database import Database
from persistent_terminal_hub.control.models import AuditAnchor, AuditRow
from persistent_terminal_hub.sealing import KeySource

#: Any number: PostgreSQL's advisory lock of those who add to the chain.
_CHAIN_LOCK = 0x70746802
PAGE = 1000
#: Characters of the columns.
_LENGTHS = {"who": 255, "what": 64, "on": 512, "result": 32}


@dataclass(frozen=True, slots=True)
class Entry:
    """A record on its way into the log: an event of the outbox, and its columns for searching."""

    event: str
    at: float
    who: str
    what: str
    on: str
    result: str
    record: str

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Entry:
        """From what `audit.Outbox` recorded. Whatever a field holds, it comes in: nothing may get lost."""
        record = canonical(event)
        texts = {name: str(event.get(name, ""))[:length] for name, length in _LENGTHS.items()}
        identity = str(event.get("id") or hashlib.sha256(record.encode()).hexdigest())
        return cls(identity[:64], _seconds(event.get("at")), **texts, record=record)


@dataclass(frozen=True, slots=True)
class Query:
    """Which rows; None or empty: any. Times are seconds since 1970, `before` is a row number."""

    who: str = ""
    what: str = ""
    on: str = ""
    result: str = ""
    since: float | None = None
    until: float | None = None
    before: int | None = None
    limit: int = 100


class AuditLog:
    """The log of one installation. Calls block."""

    def __init__(self, database: Database, keys: KeySource, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock

    def append(self, entries: Sequence[Entry]) -> int:
        """Add what is not there yet, in this order, all or nothing; returns how many were new."""
        return self._database.run(lambda session: self.append_in(session, entries))

    def append_in(self, session: Session, entries: Sequence[Entry]) -> int:
        """The same as a part of the caller's transaction."""
        _one_writer(session)
        known = set(
            session.scalars(
                select(AuditRow.event).where(AuditRow.event.in_([entry.event for entry in entries]))
            )
        )
        number, mac = _end(session)
        key_id, key = self._keys.current()
        added = 0
        for entry in entries:
            if entry.event in known:
                continue
            known.add(entry.event)
            number, added = number + 1, added + 1
            mac = link_mac(key, number, mac, entry.record)
            session.add(
                AuditRow(
                    number=number, event=entry.event, at=entry.at, who=entry.who, what=entry.what,
                    on=entry.on, result=entry.result, record=entry.record, key=key_id, mac=mac,
                )
            )  # fmt: skip
        return added

    def find(self, query: Query) -> list[AuditRow]:
        """Matching rows, the newest first."""
        rows = select(AuditRow).order_by(AuditRow.number.desc()).limit(query.limit)
        for column, value in (
            (AuditRow.who, query.who),
            (AuditRow.what, query.what),
            (AuditRow.on, query.on),
            (AuditRow.result, query.result),
        ):
            if value:
                rows = rows.where(column == value)
        if query.since is not None:
            rows = rows.where(AuditRow.at >= query.since)
        if query.until is not None:
            rows = rows.where(AuditRow.at < query.until)
        if query.before is not None:
            rows = rows.where(AuditRow.number < query.before)
        return self._database.run(lambda session: list(session.scalars(rows)))

    def export(self) -> Iterator[str]:
        """Every row as a line of JSON, the oldest first, with its number and mac."""
        for row in self._rows(0):
            yield json.dumps(
                {
                    "number": row.number,
                    "mac": row.mac.hex(),
                    "key": row.key,
                    "record": json.loads(row.record),
                },
                ensure_ascii=False,
            )

    def verify(self, heads: Iterable[Head] = ()) -> list[Problem]:
        """Everything that does not hold; empty when the log is whole."""
        anchor = self._database.run(_anchor)
        links = (Link(row.number, row.record, row.key, row.mac) for row in self._rows(anchor.number))
        problems = list(verify(links, self._keys, anchor, heads))
        problems += [
            Problem(row.number, f"The columns of row {row.number} do not say what its record says.")
            for row in self._rows(anchor.number)
            if not _agrees(row)
        ]
        return problems

    def head(self) -> Head | None:
        """The end of the chain now; None while the log is empty."""
        number, mac = self._database.run(_end)
        return Head(number, mac, self._clock()) if number else None

    def remove_before(self, at: float) -> int:
        """Apply the retention: remove the rows older than `at`; returns how many."""
        return self._database.run(lambda session: self._remove(session, at))

    def _remove(self, session: Session, at: float) -> int:
        _one_writer(session)
        # The first row that is kept decides: rows come in the order in which they were drained.
        first_kept = session.scalar(select(func.min(AuditRow.number)).where(AuditRow.at >= at))
        gone = select(AuditRow).order_by(AuditRow.number.desc()).limit(1)
        if first_kept is not None:
            gone = gone.where(AuditRow.number < first_kept)
        last = session.scalar(gone)
        if last is None:
            return 0
        key_id, key = self._keys.current()
        now = self._clock()
        session.execute(delete(AuditAnchor))
        session.add(
            AuditAnchor(
                number=last.number, mac=last.mac, at=now, key=key_id,
                seal=anchor_seal(key, last.number, last.mac, now),
            )
        )  # fmt: skip
        result = session.execute(delete(AuditRow).where(AuditRow.number <= last.number))
        return int(getattr(result, "rowcount", 0))

    def _rows(self, after: int) -> Iterator[AuditRow]:
        """All rows behind `after`, a page at a time, so that nobody else waits for the end."""
        while True:
            page = self._database.run(
                lambda session, after=after: list(  # type: ignore[misc]
                    session.scalars(
                        select(AuditRow).where(AuditRow.number > after).order_by(AuditRow.number).limit(PAGE)
                    )
                )
            )
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1].number


class HeadSigner:
    """Signs heads with a key of its own, made on first use (0600); its public half lies beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_new(path, Ed25519PrivateKey.generate())
        key = load_pem_private_key(path.read_bytes(), None)
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError(f"{path} is not an Ed25519 key: restore it from your backup.")
        self._key = key
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        path.with_suffix(".pub.pem").write_bytes(public)

    def line(self, head: Head) -> str:
        """A head as a line of JSON, to be kept where the database's owner does not rule."""
        signature = self._key.sign(head_message(head.number, head.mac, head.at))
        return json.dumps(
            {
                "number": head.number,
                "mac": head.mac.hex(),
                "at": head.at,
                "signature": base64.b64encode(signature).decode(),
            }
        )


def read_heads(lines: Iterable[str], public_pem: bytes) -> tuple[list[Head], list[str]]:
    """The heads whose signature holds, and a sentence for each line that is none."""
    key = load_pem_public_key(public_pem)
    if not isinstance(key, Ed25519PublicKey):
        raise TypeError("The public key of the heads is not an Ed25519 key.")
    heads, complaints = [], []
    for place, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
            head = Head(int(document["number"]), bytes.fromhex(document["mac"]), float(document["at"]))
            key.verify(
                base64.b64decode(document["signature"], validate=True),
                head_message(head.number, head.mac, head.at),
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            complaints.append(f"Line {place} of the heads is not a head.")
        except InvalidSignature:
            complaints.append(
                f"Line {place} of the heads was not signed by this installation, or was changed."
            )
        else:
            heads.append(head)
    return heads, complaints


def _one_writer(session: Session) -> None:
    # SQLite: every transaction of ours begins as the only writer.
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CHAIN_LOCK})


def _end(session: Session) -> tuple[int, bytes]:
    last = session.scalar(select(AuditRow).order_by(AuditRow.number.desc()).limit(1))
    if last is not None:
        return last.number, last.mac
    anchor = _anchor(session)
    return anchor.number, anchor.mac


def _anchor(session: Session) -> Anchor:
    row = session.scalar(select(AuditAnchor).order_by(AuditAnchor.number.desc()).limit(1))
    return Anchor(row.number, row.mac, row.at, row.key, row.seal) if row else Anchor(0, START)


def _agrees(row: AuditRow) -> bool:
    """The columns are copies for searching; the chain covers the record only."""
    try:
        entry = Entry.of(json.loads(row.record))
    except (ValueError, AttributeError):
        return False
    return all(getattr(entry, name) == getattr(row, name) for name in ("event", "at", *_LENGTHS))


def _seconds(at: object) -> float:
    """A time of the outbox (ISO 8601, UTC) as seconds since 1970; 0 if it is none."""
    try:
        return datetime.fromisoformat(str(at)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _write_new(path: Path, key: Ed25519PrivateKey) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        os.fsync(fd)
    try:
        os.link(temporary, path)  # the first of several processes wins
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
