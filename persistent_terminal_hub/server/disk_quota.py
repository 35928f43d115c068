"""The soft quota of a workspace's files: a warning near it, and nothing new beyond it.

What runs goes on, and files can be deleted in a session that is open: only what is new is refused. The sum is
a few minutes old, so a quota may be passed; a volume with a quota of its own is the hard way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from persistent_terminal_hub.protocol.messages import Notice
from persistent_terminal_hub.repeating import Repeating

from .errors import SessionError
from .usage_sampler import Sampler

WARN_SHARE = 0.9
#: Seconds between two looks whether a sum is due.
LOOK_SECONDS = 30.0

Step = Literal["fine", "warn", "over"]


def step_of(used: int | None, limit: int) -> Step:
    """What a sum means; an unknown one, or no limit, is fine."""
    if used is None or limit <= 0:
        return "fine"
    return "over" if used > limit else "warn" if used >= limit * WARN_SHARE else "fine"


def size(count: float) -> str:
    """Bytes as people say it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.3g} {unit}" if count < 1000 else f"{count:.0f} {unit}"


class DiskQuota:
    """One workspace's. `limit` in bytes, 0: none."""

    def __init__(self, sampler: Sampler, limit: str) -> None:
        self.limit = int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 19 else 0
        self.tell: Callable[[str | None, Notice], None] = lambda _session, _notice: None
        self._sampler = sampler
        self._last: Step = "fine"
        self._watch = Repeating("Summing up the files", self.look, lambda: LOOK_SECONDS)

    def start(self) -> None:
        """Begin to sum up, from time to time. From the event loop."""
        self._watch.start()

    async def look(self) -> None:
        """Sum up if that is due, and say so when a line was crossed."""
        await self._sampler.look_at_disk()
        step = step_of(self._sampler.disk.bytes, self.limit)
        if step != self._last and step != "fine":
            self.tell(None, Notice(code="disk_quota", message=self.sentence(step)))
        self._last = step

    def sentence(self, step: Step) -> str:
        """For the owner."""
        used = f"The files of this workspace take {size(self._sampler.disk.bytes or 0)}"
        if step == "over":
            return (
                f"{used}; its quota is {size(self.limit)}. What runs goes on; new sessions, commands and "
                "clones are refused until files are deleted."
            )
        return f"{used} of its quota of {size(self.limit)}. Beyond it nothing new can be started."

    async def check(self) -> None:
        """Refuse what is new. Raises SessionError 409; asks again first, as files may have been deleted."""
        if step_of(self._sampler.disk.bytes, self.limit) != "over":
            return
        self._sampler.disk.next = 0.0
        try:
            async with asyncio.timeout(5):
                await self.look()
        except TimeoutError:
            pass  # the former sum holds; this one goes on
        if step_of(self._sampler.disk.bytes, self.limit) == "over":
            raise SessionError(
                409,
                self.sentence("over"),
                "Delete files in a session that is open, or in the file browser; or ask for a larger quota.",
            )


async def check_quota(manager: object) -> None:
    """Refuse what is new when this manager's workspace has too many files. Raises SessionError 409."""
    quota = getattr(manager, "quota", None)
    if isinstance(quota, DiskQuota):
        await quota.check()
