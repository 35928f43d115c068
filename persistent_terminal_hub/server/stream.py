"""The streams of all sessions: who is attached to what, whose size counts, who answers queries.

A `SessionRoom` is one session with its attached clients; it has the journal mapped while somebody is there.
`Streams` finds the rooms. The keeper is behind `stream_link.KeeperLink`, each client in `stream_client`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Any, Final

from persistent_terminal_hub.keeper.client import KeeperError
from persistent_terminal_hub.keeper.journal import Reader
from persistent_terminal_hub.protocol.arbiter import Arbiter, SizePolicy
from persistent_terminal_hub.protocol.codes import MAX_COLS, MAX_ROWS, Code, Limits
from persistent_terminal_hub.protocol.journal_view import JournalView, SizeRecord
from persistent_terminal_hub.protocol.messages import Attach, Exit, Focus, Message, Renamed, Resize, Visible
from persistent_terminal_hub.protocol.server_stream import DEFAULT_LIMITS

from .stream_client import StreamClient, Transport
from .stream_keyframes import KeyframeSource, Maker
from .stream_link import Event, KeeperLink, Source
from .stream_pump import Pump

log = logging.getLogger(__name__)

#: Clients of one session; each costs a socket and a few kilobytes.
MAX_CLIENTS: Final = 64
_WORD: Final = re.compile(r"[a-z0-9_.-]{1,64}")


class SessionRoom:
    """One session and its attached clients."""

    def __init__(self, streams: Streams, session: str) -> None:
        self.session = session
        self.view = JournalView("", 0, 0, [])
        self._streams = streams
        self._link = streams.link
        self._source: Source | None = None
        self._reader: Reader | None = None
        self._keyframes: KeyframeSource | None = None
        self._inside: set[StreamClient] = set()  # who is in, or on the way
        self._members: dict[str, StreamClient] = {}  # the newest connection of each client
        self._arbiter = Arbiter(streams.policy)
        self._resize_count = -1
        self._known_from = 0  # the oldest offset whose size is known
        self._wanted: tuple[int, int] | None = None  # the size that was asked for last
        self._door = asyncio.Lock()
        self._ended: Exit | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # For clients (stream_client.Room) ---------------------------------------------------------------

    @property
    def reader(self) -> Reader:
        """The journal."""
        if self._reader is None:
            raise RuntimeError("nobody is in this room")
        return self._reader

    def refresh(self) -> None:
        """Bring the view up to date: first the head, so that a size is known for every byte before it."""
        reader, view = self._reader, self.view
        if reader is None:
            return
        view.head = reader.head
        if reader.resize_count != self._resize_count:
            self._resize_count = reader.resize_count
            view.resizes = [SizeRecord(r.offset, r.rows, r.cols) for r in reader.resizes()]
            self._known_from = view.resizes[0].offset
        view.floor = min(max(reader.floor, self._known_from), view.head)

    def enter(self, client: StreamClient, request: Attach) -> None:
        """A client attaches."""
        self._inside.add(client)
        self._begin(self._admit(client, request))

    def leave(self, client: StreamClient) -> None:
        """A client is gone; it may have been replaced already."""
        if self._members.get(client.name) is client:
            del self._members[client.name]
            self._arbiter.leave(client.name)
            self._link.detach(self.session, client.name)
            self._decide()
        if client in self._inside:
            self._inside.remove(client)
            self._begin(self._close_if_empty())

    def heard(self, client: StreamClient, message: Message) -> None:
        """Size, visibility, focus."""
        arbiter = self._arbiter
        if isinstance(message, Resize):
            arbiter.resize(client.name, message.rows, message.cols)
        elif isinstance(message, Visible):
            arbiter.visible(client.name, message.visible)
        elif isinstance(message, Focus):
            arbiter.active(client.name)
        else:
            return  # attach tokens are not checked yet
        self._decide()

    def typed(self, client: StreamClient) -> None:
        """The client that types is the one whose size counts."""
        if len(self._arbiter) > 1:
            self._arbiter.active(client.name)
            self._decide()

    def input(self, client: StreamClient, seq: int, data: bytes) -> asyncio.Future[int]:
        """Hand input to the keeper."""
        return self._link.input(self.session, client.name, seq, data)

    def keyframe(self, client: StreamClient, near: int) -> None:
        """A client needs one."""
        self._begin(self._give_keyframe(client, near))

    async def _give_keyframe(self, client: StreamClient, near: int) -> None:
        frame = None if self._keyframes is None else await self._keyframes.get(near)
        if client.closed:
            return
        if frame is None:
            client.keyframe_unavailable()
        else:
            client.keyframe(frame.offset, frame.data, frame.rows, frame.cols)

    # Coming and going -------------------------------------------------------------------------------

    async def _admit(self, client: StreamClient, request: Attach) -> None:
        try:
            if client.closed:
                return
            older = self._members.get(request.client)
            if older is None and len(self._members) >= MAX_CLIENTS:
                client.shut(Code.TRY_LATER, f"This session has {MAX_CLIENTS} clients already.")
                return
            self._members[request.client] = client
            if older is not None:
                older.shut(Code.TAKEN_OVER, "A newer connection of the same client took its place.")
            async with self._door:
                await self._open()
            # The answer comes behind those to all input that was handed over before.
            input_ack = await self._link.attach(self.session, request.client)
            if not client.closed and self._members.get(request.client) is client:
                self._welcome(client, request, input_ack)
            elif request.client not in self._members:
                self._link.detach(self.session, request.client)
        except KeeperError as error:
            gone = error.code == "not_found"
            client.shut(Code.NO_SESSION if gone else Code.TRY_LATER, str(error))
        except OSError:  # KeeperGone is one
            client.shut(Code.TRY_LATER, "The keeper of this workspace cannot be reached; it is tried again.")
        except Exception:
            log.exception("A client could not be attached.")
            client.shut(Code.INTERNAL, "The server made a mistake.")
        finally:
            await self._close_if_empty()

    def _welcome(self, client: StreamClient, request: Attach, input_ack: int) -> None:
        self.refresh()
        self._arbiter.join(
            request.client,
            rows=request.rows,
            cols=request.cols,
            writes=request.mode == "rw",
            visible=request.visible,
            resumed=request.epoch == self.view.epoch,
        )
        responder = self._arbiter.decide().responder == request.client
        client.admit(mode=request.mode, input_ack=input_ack, responder=responder)
        if self._ended is not None:
            client.end(self._ended)
        self._decide()

    async def _open(self) -> None:
        if self._source is not None:
            return
        self._source = source = await self._link.subscribe(self.session, self.woken)
        self._reader = reader = source.reader
        self._resize_count = -1
        self._wanted = None
        self.view.epoch = f"{reader.epoch:x}"
        self.refresh()
        self._keyframes = KeyframeSource(
            self._streams.maker, reader, lambda: self._link.redraw(self.session), self._keyframes
        )
        known = self._link.sessions.get(self.session, {})
        self._ended = exit_of(known.get("exit"))

    async def _close_if_empty(self) -> None:
        async with self._door:
            if self._inside or self._source is None:
                return
            source, self._source = self._source, None
            if self._keyframes is not None:
                await self._keyframes.close()
            self._reader = None
            source.close()

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What happens -----------------------------------------------------------------------------------

    def woken(self) -> None:
        """There is something new in the journal."""
        for client in list(self._members.values()):
            client.kick()
        keyframes = self._keyframes
        if keyframes is not None and self.view.head >= keyframes.checkpoint_at:
            keyframes.grown(self.view.head)

    def _decide(self) -> None:
        """Apply what the arbiter says."""
        decision = self._arbiter.decide()
        self.refresh()
        for name, client in self._members.items():
            client.set_responder(name == decision.responder)
        size = decision.size
        if size is None or self._ended is not None or self._reader is None:
            return
        size = (min(size[0], MAX_ROWS), min(size[1], MAX_COLS))
        now = self.view.resizes[-1]
        if size != (self._wanted or (now.rows, now.cols)):
            self._wanted = size
            self._link.resize(self.session, size[1], size[0])

    def event(self, event: Event) -> None:
        """What the keeper told of this session."""
        kind = event["event"]
        members = list(self._members.values())
        if kind == "input_ready":
            for client in members:
                client.input_room()
        elif kind == "resized":
            self._wanted = None  # whoever did it, the next decision is compared with what is
        elif kind == "renamed":
            for client in members:
                client.tell(Renamed(event["name"]))
        elif kind == "exited":
            self._ended = exit_of(event["exit"]) or Exit(reason="ended")
            self.refresh()
            for client in members:
                client.end(self._ended)
        elif kind == "removed":
            for client in members:
                client.shut(Code.ENDED, "The session has ended.")

    def shut_all(self, code: Code, reason: str) -> None:
        """Close every connection."""
        for client in list(self._members.values()):
            client.shut(code, reason)


class Streams:
    """Every room of this server."""

    def __init__(
        self,
        link: KeeperLink,
        maker: Maker,
        *,
        policy: SizePolicy = "latest",
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.link = link
        self.maker = maker
        self.policy: SizePolicy = policy
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._pump = Pump(self._loop)
        self._rooms: dict[str, SessionRoom] = {}
        link.on_change(self._on_event)

    def find(self, key: str) -> str | None:
        """The id of the session with this id or name; a running one of that name first."""
        sessions = self.link.sessions
        if key in sessions:
            return key
        named = [known for known in sessions.values() if known["name"] == key]
        named.sort(key=lambda known: known["state"] == "ended")
        return str(named[0]["id"]) if named else None

    def connect(self, session: str, transport: Transport) -> StreamClient:
        """A new connection to a session; the client's attach comes first."""
        room = self._rooms.get(session)
        if room is None:
            room = self._rooms[session] = SessionRoom(self, session)
        return StreamClient(room, transport, self._pump, self._loop, self._limits)

    def _on_event(self, event: Event) -> None:
        kind = event["event"]
        if kind == "gone":
            self.shut_all(Code.REATTACH, "The keeper of this workspace cannot be reached.")
            self._rooms.clear()
            return
        session = event["session"]
        room = self._rooms.get(session) if isinstance(session, str) else None
        if room is not None:
            room.event(event)
            if kind == "removed":
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
