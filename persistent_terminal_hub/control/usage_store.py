"""Samples of use in the database. Methods block; the service calls them in threads.

The counters as last read are rows, too (`seconds` 0). So what was used while the service was away is not
lost, and of two instances that measure the same minute each adds what the other has not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from sqlalchemy import Double, cast, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from persistent_terminal_hub.control.database import Database
from persistent_terminal_hub.control.models import UsageSample
from persistent_terminal_hub.control.usage_samples import (
    DAY,
    LEVELS,
    MINUTE,
    Figures,
    Reading,
    Sample,
    compacted,
    due,
    grown,
    start_of,
)

#: A session that used less CPU time between two measurements is not noted.
LEAST_CPU = 0.01
FIELDS = tuple(each.name for each in fields(Sample))


class UsageStore:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, owner: str, workspace: str, reading: Reading, now: float) -> None:
        """Note what was used since the last time."""
        for last in (False, True):
            try:
                self._database.run(lambda session: _record(session, owner, workspace, reading, now))
                return
            except IntegrityError:  # another instance made the same row; now it is there
                if last:
                    raise

    def compact(self, now: float, keep_days: int) -> int:
        """Make fewer rows of old ones, and remove the oldest; how many rows went."""
        gone = 0
        for level in range(len(LEVELS) - 1):
            while count := self._compact_one(level, due(now, level)):
                gone += count
        oldest = start_of(now, DAY) - keep_days * DAY
        old = delete(UsageSample).where(UsageSample.seconds > 0, UsageSample.at < oldest)
        return gone + int(self._database.run(lambda session: session.execute(old).rowcount))  # type: ignore[attr-defined]

    def totals(
        self, begin: int, end: int, *, owner: str | None = None, resolution: int | None = None,
        sessions: bool = False, most: int | None = None,
    ) -> list[Sample]:  # fmt: skip
        """Of each workspace (or each session), or of each part of the time if there is a resolution: then the
        sample's `at` and `seconds` say which part, else both are 0.

        `disk_bytes` is the largest of the parts that it is made of. No more than `most` of them.
        """
        table = UsageSample
        # A row that is wider than the resolution stands where it begins.
        at = (table.at // resolution * resolution) if resolution else cast(0, table.at.type)
        keys: list[Any] = [table.owner, table.workspace, table.session, at.label("part")]
        seconds = cast(table.seconds, Double)
        query = (
            select(
                *keys,
                func.sum(table.cpu_seconds),
                func.sum(cast(table.memory_bytes, Double) * seconds) / func.sum(seconds),
                func.max(table.memory_peak),
                func.max(table.disk_bytes),
                func.sum(cast(table.received_bytes, Double)),
                func.sum(cast(table.sent_bytes, Double)),
            )
            .where(table.seconds > 0, table.at >= begin, table.at < end)
            .where((table.session != "") if sessions else (table.session == ""))
            .group_by(table.owner, table.workspace, table.session, *([at] if resolution else []))
            .order_by(table.owner, table.workspace, table.session, "part")
        )
        if most is not None:
            query = query.limit(most)
        if owner is not None:
            query = query.where(table.owner == owner)
        rows = self._database.run(lambda session: session.execute(query).all())
        width = resolution or 0
        return [Sample(row[0], row[1], row[2], width, int(row[3]), *_numbers(row[4:])) for row in rows]

    def _compact_one(self, level: int, before: int) -> int:
        try:
            return self._database.run(lambda session: _compact(session, level, before))
        except IntegrityError:  # another instance did
            return 1


def _numbers(row: Iterable[Any]) -> tuple[float, int, int, int, int, int]:
    cpu, memory, peak, disk, received, sent = row
    return float(cpu), int(memory), int(peak), int(disk), int(received), int(sent)


def _record(session: Session, owner: str, workspace: str, reading: Reading, now: float) -> None:
    mine = (UsageSample.owner == owner, UsageSample.workspace == workspace)
    counters = session.scalars(select(UsageSample).where(*mine, UsageSample.seconds == 0).with_for_update())
    before: dict[str, UsageSample] = {}
    disk = 0
    for row in counters:
        disk = max(disk, row.disk_bytes) if row.session == "" else disk
        if row.at == reading.life and (row.session == "" or row.session in reading.sessions):
            before[row.session] = row
        else:  # of an earlier start, or of a session that has ended
            session.delete(row)
    session.flush()
    minute = start_of(now, MINUTE)
    for name, figures in (("", reading.whole), *reading.sessions.items()):
        known = before.get(name)
        used = grown(figures, None if known is None else _figures(known))
        size = 0 if name else disk if figures.disk_bytes is None else figures.disk_bytes
        if known is None:
            known = UsageSample(owner=owner, workspace=workspace, session=name, seconds=0, at=reading.life)
            session.add(known)
        _set(known, figures, size)
        if not name or used.cpu_seconds >= LEAST_CPU:
            _add(session, Sample(owner, workspace, name, MINUTE, minute), used, size)


def _add(session: Session, place: Sample, used: Figures, disk: int) -> None:
    key = (place.owner, place.workspace, place.session, place.seconds, place.at)
    row = session.get(UsageSample, key, with_for_update=True)
    if row is None:
        row = UsageSample(**{name: getattr(place, name) for name in FIELDS})
        session.add(row)
    row.cpu_seconds += used.cpu_seconds
    row.memory_bytes = used.memory_bytes
    # The group's own peak is of its whole life; of a minute we know what we saw.
    row.memory_peak = max(row.memory_peak, used.memory_bytes)
    row.disk_bytes = disk
    row.received_bytes += used.received_bytes
    row.sent_bytes += used.sent_bytes


def _set(row: UsageSample, figures: Figures, disk: int) -> None:
    # A counter that is behind comes from another instance's older answer, or lost processes that nobody
    # waited for. Neither may make what was noted already be noted again.
    row.cpu_seconds = max(row.cpu_seconds or 0.0, figures.cpu_seconds)
    row.received_bytes = max(row.received_bytes or 0, figures.received_bytes)
    row.sent_bytes = max(row.sent_bytes or 0, figures.sent_bytes)
    row.memory_bytes, row.memory_peak = figures.memory_bytes, figures.memory_peak
    row.disk_bytes = disk


def _figures(row: UsageSample) -> Figures:
    return Figures(
        row.cpu_seconds, row.memory_bytes, row.memory_peak, row.disk_bytes, row.received_bytes, row.sent_bytes
    )


def _compact(session: Session, level: int, before: int) -> int:
    """One wide row's time of everybody's; how many rows went."""
    seconds, wider = LEVELS[level][0], LEVELS[level + 1][0]
    of_level = UsageSample.seconds == seconds
    first = session.scalar(select(func.min(UsageSample.at)).where(of_level, UsageSample.at < before))
    if first is None:
        return 0
    begin = start_of(first, wider)
    window = (UsageSample.at >= begin, UsageSample.at < begin + wider)
    old = list(session.scalars(select(UsageSample).where(of_level, *window)))
    there = session.scalars(select(UsageSample).where(UsageSample.seconds == wider, *window))
    rows = [*old, *there]
    samples = [Sample(**{name: getattr(row, name) for name in FIELDS}) for row in rows]
    for row in rows:
        session.delete(row)
    session.flush()
    session.expunge_all()
    for sample in compacted(samples, wider):
        session.add(UsageSample(**{name: getattr(sample, name) for name in FIELDS}))
    return len(old)
