"""The owner is there: told to the keeper, which holds the clock, about once a second.

Presence is terminal input that a person caused, what a person asks of a kernel, and the beacon of a page
(`api/presence`). It counts from the owner only, not from an administrator or a guest who looks in.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any, Final

from .automatic import is_automatic_answer
from .keeper_link import Change, KeeperLink

SETTING: Final = "persistent_terminals_presence"
#: Seconds between two messages to the keeper.
EVERY: Final = 1.0
#: What a page asks of a kernel because somebody does something.
KERNEL_REQUESTS: Final = frozenset({"execute_request", "input_reply", "complete_request", "inspect_request"})
_V1: Final = "v1.kernel.websocket.jupyter.org"
#: A header of a kernel's message is shorter than this.
MAX_HEADER: Final = 64 * 1024


class Presence:
    """Says it to the keeper; from the event loop's thread."""

    def __init__(self, link: KeeperLink) -> None:
        self._link = link
        self._sent = float("-inf")
        self._waiting = False
        #: Monotonic time of the last sign of the owner that this server saw.
        self.last: float | None = None
        link.on_change(self._on_change)

    def touch(self) -> None:
        """The owner did something now."""
        now = self.last = time.monotonic()
        if self._waiting:
            return
        if now - self._sent >= EVERY:
            self._send()
        else:
            self._waiting = True
            asyncio.get_running_loop().call_later(self._sent + EVERY - now, self._send)

    def typed(self, data: bytes) -> None:
        """Input of the owner's terminal."""
        if not is_automatic_answer(data):
            self.touch()

    def _send(self) -> None:
        self._waiting = False
        self._sent = time.monotonic()
        if self.last is not None:
            self._link.present_soon(self.last)

    def _on_change(self, change: Change) -> None:
        if change.kind == "connected" and self.last is not None:
            self._send()  # what happened while the keeper could not hear it


def is_owner(user: Any) -> bool:
    """Whether a request's user is whose workspace this is; without a hub, everybody who may come in."""
    return bool(user) and is_owners_name(getattr(user, "username", None))


def is_owners_name(name: str | None) -> bool:
    """The same by the user's name."""
    owner = os.environ.get("JUPYTERHUB_USER")
    return not owner or name == owner


def kernel_request(message: str | bytes, subprotocol: str | None) -> bool:
    """Whether a message of a page to a kernel shows that a person is there. Nonsense does not."""
    try:
        if subprotocol == _V1 and isinstance(message, bytes):
            count = int.from_bytes(message[:8], "little")
            if not 2 <= count <= 4096:
                return False
            begin, end = (int.from_bytes(message[8 * at : 8 * at + 8], "little") for at in (2, 3))
            header = json.loads(message[begin : min(end, begin + MAX_HEADER)])
        else:
            if isinstance(message, bytes):  # parts, the first of which is the message
                begin, end = int.from_bytes(message[4:8]), int.from_bytes(message[8:12])
                message = message[begin:] if int.from_bytes(message[:4]) == 1 else message[begin:end]
            header = json.loads(message)["header"]
        return header["msg_type"] in KERNEL_REQUESTS
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def listen_to_kernels(settings: dict[str, Any], presence: Presence) -> None:
    """Have every WebSocket of a kernel tell when its owner asks for something."""
    base: Any = settings["kernel_websocket_connection_class"]

    class AttendedConnection(base):
        """The server's connection class, and an ear at what the page says."""

        def handle_incoming_message(self, incoming_msg: str) -> None:
            handler = self.websocket_handler
            if is_owner(handler.current_user) and kernel_request(incoming_msg, self.subprotocol):
                presence.touch()
            super().handle_incoming_message(incoming_msg)

    AttendedConnection.__name__ = base.__name__
    settings["kernel_websocket_connection_class"] = AttendedConnection
