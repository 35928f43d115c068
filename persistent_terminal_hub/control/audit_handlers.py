"""`api/audit`: who did what, for administrators and operators; in pages, or all of it as JSON lines."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Any, Literal

from pydantic import Field, field_validator
from tornado.iostream import StreamClosedError

from persistent_terminal_hub.control.audit_log import Query
from persistent_terminal_hub.control.documented import documented
from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.models import AuditRow
from persistent_terminal_hub.control.web import ApiHandler, Body, Reply

#: Lines of an export that are fetched at once.
EXPORT_PAGE = 1000


class AuditQuery(Body):
    """Arguments: what to look for."""

    who: str = Field("", max_length=255)
    what: str = Field("", max_length=64)
    on: str = Field("", max_length=512)
    result: str = Field("", max_length=32)
    since: str = Field("", max_length=64, description="a time as 2026-11-21T10:00:00Z; from then on")
    until: str = Field("", max_length=64, description="a time; before it")
    before: int | None = Field(None, ge=1, le=2**62, description="the number of a record: older ones")
    limit: int = Field(100, ge=1, le=1000)
    format: Literal["page", "jsonl"] = "page"

    @field_validator("since", "until")
    @classmethod
    def _time(cls, value: str) -> str:
        if value:
            _seconds(value)
        return value

    def query(self) -> Query:
        """As the log takes it."""
        return Query(
            who=self.who,
            what=self.what,
            on=self.on,
            result=self.result,
            since=_seconds(self.since) if self.since else None,
            until=_seconds(self.until) if self.until else None,
            before=self.before,
            limit=self.limit,
        )


class AuditRecord(Reply):
    """A record. `record` is the whole of it, as the chain covers it."""

    number: int
    record: dict[str, Any]
    mac: str
    key: str


class AuditPage(Reply):
    """The newest first."""

    records: list[AuditRecord]
    before: int | None = Field(description="give it as `before` for the next page; null at the end")


class AuditHandler(ApiHandler):
    """The audit log."""

    _gone = False

    def on_connection_close(self) -> None:
        """Nobody reads the export any more."""
        self._gone = True

    @documented(query=AuditQuery, answers={200: AuditPage}, media={200: ("application/jsonl", "{}")})
    async def get(self) -> None:
        """A page, or everything that matches as JSON lines."""
        caller = self.caller
        if not (caller.sees_all and caller.steers_all):
            raise ApiError(
                403, "The audit log is for administrators and operators.", "Ask one of them for an extract."
            )
        query = self.query(AuditQuery)
        control = self.control
        # What was recorded until now belongs into the answer.
        await control.blocking(control.drain.once)
        if query.format == "jsonl":
            await self._export(query)
            return
        rows = await control.blocking(control.audit_log.find, query.query())
        more = rows[-1].number if len(rows) == query.limit else None
        self.reply(AuditPage(records=[_record(row) for row in rows], before=more))

    async def _export(self, query: AuditQuery) -> None:
        self.set_header("Content-Type", "application/jsonl")
        self.set_header("Content-Disposition", 'attachment; filename="audit.jsonl"')
        wanted = query.model_copy(update={"limit": EXPORT_PAGE})
        try:
            while not self._gone:
                rows = await self.control.blocking(self.control.audit_log.find, wanted.query())
                for row in rows:
                    self.write(json.dumps(_record(row).model_dump(by_alias=True)) + "\n")
                await self.flush()
                if len(rows) < EXPORT_PAGE:
                    break
                wanted = wanted.model_copy(update={"before": rows[-1].number})
                await asyncio.sleep(0)
            await self.finish()
        except StreamClosedError:
            return


def _record(row: AuditRow) -> AuditRecord:
    return AuditRecord(number=row.number, record=json.loads(row.record), mac=row.mac.hex(), key=row.key)


def _seconds(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError
        return moment.timestamp()
    except (ValueError, OverflowError):
        raise ValueError("A time is written as 2026-11-21T10:00:00Z, with its zone.") from None


def routes() -> list[tuple[Any, ...]]:
    """Relative to the service's prefix."""
    return [(r"api/audit", AuditHandler)]
