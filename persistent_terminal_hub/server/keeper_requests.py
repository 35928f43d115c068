"""What the server asks of the keeper about sessions that are there: attachment, signals, the end, figures."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, NamedTuple

from persistent_terminal_hub.keeper.client import KeeperError, KeeperGone

from .keeper_input import InputLine
from .keeper_lock import LockRequests
from .keeper_mirror import Info


class Attachment(NamedTuple):
    """What the keeper says when a client is attached."""

    ack: int  # the last input of this client that was accepted
    epoch: int
    start: int
    end: int
    cols: int
    rows: int


class KeeperRequests(LockRequests):
    """The part of :class:`~.keeper_link.KeeperLink` that only sends requests; the rest keeps the state."""

    def __init__(self) -> None:
        super().__init__()
        self._sessions: dict[str, Info] = {}
        self._attached: set[tuple[str, str]] = set()
        self._lines: dict[tuple[str, str], InputLine] = {}

    async def ready(self, seconds: float = 15.0) -> None:
        """Wait until there is a connection."""
        raise NotImplementedError

    async def _call(self, op: str, **fields: Any) -> Any:
        await self.ready()
        client = self._client
        if client is None:
            raise KeeperGone("The connection to the keeper is lost.")
        return await client.call(op, **fields)

    def answer(self, identity: str, client: str, seq: int, data: bytes) -> None:
        """Hand over an answer of the server itself: numbers may skip, refusals do not matter."""
        if self._client is not None and self._client.is_open:
            fields = {"session": identity, "client": client, "seq": seq, "sparse": True}
            ignore(self._client.send("input", data, **fields))

    # -- attachment ----------------------------------------------------------------------------------
    async def attached(self, identity: str, client: str) -> Attachment:
        """Note that a client is there; what is known of its input. Raises KeeperError, KeeperGone."""
        self._attached.add((identity, client))
        header = await self._attach(identity, client)
        fields = ("ack", "epoch", "start", "end", "cols", "rows")
        return Attachment(*(int(header[field]) for field in fields))

    async def _attach(self, identity: str, client: str) -> dict[str, Any]:
        pair = (identity, client)
        try:
            while True:
                await self.ready()
                if self._client is None or pair not in self._attached:
                    raise KeeperGone("The client has left meanwhile.")
                with contextlib.suppress(KeeperGone):  # connected again: ask again
                    return (await self._client.call("attach", session=identity, client=client)).header
        except (KeeperError, KeeperGone):
            self._attached.discard(pair)
            raise

    def attach_soon(self, identity: str, client: str) -> None:
        """The same for a client whose input is not known to the keeper, without waiting."""
        self._attached.add((identity, client))
        if self._client is not None and self._client.is_open:
            ignore(self._client.send("attach", session=identity, client=client))

    def detached(self, identity: str, client: str) -> None:
        """Note that a client is gone (it may come back: its input numbers stay known)."""
        self._attached.discard((identity, client))
        for key, line in list(self._lines.items()):
            if key[0] == identity and line.idle and key not in self._attached:
                del self._lines[key]
        if self._client is not None and self._client.is_open:
            ignore(self._client.send("detach", session=identity, client=client))

    # -- sessions ------------------------------------------------------------------------------------
    async def annotate(self, identity: str, meta: dict[str, Any]) -> None:
        """Let the keeper keep something with a session."""
        merged = (await self._call("annotate", session=identity, meta=meta)).header["meta"]
        if identity in self._sessions:
            self._sessions[identity].meta = dict(merged)

    async def signal(self, identity: str, number: int, to: str = "foreground") -> None:
        """Send a signal to the `foreground` programs, the `shell`, or the whole `session`."""
        await self._call("signal", session=identity, signal=number, to=to)

    def signal_soon(self, identity: str, number: int, to: str = "foreground") -> None:
        """The same without waiting."""
        if self._client is not None and self._client.is_open:
            ignore(self._client.send("signal", session=identity, signal=number, to=to))

    async def end(self, identity: str, reason: str = "terminated", grace: float | None = None) -> None:
        """Ask a session to end: HUP, then TERM, then KILL. The change `exited` follows."""
        await self._call("end", session=identity, reason=reason, grace=grace)

    async def refresh(self, identity: str) -> Info:
        """Ask the keeper for what no event tells: clocks, directory, foreground program. Raises KeyError."""
        model = (await self._call("get", session=identity)).header["session"]
        info = self._sessions[identity]
        info.update(model)
        return info

    async def stats(self) -> dict[str, Any]:
        """The keeper's counters."""
        return dict((await self._call("stats")).header)


def ignore(future: asyncio.Future[Any]) -> None:
    """Take note of a failure that does not matter."""
    future.add_done_callback(lambda done: None if done.cancelled() else done.exception() and None)
