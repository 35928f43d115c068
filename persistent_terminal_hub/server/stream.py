"""The streams of all sessions: who is attached to what by `pth.v1`.

A `SessionRoom` is one session with its attached clients; it reads the journal while somebody is there.
`Streams` finds the rooms. The keeper is behind `keeper_link`, each client in `stream_client`; whose size
holds and who answers queries is decided in `attachments`, together with the clients of the stock protocol.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final

from persistent_terminal_hub.keeper.journal import Reader
from persistent_terminal_hub.protocol.codes import MAX_COLS, MAX_ROWS, Code, Limits
from persistent_terminal_hub.protocol.journal_view import JournalView, SizeRecord, decide_attach
from persistent_terminal_hub.protocol.messages import (
    Attach,
    Exit,
    Focus,
    Message,
    Renamed,
    Resize,
    Skipped,
    Visible,
)
from persistent_terminal_hub.protocol.server_stream import DEFAULT_LIMITS

from .answers import ANSWER_TAIL, ANSWERER, waited_for
from .attachments import Attachments
from .keeper_link import Change, Info, KeeperError, KeeperLink, Subscription
from .stream_client import StreamClient, Transport
from .stream_keyframes import KeyframeSource, Maker
from .stream_pump import Pump

log = logging.getLogger(__name__)

#: Clients of one session; each costs a socket and a few kilobytes.
MAX_CLIENTS: Final = 64
#: A new session is announced, then its journal is asked for: two round trips.
LOOKS: Final = 4
_WORD: Final = re.compile(r"[a-z0-9_.-]{1,64}")

FindAttachments = Callable[[Info], Attachments]


class SessionRoom:
    """One session and its attached clients."""

    def __init__(self, streams: Streams, session: str) -> None:
        self.session = session
        self.view = JournalView("", 0, 0, [])
        self.attachments: Attachments
        self._streams = streams
        self._link = streams.link
        self._loop = asyncio.get_running_loop()
        self._source: Subscription | None = None
        self._keyframes: KeyframeSource | None = None
        self._inside: set[StreamClient] = set()  # who is in, or on the way
        self._members: dict[str, StreamClient] = {}  # the newest connection of each client
        self._resize_count = -1
        self._known_from = 0  # the oldest offset whose size is known
        self._exit: Exit | None = None
        self._door = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    # For clients (stream_client.Room) ---------------------------------------------------------------

    @property
    def reader(self) -> Reader:
        """The journal; asked for anew each time, because it is mapped again after a lost connection."""
        if self._source is None:
            raise RuntimeError("nobody is in this room")
        return self._source.reader

    def refresh(self) -> None:
        """Bring the view up to date: first the head, so that a size is known for every byte before it."""
        if self._source is None:
            return
        reader, view = self._source.reader, self.view
        head, floor, count = reader.look()
        if count != self._resize_count:
            self._resize_count = count
            view.resizes = [SizeRecord(r.offset, r.rows, r.cols) for r in reader.resizes()]
            self._known_from = view.resizes[0].offset
        if floor < self._known_from:
            floor = self._known_from
        view.head, view.floor = head, floor if floor < head else head

    def enter(self, client: StreamClient, request: Attach) -> None:
        """A client attaches."""
        self._inside.add(client)
        self._begin(self._admit(client, request))
        # In the same turn of the loop, behind the question to the keeper: while that is on its way.
        self._loop.call_soon(self._foresee, client, request)

    def _foresee(self, client: StreamClient, request: Attach) -> None:
        """Have the keyframe ready that this attach will ask for."""
        if client.closed or self._door.locked():
            return
        try:
            self._open()
        except (KeyError, OSError):
            return  # `_admit` tells
        self.refresh()
        start = decide_attach(request, self.view, self._streams.limits.replay_whole)
        if start.offset is None and self._keyframes is not None:
            self._keyframes.prepare()

    def leave(self, client: StreamClient) -> None:
        """A connection is gone; its client may have a newer one already."""
        if client not in self._inside:
            return
        self._inside.remove(client)
        if self._members.get(client.name) is client:
            del self._members[client.name]
            self._link.detached(self.session, client.name)
            if self._source is not None:
                self.attachments.leave(client.name, client)
        if not self._inside:
            self._begin(self._close_if_empty())

    def heard(self, client: StreamClient, message: Message) -> None:
        """Size, visibility, focus."""
        if isinstance(message, Resize):
            self.attachments.resize(client.name, min(message.rows, MAX_ROWS), min(message.cols, MAX_COLS))
        elif isinstance(message, Visible):
            self.attachments.visible(client.name, message.visible)
        elif isinstance(message, Focus):
            self.attachments.active(client.name)

    def typed(self, client: StreamClient) -> None:
        """The client that types is the one whose size counts."""
        if len(self.attachments) > 1:
            self.attachments.active(client.name)

    def input(self, client: StreamClient, seq: int, data: bytes) -> None:
        """Hand input to the keeper."""
        self._link.input(self.session, client.name, seq, data, client.taken)
        if client.of_owner:  # after the key is on its way
            self._streams.typed(data)

    def skipped(self, client: StreamClient, skipped: Skipped) -> None:
        """A question among these bytes would be answered by nobody, and its program wait for ever."""
        reader, stop = self.reader, skipped.stop
        if self.attachments.responder != client.name or reader.head != stop:
            return
        last = reader.read(max(skipped.start, stop - ANSWER_TAIL), ANSWER_TAIL)
        for answer in waited_for(last.data, last.start):
            self._link.answer(self.session, ANSWERER, answer.offset, answer.data)

    def keyframe(self, client: StreamClient, near: int) -> None:
        """A client needs one."""
        frame = None if self._keyframes is None else self._keyframes.at_once()
        if frame is None:
            self._begin(self._give_keyframe(client, near))
        else:
            client.keyframe(frame)

    async def _give_keyframe(self, client: StreamClient, near: int) -> None:
        frame = None if self._keyframes is None else await self._keyframes.get(near)
        if client.closed:
            return
        if frame is None:
            client.keyframe_unavailable()
        else:
            client.keyframe(frame)

    # Coming and going -------------------------------------------------------------------------------

    async def _admit(self, client: StreamClient, request: Attach) -> None:
        name = request.client
        try:
            if client.closed:
                return
            older = self._members.get(name)
            if older is None and len(self._members) >= MAX_CLIENTS:
                client.shut(Code.TRY_LATER, f"This session has {MAX_CLIENTS} clients already.")
                return
            self._members[name] = client
            if older is not None:
                older.shut(Code.TAKEN_OVER, "A newer connection of the same client took its place.")
            # The answer comes behind those to all input that was handed over before.
            attachment = await self._link.attached(self.session, name)
            async with self._door:
                self._open()
            if not client.closed and self._members.get(name) is client:
                self._welcome(client, request, attachment.ack)
            elif name not in self._members:
                self._link.detached(self.session, name)
        except KeyError:
            client.shut(Code.NO_SESSION, "There is no such session.")
        except KeeperError as error:
            client.shut(Code.NO_SESSION if error.code == "not_found" else Code.TRY_LATER, str(error))
        except OSError as error:  # KeeperGone is one
            client.shut(Code.TRY_LATER, str(error))
        except Exception:
            log.exception("A client could not be attached.")
            client.shut(Code.INTERNAL, "The server made a mistake.")
        finally:
            await self._close_if_empty()

    def _welcome(self, client: StreamClient, request: Attach, input_ack: int) -> None:
        self.refresh()
        self.attachments.join(
            client.name,
            client,
            rows=request.rows,
            cols=request.cols,
            writes=request.mode == "rw",
            visible=request.visible,
            resumed=request.epoch == self.view.epoch,
        )
        responder = self.attachments.responder == client.name
        client.admit(mode=request.mode, input_ack=input_ack, responder=responder)
        for message in self._streams.greeting(self.session):
            client.tell(message)
        if self._exit is not None:
            client.end(self._exit)

    def _open(self) -> None:
        """Begin to read. Raises KeyError if the session is gone."""
        if self._source is not None:
            return
        info = self._link.sessions[self.session]
        self.attachments = self._streams.attachments_of(info)
        self._source = self._link.subscribe(self.session, self.woken)
        self._resize_count = -1
        self._exit = exit_of(info.exit)
        self.view.epoch = f"{self.reader.epoch:x}"
        self.refresh()
        self._keyframes = KeyframeSource(
            self._streams.maker,
            lambda: self.reader,
            lambda: self._link.redraw_soon(self.session),
            self._keyframes,
        )

    async def _close_if_empty(self) -> None:
        async with self._door:
            if self._inside or self._source is None:
                return
            if self._keyframes is not None:
                await self._keyframes.close()
            source, self._source = self._source, None
            source.close()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What happens -----------------------------------------------------------------------------------

    def woken(self) -> None:
        """There is something new in the journal."""
        for client in list(self._members.values()):
            client.kick()
        keyframes = self._keyframes
        if keyframes is not None and self.view.head >= keyframes.wake_at:
            keyframes.grown(self.view.head)

    def changed(self, change: Change) -> None:
        """What the keeper told of this session."""
        members = list(self._members.values())
        if change.kind == "renamed" and change.info is not None:
            for client in members:
                client.tell(Renamed(change.info.name))
        elif change.kind == "exited" and change.info is not None:
            self._exit = exit_of(change.info.exit) or Exit(reason="ended")
            for client in members:
                client.end(self._exit)
        elif change.kind == "removed":
            for client in members:
                client.shut(Code.ENDED, "The session has ended.")

    def tell_all(self, message: Message) -> None:
        """Something for every person here."""
        for client in list(self._members.values()):
            client.tell(message)

    def shut_all(self, code: Code, reason: str) -> None:
        """Close every connection."""
        for client in list(self._inside):
            client.shut(code, reason)


class Streams:
    """Every room of this server.

    `attachments_of` gives what stock clients of a session share with ours, `former` a session by an old name.
    """

    def __init__(
        self,
        link: KeeperLink,
        maker: Maker,
        attachments_of: FindAttachments,
        former: Callable[[str], str | None] = lambda _name: None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.link = link
        self.maker = maker
        self.attachments_of = attachments_of
        self._former = former
        self.limits = limits
        self._loop = asyncio.get_running_loop()
        self._pump = Pump(self._loop)
        self._rooms: dict[str, SessionRoom] = {}
        #: Called with what an owner types; and who says what a client that attaches must know.
        self.typed: Callable[[bytes], None] = lambda _data: None
        self.greeting: Callable[[str], Iterable[Message]] = lambda _session: ()
        link.on_change(self._changed)

    def find(self, key: str) -> str | None:
        """The id of the session with this id or name; a running one of that name first."""
        if key in self.link.sessions:
            return key
        named = [info for info in self.link.sessions.values() if info.name == key]
        if named:
            return min(named, key=lambda info: info.exit is not None).id
        return self._former(key)

    async def look_for(self, key: str) -> str | None:
        """The same; a session that somebody else made a moment ago may still be on its way to the mirror."""
        for _ in range(LOOKS):
            if (found := self.find(key)) is not None:
                return found
            await self.link.stats()  # what the keeper told before its answer is known then
        return self.find(key)

    def connect(self, session: str, transport: Transport) -> StreamClient:
        """A new connection to a session; the client's attach comes first."""
        room = self._rooms.get(session)
        if room is None:
            room = self._rooms[session] = SessionRoom(self, session)
        return StreamClient(room, transport, self._pump, self._loop, self.limits)

    def notice(self, session: str | None, message: Message) -> None:
        """Tell everybody attached to a session, or (None) to any."""
        for room in list(self._rooms.values()):
            if session in (None, room.session):
                room.tell_all(message)

    def _changed(self, change: Change) -> None:
        room = None if change.info is None else self._rooms.get(change.info.id)
        if room is not None:
            room.changed(change)
            if change.kind == "removed":
                del self._rooms[room.session]

    def shut_all(self, code: Code, reason: str) -> None:
        """Close every connection, of every session."""
        for room in list(self._rooms.values()):
            room.shut_all(code, reason)


def exit_of(told: Mapping[str, Any] | None) -> Exit | None:
    """The protocol's word for what the keeper tells of an exit."""
    if told is None:
        return None
    reason = str(told.get("reason") or "")
    return Exit(
        code=told.get("code"),
        signal=told.get("signal"),
        reason=reason if _WORD.fullmatch(reason) else None,
    )
