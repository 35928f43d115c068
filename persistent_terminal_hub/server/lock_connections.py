"""What is open to this server, so that a lock can close it: requests that are not answered, and WebSockets.

One entry for each connection, kept as long as the connection lives: the request on it that came last. (The
next one is read only when the last byte of the answer before it has left.) Closing is final at once: what
waits in a buffer is thrown away, and nothing that still arrives is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, Protocol, runtime_checkable
from weakref import WeakKeyDictionary, ref

from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream
from tornado.websocket import WebSocketHandler

#: Seconds that a WebSocket's client has for its half of the goodbye.
LINGER: Final = 2.0
#: Bytes of a close frame's reason.
_REASON: Final = 120
# Reset instead of a proper end: the kernel throws away what the client has not taken yet.
_NO_LINGER: Final = struct.pack("ii", 1, 0)


@runtime_checkable
class Closable(Protocol):
    """A WebSocket handler with its own way to say goodbye."""

    def shut_by_lock(self, code: int, reason: str) -> None:
        """Tell the client and close; nothing else is sent, and nothing more is taken in."""


class _Entry:
    """The last request of a connection. Refers to nothing that refers to the connection, or neither of them
    would ever be let go."""

    __slots__ = ("_handler", "may_stay")

    def __init__(self, may_stay: bool) -> None:
        self.may_stay = may_stay
        self._handler: ref[WebSocketHandler] | None = None

    def served_by(self, handler: object) -> None:
        """Who serves it is known now."""
        if isinstance(handler, WebSocketHandler):
            self._handler = ref(handler)

    @property
    def socket(self) -> WebSocketHandler | None:
        """The handler of a WebSocket that is open."""
        handler = None if self._handler is None else self._handler()
        return handler if handler is not None and handler.ws_connection is not None else None


class _Noting(HTTPMessageDelegate):
    """Passes a request on, and notes which handler was made for it."""

    def __init__(self, inner: HTTPMessageDelegate, entry: _Entry) -> None:
        self._inner = inner
        self._entry = entry

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        self._inner.finish()
        self._entry.served_by(getattr(self._inner, "handler", None))

    def on_connection_close(self) -> None:
        self._inner.on_connection_close()


class Connections:
    """See the module."""

    def __init__(self) -> None:
        self._entries: WeakKeyDictionary[IOStream, _Entry] = WeakKeyDictionary()

    def note(
        self, request: HTTPServerRequest, delegate: HTTPMessageDelegate, *, may_stay: bool
    ) -> HTTPMessageDelegate:
        """A request is admitted; returns what is to serve it.

        `may_stay`: its answer says nothing that a lock must hide.
        """
        stream = getattr(request.connection, "stream", None)
        if not isinstance(stream, IOStream):
            return delegate
        entry = self._entries[stream] = _Entry(may_stay)
        return _Noting(delegate, entry) if request.headers.get("Upgrade") else delegate

    def websockets(self) -> int:
        """How many WebSockets are open."""
        return sum(entry.socket is not None for _, entry in self._open())

    def close_all(self, code: int, reason: str) -> int:
        """Close every WebSocket with `code`, cut every answer under way; how many there were."""
        closed = 0
        for stream, entry in list(self._open()):
            if entry.may_stay:
                continue
            entry.may_stay = True  # its end has begun; told twice, nobody would hear why
            closed += 1
            handler = entry.socket
            if handler is None or stream.writing():
                _reset(stream)  # also when a WebSocket's client is slow: what it has not got, it does not get
            else:
                _close_socket(handler, stream, code, reason)
        return closed

    def _open(self) -> Iterator[tuple[IOStream, _Entry]]:
        for stream, entry in self._entries.items():
            if not stream.closed():
                yield stream, entry


def _close_socket(handler: WebSocketHandler, stream: IOStream, code: int, reason: str) -> None:
    short = reason.encode()[:_REASON].decode(errors="ignore")
    if isinstance(handler, Closable):
        closing: Callable[[int, str], None] = handler.shut_by_lock
    else:
        closing = handler.close
        # Tornado takes in messages until the client has answered the goodbye; these are not looked at.
        handler.on_message = _ignore  # type: ignore[assignment]
    try:
        closing(code, short)
    except Exception:  # whatever an extension made of it: the connection ends
        _reset(stream)
        return
    asyncio.get_running_loop().call_later(LINGER, _close, stream)


def _ignore(*_: Any) -> None:
    """Nothing."""


def _close(stream: IOStream) -> None:
    if not stream.closed():
        stream.close()


def _reset(stream: IOStream) -> None:
    """End a connection now; its client gets nothing more of what was written to it."""
    with contextlib.suppress(OSError, AttributeError, ValueError):
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    stream.close()
