"""What the server asks of the keeper about sessions that are there: attachment, signals, the end, figures."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, NamedTuple

from persistent_terminal_hub.keeper.channel import KeeperError, KeeperGone

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
        #: (session, client) by the number under which the present connection takes its input.
        self._numbered: dict[int, tuple[str, str]] = {}

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
                    answer = await self._client.call("attach", session=identity, client=client)
                    self._named(pair, answer.header)
                    return answer.header
        except (KeeperError, KeeperGone):
            self._attached.discard(pair)
            raise

    def attach_soon(self, identity: str, client: str) -> None:
        """The same for a client whose input is not known to the keeper, without waiting."""
        self._attached.add((identity, client))
        self._attach_soon((identity, client))

    def _attach_soon(self, pair: tuple[str, str]) -> None:
        keeper = self._client
        if keeper is None or not keeper.is_open:
            return

        def answered(done: asyncio.Future[Any]) -> None:
            if not done.cancelled() and done.exception() is None and self._client is keeper:
                self._named(pair, done.result().header)

        keeper.send("attach", session=pair[0], client=pair[1]).add_done_callback(answered)

    def _named(self, pair: tuple[str, str], answer: dict[str, Any]) -> None:
        """An attach was answered; a keeper that is older than short names gives none."""
        number = answer.get("line")
        if isinstance(number, int) and pair in self._attached:
            self._numbered[number] = pair
            self._line(pair).number = number

    def _line(self, pair: tuple[str, str]) -> InputLine:
        line = self._lines.get(pair)
        if line is None:
            line = self._lines[pair] = InputLine(self._send_input, *pair)
        return line

    def _send_input(self, line: InputLine, seq: int, data: bytes) -> bool:
        keeper = self._client
        if keeper is None or not keeper.is_open:
            return False
        if line.number is not None:
            keeper.type(line.number, seq, data)
        else:
            sent = keeper.input(line.session, line.client, seq, data)
            sent.add_done_callback(lambda done: line.answered(done, seq))
        return True

    def _on_ack(self, number: int, seq: int) -> None:
        line = self._lines.get(self._numbered.get(number, ("", "")))
        if line is not None:
            line.accepted(seq)

    def _on_refused(self, error: KeeperError) -> None:
        line = self._lines.get(self._numbered.get(error.header.get("line", 0), ("", "")))
        if line is not None:
            line.refused(error, int(error.header.get("seq", 0)))

    def detached(self, identity: str, client: str) -> None:
        """Note that a client is gone (it may come back: its input numbers stay known)."""
        self._attached.discard((identity, client))
        for key, line in list(self._lines.items()):
            if key[0] == identity and key not in self._attached:
                line.number = None
                if line.idle:
                    del self._lines[key]
        if self._client is not None and self._client.is_open:
            numbers = [number for number, pair in self._numbered.items() if pair == (identity, client)]

            def answered(done: asyncio.Future[Any]) -> None:  # and so is all input before it
                _ = done.cancelled() or done.exception()
                for number in numbers:
                    self._numbered.pop(number, None)

            self._client.send("detach", session=identity, client=client).add_done_callback(answered)

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
