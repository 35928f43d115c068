"""Samples of use, and how they become fewer with age (pure).

Counters only grow, within one start of a workspace; a sample is what they grew by. CPU time and network bytes
are sums: making one row of several keeps them to the last bit. Memory and files are levels: a row has their
mean (weighted by time), their peak, and the last size of the files.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

MINUTE, HOUR, DAY = 60, 3600, 86400
#: (seconds of a row, so old they become rows of the next kind).
LEVELS = ((MINUTE, DAY), (10 * MINUTE, 7 * DAY), (HOUR, 0))
#: Bytes, and CPU seconds, that are believed of one measurement: sums of many stay within 64 bits.
MOST_BYTES = 1 << 50
MOST_CPU = 1e7


@dataclass(frozen=True, slots=True)
class Sample:
    """What one workspace, or one of its sessions, used in `seconds` from `at` (since 1970) on."""

    owner: str
    workspace: str
    session: str
    seconds: int
    at: int
    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    memory_peak: int = 0
    disk_bytes: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """What a workspace said of itself or a session: counters since its start, and levels."""

    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    memory_peak: int = 0
    disk_bytes: int | None = None
    received_bytes: int = 0
    sent_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """One answer of a workspace."""

    #: Names the start of the workspace: within one, counters do not begin anew.
    life: int
    whole: Figures
    sessions: dict[str, Figures]


def reading_of(answer: object) -> Reading | None:
    """From the extension's JSON; the user's own programs may have forged it, so nonsense is zero or None."""
    if not isinstance(answer, dict):
        return None
    life = _whole(answer.get("life"), 1 << 53)
    if life is None:
        return None
    sessions: dict[str, Figures] = {}
    entries = answer.get("sessions")
    for entry in entries[:1000] if isinstance(entries, list) else []:
        name = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(name, str) and 0 < len(name) <= 64 and name.isascii() and name.isalnum():
            sessions[name] = _figures(entry)
    return Reading(life, _figures(answer), sessions)


def grown(now: Figures, before: Figures | None) -> Figures:
    """What was used since `before`, of the same start (None: since the start).

    A counter that became less lost processes that nobody waited for; that is no use of anything.
    """
    was = before or Figures()
    return replace(
        now,
        cpu_seconds=min(MOST_CPU, max(0.0, now.cpu_seconds - was.cpu_seconds)),
        received_bytes=min(MOST_BYTES, max(0, now.received_bytes - was.received_bytes)),
        sent_bytes=min(MOST_BYTES, max(0, now.sent_bytes - was.sent_bytes)),
    )


def start_of(at: float, seconds: int) -> int:
    """Where the row begins that a moment belongs to."""
    return int(at // seconds) * seconds


def merged(samples: Iterable[Sample], seconds: int, at: int) -> Sample:
    """One row of several of the same workspace and session."""
    some = sorted(samples, key=lambda each: each.at)
    weight = sum(each.seconds for each in some)
    return replace(
        some[-1],
        seconds=seconds,
        at=at,
        cpu_seconds=math.fsum(each.cpu_seconds for each in some),
        memory_bytes=sum(each.memory_bytes * each.seconds for each in some) // weight,
        memory_peak=max(each.memory_peak for each in some),
        received_bytes=sum(each.received_bytes for each in some),
        sent_bytes=sum(each.sent_bytes for each in some),
    )


def due(now: float, level: int) -> int:
    """Rows of this level that begin before it are old enough. A multiple of the next level's width, so that
    no row of that is made in two parts."""
    _, age = LEVELS[level]
    return start_of(now - age, LEVELS[level + 1][0])


def compacted(samples: Iterable[Sample], seconds: int) -> list[Sample]:
    """The same, in rows of `seconds`."""
    groups: dict[tuple[str, str, str, int], list[Sample]] = {}
    for each in samples:
        key = (each.owner, each.workspace, each.session, start_of(each.at, seconds))
        groups.setdefault(key, []).append(each)
    return [merged(some, seconds, key[3]) for key, some in sorted(groups.items())]


def _figures(entry: dict[str, Any]) -> Figures:
    cpu = entry.get("cpuSeconds")
    good = isinstance(cpu, (int, float)) and not isinstance(cpu, bool) and 0 <= cpu < 1e12
    memory = _whole(entry.get("memoryBytes")) or 0
    return Figures(
        cpu_seconds=float(cpu) if good else 0.0,  # type: ignore[arg-type]
        memory_bytes=memory,
        memory_peak=max(memory, _whole(entry.get("memoryPeakBytes")) or 0),
        disk_bytes=_whole(entry.get("diskBytes")),
        received_bytes=_whole(entry.get("receivedBytes"), 1 << 62) or 0,
        sent_bytes=_whole(entry.get("sentBytes"), 1 << 62) or 0,
    )


def _whole(value: object, most: int = MOST_BYTES) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        return None
    return value
