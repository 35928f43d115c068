"""What a stream must know of a session's journal, and the pure decision of a reattach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .messages import Attach, ResetReason


class SizeRecord(NamedTuple):
    """From `offset` on the PTY has this size."""

    offset: int
    rows: int
    cols: int


@dataclass(slots=True)
class JournalView:
    """The host keeps one per session and changes it in place; streams only read it.

    `resizes` ascends by offset and its first record lies at or before `floor`: the size that the oldest byte
    was printed under is always known.
    """

    epoch: str
    floor: int
    head: int
    resizes: Sequence[SizeRecord]

    def size_at(self, offset: int) -> tuple[SizeRecord, int]:
        """The record in force at `offset`, and where the next one begins (`head` if none does)."""
        last = self.resizes[-1]
        if last.offset <= offset:  # nearly always
            return last, self.head
        following = self.head
        for record in reversed(self.resizes):
            if record.offset <= offset:
                return record, following
            following = record.offset
        return self.resizes[0], following

    def same_width_since(self, offset: int) -> bool:
        """Whether no byte from `offset` on was printed under another width than the one before it."""
        cols = self.size_at(offset)[0].cols
        return all(record.cols == cols for record in self.resizes if record.offset > offset)


class Start(NamedTuple):
    """Where an attach begins: at `offset`, or (None) at a keyframe; `reason` is why it does not resume."""

    offset: int | None
    reason: ResetReason | None

    @property
    def resumed(self) -> bool:
        """Whether what the client shows stays as it is."""
        return self.reason is None


def decide_attach(request: Attach, journal: JournalView, replay_whole: int) -> Start:
    """Tail, whole replay or keyframe.

    A client resumes only inside the journal, in the same epoch and under an unchanged width. A journal that
    still has its first byte and is short is replayed whole: that is exact and needs no emulator.
    """
    reason: ResetReason
    if not request.epoch:
        reason = "fresh"
    elif request.epoch != journal.epoch:
        reason = "epoch"
    elif request.offset > journal.head:
        reason = "future"
    elif request.offset < journal.floor:
        reason = "gone"
    elif not journal.same_width_since(request.offset):
        reason = "width"
    else:
        return Start(request.offset, None)
    if journal.floor == 0 and journal.head <= replay_whole:
        return Start(0, reason)
    return Start(None, reason)
