"""What the kernel says of use, read from the text of its files. Pure; nonsense is None or nothing.

Control groups of version 1 and 2, `/proc/<pid>/stat` and `statm`, `/proc/net/dev`, the output of `du`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

#: A count that no machine reaches, with room for sums in 64 bits.
MOST = 1 << 60


@dataclass(frozen=True, slots=True)
class Process:
    """One process. CPU time includes that of the children it has waited for; memory is its own pages."""

    pid: int
    parent: int
    #: The process that began its session (POSIX): a session's program is one.
    leader: int
    cpu_ticks: int
    started_ticks: int
    private_pages: int = 0


class Used(NamedTuple):
    """By some processes."""

    cpu_ticks: int
    private_pages: int


def number(text: str | None) -> int | None:
    """A whole number from 0 that may be real; None for anything else, such as `max`."""
    word = (text or "").strip()
    if not word.isascii() or not word.isdigit() or len(word) > 19:
        return None
    value = int(word)
    return value if value <= MOST else None


def field_of(text: str | None, name: str) -> int | None:
    """The number behind a name, in files such as cpu.stat and memory.stat."""
    for line in (text or "").splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return number(value)
    return None


def cpu_seconds(v2_stat: str | None, v1_usage: str | None) -> float | None:
    """CPU time of a control group, from `cpu.stat` or `cpuacct.usage`."""
    micros = field_of(v2_stat, "usage_usec")
    if micros is not None:
        return micros / 1e6
    nanos = number(v1_usage)
    return None if nanos is None else nanos / 1e9


def working_set(usage: str | None, stat: str | None) -> int | None:
    """Bytes of memory in use, without the files that the kernel keeps only because there is room."""
    used = number(usage)
    if used is None:
        return None
    spare = field_of(stat, "total_inactive_file")
    spare = field_of(stat, "inactive_file") if spare is None else spare
    return max(0, used - (spare or 0))


def process(stat: str, statm: str = "") -> Process | None:
    """From `/proc/<pid>/stat` and `/proc/<pid>/statm`; the name between the brackets may hold anything."""
    head, _, tail = stat.rpartition(")")
    fields = tail.split()
    pid = number(head.partition(" ")[0])
    if pid is None or len(fields) < 20:
        return None
    wanted = [number(fields[index]) for index in (1, 3, 11, 12, 13, 14, 19)]
    found = [value for value in wanted if value is not None]
    if len(found) < len(wanted):
        return None
    pages = statm.split()
    resident, shared = (number(pages[1]), number(pages[2])) if len(pages) > 2 else (0, 0)
    return Process(
        pid, found[0], found[1], sum(found[2:6]), found[6], max(0, (resident or 0) - (shared or 0))
    )


def network(text: str) -> tuple[int, int] | None:
    """Bytes (received, sent) of all interfaces but loopback, from `/proc/net/dev`."""
    received = sent = 0
    seen = False
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        fields = rest.split()
        if not colon or len(fields) < 16:
            continue
        seen = True
        if name.strip() != "lo":
            received += number(fields[0]) or 0
            sent += number(fields[8]) or 0
    return (received, sent) if seen else None


def du_bytes(text: str) -> int | None:
    """The total that `du -s -B1` printed."""
    return number(text.partition("\t")[0])


def trees(
    processes: Iterable[Process], roots: Mapping[int, str], adopted: Mapping[int, str]
) -> dict[str, Used]:
    """What each of the `roots` (pid -> name) and all that comes from it uses.

    A process belongs to the nearest root above it, else to the root that leads its POSIX session, else to
    whom `adopted` names: daemons have left both.
    """
    by_pid = {each.pid: each for each in processes}
    owner: dict[int, str | None] = {}

    def owner_of(pid: int) -> str | None:
        path: list[int] = []
        found: str | None = None
        while pid in by_pid and pid not in owner and pid not in path:
            path.append(pid)
            each = by_pid[pid]
            found = roots.get(pid) or roots.get(each.leader) or adopted.get(pid)
            if found is not None:
                break
            pid = each.parent
        if found is None:
            found = owner.get(pid)
        for each_pid in path:
            owner[each_pid] = found
        return found

    sums = dict.fromkeys(roots.values(), Used(0, 0))
    for each in by_pid.values():
        name = owner_of(each.pid)
        if name is not None:
            before = sums.get(name, Used(0, 0))
            sums[name] = Used(before.cpu_ticks + each.cpu_ticks, before.private_pages + each.private_pages)
    return sums
