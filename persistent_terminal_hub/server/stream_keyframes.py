"""Keyframes of one session for its streams: one is made at a time, and shared while it is the newest.

What a session printed is looked at once, by a cursor of its own (`plain_text`) that lags behind: it catches
up when a keyframe is wanted and in calm moments. For most sessions that is all; the emulator is for others.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Final, Protocol

from persistent_terminal_hub.keeper.journal import Reader

from . import metrics
from .emulator_replay import TAIL_BYTES
from .keyframe import RAW_BYTES, Checkpoint, History, Keyframe, Resize, checkpoint_due
from .plain_text import PlainText

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
#: With no more than this to look at, and a tail no longer than that, a keyframe takes about as long as
#: waking a thread, and is made at once (bytes).
AT_ONCE: Final = 32 * 1024
AT_ONCE_TAIL: Final = 256 * 1024
#: In a calm moment the cursor catches up when it is this far behind (bytes).
BEHIND: Final = 256 * 1024


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
        self.epoch = reader().epoch
        if before is not None and before.epoch != self.epoch:
            before = None
        self._making: asyncio.Task[Keyframe | None] | None = None
        # With the journal's head and number of resizes then.
        self._latest: tuple[int, int, Keyframe] | None = None if before is None else before._latest
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._scan: asyncio.Future[None] | None = None
        self._plain: PlainText = PlainText() if before is None else before._plain
        self._plain_lock: threading.Lock = threading.Lock() if before is None else before._plain_lock
        self.checkpoint: Checkpoint | None = None if before is None else before.checkpoint
        self.checkpoint_at = self._next_checkpoint()

    def at_once(self) -> Keyframe | None:
        """A keyframe that is there, or made in a fraction of a millisecond; else None, and see `get`."""
        reader = self._reader()
        head, count = reader.head, reader.resize_count
        latest = self._latest
        if latest is not None and latest[:2] == (head, count):
            return latest[2]
        if self._closed or self._making is not None or head - self._plain.place > AT_ONCE:
            return None
        frame = self._from_plain(AT_ONCE_TAIL, wait=False)
        if frame is not None:
            self._keep(head, count, frame)
        return frame

    def prepare(self) -> None:
        """Somebody is about to ask for one."""
        if self.at_once() is None and self._making is None and not self._closed:
            self._making = asyncio.get_running_loop().create_task(self._make())

    async def get(self, near: int) -> Keyframe | None:
        """A keyframe of about `near` or later; None if none can be made."""
        ready = self.at_once()
        if ready is not None:
            return ready
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
            frame, history = await asyncio.to_thread(self._look)
            if history is not None:
                frame = await self._maker.make(history)
        except Exception:  # whatever goes wrong there, the stream goes on without
            if not self._closed:
                log.exception("A keyframe could not be made.")
            return None
        finally:
            self._making = None
        if frame is not None:
            self._keep(head, count, frame)
        return frame

    def _keep(self, head: int, count: int, frame: Keyframe) -> None:
        """It is the newest."""
        metrics.KEYFRAMES.labels(frame.method, str(frame.exact).lower()).inc()
        self._latest = (head, count, frame)
        if frame.exact and frame.offset >= self.checkpoint_at:
            self.checkpoint = frame.checkpoint()
            self.checkpoint_at = self._next_checkpoint()
        if frame.needs_redraw:
            self._redraw()

    def _look(self) -> tuple[Keyframe | None, History | None]:
        """The keyframe, or what somebody else must make it of."""
        frame = self._from_plain()
        return (frame, None) if frame is not None else (None, self._history())

    # The cursor -------------------------------------------------------------------------------------

    def _from_plain(self, most: int = TAIL_BYTES, *, wait: bool = True) -> Keyframe | None:
        """The keyframe of a session that showed text only, at one size; None of another."""
        plain = self._plain
        if plain.spoiled or not self._plain_lock.acquire(blocking=wait):
            return None
        try:
            reader = self._reader()
            records = reader.resizes()
            self._catch_up(reader)
            if not records or (reader.floor == 0 and plain.place <= RAW_BYTES):
                return None  # what is short is replayed whole
            rows, cols = records[-1].rows, records[-1].cols
            # Reflow is the emulator's. But most sessions get their size in the first moment, and what was
            # printed before fills no line any more that a keyframe shows.
            changes = [b.offset for a, b in pairwise(records) if (a.rows, a.cols) != (b.rows, b.cols)]
            sized = max(changes, default=records[0].offset)
            data = plain.keyframe(rows, lambda start, stop: _exactly(reader, start, stop), most, sized)
            if data is None:
                return None
            own = plain.place - plain.begin
            return Keyframe(plain.place, rows, cols, data, True, False, "tail", plain.begin, own)
        finally:
            self._plain_lock.release()

    def _catch_up(self, reader: Reader) -> None:
        """Look at what was printed since, in pieces, so that the event loop gets its turns between them."""
        plain = self._plain
        head = reader.head
        while plain.place < head and not plain.spoiled:
            chunk = reader.read(plain.place, min(_PIECE, head - plain.place))
            if chunk.lost:
                plain.skip(chunk.start)
            if not plain.feed(chunk.data) or self._closed:
                return

    def _scan_now(self) -> None:
        with self._plain_lock:
            self._catch_up(self._reader())

    def _history(self) -> History:
        """What the journal holds, in pieces, so that the event loop gets its turns between them."""
        reader, checkpoint = self._reader(), self.checkpoint
        latest = None if self._latest is None else self._latest[2]
        if latest is not None and latest.exact and (checkpoint is None or checkpoint.offset < latest.offset):
            checkpoint = latest.checkpoint()
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

    # In calm moments --------------------------------------------------------------------------------

    @property
    def wake_at(self) -> int:
        """Call `grown` when the journal's head is beyond this."""
        if self._plain.spoiled:
            return self.checkpoint_at
        return min(self.checkpoint_at, self._plain.place + BEHIND)

    def _next_checkpoint(self) -> int:
        return (self.checkpoint.offset if self.checkpoint else 0) + self._reader().capacity // 2

    def grown(self, head: int) -> None:
        """The journal's head is beyond `wake_at`."""
        if self._timer is None and not self._closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(CALM_SECONDS, self._when_calm, head)

    def _when_calm(self, head_before: int) -> None:
        self._timer = None
        head = self._reader().head
        if head - head_before > CALM_BYTES:
            self.grown(head)
            return
        if self._scan is None and self._making is None and head > self._plain.place + BEHIND // 2:
            self._scan = asyncio.ensure_future(self._catch_up_later())
        if self._making is None and checkpoint_due(self.checkpoint, head, self._reader().capacity):
            self._making = asyncio.get_running_loop().create_task(self._make_checkpoint(head))

    async def _catch_up_later(self) -> None:
        try:
            await asyncio.to_thread(self._scan_now)
        except Exception:
            if not self._closed:
                log.exception("A session's output could not be looked at.")
        finally:
            self._scan = None

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
        if under_way := [task for task in (self._making, self._scan) if task is not None]:
            await asyncio.wait(under_way)
        asyncio.get_running_loop().call_later(KEPT_SECONDS, self._forget)

    def _forget(self) -> None:
        self._latest = None


def _exactly(reader: Reader, start: int, stop: int) -> bytes | None:
    """The bytes [start, stop), if the journal holds all of them."""
    chunk = reader.read(start, stop - start)
    return None if chunk.lost else chunk.data
