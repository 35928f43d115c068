"""What the control service answers, typed. Fields that a newer service adds are kept."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Status = Literal["creating", "starting", "running", "stopping", "stopped", "deleting"]
OperationState = Literal["waiting", "running", "undoing", "done", "failed", "cancelled"]
Egress = Literal["none", "internet", "list"]
Resolution = Literal["minute", "10min", "hour", "day"]


class Shape(BaseModel):
    """An answer; `json_object()` is what came."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="allow", frozen=True, hide_input_in_errors=True
    )

    def json_object(self) -> dict[str, Any]:
        """As the API wrote it."""
        return self.model_dump(mode="json", by_alias=True)


class Me(Shape):
    """Whom the service takes the token's owner for."""

    name: str
    kind: str
    sees_all: bool = False
    steers_all: bool = False
    version: str = ""


class WorkspaceDetails(Shape):
    """A workspace, running or not."""

    workspace_id: str
    name: str
    owner: str
    display_name: str
    root_path: str
    container_id: str
    status: Status
    url: str
    options: dict[str, Any]
    env: dict[str, str]
    source: dict[str, Any] | None
    created: str
    last_activity: str | None
    operation: str | None

    @property
    def label(self) -> str:
        """As the command line names it."""
        return f"{self.owner}/{self.name}"


class Operation(Shape):
    """Something that takes long."""

    id: str
    kind: Literal["create", "start", "stop", "restart", "delete"]
    workspace_id: str
    state: OperationState
    step: str
    error: str
    path: str | None = None
    setup_session: str | None = None
    created: str
    updated: str

    @property
    def ended(self) -> bool:
        """Whether nothing more happens."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def can_be_cancelled(self) -> bool:
        """Whether it may be called off while it is under way."""
        return self.kind in ("create", "start") and not self.ended


class Change(Shape):
    """A workspace, and the operation that changes it; None when there was nothing to do."""

    workspace: WorkspaceDetails
    operation: Operation | None


class Progress(Shape):
    """A line of an operation's progress. Numbers grow; 0: it was found by asking."""

    number: int
    at: str
    percent: int
    message: str


class SessionDetails(Shape):
    """A session of any workspace. `id` is `<workspace id>.<session id>`."""

    id: str
    workspace_id: str
    workspace: str
    session_id: str
    name: str
    state: str
    created: str
    last_input: str | None = None
    last_output: str | None = None
    clients: int = 0
    cwd: str | None = None
    argv: list[str] | None = None
    exit: dict[str, Any] | None = None
    stale: bool = False

    @property
    def ended(self) -> bool:
        """Whether its program is gone."""
        return self.state == "ended"


class CreatedSession(SessionDetails):
    """A session, and how to attach to it directly; the token stands nowhere else."""

    token: str = Field(repr=False)
    token_expires_in: float
    web_socket_url: str


class SessionStats(Shape):
    """What a session uses."""

    id: str
    cpu_seconds: float
    memory_bytes: int


class Stats(Shape):
    """What a workspace uses now. Counters grow from its start; None: not known there."""

    cpu_seconds: float
    memory_bytes: int | None
    memory_peak_bytes: int | None
    memory_limit_bytes: int | None
    disk_bytes: int | None
    disk_quota_bytes: int | None = None
    received_bytes: int | None
    sent_bytes: int | None
    sessions: list[SessionStats]


class SecretInfo(Shape):
    """A secret without its value. `workspace` is `user~name`; None: for all of one's workspaces."""

    name: str
    workspace: str | None
    created: float
    updated: float
    problem: str | None = None


class Amount(Shape):
    """What was used. Memory is the mean, `memory_peak` the most that was seen, disk the most."""

    cpu_seconds: float
    memory_bytes: int
    memory_peak: int
    disk_bytes: int
    received_bytes: int
    sent_bytes: int


class UserUsage(Amount):
    """The sum of a user's workspaces."""

    user: str


class UsageSample(Amount):
    """A part of the time, which begins at `at`."""

    at: int


class SessionUsage(Amount):
    """One session."""

    id: str


class WorkspaceUsage(Amount):
    """One workspace."""

    user: str
    name: str
    samples: list[UsageSample] = Field(default_factory=list)
    sessions: list[SessionUsage] = Field(default_factory=list)


class Usage(Shape):
    """What was used between two moments, in seconds since 1970."""

    from_: int = Field(alias="from")
    to: int
    resolution: str | None
    users: list[UserUsage]
    workspaces: list[WorkspaceUsage]


class AuditRecord(Shape):
    """A record of the audit log; `record` is what the chain covers."""

    number: int
    record: dict[str, Any]
    mac: str
    key: str


class AuditPage(Shape):
    """The newest first; `before` leads to the next page."""

    records: list[AuditRecord]
    before: int | None
