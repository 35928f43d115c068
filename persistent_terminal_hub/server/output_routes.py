"""`persistent-terminals/api/sessions/{session}/output`: what a session printed, to keep or to read."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from jupyter_server.auth.decorator import authorized
from jupyter_server.utils import url_path_join
from tornado import iostream, web

from .api import SessionsHandler
from .errors import SessionError
from .output_text import output_text
from .past_sessions import PastSession
from .session import PersistentPty

#: Bytes that are sent at a time: another session's echo waits for no more.
PIECE = 256 * 1024
#: What is copied in one go; of a larger journal, the output that still grows may overtake the reader.
MOST_AT_ONCE = 16 * 1024 * 1024
#: Newest bytes that are made into text; that is done in one go.
MOST_TEXT = 8 * 1024 * 1024
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")


class Kept(NamedTuple):
    """The bytes [start, stop) of a session's output, and how to get some of them: `read(offset, most)`,
    empty when they are gone."""

    start: int
    stop: int
    read: Callable[[int, int], Awaitable[bytes]]


class Output(SessionsHandler):
    """The bytes that are kept, as a file; `format=text`: without control sequences."""

    @web.authenticated
    @authorized
    async def get(self, key: str) -> None:
        """Send it, up to what was there when it was asked for."""
        form = self.get_query_argument("format", "raw")
        if form not in ("raw", "text"):
            raise SessionError(422, "`format` is raw or text.")
        found = await self.sessions.find_any(key)
        most = MOST_TEXT if form == "text" else None
        kept = of_past(found, most) if isinstance(found, PastSession) else of_journal(found, most)
        name = _UNSAFE.sub("_", found.info.name) + (".txt" if form == "text" else ".log")
        self.set_header("Content-Disposition", f'attachment; filename="{name}"')
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")
        self.set_header("PTH-Start", str(kept.start))
        self.set_header("PTH-Stop", str(kept.stop))
        if form == "text":
            data = await kept.read(kept.start, kept.stop - kept.start)
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(await asyncio.to_thread(output_text, data))
            return
        self.set_header("Content-Type", "application/octet-stream")
        # Should output overtake us, less comes than was announced, and the receiver knows.
        self.set_header("Content-Length", str(kept.stop - kept.start))
        try:
            await self._send(kept)
        except iostream.StreamClosedError:
            return

    async def _send(self, kept: Kept) -> None:
        offset = kept.start
        while offset < kept.stop:
            piece = await kept.read(offset, min(PIECE, kept.stop - offset))
            if not piece:
                self.log.warning(
                    "The output of a session was overtaken while it was sent; the rest is missing."
                )
                self.request.connection.stream.close()  # type: ignore[union-attr]
                return
            self.write(piece)
            await self.flush()
            offset += len(piece)
        self.finish()


def of_past(session: PastSession, most: int | None) -> Kept:
    """From the file."""
    start = session.start if most is None else max(session.start, session.stop - most)

    def read(offset: int, count: int) -> bytes:
        try:
            with session.path.open("rb") as file:
                file.seek(session.place + offset - session.start)
                return file.read(count)
        except FileNotFoundError:  # forgotten meanwhile
            return b""

    return Kept(start, session.stop, lambda offset, count: asyncio.to_thread(read, offset, count))


def of_journal(session: PersistentPty, most: int | None) -> Kept:
    """From shared memory."""
    reader = session.subscription.reader
    head, floor = reader.head, reader.floor
    most = reader.capacity - reader.capacity // 16 if most is None else most
    start = max(floor, head - most)
    if head - start > MOST_AT_ONCE:

        async def read(offset: int, count: int) -> bytes:
            chunk = session.subscription.reader.read(offset, count)
            return b"" if chunk.lost else chunk.data

        return Kept(start, head, read)
    chunk = reader.read(start, head - start)

    async def copied(offset: int, count: int) -> bytes:
        return chunk.data[offset - chunk.start :][:count]

    return Kept(chunk.start, chunk.end, copied)


def handlers(base_url: str) -> list[tuple[str, type[SessionsHandler]]]:
    """The route under the server's base URL."""
    root = url_path_join(base_url, "/persistent-terminals/api/sessions")
    return [(root + r"/([^/]+)/output", Output)]
