"""The server's connection to the keeper: a mirror of its sessions, their journals, and the way in.

One connection for the whole server. It is made again whenever it is lost; the mirror, the subscriptions,
the attachments and the input under way survive that, because the keeper names sessions, bytes and input
by numbers that do not change. Nothing here looks at a byte.

The face, for the manager and for the sockets (all on the event loop's thread):

- ``await link.ready()``: connected, and the mirror is complete;
- ``link.sessions``, ``link.by_name(name)``: what is there, ended sessions included;
- ``link.subscribe(id, on_wake)``: read the journal, and be called when there is something new in it;
- ``link.attached(id, client)`` / ``link.detached(id, client)``: who is there;
- ``link.input(id, client, seq, data, taken)``: hand input over, exactly once;
- ``link.create``, ``resize``, ``rename``, ``signal``, ``end``, ``remove``: as the keeper's operations;
- ``link.lock``, ``link.lock_now``, ``link.unlock``, ``link.present`` ...: see `keeper_lock`;
- ``link.on_change(callback)``: be told what happens to sessions, whoever did it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from persistent_terminal_hub.keeper.blocking_client import BlockingClient
from persistent_terminal_hub.keeper.channel import KeeperError, KeeperGone
from persistent_terminal_hub.keeper.client import Client
from persistent_terminal_hub.keeper.journal import JournalError

from .keeper_input import SessionOver, Taken
from .keeper_mirror import Change, ChangeKind, Feed, Info, Subscription
from .keeper_requests import Attachment, KeeperRequests, ignore

__all__ = [
    "Attachment",
    "Change",
    "ChangeKind",
    "Info",
    "KeeperError",
    "KeeperGone",
    "KeeperLink",
    "SessionOver",
    "Subscription",
]

_log = logging.getLogger(__name__)

#: Seconds between attempts to connect: doubled from the first to the last.
FIRST_WAIT, LAST_WAIT = 0.05, 2.0
#: Attempts to connect before somebody is told.
SILENT_ATTEMPTS = 20
#: Ended sessions that the keeper remembers until they are deleted.
ENDED_KEPT = 100


class KeeperLink(KeeperRequests):
    """See the module. ``start`` brings a keeper up when nothing answers at ``path``, where we may do so."""

    def __init__(self, path: Path, start: Callable[[], Awaitable[None]] | None = None) -> None:
        super().__init__()
        self.path = path
        self._start_keeper = start
        self._ready = asyncio.Event()
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._feeds: dict[str, Feed] = {}
        self.sessions: Mapping[str, Info] = MappingProxyType(self._sessions)
        self._callbacks: list[Callable[[Change], None]] = []
        self._tasks: set[asyncio.Future[Any]] = set()
        # What was told of sessions while their journal was being mapped.
        self._early: dict[str, list[dict[str, Any]]] = {}
        self.reconnects = -1

    # -- the connection ------------------------------------------------------------------------------
    def start(self) -> None:
        """Connect, and stay connected. From the event loop."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    async def ready(self, seconds: float = 15.0) -> None:
        """Wait until the mirror is complete. Raises :class:`KeeperGone` with a sentence."""
        if self._ready.is_set():
            return
        try:
            async with asyncio.timeout(seconds):
                await self._ready.wait()
        except TimeoutError:
            raise KeeperGone(
                "The keeper of this workspace's terminals does not answer. Try again; if that does not help, "
                "restart the workspace."
            ) from None

    @property
    def connected(self) -> bool:
        """Whether the mirror is up to date."""
        return self._ready.is_set()

    async def close(self) -> None:
        """Disconnect. Sessions go on."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for other in list(self._tasks):
            other.cancel()
        self._ready.clear()
        for feed in self._feeds.values():
            feed.abandon()
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _run(self) -> None:
        wait, attempts = FIRST_WAIT, 0
        while True:
            try:
                await self._connect()
            except (OSError, KeeperError, TimeoutError, JournalError) as error:
                self._disconnected()
                attempts += 1
                if attempts == 1 and self._start_keeper is not None:
                    await self._start_keeper()
                    continue
                if attempts == SILENT_ATTEMPTS:
                    _log.error("The keeper of the terminals does not answer at %s (%s).", self.path, error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, LAST_WAIT)
                continue
            wait, attempts = FIRST_WAIT, 0
            await self._lost.wait()
            self._disconnected()
            _log.warning("The connection to the keeper was lost; connecting again.")
            self._tell(Change("disconnected", None))

    def _disconnected(self) -> None:
        self._ready.clear()
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def _connect(self) -> None:
        self._lost.clear()
        client = self._client = await Client.connect(self.path)
        client.on_close = self._lost.set
        client.on_ack, client.on_refused = self._on_ack, self._on_refused
        self._numbered.clear()
        for line in self._lines.values():
            line.number = None
        # Events that come while the list is read are newer than the list: keep them until it is taken in.
        early: list[dict[str, Any]] = []
        await client.watch(early.append)
        await self._learn_lock(client)
        ignore(client.send("configure", ended_kept=ENDED_KEPT))
        models = await client.list()
        known = {model["id"] for model in models}
        for identity in [key for key in self._sessions if key not in known]:
            self._removed(identity)
        for model in models:
            await self._take_in(client, model)
        client.on_event = self._on_event
        for event in early:
            self._on_event(event)
        if not client.is_open:
            raise KeeperGone("The connection to the keeper is lost.")
        self.reconnects += 1
        for pair in self._attached:
            self._attach_soon(pair)
        self._ready.set()
        self._tell(Change("connected", None))  # a resize that was lost goes before the input that caused it
        for line in list(self._lines.values()):
            line.resend()

    async def _take_in(self, client: Client, model: dict[str, Any]) -> Info | None:
        """Map a session's journal and put it into the mirror; None if it is gone already."""
        identity = str(model["id"])
        feed = self._feeds.get(identity)
        info = self._sessions.get(identity)
        if feed is not None and info is not None and feed.keeper_subscription_is_of(client):
            return info
        feed = feed or Feed()
        self._feeds[identity] = feed
        try:
            await feed.map(client, identity)
        except KeeperError:
            if identity not in self._sessions:
                self._feeds.pop(identity, None)
                self._early.pop(identity, None)
            return None
        model = feed.model or model
        info = self._sessions.get(identity)
        if info is None:
            info = self._sessions[identity] = Info.from_model(model)
            feed.info = info
            self._tell(Change("created", info))
        else:
            ended_before = info.exit is not None
            renamed_from = info.name
            info.update(model)
            if info.name != renamed_from:
                self._tell(Change("renamed", info, old_name=renamed_from))
            if info.exit is not None and not ended_before:
                self._tell(Change("exited", info))
        for event in self._early.pop(identity, ()):
            self._on_event(event)
        feed.wake()
        return info

    # -- what the keeper tells -----------------------------------------------------------------------
    def _on_event(self, event: dict[str, Any]) -> None:
        kind = event.get("event")
        if kind == "lock":
            self._take_lock(event)
            return
        if kind == "created":
            client = self._client
            if client is not None:
                self._spawn(self._take_in(client, event["session"]))
            return
        identity = str(event.get("session"))
        if kind == "removed":
            self._removed(identity)
            return
        info = self._sessions.get(identity)
        if info is None:
            if identity in self._feeds:  # it is being mapped
                self._early.setdefault(identity, []).append(event)
            return
        if kind == "renamed":
            old, info.name = info.name, str(event["name"])
            if old != info.name:
                self._tell(Change("renamed", info, old_name=old))
        elif kind == "resized":
            info.cols, info.rows = int(event["cols"]), int(event["rows"])
            self._tell(Change("resized", info))
        elif kind == "attachment":
            info.attached = int(event["attached"])
            info.attached_at = float(event["at"][0])
            self._tell(Change("attachment", info))
        elif kind == "input_ready":
            for key, line in list(self._lines.items()):
                if key[0] == identity:
                    line.resend()
        elif kind == "exited" and info.exit is None:
            info.exit = dict(event["exit"])
            self._fail_input(identity, f"Session {info.name!r} has ended.")
            self._tell(Change("exited", info))
            self._feeds[identity].wake()

    def _removed(self, identity: str) -> None:
        feed = self._feeds.pop(identity, None)
        info = self._sessions.pop(identity, None)
        self._fail_input(identity, "The session is gone.")
        self._attached = {pair for pair in self._attached if pair[0] != identity}
        if info is not None:
            if info.exit is None:  # it was in the mirror, and the keeper does not know it any more
                info.exit = {"code": None, "signal": None, "reason": "lost", "at": None}
                self._tell(Change("exited", info))
            self._tell(Change("removed", info))
        if feed is not None:
            feed.remove()

    def _fail_input(self, identity: str, sentence: str) -> None:
        for key in [key for key in self._lines if key[0] == identity]:
            self._lines.pop(key).fail(SessionOver(sentence))

    def on_change(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call ``callback`` with every change; returns what stops that."""
        self._callbacks.append(callback)

        def stop() -> None:
            with contextlib.suppress(ValueError):
                self._callbacks.remove(callback)

        return stop

    def _tell(self, change: Change) -> None:
        for callback in list(self._callbacks):
            try:
                callback(change)
            except Exception:  # one listener's mistake is not another's
                _log.exception("A listener failed on %s.", change.kind)

    def _spawn(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), BaseException):
            _log.debug("The keeper did not answer: %s", error)

    # -- finding -------------------------------------------------------------------------------------
    def by_name(self, name: str) -> Info | None:
        """The running session of this name, else the one that was started last."""
        found = [info for info in self._sessions.values() if info.name == name]
        return next((info for info in found if info.running), found[-1] if found else None)

    # -- output --------------------------------------------------------------------------------------
    def subscribe(self, identity: str, on_wake: Callable[[], None]) -> Subscription:
        """Read a session's journal. Raises KeyError if there is no such session.

        ``on_wake`` is called when there is something new (bytes, a resize, the end), and once soon.
        Close it when it is not needed any more.
        """
        if identity not in self._sessions:
            raise KeyError(identity)
        return self._feeds[identity].subscribe(on_wake)

    # -- input ---------------------------------------------------------------------------------------
    def input(self, identity: str, client: str, seq: int, data: bytes, taken: Taken) -> None:
        """Hand input over; ``taken`` is called with the last number accepted when this one is.

        Number a client's messages without gaps and call in their order. What the keeper cannot take now is
        held here and sent again, also after a lost connection; so wait when much is on its way. ``taken``
        gets :class:`SessionOver` when the session has ended, KeeperError for a message that can never be
        taken (``too_large``, ``gap``).
        """
        info = self._sessions.get(identity)
        if info is None or info.exit is not None:
            taken(SessionOver("The session has ended."))
            return
        self._line((identity, client)).put(seq, data, taken)
        info.touch_input()

    # -- operations ----------------------------------------------------------------------------------
    async def create(self, **fields: Any) -> Info:
        """Start a session; the fields are those of the keeper's `create`."""
        reply = await self._call("create", **fields)
        return await self._created(reply.header["session"])

    async def _created(self, model: dict[str, Any]) -> Info:
        client = self._client
        info = None if client is None else await self._take_in(client, model)
        if info is None:
            raise KeeperGone("The session was started, and was gone before it could be looked at.")
        return info

    def create_blocking(self, **fields: Any) -> Info:
        """The same for a caller that cannot wait for a coroutine: blocks the loop for some milliseconds."""
        client = BlockingClient(self.path)
        try:
            model = client.call("create", **fields).header["session"]
            identity = str(model["id"])
            feed = self._feeds.setdefault(identity, Feed())
            # This connection's eventfd dies with it; the mapping stays, and our own comes with the event.
            feed.adopt(client.subscribe(identity))
            model = feed.model or model
        finally:
            client.close()
        info = self._sessions.get(identity)
        if info is None:
            info = self._sessions[identity] = feed.info = Info.from_model(model)
            self._tell(Change("created", info))
        return info

    async def resize(self, identity: str, cols: int, rows: int) -> int:
        """Set the size; the offset from which on it holds."""
        return int((await self._call("resize", session=identity, cols=cols, rows=rows)).header["offset"])

    def resize_soon(self, identity: str, cols: int, rows: int, answered: Callable[[bool], None]) -> None:
        """The same without waiting, before all input handed over later; ``answered`` gets whether it was."""
        keeper = self._client
        if keeper is None or not keeper.is_open:
            answered(False)
            return

        def sort_out(done: asyncio.Future[Any]) -> None:  # a session that ends meanwhile does not matter
            answered(not done.cancelled() and not isinstance(done.exception(), KeeperGone))

        keeper.send("resize", session=identity, cols=cols, rows=rows).add_done_callback(sort_out)

    def redraw_soon(self, identity: str) -> None:
        """Make a full-screen program draw its screen anew."""
        if self._client is not None and self._client.is_open:
            ignore(self._client.send("redraw", session=identity))

    async def rename(self, identity: str, name: str) -> None:
        """Give a session another name."""
        await self._call("rename", session=identity, name=name)
        info = self._sessions.get(identity)
        if info is not None and info.name != name:
            old, info.name = info.name, name
            self._tell(Change("renamed", info, old_name=old))

    async def remove(self, identity: str) -> None:
        """Forget a session that has ended."""
        await self._call("remove", session=identity)
        self._removed(identity)
