"""What /proc says about processes (Linux)."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

_PROC = Path("/proc")


@cache
def boot_id() -> str:
    """Changes with every boot: a process number of another boot means nothing."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def _stat_fields(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the state (the third) on; the name before may contain anything."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def started_at(pid: int) -> int:
    """When the process started, in clock ticks since boot; 0 when there is none."""
    fields = _stat_fields(pid)
    return int(fields[19]) if fields else 0


def is_alive(pid: int, start: int = 0) -> bool:
    """Whether the process runs (a zombie does not) and is the one that started at `start`, if given."""
    fields = _stat_fields(pid)
    if not fields or fields[0] in "ZX":
        return False
    return not start or int(fields[19]) == start


def with_environment(entry: str) -> list[int]:
    """Processes of ours that were started with `NAME=value` in their environment, without this one."""
    wanted = entry.encode()
    found = []
    for path in _PROC.iterdir():
        if not path.name.isdigit() or int(path.name) == os.getpid():
            continue
        try:
            if path.stat().st_uid != os.getuid():
                continue
            if wanted in (path / "environ").read_bytes().split(b"\0") and is_alive(int(path.name)):
                found.append(int(path.name))
        except OSError:
            continue  # gone meanwhile, or not ours to read
    return found
