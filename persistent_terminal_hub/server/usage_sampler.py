"""Reads what the workspace uses. A container's figures are its control group's; a local process has none of
its own, so there the processes below the keeper count, and the network cannot be told from the machine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import usage

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
#: Seconds that a sum of the files may take, and between the end of one and the next at least.
DU_SECONDS = 120.0
DU_EVERY = 300.0
#: The pause is so many times as long as the sum took.
DU_SHARE = 20.0
#: Figures are not read more often than this.
FRESH_SECONDS = 1.0


@dataclass(slots=True)
class Disk:
    """The files of the home, as last summed up."""

    bytes: int | None = None
    at: float | None = None
    #: Whether the last attempt came to its end in time.
    complete: bool = True
    next: float = 0.0


class Sampler:
    """One workspace. `own_group`: the control group that is mounted here is ours alone."""

    def __init__(
        self, home: Path, keeper: int, *, own_group: bool, proc: Path = Path("/proc"),
        groups: Path = Path("/sys/fs/cgroup"),
    ) -> None:  # fmt: skip
        self._home = home
        self._keeper = keeper
        self._own_group = own_group
        self._proc = proc
        self._groups = groups
        self.disk = Disk()
        self._cpu: dict[str, tuple[int, int]] = {}  # name -> (last ticks seen, all ticks)
        self._peak = 0
        self._of_session: dict[tuple[int, int], str] = {}  # (pid, start) -> PTH_SESSION_ID or ""
        self._du: asyncio.Task[None] | None = None
        self.life = self._life()

    def read(self, sessions: Mapping[int, str]) -> dict[str, Any]:
        """All figures; `sessions`: pid of each running session's program -> its id. Blocks."""
        processes = self._processes()
        roots = {pid: name for pid, name in sessions.items() if pid > 0}
        trees = usage.trees(processes, roots, self._adopted(processes, set(sessions.values())))
        whole = usage.trees(processes, {self._keeper: "keeper"}, {}).get("keeper", usage.Used(0, 0))
        self._cpu = {name: seen for name, seen in self._cpu.items() if name == "" or name in trees}
        cpu, memory, peak, limit = self._group() if self._own_group else (None, None, None, None)
        memory = whole.private_pages * PAGE if memory is None else memory
        self._peak = max(self._peak, memory)
        net = self._network() if self._own_group else None
        return {
            "life": self.life,
            "cpuSeconds": round(self._grown("", whole.cpu_ticks) if cpu is None else cpu, 3),
            "memoryBytes": memory,
            "memoryPeakBytes": self._peak if peak is None else peak,
            "memoryLimitBytes": limit,
            "diskBytes": self.disk.bytes,
            "diskAt": self.disk.at,
            "diskComplete": self.disk.complete,
            "receivedBytes": None if net is None else net[0],
            "sentBytes": None if net is None else net[1],
            "sessions": [
                {
                    "id": name,
                    "cpuSeconds": round(self._grown(name, used.cpu_ticks), 3),
                    "memoryBytes": used.private_pages * PAGE,
                }
                for name, used in sorted(trees.items())
            ],
        }

    def _grown(self, name: str, ticks: int) -> float:
        """CPU seconds that never become less, although processes end unwaited for."""
        last, total = self._cpu.get(name, (0, 0))
        total += max(0, ticks - last)
        self._cpu[name] = (ticks, total)
        return total / TICKS

    # -- the files' sum ---------------------------------------------------------------------------------
    async def look_at_disk(self) -> None:
        """Sum up the files if that is due; returns at once when it is not, or is being done."""
        if self._du is None and time.monotonic() >= self.disk.next:
            self._du = asyncio.ensure_future(self._sum_up())
        if self._du is not None:
            await asyncio.shield(self._du)

    async def _sum_up(self) -> None:
        began = time.monotonic()
        try:
            # A process of its own and of low priority: no keystroke waits for it.
            du = await asyncio.create_subprocess_exec(
                "nice", "-n", "19", "du", "-s", "-x", "-B1", "--", str(self._home),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            )  # fmt: skip
            try:
                async with asyncio.timeout(DU_SECONDS):
                    out, _ = await du.communicate()
            except TimeoutError:
                self.disk.complete = False
                return
            finally:
                if du.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        du.kill()
                    await du.wait()
            # It complains of what it may not read, and sums up the rest all the same.
            found = usage.du_bytes(out.decode("ascii", "replace"))
            self.disk.complete = found is not None
            if found is not None:
                self.disk.bytes, self.disk.at = found, time.time()
        except OSError:
            self.disk.complete = False
        finally:
            took = time.monotonic() - began
            self.disk.next = time.monotonic() + max(DU_EVERY, took * DU_SHARE)
            self._du = None

    # -- files of the kernel ------------------------------------------------------------------------------
    def _group(self) -> tuple[float | None, int | None, int | None, int | None]:
        v1 = "memory/memory."
        cpu = usage.cpu_seconds(
            self._text("cpu.stat"),
            self._text("cpuacct/cpuacct.usage") or self._text("cpu,cpuacct/cpuacct.usage"),
        )
        current = self._text("memory.current")
        if current is not None:
            memory = usage.working_set(current, self._text("memory.stat"))
            return (
                cpu,
                memory,
                usage.number(self._text("memory.peak")),
                usage.number(self._text("memory.max")),
            )
        memory = usage.working_set(self._text(v1 + "usage_in_bytes"), self._text(v1 + "stat"))
        limit = usage.number(self._text(v1 + "limit_in_bytes"))
        return cpu, memory, usage.number(self._text(v1 + "max_usage_in_bytes")), limit

    def _text(self, name: str) -> str | None:
        return _read(self._groups / name)

    def _network(self) -> tuple[int, int] | None:
        return usage.network(_read(self._proc / "net/dev") or "")

    def _processes(self) -> list[usage.Process]:
        found = []
        for name in os.listdir(self._proc):  # noqa: PTH208  (a path for each is slow)
            if name.isdigit():
                stat = _read(self._proc / name / "stat")
                each = usage.process(stat, _read(self._proc / name / "statm") or "") if stat else None
                if each is not None:
                    found.append(each)
        return found

    def _adopted(self, processes: list[usage.Process], ids: set[str]) -> dict[int, str]:
        """Daemons of a session: they left its processes, but carry its mark. Read once for each process."""
        known = {(each.pid, each.started_ticks) for each in processes}
        self._of_session = {key: name for key, name in self._of_session.items() if key in known}
        for key in known - self._of_session.keys():
            self._of_session[key] = self._mark(key[0])
        return {pid: name for (pid, _), name in self._of_session.items() if name in ids}

    def _mark(self, pid: int) -> str:
        try:
            content = (self._proc / str(pid) / "environ").read_bytes()
        except OSError:
            return ""
        marks = [entry[15:] for entry in content.split(b"\0") if entry.startswith(b"PTH_SESSION_ID=")]
        return marks[0].decode("ascii", "replace") if marks else ""

    def _life(self) -> int:
        """Names this start of the workspace: the same for every server of one keeper, whatever clocks do."""
        boot = (_read(self._proc / "sys/kernel/random/boot_id") or "").strip()
        keeper = usage.process(_read(self._proc / str(self._keeper) / "stat") or "")
        ticks = keeper.started_ticks if keeper else 0
        return (zlib.crc32(boot.encode()) & 0xFFF) << 40 | ticks & ((1 << 40) - 1)


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return None
