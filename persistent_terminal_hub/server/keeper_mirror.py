"""What the server keeps of a keeper's session: the facts, the mapped journal, and who is to be woken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from persistent_terminal_hub.keeper.client import Client
from persistent_terminal_hub.keeper.journal import Reader
from persistent_terminal_hub.keeper.subscription import Subscription as KeeperSubscription

ChangeKind = Literal[
    "created", "renamed", "resized", "attachment", "exited", "removed", "connected", "disconnected", "lock"
]


#: A session that printed more bytes per second than this, measured over so long, is looked at in pauses.
FLOOD_RATE = 10_000_000
WINDOW_SECONDS = 0.005
FLOOD_PAUSE = 0.001


@dataclass(slots=True)
class Info:
    """A session, as far as the server knows it now. Times are wall-clock seconds."""

    id: str
    name: str
    pid: int
    argv: list[str]
    cwd: str | None
    created: float
    #: Of the system's monotonic clock, which the keeper shares.
    created_monotonic: float
    epoch: int
    capacity: int
    cols: int
    rows: int
    #: Clients attached, of whatever kind, as the keeper counts them.
    attached: int = 0
    #: Offset at which the last client left; None while one is attached, or when the keeper does not say.
    unattended_from: int | None = None
    input_at: float | None = None
    output_at: float | None = None
    attached_at: float | None = None
    #: None while it runs; else `code`, `signal` (a number), `reason`, `at`.
    exit: dict[str, Any] | None = None
    busy: bool = False
    #: Monotonic: since when it is busy without a pause that anybody saw.
    busy_since: float | None = None
    #: Processes it was asked to watch: `pid`, `seconds` left.
    watched: list[dict[str, Any]] = field(default_factory=list)
    cwd_now: str | None = None
    foreground_name: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_model(cls, model: dict[str, Any]) -> Info:
        """From what the keeper answers."""
        info = cls(
            id=str(model["id"]),
            name=str(model["name"]),
            pid=int(model["pid"]),
            argv=list(model["argv"]),
            cwd=model["cwd"],
            created=float(model["created"][0]),
            created_monotonic=float(model["created"][1]),
            epoch=int(model["epoch"]),
            capacity=int(model["capacity"]),
            cols=int(model["cols"]),
            rows=int(model["rows"]),
        )
        info.update(model)
        return info

    def update(self, model: dict[str, Any]) -> None:
        """Take over what may have changed."""
        self.name = str(model["name"])
        self.cols, self.rows = int(model["cols"]), int(model["rows"])
        self.attached = int(model["attached"])
        self.unattended_from = model.get("unattended_from")
        clocks = model["clocks"]
        self.input_at = _later(self.input_at, clocks["input"])
        self.output_at = _later(self.output_at, clocks["output"])
        self.attached_at = _later(self.attached_at, clocks["attachment"])
        self.exit = model["exit"] or self.exit
        self.busy = bool(model["busy"])
        since = model.get("busy_since")  # an older keeper does not say
        self.busy_since = float(since[1]) if since else None
        self.watched = list(model.get("watched") or ())
        self.cwd_now = model["cwd_now"]
        self.foreground_name = model["foreground_name"]
        self.meta = dict(model["meta"])

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.exit is None

    def touch_input(self) -> None:
        """Input passes now."""
        self.input_at = time.time()


def _later(mine: float | None, theirs: list[float] | None) -> float | None:
    if theirs is None:
        return mine
    return float(theirs[0]) if mine is None else max(mine, float(theirs[0]))


class Change(NamedTuple):
    """Something happened to a session, or (``info`` is None) to the connection."""

    kind: ChangeKind
    info: Info | None
    old_name: str = ""


class Subscription:
    """One reader of a session's journal. Holds no position: whoever reads has an offset of his own."""

    def __init__(self, feed: Feed, on_wake: Callable[[], None]) -> None:
        self._feed: Feed | None = feed
        self.on_wake = on_wake

    @property
    def reader(self) -> Reader:
        """The journal. Ask anew each time: it is mapped again after a lost connection."""
        feed = self._feed
        if feed is None:
            raise ValueError("The subscription is closed.")
        return feed.reader if feed.mapped is None else feed.mapped.reader

    @property
    def flooding(self) -> bool:
        """Whether there is so much output that what can wait should."""
        return self._feed is not None and self._feed.flooding

    def close(self) -> None:
        """Stop being woken."""
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.unsubscribe(self)


class Feed:
    """A session's journal, mapped once for all readers of this server."""

    def __init__(self) -> None:
        self.info: Info | None = None
        #: The journal as it is mapped now.
        self.mapped: KeeperSubscription | None = None
        self._client: Client | None = None
        self._mapping: asyncio.Future[None] | None = None
        self._subscriptions: list[Subscription] = []
        self._head = 0
        self._since = 0.0  # when the time began in which `_grown` was printed
        self._grown = 0
        self._flood = False
        self._removed = False
        #: The session as it was when the journal was mapped.
        self.model: dict[str, Any] | None = None

    @property
    def reader(self) -> Reader:
        """The journal."""
        if self.mapped is None:
            raise ValueError("The journal is not mapped any more.")
        return self.mapped.reader

    def keeper_subscription_is_of(self, client: Client) -> bool:
        """Whether the wakes come over this connection."""
        return self._client is client and self._mapping is None

    async def map(self, client: Client, identity: str) -> None:
        """Map the journal, and be woken over ``client``. Concurrent calls wait for the same."""
        if self._mapping is None:
            self._mapping = asyncio.ensure_future(self._map(client, identity))
        mapping = self._mapping
        try:
            await asyncio.shield(mapping)
        finally:
            if mapping.done() and self._mapping is mapping:
                self._mapping = None

    async def _map(self, client: Client, identity: str) -> None:
        if self._client is client:
            return
        mapped = await client.subscribe(identity, self.wake)
        if self._removed:  # meanwhile
            mapped.close()
            return
        self._client = client
        self.adopt(mapped)

    def adopt(self, mapped: KeeperSubscription) -> None:
        """Take a mapping over; the one before is closed."""
        self.model = mapped.session
        before, self.mapped = self.mapped, mapped
        if before is not None:
            before.close()

    def wake(self) -> None:
        """There may be something new: tell everybody."""
        if self.mapped is None:
            return
        head = self.mapped.reader.head
        for subscription in tuple(self._subscriptions):
            subscription.on_wake()
        if head != self._head:  # afterwards: an echo does not wait for it
            self._pace(head - self._head)
            self._head = head
            if self.info is not None:
                self.info.output_at = time.time()

    @property
    def flooding(self) -> bool:
        """Whether the program prints more, just now, than anybody reads."""
        return self._flood and time.monotonic() - self._since < 10 * WINDOW_SECONDS

    def _pace(self, grown: int) -> None:
        """While a program floods its terminal, look at it once a millisecond and not for each 4 KiB that the
        kernel hands over: being woken costs more than what it is for."""
        now = time.monotonic()
        self._grown += grown
        passed = now - self._since
        if passed >= WINDOW_SECONDS:
            self._flood = self._grown > FLOOD_RATE * passed
            self._since, self._grown = now, 0
        if self._flood and self.mapped is not None:
            self.mapped.pause(FLOOD_PAUSE)

    def subscribe(self, on_wake: Callable[[], None]) -> Subscription:
        """Another reader. The latest is woken first: a client comes after what follows the session anyway."""
        subscription = Subscription(self, on_wake)
        self._subscriptions.insert(0, subscription)

        def first() -> None:
            if subscription in self._subscriptions:
                subscription.on_wake()

        asyncio.get_running_loop().call_soon(first)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """A reader is done."""
        self._subscriptions.remove(subscription)
        if self._removed and not self._subscriptions:
            self.abandon()

    def remove(self) -> None:
        """The session is gone; readers that are still at it keep the journal until they are done."""
        self._removed = True
        if self._subscriptions:
            self.wake()
        else:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the journal."""
        mapped, self.mapped = self.mapped, None
        if mapped is not None:
            mapped.close()
