"""The tables of the control service. Times are seconds since 1970 (UTC); JSON columns hold plain values.

What JupyterHub knows (who runs what, where) is not repeated here: these rows are what it has no place for.
`migrations/versions` makes the tables; `tests/integration/test_audit_log.py` holds the two together.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

#: Names of constraints must be known for later migrations.
_NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

Json = dict[str, Any]
#: SQLite counts rows in INTEGER columns only.
Serial = BigInteger().with_variant(Integer, "sqlite")
UserName = String(255)
Identity = String(64)


class Base(DeclarativeBase):
    """All tables."""

    metadata = MetaData(naming_convention=_NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {Json: JSON(), float: Double()}


class Workspace(Base):
    """What belongs to a workspace beyond JupyterHub's own record of the server."""

    __tablename__ = "workspaces"
    __table_args__ = (Index("ix_workspaces_owner_name", "owner", "name", unique=True),)

    id: Mapped[str] = mapped_column(Identity, primary_key=True)
    owner: Mapped[str] = mapped_column(UserName)
    #: The server's name at the hub; empty for the default one.
    name: Mapped[str] = mapped_column(String(64))
    display_name: Mapped[str] = mapped_column(String(255))
    #: What its container is made from: image, resources, egress. See `hub/workspace_options.py`.
    options: Mapped[Json]
    #: The repository it was cloned from, without credentials.
    source: Mapped[Json | None]
    root_path: Mapped[str] = mapped_column(Text)
    env: Mapped[Json]
    #: creating, ready, deleting
    state: Mapped[str] = mapped_column(String(16))
    created: Mapped[float]


class Operation(Base):
    """Something that takes long: a creation, a clone. An instance works on it while it holds the lease."""

    __tablename__ = "operations"
    __table_args__ = (
        Index("ix_operations_state", "state"),
        Index("ix_operations_owner", "owner"),
        Index("ix_operations_workspace", "workspace"),
    )

    id: Mapped[str] = mapped_column(Identity, primary_key=True)
    owner: Mapped[str] = mapped_column(UserName)
    actor: Mapped[str] = mapped_column(UserName)
    kind: Mapped[str] = mapped_column(String(32))
    workspace: Mapped[str] = mapped_column(Identity)
    #: See `operations.State`.
    state: Mapped[str] = mapped_column(String(16))
    #: The next step; what it means is `operations.py`'s.
    step: Mapped[str] = mapped_column(String(32))
    request: Mapped[Json]
    #: What its steps must remember.
    notes: Mapped[Json]
    #: The actor's token and credentials (`sealing.py`), until the operation has ended.
    sealed: Mapped[str] = mapped_column(Text, default="")
    error: Mapped[str] = mapped_column(Text, default="")
    cancel: Mapped[bool] = mapped_column(default=False)
    lease_holder: Mapped[str] = mapped_column(Identity, default="")
    lease_until: Mapped[float] = mapped_column(default=0.0)
    created: Mapped[float]
    updated: Mapped[float]


class OperationEvent(Base):
    """One line of progress."""

    __tablename__ = "operation_events"

    operation: Mapped[str] = mapped_column(ForeignKey("operations.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[float]
    percent: Mapped[int]
    message: Mapped[str] = mapped_column(Text)


class SessionEntry(Base):
    """A session as it was last seen, so that a list needs no running workspace."""

    __tablename__ = "sessions"

    workspace: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[str] = mapped_column(Identity, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    state: Mapped[str] = mapped_column(String(16))
    created: Mapped[float]
    ended: Mapped[float | None]
    seen: Mapped[float]
    #: What the workspace said of it: exit, reason, title.
    detail: Mapped[Json]


class Secret(Base):
    """A sealed secret of a user; `workspace` is empty when it is for all of that user's workspaces."""

    __tablename__ = "secrets"

    owner: Mapped[str] = mapped_column(UserName, primary_key=True)
    workspace: Mapped[str] = mapped_column(Identity, primary_key=True)
    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    #: See `sealing.py`.
    envelope: Mapped[str] = mapped_column(Text)
    created: Mapped[float]
    updated: Mapped[float]


class AuditRow(Base):
    """One link of the audit log's chain. Only ever added; see `audit_chain.py`."""

    __tablename__ = "audit"
    __table_args__ = (
        Index("ix_audit_at", "at"),
        Index("ix_audit_who_at", "who", "at"),
        Index("ix_audit_on_at", "on", "at"),
    )

    number: Mapped[int] = mapped_column(Serial, primary_key=True, autoincrement=False)
    #: The record's id in its outbox: what was drained twice is added once.
    event: Mapped[str] = mapped_column(Identity, unique=True)
    at: Mapped[float]
    who: Mapped[str] = mapped_column(UserName)
    what: Mapped[str] = mapped_column(String(64))
    on: Mapped[str] = mapped_column(String(512))
    result: Mapped[str] = mapped_column(String(32))
    #: The whole record as it was recorded: canonical JSON, what the chain covers.
    record: Mapped[str] = mapped_column(Text)
    #: Which key made `mac`.
    key: Mapped[str] = mapped_column(Identity)
    mac: Mapped[bytes] = mapped_column(LargeBinary(32))


class AuditAnchor(Base):
    """Where the chain begins after rows older than the retention were removed."""

    __tablename__ = "audit_anchors"

    #: The last row removed, and its mac.
    number: Mapped[int] = mapped_column(Serial, primary_key=True, autoincrement=False)
    mac: Mapped[bytes] = mapped_column(LargeBinary(32))
    at: Mapped[float]
    key: Mapped[str] = mapped_column(Identity)
    #: Made with that key over the three above: an anchor cannot be moved to hide rows.
    seal: Mapped[bytes] = mapped_column(LargeBinary(32))


class UsageSample(Base):
    """What a workspace used in the `seconds` that begin at `at`.

    With `seconds` 0 the row holds the counters as last read, of the workspace's start at `at`.
    """

    __tablename__ = "usage"
    __table_args__ = (Index("ix_usage_seconds_at", "seconds", "at"),)

    owner: Mapped[str] = mapped_column(UserName, primary_key=True)
    #: The server's name; empty for the default one.
    workspace: Mapped[str] = mapped_column(UserName, primary_key=True)
    #: Empty for the workspace as a whole.
    session: Mapped[str] = mapped_column(Identity, primary_key=True)
    seconds: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[int] = mapped_column(Serial, primary_key=True, autoincrement=False)
    cpu_seconds: Mapped[float]
    memory_bytes: Mapped[int] = mapped_column(BigInteger)
    memory_peak: Mapped[int] = mapped_column(BigInteger)
    disk_bytes: Mapped[int] = mapped_column(BigInteger)
    received_bytes: Mapped[int] = mapped_column(BigInteger)
    sent_bytes: Mapped[int] = mapped_column(BigInteger)


class IdempotentRequest(Base):
    """The answer that a repeated request with the same Idempotency-Key gets."""

    __tablename__ = "idempotent_requests"
    __table_args__ = (Index("ix_idempotent_requests_created", "created"),)

    user: Mapped[str] = mapped_column(UserName, primary_key=True)
    route: Mapped[str] = mapped_column(String(128), primary_key=True)
    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    #: SHA-256 of the body.
    request: Mapped[str] = mapped_column(String(64))
    #: Null while the first request is being answered.
    status: Mapped[int | None]
    answer: Mapped[Json | None]
    holder: Mapped[str] = mapped_column(Identity)
    created: Mapped[float]
    #: Until when whoever holds it is believed to work on it.
    lease_until: Mapped[float] = mapped_column(default=0.0, server_default="0")
    #: What it made so far: see `claims.py`.
    noted: Mapped[Json | None]
