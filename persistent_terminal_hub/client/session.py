"""Attached to one session: send, read, wait; back by itself after every cut, for ever."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from persistent_terminal_hub.protocol import client_events as ev
from persistent_terminal_hub.protocol.client_stream import ClientStream
from persistent_terminal_hub.protocol.codes import Limits
from persistent_terminal_hub.protocol.messages import Exit, Mode

from . import errors
from .connection import Connection, jitter
from .place import Place
from .queries import Queries, plain_answer
from .received import Chunk, Received

#: Bytes of output that an attachment keeps for `read` and `wait_for`; older ones can be fetched.
KEEP = 1024 * 1024
#: Most that one `fetch` of the protocol returns.
FETCH = Limits().fetch
#: Seconds that are not worth a pause.
_SHORT = 0.001

Pattern = str | bytes | re.Pattern[bytes]


@dataclass(frozen=True, slots=True)
class Found:
    """What `wait_for` found: the bytes [start, stop) of the stream."""

    start: int
    stop: int
    match: re.Match[bytes]

    @property
    def text(self) -> str:
        """The matching text."""
        return self.match[0].decode("utf-8", "replace")


class Attachment:
    """One client of one session; make it with `Workspace.attach`, use it in an `async with`.

    It counts as an invisible client: it never changes the terminal's size while a person has it open, and
    answers the program's queries only when nobody else is there to do it, as a plain terminal would.
    """

    def __init__(
        self,
        url: str,
        place: Place,
        *,
        mode: Mode = "rw",
        rows: int = 24,
        cols: int = 80,
        visible: bool = False,
        keep: int = KEEP,
        wait_when_locked: bool = False,
        answer_queries: bool = True,
        client: str | None = None,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        how: Callable[[], Awaitable[Exit]] | None = None,
        on_event: Callable[[ev.Event], None] | None = None,
    ) -> None:
        stream = ClientStream(
            client or secrets.token_hex(16),
            rows=rows,
            cols=cols,
            random=jitter,
            mode=mode,
            visible=visible,
            token=token,
        )
        self.exit: Exit | None = None
        self.epoch = ""  # names the process; offsets mean something within one epoch only
        self.input_lost = 0  # bytes that were given up, in all; see `InputLost`
        self.skipped: list[tuple[int, int]] = []
        self._changed = asyncio.Event()
        self._connection = Connection(url, place, stream, self._handle, self._changed.set, tls=tls)
        self._stream = stream
        self._received = Received(keep)
        self._queries = Queries()
        self._answers = answer_queries
        self._cursor = 0
        self._wait_when_locked = wait_when_locked
        self._how = how
        self._on_event = on_event
        self._fetching = asyncio.Lock()
        self._fetch: list[ev.FetchedOutput] | None = None
        self._fetch_done: ev.FetchDone | None = None

    # Opening and leaving ----------------------------------------------------------------------------

    async def open(self, timeout: float | None = None) -> None:
        """Attach; returns when live. Without a timeout it waits for an absent server for ever."""
        self._connection.start()
        try:
            await self._until(lambda: self.state == "live" or self.exit is not None, timeout, ended=False)
        except BaseException:
            await self._connection.stop()
            raise

    async def close(self, *, flush: float = 5.0) -> None:
        """Detach; the session goes on. Waits at most `flush` seconds until what was sent has arrived."""
        if flush and self.state == "live":
            with contextlib.suppress(TimeoutError, errors.ClientError):
                await self.flush(flush)
        await self._connection.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(flush=0 if kind else 5.0)

    @property
    def state(self) -> Literal["idle", "connecting", "live", "reconnecting", "locked", "ended", "refused"]:
        """What the connection is doing."""
        return self._stream.state.name

    @property
    def token(self) -> str | None:
        """The newest attach token, with which this session can be attached to while the hub is away."""
        return self._stream.token

    @property
    def offset(self) -> int:
        """The offset behind the last byte that was received."""
        return self._received.stop

    # Input ------------------------------------------------------------------------------------------

    async def send(self, data: str | bytes) -> None:
        """Type this. It is kept until the session has it, through every cut, and typed exactly once.

        Waits while 64 KiB wait to be taken, so that a long text does not pile up here.
        """
        raw = data.encode() if isinstance(data, str) else data
        for at in range(0, len(raw), 16 * 1024):
            await self._until(lambda: self._stream.input.kept < 64 * 1024)
            before = self.input_lost
            self._connection.do(self._stream.type(raw[at : at + 16 * 1024]))
            if self.input_lost > before:
                raise errors.InputLost(
                    "You only watch this session; nothing was typed."
                    if self._stream.mode != "rw"
                    else "The session does not take input now."
                )

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until the session has everything that was sent; `InputLost` if some of it was given up."""
        before = self.input_lost
        await self._until(lambda: self._stream.input.kept == 0, timeout)
        if self.input_lost > before:
            raise errors.InputLost(f"{self.input_lost - before} bytes of input were given up.")

    async def resize(self, rows: int, cols: int) -> None:
        """Wish for a size; it counts only for a visible client."""
        self._connection.do(self._stream.resize(rows, cols))

    # Output -----------------------------------------------------------------------------------------

    def read(self, since: int | None = None, most: int | None = None) -> Chunk:
        """What was received from the offset `since` on (default: all that is kept), without waiting.

        `Chunk.stop` is the next `since`; `Chunk.lost` says how much of what was asked for is not kept.
        """
        return self._received.since(self._received.start if since is None else since, most)

    async def stream(self, since: int | None = None) -> AsyncIterator[Chunk]:
        """Chunks as they come, until the session ends. A chunk with `lost` follows a gap."""
        place = self._received.start if since is None else since
        epoch = self.epoch

        def more() -> bool:
            return self.offset > place or self.exit is not None or self.epoch != epoch

        while True:
            if self.epoch != epoch:
                epoch, place = self.epoch, 0
            chunk = self.read(place, FETCH)
            if chunk.data:
                place = chunk.stop
                yield chunk
            elif self.exit is not None:
                return
            else:
                await self._until(more, ended=False)

    async def wait_for(
        self, pattern: Pattern, timeout: float | None = None, *, since: int | None = None
    ) -> Found:
        """Wait for text (or a compiled bytes pattern) behind the last find, or from `since` on.

        The terminal echoes what is typed: wait for something that the command prints, not for itself.
        """
        if isinstance(pattern, str):
            pattern = pattern.encode()
        wanted = re.compile(re.escape(pattern)) if isinstance(pattern, bytes) else pattern
        if since is not None:
            self._cursor = since
        found: tuple[int, int, re.Match[bytes]] | None = None

        literal = isinstance(pattern, bytes)
        seen, epoch, took = self._cursor, self.epoch, 0.0

        def look() -> bool:
            nonlocal found, seen, epoch, took
            if epoch != self.epoch or not literal:  # what a pattern may match has no longest length
                seen, epoch = self._cursor, self.epoch
            begin = self._connection.now
            found = self._received.find(wanted, max(seen, self._cursor))
            took = self._connection.now - begin
            seen = max(seen, self.offset - len(wanted.pattern) + 1)
            return found is not None

        try:
            # A flood is not searched again and again for each piece that comes.
            await self._until(look, timeout, pause=lambda: 3 * took)
        except TimeoutError:
            tail = self.read(max(self.offset - 200, self._received.start)).text
            raise TimeoutError(f"{wanted.pattern!r} was not printed in {timeout} s; last: {tail!r}") from None
        assert found is not None  # noqa: S101 - what `look` returned
        self._cursor = found[1]
        return Found(*found)

    async def wait_exit(self, timeout: float | None = None) -> Exit:
        """Wait for the end of the session, however many cuts come before it."""
        await self._until(lambda: self.exit is not None, timeout, ended=False)
        assert self.exit is not None  # noqa: S101
        if self.exit.reason == "unknown" and self._how is not None:
            self.exit = await self._how()  # it ended while this client was away
        return self.exit

    async def fetch(self, start: int, stop: int, timeout: float | None = None) -> Chunk:
        """Bytes from the session's journal that were not received, such as a range in `skipped`.

        Returns what the journal still holds of the range's beginning, at most 256 KiB at once.
        """
        async with self._fetching:
            while True:
                await self._until(lambda: self.state == "live", timeout)
                self._fetch, self._fetch_done = [], None
                try:
                    self._connection.do(self._stream.fetch(start, min(stop, start + FETCH)))
                    await self._until(lambda: self._fetch_done or self.state != "live", timeout)
                    done, parts = self._fetch_done, self._fetch
                finally:
                    self._fetch = None
                if done is not None:
                    data = b"".join(part.data for part in parts)
                    return Chunk(done.start, data, max(0, done.start - start))

    # Events of the machine --------------------------------------------------------------------------

    def _handle(self, event: ev.Event) -> None:
        if isinstance(event, ev.Output):
            self._received.append(event.offset, event.data)
            self._parsed(event)
        elif isinstance(event, ev.KeyframePart):
            if event.last:
                self._received.restart(event.offset)
                self._do(self._stream.parsed(event.offset, event.generation, self._connection.now))
        elif isinstance(event, ev.ClearScreen):
            self._queries = Queries()
            self._received.restart(0)
            if self.epoch != self._stream.epoch:  # another process: what was found before means nothing now
                self.epoch = self._stream.epoch
                self._cursor = 0
        elif isinstance(event, ev.SkippedOutput):
            self.skipped.append((event.start, event.stop))
        elif isinstance(event, ev.FetchedOutput):
            if self._fetch is not None:
                self._fetch.append(event)
        elif isinstance(event, ev.FetchDone):
            self._fetch_done = event
        elif isinstance(event, ev.InputDropped):
            self.input_lost += event.size
        elif isinstance(event, ev.Ended):
            self.exit = event.exit
        elif isinstance(event, ev.StateChanged) and event.state.name == "ended":
            self.exit = self.exit or Exit(reason="unknown")
        if self._on_event is not None:
            self._on_event(event)

    def _parsed(self, event: ev.Output) -> None:
        mine = self._answers and self._stream.may_answer(event.offset, event.generation)
        for query in self._queries.feed(event.data):
            if mine and (answer := plain_answer(query)):
                self._do(self._stream.answer(answer, event.offset, event.generation))
        stop = event.offset + len(event.data)
        self._do(self._stream.parsed(stop, event.generation, self._connection.now))

    def _do(self, events: list[ev.Event]) -> None:
        self._connection.do(events)

    # Waiting ----------------------------------------------------------------------------------------

    async def _until(
        self,
        ready: Callable[[], object],
        timeout: float | None = None,
        *,
        ended: bool = True,
        pause: Callable[[], float] | None = None,
    ) -> None:
        """Wait until `ready()`; what makes it impossible is raised. `pause`: seconds before the next look."""
        async with asyncio.timeout(timeout):
            while not ready():
                self._raise(ended)
                self._changed.clear()
                await self._changed.wait()
                if pause is not None and (seconds := pause()) > _SHORT:
                    await asyncio.sleep(seconds)

    def _raise(self, ended: bool) -> None:
        state = self._stream.state
        if state.name == "refused" or (state.name == "locked" and not self._wait_when_locked):
            raise errors.of_close(state.code, state.message)
        if state.name == "ended":
            if ended:
                raise errors.of_exit(self.exit or Exit(reason="unknown"))
            return
        if state.name == "idle":
            raise errors.ClientError("This attachment was closed.")
