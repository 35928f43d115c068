"""Memory and processor time of a peer's own processes, from /proc. Shells and their jobs are not counted."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

MIB = 1024 * 1024


def _stat(pid: int) -> list[str]:
    # The name in parentheses may hold anything.
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def service_processes(root: int) -> list[int]:
    """`root` and those descendants that have no controlling terminal: server and helpers, but no session."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = _stat(int(entry.name))
            except OSError:
                continue
            if fields[4] == "0":
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(parents.get(pid, []))
    return found


def command_line(pid: int) -> str:
    """What a process was started with; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def memory(pids: list[int]) -> float:
    """MiB of anonymous and shared memory; each shared page is counted once (PSS).

    Pages of files (libraries) are left out: other Pythons on the machine would move their share about.
    """
    total = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:  # gone
            continue
        total += sum(int(kb) for kb in re.findall(r"^(?:Pss_Anon|Pss_Shmem):\s+(\d+)", rollup, re.M))
    return total / 1024


def cpu_seconds(pids: list[int]) -> float:
    """Processor seconds that all threads have used, in nanoseconds' resolution."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(task.read_text().split()[0])
            except (OSError, IndexError):
                continue
    return total / 1e9


class Peak:
    """Context: the highest memory of a set of processes while it is open."""

    def __init__(self, pids: Callable[[], list[int]], period: float = 0.2) -> None:
        self._pids = pids
        self._period = period
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.value = 0.0

    def _watch(self) -> None:
        while not self._stop.wait(self._period):
            self.sample()

    def sample(self) -> None:
        """Look once."""
        self.value = max(self.value, memory(self._pids()))

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.sample()


def settled(pids: list[int], seconds: float = 10.0) -> None:
    """Wait until the processes use less than 2 % of a core for half a second."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = cpu_seconds(pids)
        time.sleep(0.5)
        if cpu_seconds(pids) - before < 0.01:
            return
