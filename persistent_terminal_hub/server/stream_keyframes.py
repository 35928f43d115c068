"""Keyframes of one session for its streams: one is made at a time, and shared while it is the newest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from persistent_terminal_hub.keeper.journal import Reader

from . import metrics
from .keyframe import Checkpoint, History, Keyframe, Resize, checkpoint_due

log = logging.getLogger(__name__)

#: A client that asked meanwhile may take a keyframe that is older than its wish by this much.
NEAR_ENOUGH: Final = 256 * 1024
#: A checkpoint is made when a session printed no more than this in that time. During a flood it would
#: be worthless before it is ready, and take the time of whoever prints and reads.
CALM_BYTES: Final = 128 * 1024
CALM_SECONDS: Final = 2.0
#: A keyframe is kept so long after the last client left: many come back, or change the device.
KEPT_SECONDS: Final = 60.0
_PIECE: Final = 256 * 1024


class Maker(Protocol):
    """What `keyframe.KeyframeMaker` does."""

    async def make(self, history: History) -> Keyframe:
        """The keyframe at the end of `history`."""


class KeyframeSource:
    """Makes them from the journal, off the event loop's thread."""

    def __init__(
        self,
        maker: Maker,
        reader: Callable[[], Reader],
        redraw: Callable[[], None],
        before: KeyframeSource | None = None,
    ) -> None:
        """`reader` gives the journal as it is mapped now.

        `before` is the source of the same session while somebody was attached the last time.
        """
        self._maker = maker
        self._reader = reader
        self._redraw = redraw
        self._making: asyncio.Task[Keyframe | None] | None = None
        # With the journal's head and number of resizes then.
        self._latest: tuple[int, int, Keyframe] | None = None if before is None else before._latest
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self.checkpoint: Checkpoint | None = None if before is None else before.checkpoint
        self.checkpoint_at = self._next_checkpoint()

    async def get(self, near: int) -> Keyframe | None:
        """A keyframe of about `near` or later; None if none can be made."""
        reader = self._reader()
        latest = self._latest
        if latest is not None and latest[:2] == (reader.head, reader.resize_count):
            return latest[2]
        frame: Keyframe | None = None
        if self._making is not None:
            frame = await asyncio.shield(self._making)
            if frame is not None and frame.offset >= near - NEAR_ENOUGH:
                return frame
        if self._closed:
            return None
        if self._making is None:
            self._making = asyncio.get_running_loop().create_task(self._make())
        return await asyncio.shield(self._making)

    async def _make(self) -> Keyframe | None:
        try:
            head, count = self._reader().head, self._reader().resize_count
            history = await asyncio.to_thread(self._history)
            frame = await self._maker.make(history)
        except Exception:  # whatever goes wrong there, the stream goes on without
            if not self._closed:
                log.exception("A keyframe could not be made.")
            return None
        finally:
            self._making = None
        metrics.KEYFRAMES.labels(frame.method, str(frame.exact).lower()).inc()
        self._latest = (head, count, frame)
        if frame.exact and frame.offset >= self.checkpoint_at:
            self.checkpoint = frame.checkpoint()
            self.checkpoint_at = self._next_checkpoint()
        if frame.needs_redraw:
            self._redraw()
        return frame

    def _history(self) -> History:
        """What the journal holds, in pieces, so that the event loop gets its turns between them."""
        reader, checkpoint = self._reader(), self.checkpoint
        head, records = reader.head, reader.resizes()
        start = reader.floor
        if checkpoint is not None and start <= checkpoint.offset <= head:
            start = checkpoint.offset
        pieces: list[bytes] = []
        at = start
        while at < head:
            chunk = reader.read(at, min(_PIECE, head - at))
            if chunk.lost:  # overtaken here: begin with what the journal still holds
                pieces.clear()
                start = chunk.start
            pieces.append(chunk.data)
            at = chunk.end
        # Of more resizes than the journal keeps, the oldest one stands for those before.
        size = [records[0], *(record for record in records if record.offset <= start)][-1]
        after = [Resize(r.offset, r.rows, r.cols) for r in records if start < r.offset <= at]
        return History(start, b"".join(pieces), size.rows, size.cols, after, checkpoint)

    # Checkpoints ------------------------------------------------------------------------------------

    def _next_checkpoint(self) -> int:
        return (self.checkpoint.offset if self.checkpoint else 0) + self._reader().capacity // 2

    def grown(self, head: int) -> None:
        """The journal's head is beyond `checkpoint_at`."""
        if self._timer is None and not self._closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(CALM_SECONDS, self._when_calm, head)

    def _when_calm(self, head_before: int) -> None:
        self._timer = None
        head = self._reader().head
        if head - head_before > CALM_BYTES:
            self.grown(head)
        elif self._making is None and checkpoint_due(self.checkpoint, head, self._reader().capacity):
            self._making = asyncio.get_running_loop().create_task(self._make_checkpoint(head))

    async def _make_checkpoint(self, head: int) -> Keyframe | None:
        frame = await self._make()
        if frame is None or not frame.exact:
            self.checkpoint_at = head + self._reader().capacity // 2  # not again at once
        return frame

    async def close(self) -> None:
        """Make no more; when this returns, the journal is not read any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._making is not None:
            await asyncio.wait([self._making])
        asyncio.get_running_loop().call_later(KEPT_SECONDS, self._forget)

    def _forget(self) -> None:
        self._latest = None
