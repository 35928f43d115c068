"""`api/workspaces/{id}/execute|logs|stats`: run a command in a workspace, what it printed, what it uses."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

from pydantic import Field, field_validator
from tornado.iostream import StreamClosedError

from persistent_terminal_hub.bodies import CommandBody
from persistent_terminal_hub.control.documented import documented
from persistent_terminal_hub.control.errors import ApiError, locked
from persistent_terminal_hub.control.idempotency import HEADER, Answer, Claim
from persistent_terminal_hub.control.rights import Action
from persistent_terminal_hub.control.web import Body, Reply
from persistent_terminal_hub.control.workspace_handlers import WorkspaceHandler
from persistent_terminal_hub.control.workspace_link import QUIET
from persistent_terminal_hub.control.workspace_models import EnvValue, check_env
from persistent_terminal_hub.control.workspaces import Row

#: Seconds that the workspace has beyond the command's own.
MARGIN = 20.0


class Execute(CommandBody):
    """A command: a list of arguments, or a text for /bin/sh."""

    env: dict[str, EnvValue] = Field(default_factory=dict, max_length=100)

    _environment = field_validator("env")(check_env)


class Executed(Reply):
    """How a command ended. Outputs are cut off after execute.maxOutputBytes each."""

    exit_code: int | None
    signal: int | None
    timed_out: bool
    seconds: float
    stdout: str
    stderr: str
    stdout_bytes: int
    stderr_bytes: int
    stdout_truncated: bool
    stderr_truncated: bool


class LogsQuery(Body):
    """Arguments of the logs."""

    lines: int = Field(200, ge=1, le=10_000)


class Logs(Reply):
    """The last lines that the workspace's own programs printed."""

    lines: list[str]


class ExecuteHandler(WorkspaceHandler):
    """Runs commands, as the workspace's user and within its limits."""

    max_body = 2 * 1024 * 1024
    _task: asyncio.Future[Any] | None = None

    def on_connection_close(self) -> None:
        """Nobody waits for the answer: what runs is killed."""
        if self._task is not None:
            self._task.cancel()

    @documented(
        body=Execute,
        answers={200: Executed},
        media={200: ("application/x-ndjson", "{}")},
        refuses=(409, 423, 429),
        idempotent=True,
        example={"command": ["python3", "--version"]},
    )
    async def post(self, key: str) -> None:
        """Run one."""
        row, _ = await self.found(key, Action.OPEN)
        body = self.body(Execute)
        bounds = self.control.settings.execute
        timeout = bounds.default_timeout if body.timeout is None else body.timeout
        if timeout > bounds.max_timeout:
            raise ApiError(
                422, f"A command may take {bounds.max_timeout} seconds at most; it was not run.",
                "What takes longer belongs into a session.",
            )  # fmt: skip
        fields = body.model_dump(by_alias=True) | {
            "timeout": timeout,
            "env": {**row.env, **body.env},
            "maxOutputBytes": bounds.max_output_bytes,
        }
        if body.stream and self.request.headers.get(HEADER):
            raise ApiError(422, f"A stream cannot be repeated: leave {HEADER} out.")

        async def work(claim: Claim | None) -> Answer:
            await self._note(row, body, "begun")
            if claim is not None:
                # A command leaves nothing by which one could tell whether it ran.
                await self.control.blocking(self.control.database.run, claim.unknown)
            ended = await self.control.workspaces.ask(
                row.owner, row.name, "POST", "execute", "execute", actor=self.caller.name,
                token=self.caller.token, body=fields, seconds=timeout + MARGIN,
            )  # fmt: skip
            await self._note(row, body, "ok", ended)
            return Answer(200, Executed.model_validate(ended))

        doing = self._stream(row, body, fields, timeout) if body.stream else self.once(work)
        self._task = asyncio.ensure_future(doing)
        try:
            await self._task
        except (asyncio.CancelledError, StreamClosedError):
            await self._note(row, body, "abandoned")

    async def _stream(self, row: Row, body: Execute, fields: dict[str, Any], limit: float) -> None:
        await self._note(row, body, "begun")
        stream = self.control.workspaces.stream(
            row.owner, row.name, "execute", "execute", actor=self.caller.name,
            token=self.caller.token, body=fields, seconds=limit + MARGIN,
        )  # fmt: skip
        last = b""
        try:
            async with stream as answer:
                self.set_header("Content-Type", "application/x-ndjson")
                self.set_header("X-Accel-Buffering", "no")
                async for piece in answer.aiter_bytes():
                    last = (last + piece)[-2048:]
                    self.write(piece)
                    await self.flush()
        except ApiError as error:
            if not last:
                raise
            # The status is sent already; the last line says what went wrong.
            self.write(json.dumps({"error": error.model()}) + "\n")
            await self._note(row, body, "broken")
        else:
            await self._note(row, body, "ok", _result(last))
        await self.finish()

    async def _note(self, row: Row, body: Execute, result: str, ended: dict[str, Any] | None = None) -> None:
        text = body.command if isinstance(body.command, str) else json.dumps(body.command)
        shown = text if self.control.settings.audit.execute_text else None
        code = None
        if ended is not None:
            code = ended.get("exitCode") if not ended.get("timedOut") else None
        await self.audit(
            "execute", f"{row.owner}/{row.name}", result, command=shown, code=code,
            sha256=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        )  # fmt: skip


def _result(last: bytes) -> dict[str, Any]:
    """The stream's last line."""
    try:
        model = json.loads(last.rstrip(b"\n").rpartition(b"\n")[2])
    except ValueError:
        return {}
    result = model.get("result") if isinstance(model, dict) else None
    return result if isinstance(result, dict) else {}


class LogsHandler(WorkspaceHandler):
    """What the workspace's own programs (keeper, Jupyter) printed; also of one that did not start."""

    @documented(query=LogsQuery, answers={200: Logs}, refuses=(423,))
    async def get(self, key: str) -> None:
        """The last lines."""
        row, server = await self.found(key, Action.OPEN)
        query = self.query(LogsQuery)
        if server is not None and server.status == "running":
            await self._need_open(row)
        lines = await self.control.hub.logs(row.owner, row.name, query.lines)
        self.reply(Logs(lines=lines))

    async def _need_open(self, row: Row) -> None:
        """Refuse while it is locked. The hub has the lines, but the lock is the workspace's.

        One that does not answer is when people need them.
        """
        try:
            status = await self.control.workspaces.ask(
                row.owner, row.name, "GET", f"status?{QUIET}", "facts", actor=self.caller.name
            )
        except ApiError:
            return
        if status.get("locked"):
            raise locked(f"{row.owner}/{row.name}")


class SessionStats(Reply):
    """What a session uses."""

    id: str
    cpu_seconds: float
    memory_bytes: int


class Stats(Reply):
    """What a workspace uses now. Counters grow from its start; null: not known on this backend."""

    cpu_seconds: float
    memory_bytes: int | None
    memory_peak_bytes: int | None
    memory_limit_bytes: int | None
    disk_bytes: int | None
    disk_quota_bytes: int | None = None
    received_bytes: int | None
    sent_bytes: int | None
    sessions: list[SessionStats]


class StatsHandler(WorkspaceHandler):
    """What the workspace uses, asked of the workspace itself."""

    @documented(answers={200: Stats}, refuses=(409,))
    async def get(self, key: str) -> None:
        """The figures of now."""
        row, _ = await self.found(key, Action.VIEW)
        figures = await self.control.workspaces.ask(
            row.owner, row.name, "GET", "usage", "usage", actor=self.caller.name
        )
        self.reply(Stats.model_validate(figures))


def routes() -> list[tuple[Any, ...]]:
    """Relative to the service's prefix."""
    item = r"api/workspaces/([^/]+)"
    return [
        (item + "/execute", ExecuteHandler),
        (item + "/logs", LogsHandler),
        (item + "/stats", StatsHandler),
    ]
