"""Samples of use in both databases."""

from __future__ import annotations

import random
import threading
from typing import Any

from database_fixtures import database, database_url, postgres  # noqa: F401
from sqlalchemy import func, select

from persistent_terminal_hub.control.database import Database
from persistent_terminal_hub.control.models import UsageSample
from persistent_terminal_hub.control.usage_samples import DAY, HOUR, Figures, Reading
from persistent_terminal_hub.control.usage_store import UsageStore

# ruff: noqa: F811  (fixtures by import)

NOW = 1_800_000_000


def reading(cpu: float, life: int = 1, disk: int | None = 100, **sessions: float) -> Reading:
    whole = Figures(cpu, 1000, 2000, disk, int(cpu * 10), int(cpu * 20))
    return Reading(life, whole, {name: Figures(used, 10, 10) for name, used in sessions.items()})


def count(database: Database, **which: Any) -> int:
    query = select(func.count()).select_from(UsageSample).filter_by(**which)
    return int(database.run(lambda session: session.scalar(query)))


def test_differences_are_noted(database: Database) -> None:
    store = UsageStore(database)
    store.record("a", "", reading(5.0, s1=2.0), NOW)
    store.record("a", "", reading(7.0, s1=2.0, disk=None), NOW + 60)
    store.record("a", "", reading(7.5, s1=3.0, s2=0.001), NOW + 120)
    store.record("a", "", reading(7.0, s1=1.0), NOW + 180)  # lost processes: not used again
    store.record("a", "", reading(1.0, life=2), NOW + 240)  # another start
    store.record("b", "gpu", reading(4.0), NOW)
    (total,) = store.totals(NOW - 60, NOW + 300, owner="a")
    assert (total.cpu_seconds, total.received_bytes, total.sent_bytes) == (8.5, 85, 170)
    assert total.memory_bytes == total.memory_peak == 1000 and total.disk_bytes == 100
    parts = store.totals(NOW - 60, NOW + 300, owner="a", resolution=60)
    assert [(part.at - NOW, part.cpu_seconds) for part in parts] == [
        (0, 5.0), (60, 2.0), (120, 0.5), (180, 0.0), (240, 1.0),
    ]  # fmt: skip
    assert {part.disk_bytes for part in parts} == {100}
    (session,) = store.totals(NOW - 60, NOW + 300, owner="a", sessions=True)
    assert (session.session, session.cpu_seconds) == ("s1", 3.0)
    assert [each.owner for each in store.totals(NOW - 60, NOW + 300)] == ["a", "b"]
    assert store.totals(NOW + 300, NOW + 400) == []
    first, *_, last = store.together(NOW - 60, NOW + 300, 60)
    assert (first.at, first.cpu_seconds, first.memory_bytes, first.disk_bytes) == (NOW, 9.0, 2000, 200)
    assert (last.at - NOW, last.memory_bytes) == (240, 1000)
    (hour,) = store.together(NOW - NOW % HOUR, NOW + HOUR - NOW % HOUR, HOUR, "a")
    assert hour.cpu_seconds == 8.5 and hour.memory_bytes == 1000 * 5 // 60, "a mean of the whole hour"
    assert count(database, owner="a", seconds=0) == 1  # counters of what is over went


def test_two_instances_count_once(database: Database, database_url: str) -> None:
    others = [UsageStore(Database(database_url)) for _ in range(2)]
    errors: list[Exception] = []

    def measure(store: UsageStore) -> None:
        try:
            for second in range(40):
                store.record("a", "", reading(float(second)), NOW + second * 5)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=measure, args=(store,)) for store in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    (total,) = UsageStore(database).totals(NOW, NOW + 300)
    assert (total.cpu_seconds, total.received_bytes) == (39.0, 390)


def test_old_rows_become_fewer_and_sums_stay(database: Database) -> None:
    store, cpu, chance = UsageStore(database), 0.0, random.Random(5)
    begin = NOW - 9 * DAY
    # Every twelfth minute of two hours, on nine days.
    for day in range(9):
        for minute in range(0, 120, 12):
            cpu += chance.randrange(0, 64) / 8
            store.record("a", "", reading(cpu, s1=cpu), begin + day * DAY + minute * 60)
    (before,) = store.totals(0, NOW)
    rows = count(database)
    gone = store.compact(NOW, 365)
    assert gone > 0 and count(database) < rows
    (after,) = store.totals(0, NOW)
    assert (after.cpu_seconds, after.received_bytes, after.sent_bytes, after.memory_peak) == (
        before.cpu_seconds, before.received_bytes, before.sent_bytes, before.memory_peak,
    )  # fmt: skip
    assert abs(after.memory_bytes - before.memory_bytes) <= 1
    assert count(database, seconds=60, session="") <= 61
    assert count(database, seconds=HOUR) > 0 and count(database, seconds=600) > 0
    assert store.compact(NOW, 365) == 0
    store.compact(NOW, 8)
    assert store.totals(0, begin + DAY // 2) == []
    assert count(database, seconds=0) == 2  # counters are not old
