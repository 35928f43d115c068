"""The SDK without async: the same calls, for scripts and notebooks.

An event loop in a thread of its own does the work, so connections stay alive and come back while the caller
does something else. One loop serves all; it ends with the process.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from functools import cache
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from persistent_terminal_hub.protocol.messages import Exit

from . import api, session
from .api import SessionInfo
from .received import Chunk
from .session import Found, Pattern

T = TypeVar("T")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="pth-client", daemon=True).start()
    return loop


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Do it in the loop's thread; an interrupted caller cancels it."""
    future = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


class Attachment:
    """See `session.Attachment`."""

    def __init__(self, inner: session.Attachment) -> None:
        self._inner = inner

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _run(self._inner.__aexit__(kind, error, trace))

    @property
    def state(self) -> str:
        """What the connection is doing."""
        return self._inner.state

    @property
    def offset(self) -> int:
        """The offset behind the last byte that was received."""
        return self._inner.offset

    @property
    def exit(self) -> Exit | None:
        """How the session ended, if it has."""
        return self._inner.exit

    @property
    def skipped(self) -> list[tuple[int, int]]:
        """Ranges of the stream that did not come by themselves; `fetch` may get them."""
        return list(self._inner.skipped)

    def send(self, data: str | bytes) -> None:
        """Type this, exactly once, whatever happens to the connection."""
        _run(self._inner.send(data))

    def flush(self, timeout: float | None = None) -> None:
        """Wait until the session has everything that was sent."""
        _run(self._inner.flush(timeout))

    def resize(self, rows: int, cols: int) -> None:
        """Wish for a size; it counts only for a visible client."""
        _run(self._inner.resize(rows, cols))

    def read(self, since: int | None = None, most: int | None = None) -> Chunk:
        """What was received from the offset `since` on, without waiting."""

        async def read() -> Chunk:  # in the loop's thread, because it appends there
            return self._inner.read(since, most)

        return _run(read())

    def stream(self, since: int | None = None) -> Iterator[Chunk]:
        """Chunks as they come, until the session ends."""
        chunks = self._inner.stream(since)

        async def following() -> Chunk | None:
            return await anext(chunks, None)

        while (chunk := _run(following())) is not None:
            yield chunk

    def wait_for(self, pattern: Pattern, timeout: float | None = None, *, since: int | None = None) -> Found:
        """Wait for text behind the last find, or from `since` on."""
        if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
            raise TypeError("The stream is bytes: compile a bytes pattern.")
        return _run(self._inner.wait_for(pattern, timeout, since=since))

    def wait_exit(self, timeout: float | None = None) -> Exit:
        """Wait for the end of the session."""
        return _run(self._inner.wait_exit(timeout))

    def fetch(self, start: int, stop: int, timeout: float | None = None) -> Chunk:
        """Bytes from the session's journal that were not received."""
        return _run(self._inner.fetch(start, stop, timeout))

    def close(self) -> None:
        """Detach; the session goes on."""
        _run(self._inner.close())


class _Closing(Protocol):
    async def aclose(self) -> None: ...


Inner = TypeVar("Inner", bound=_Closing)


class Connected(Generic[Inner]):
    """Something with connections of its own, which end with a `with`."""

    def __init__(self, inner: Inner) -> None:
        self._inner = inner

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        _run(self._inner.aclose())


class Workspace(Connected[api.Workspace]):
    """See `api.Workspace`; `find_workspace` makes one."""

    @classmethod
    def at(cls, url: str, token: str) -> Self:
        """The workspace at this address."""

        async def make() -> api.Workspace:
            return api.Workspace(url, token)

        return cls(_run(make()))

    def list(self) -> list[SessionInfo]:
        """All sessions: running ones, oldest first, then ended ones."""
        return _run(self._inner.list())

    def get(self, session: str) -> SessionInfo:
        """One session, by id or name."""
        return _run(self._inner.get(session))

    def create(
        self,
        name: str | None = None,
        *,
        argv: Sequence[str] | None = None,
        shell: str | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        rows: int | None = None,
        cols: int | None = None,
    ) -> SessionInfo:
        """Start a session; without `argv` it is a shell."""
        return _run(self._inner.create(name, argv=argv, shell=shell, cwd=cwd, env=env, rows=rows, cols=cols))

    def ensure(self, name: str, **wishes: Any) -> tuple[SessionInfo, bool]:
        """The running session of this name, made if there is none; and whether it was made."""
        return _run(self._inner.ensure(name, **wishes))

    def rename(self, session: str, name: str) -> SessionInfo:
        """Give a session another name."""
        return _run(self._inner.rename(session, name))

    def delete(self, session: str) -> None:
        """End a running session; forget an ended one."""
        _run(self._inner.delete(session))

    def output(self, session: str) -> Chunk:
        """The bytes that are kept of what a session printed, also of one that has ended."""
        return _run(self._inner.output(session))

    def output_text(self, session: str) -> str:
        """The newest of them as lines to read."""
        return _run(self._inner.output_text(session))

    def attach(self, session: str, **options: Any) -> Attachment:
        """Attach to a running session; the options are those of `session.Attachment`."""
        return Attachment(_run(self._inner.attach(session, **options)))


def find_workspace(
    name: str = "",
    user: str | None = None,
    *,
    hub: str | None = None,
    server: str | None = None,
    start: bool = False,
) -> Workspace:
    """The workspace that the arguments, the environment or the token file lead to."""
    return Workspace(_run(api.find_workspace(name, user, hub=hub, server=server, start=start)))
