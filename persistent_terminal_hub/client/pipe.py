"""A session's output into a pipe: in order, each byte once, and no hole while the journal holds the bytes.

A screen that lags is brought up to date by a keyframe, and what it missed does not matter. Whoever reads a
pipe wants the bytes: so a jump is answered by fetching what was skipped, while the stream behind it waits
unacknowledged. What the journal no longer holds is named.
"""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Callable
from typing import Final

from persistent_terminal_hub.protocol.client_events import (
    Event,
    FetchDone,
    FetchedOutput,
    KeyframePart,
    Output,
    SkippedOutput,
)

#: Empty answers to a fetch: the journal's oldest part may go while it is being read.
TRIES: Final = 4


def name_lost(start: int, stop: int) -> None:
    """Say that these bytes are missing, even when told to be quiet: the output has a hole here."""
    text = f"[{stop - start} bytes of output are missing here: the session's bytes {start} to {stop}.]"
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


class Pipe:
    """What to do with each event.

    `write(data, event)` writes behind everything before, and acknowledges the Output, if it is one, when that
    is done; `fetch(start, stop)` asks for bytes, `parsed(offset, generation)` acknowledges a keyframe,
    `lost(start, stop)` says that these are missing.
    """

    def __init__(
        self,
        write: Callable[[bytes, Output | None], None],
        fetch: Callable[[int, int], None],
        parsed: Callable[[int, int], None],
        lost: Callable[[int, int], None],
    ) -> None:
        self._write = write
        self._ask = fetch
        self._parsed = parsed
        self._lost = lost
        self.next: int | None = None  # the next byte to write; None before the first
        self._goal = 0  # everything before is missing or was written
        self._held: deque[Output] = deque()  # came behind a hole
        self._unparsed: list[tuple[int, int]] = []  # keyframes behind a hole: the server ends nothing before
        self._asked: tuple[int, int] | None = None
        self._tries = 0

    def take(self, event: Event) -> bool:
        """Do what an event says, if it is about output."""
        if isinstance(event, Output):
            self.output(event)
        elif isinstance(event, KeyframePart):
            self.keyframe(event, event.data)
        elif isinstance(event, SkippedOutput):
            self.skipped(event.stop)
        elif isinstance(event, FetchedOutput):
            self.fetched(event)
        elif isinstance(event, FetchDone):
            self.fetch_done(event)
        else:
            return False
        return True

    def restart(self) -> None:
        """Another process, whose offsets begin anew."""
        self.give_up()
        self.next = None
        self._goal = 0

    def keyframe(self, part: KeyframePart, data: bytes) -> None:
        """At the first attach it stands for what was printed before; later the bytes themselves are there."""
        if self.next is None:
            self._write(data, None)
        if part.last:
            if self.next is None:
                self.next = self._goal = part.offset
            self._unparsed.append((part.offset, part.generation))
            self._go_on()

    def skipped(self, stop: int) -> None:
        """The stream goes on at `stop`."""
        if self.next is not None and stop > self.next:
            self._goal = max(self._goal, stop)
            self._fetch()

    def output(self, event: Output) -> None:
        """Bytes of the stream."""
        if self.next is None:
            self.next = self._goal = event.offset
        if self._asked is None and event.offset <= self.next:
            self._put(event)
            return
        self._held.append(event)
        self._goal = max(self._goal, event.offset)
        self._fetch()

    def fetched(self, event: FetchedOutput) -> None:
        """Bytes that were asked for."""
        if self.next is None or self._asked is None or event.offset + len(event.data) <= self.next:
            return
        if event.offset > self.next:
            self._lost(self.next, event.offset)
            self.next = event.offset
        data = event.data[self.next - event.offset :]
        self.next += len(data)
        self._write(data, None)

    def fetch_done(self, event: FetchDone) -> None:
        """The answer to a fetch is complete."""
        if self._asked is None or self.next is None:
            return
        self._asked = None
        self._tries = 0 if event.stop > event.start else self._tries + 1
        if self._tries >= TRIES and self.next < self._goal:
            self._lost(self.next, self._goal)
            self.next = self._goal
        self._go_on()

    def line_lost(self) -> None:
        """No answer will come on this connection."""
        self._asked = None

    def live(self) -> None:
        """There is a connection again."""
        self._go_on()

    def give_up(self) -> None:
        """The session is over: what was not fetched by now is missing, and the rest is written."""
        self._asked = None
        self._unparsed = []
        while self._held:
            event = self._held.popleft()
            self._leave_out(event.offset)
            self._put(event)
        self._leave_out(self._goal)

    def _leave_out(self, upto: int) -> None:
        if self.next is not None and self.next < upto:
            self._lost(self.next, upto)
            self.next = upto

    def _go_on(self) -> None:
        while self._held and self.next is not None and self._held[0].offset <= self.next:
            self._put(self._held.popleft())
        self._fetch()
        if self._asked is None:
            unparsed, self._unparsed = self._unparsed, []
            for offset, generation in unparsed:
                self._parsed(offset, generation)

    def _fetch(self) -> None:
        """Ask for the first hole, up to what was received behind it."""
        if self._asked is not None or self.next is None:
            return
        stop = self._held[0].offset if self._held else self._goal
        if self.next < stop:
            self._asked = (self.next, stop)
            self._ask(self.next, stop)

    def _put(self, event: Output) -> None:
        if self.next is None:
            return
        stop = event.offset + len(event.data)
        data = event.data[max(self.next - event.offset, 0) :]
        self.next = max(self.next, stop)
        self._goal = max(self._goal, self.next)
        self._write(data, event)
