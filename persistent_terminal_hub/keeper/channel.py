"""A connection to the keeper, as both of its clients use it: requests out, answers and descriptors in."""

from __future__ import annotations

import os
import socket
from array import array
from collections import deque
from typing import Any, NamedTuple

from persistent_terminal_hub.keeper import wire

_RECEIVE_BYTES = 64 * 1024
_FDS_ROOM = socket.CMSG_SPACE(16 * array("i").itemsize)

Event = dict[str, Any]


class KeeperError(Exception):
    """The keeper refused. ``code`` is for programs, the text for people, ``header`` the whole answer."""

    def __init__(self, header: wire.Header) -> None:
        super().__init__(str(header.get("message", "The keeper refused.")))
        self.code = str(header.get("error", "error"))
        self.header = header


class KeeperGone(ConnectionError):
    """The connection to the keeper is lost."""


class Reply(NamedTuple):
    """An answer; whoever gets ``fds`` owns them."""

    header: wire.Header
    payload: bytes
    fds: tuple[int, ...]


class Channel:
    """Numbering of requests, frames and descriptors in, answers sorted out."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._decoder = wire.Decoder()
        self._fds: deque[int] = deque()
        self._last_id = 0

    def request(self, op: str, payload: bytes, fields: dict[str, Any]) -> tuple[int, bytes]:
        """Its number, and what to send."""
        self._last_id += 1
        return self._last_id, wire.encode({"op": op, "id": self._last_id, **fields}, payload)

    def receive(self) -> list[Reply | wire.Ack]:
        """One receive; raises BlockingIOError, KeeperGone, WireError."""
        try:
            # Descriptors must not leak into programs that the server starts.
            data, ancillary, _, _ = self.sock.recvmsg(_RECEIVE_BYTES, _FDS_ROOM, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            raise
        except OSError as error:
            raise KeeperGone(f"The keeper cannot be reached ({error.strerror}).") from None
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array("i")
                received.frombytes(content[: len(content) - len(content) % received.itemsize])
                self._fds.extend(received)
        if not data:
            raise KeeperGone("The keeper closed the connection.")
        self._decoder.feed(data)
        return [self._reply(frame) for frame in self._decoder.frames()]

    def _reply(self, frame: wire.Frame | wire.Input | wire.Ack) -> Reply | wire.Ack:
        if not isinstance(frame, wire.Frame):
            if isinstance(frame, wire.Ack):
                return frame
            raise wire.WireError("the keeper does not type")
        # Descriptors come with the first byte of their frame, so they are here when it is complete.
        count = frame.header.get("fds", 0)
        if not isinstance(count, int) or not 0 <= count <= len(self._fds):
            raise wire.WireError("descriptors are missing")
        return Reply(frame.header, frame.payload, tuple(self._fds.popleft() for _ in range(count)))

    def close(self) -> None:
        """Disconnect; descriptors that nobody asked for are closed, too."""
        self.sock.close()
        while self._fds:
            os.close(self._fds.popleft())
