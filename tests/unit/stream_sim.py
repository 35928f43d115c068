"""A simulated keeper, server, network and clients around the two stream machines, in virtual time.

The keeper keeps what really happened; every client checks each thing it is given against that at once.
Everything travels as encoded frames.
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

from persistent_terminal_hub.protocol import client_events as ev
from persistent_terminal_hub.protocol import server_actions as act
from persistent_terminal_hub.protocol.arbiter import Arbiter
from persistent_terminal_hub.protocol.client_stream import ClientStream
from persistent_terminal_hub.protocol.codes import Code, Limits
from persistent_terminal_hub.protocol.frames import Kind, encode_output
from persistent_terminal_hub.protocol.journal_view import JournalView, SizeRecord
from persistent_terminal_hub.protocol.messages import Focus, Keyframe, Resize, Visible, encode
from persistent_terminal_hub.protocol.server_stream import ServerStream

QUERY = 0x05  # ENQ stands for every query of a terminal

SMALL = Limits(
    chunk=48, window_min=32, window_max=256, window_start=64, replay_whole=64, fetch=64, lag_min=64,
    input_frame=16, input_window=40, input_unwritten=4096, input_kept=8192, ack_bytes=16,
)  # fmt: skip


class World:
    """Virtual time."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 100.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.log: list[str] = []

    def at(self, when: float, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, what))

    def after(self, delay: float, what: Callable[[], None]) -> None:
        self.at(self.now + delay, what)

    def run(self, until: float) -> None:
        heap = self._heap
        while heap and heap[0][0] <= until:
            when, _, what = heapq.heappop(heap)
            self.now = max(self.now, when)
            what()
        self.now = until


class Keeper:
    """The truth: every stream in full, what of it the ring still holds, sizes, and input by client."""

    def __init__(self, world: World, capacity: int) -> None:
        self.world = world
        self.capacity = capacity
        self.streams: dict[str, bytearray] = {}
        self.sizes: dict[str, list[SizeRecord]] = {}
        self.received: dict[str, list[tuple[str, bytes]]] = {}  # client -> (epoch, data)
        self.last: dict[str, int] = {}
        self.view = JournalView("", 0, 0, [])
        self.restart()

    def restart(self) -> None:
        rows, cols = (24, 80) if not self.streams else self.size
        epoch = f"{len(self.streams) + 1:x}"
        self.streams[epoch] = bytearray()
        self.sizes[epoch] = [SizeRecord(0, rows, cols)]
        view = self.view
        view.epoch, view.floor, view.head, view.resizes = epoch, 0, 0, self.sizes[epoch]

    @property
    def size(self) -> tuple[int, int]:
        last = self.view.resizes[-1]
        return last.rows, last.cols

    def append(self, data: bytes) -> None:
        view = self.view
        self.streams[view.epoch] += data
        view.floor = max(view.floor, view.head + len(data) - self.capacity)
        view.head += len(data)

    def resize(self, rows: int, cols: int) -> None:
        if (rows, cols) != self.size:
            self.sizes[self.view.epoch].append(SizeRecord(self.view.head, rows, cols))

    def write(self, client: str, epoch: str, seq: int, data: bytes) -> None:
        last = self.last.get(client)
        if epoch == self.view.epoch and (last is None or seq > last):
            assert last is None or seq == last + 1, "a gap in the numbers of input"
            self.last[client] = seq
            self.received.setdefault(client, []).append((epoch, data))


class Line:
    """One connection: two ordered directions with delays; it can be cut at any byte."""

    def __init__(self, world: World, host: Host, client: Client, cut_at: tuple[int, int] | None) -> None:
        self.world, self.host, self.client = world, host, client
        self.alive = True
        self.server_gone = self.client_gone = False
        self.cut_at = cut_at  # (direction, byte): everything from that byte on is lost
        self.sent = [0, 0]
        self._last = [world.now, world.now]
        self.stalled_until = 0.0
        self.stream: ServerStream = ServerStream(world.now, host.limits)
        self.name = ""

    def send(self, direction: int, frame: str | bytes) -> None:
        """Direction 0: to the server, 1: to the client."""
        if not self.alive:
            return
        self.sent[direction] += len(frame) + 2
        if self.cut_at and self.cut_at[0] == direction and self.sent[direction] > self.cut_at[1]:
            self.cut(silent=False)
            return
        self._deliver(direction, lambda: self._arrive(direction, frame))

    def _deliver(self, direction: int, what: Callable[[], None]) -> None:
        world = self.world
        when = max(self._last[direction], world.now + world.random.random() * self.client.latency)
        if direction == 1:
            when = max(when, self.stalled_until)
        self._last[direction] = when
        world.at(when, what)

    def _arrive(self, direction: int, frame: str | bytes) -> None:
        if not self.alive:
            return
        if direction == 0:
            self.host.receive(self, frame)
        elif not self.client_gone:
            self.client.do(self.client.stream.receive(frame, self.world.now))

    def close(self, direction: int, code: int) -> None:
        """One side closes in order; the other hears of it after what was sent before."""
        if direction == 1:
            self.server_gone = True
            self._deliver(1, lambda: self._closed_for_client(code))
        else:
            self.client_gone = True
            self._deliver(0, lambda: self.host.gone(self))

    def _closed_for_client(self, code: int) -> None:
        if self.alive and not self.client_gone:
            self.alive = False
            self.client_gone = True
            self.client.do(self.client.stream.closed(code, self.world.now))

    def cut(self, silent: bool) -> None:
        """TCP is gone. Silent: nobody is told, the heartbeat has to find out."""
        if not self.alive:
            return
        self.alive = False
        if silent:
            return
        random = self.world.random.random
        self.world.after(random() * 0.5, lambda: self.host.gone(self))
        self.world.after(random() * 0.5, self._broken_for_client)

    def _broken_for_client(self) -> None:
        if not self.client_gone:
            self.client_gone = True
            self.client.do(self.client.stream.closed(1006, self.world.now))


class Host:
    """What the Jupyter server does around `ServerStream`; it can be killed and forgets everything then."""

    def __init__(self, world: World, keeper: Keeper, limits: Limits = SMALL) -> None:
        self.world, self.keeper, self.limits = world, keeper, limits
        self.up = True
        self.lines: list[Line] = []
        self.arbiter = Arbiter()
        self.keyframe_lag = 40
        self.keyframe_fails = 0.0
        self.life = 0  # counts servers: late news for a dead one is dropped
        self._to_keeper = world.now
        self.data_bytes = 0

    def kill(self) -> None:
        """SIGKILL: what is already in the keeper's socket is still read, everything else is lost."""
        self.up = False
        self.life += 1
        self._to_keeper = self.world.now  # the next server's socket is another one, and may be read sooner
        lines, self.lines = self.lines, []
        self.arbiter = Arbiter(self.arbiter.policy)
        for line in lines:
            line.cut(silent=False)

    def start(self) -> None:
        self.up = True

    def accept(self, line: Line) -> None:
        self.lines.append(line)
        self.arm(line)

    def gone(self, line: Line) -> None:
        if line not in self.lines:
            return
        self.lines.remove(line)
        if line.name and not any(other.name == line.name for other in self.lines):
            self.arbiter.leave(line.name)
            self.decide()

    def receive(self, line: Line, frame: str | bytes) -> None:
        if line in self.lines and not line.server_gone:
            self.do(line, line.stream.receive(frame, self.world.now))
            self.pump(line)

    def do(self, line: Line, actions: list[act.Action]) -> None:
        for action in actions:
            self.one(line, action)

    def one(self, line: Line, action: act.Action) -> None:
        world, view, stream = self.world, self.keeper.view, line.stream
        if isinstance(action, act.Send):
            line.send(1, encode(action.message))
        elif isinstance(action, act.SendData):
            assert action.start >= view.floor
            data = bytes(self.keeper.streams[view.epoch][action.start : action.stop])
            self.data_bytes += len(data)
            line.send(1, encode_output(Kind.STREAM, action.start, data))
            stream.sent(action.stop, world.now)
        elif isinstance(action, act.SendFrame):
            line.send(1, action.frame)
        elif isinstance(action, act.SendFetched):
            data = bytes(self.keeper.streams[view.epoch][action.start : action.stop])
            line.send(1, encode_output(Kind.FETCHED, action.start, data))
            self.do(line, stream.fetched(True))
        elif isinstance(action, act.RequestKeyframe):
            self._later(line, world.random.random() * 0.3, lambda: self._keyframe(line))
        elif isinstance(action, act.Admit):
            client = action.request.client
            for other in self.lines:
                if other.name == client and other is not line:
                    self.do(other, other.stream.refuse(Code.TAKEN_OVER, "A newer connection."))
            line.name = client
            # The question queues behind input that an older connection of this server passed on.
            self._keeper(lambda: self._reply(line, lambda: self._admit(line)))
        elif isinstance(action, act.WriteInput):
            self._keeper(lambda: self._write(line, action))
        elif isinstance(action, act.Heard):
            message = action.message
            if isinstance(message, Resize):
                self.arbiter.resize(line.name, message.rows, message.cols)
            elif isinstance(message, Visible):
                self.arbiter.visible(line.name, message.visible)
            elif isinstance(message, Focus):
                self.arbiter.active(line.name)
            self.decide()
        elif isinstance(action, act.Shut):
            line.close(1, action.code)
            self.gone(line)

    def _later(self, line: Line, delay: float, what: Callable[[], None]) -> None:
        life = self.life

        def run() -> None:
            if self.life == life and line in self.lines:
                what()
                self.pump(line)

        self.world.after(delay, run)

    def _keeper(self, what: Callable[[], None]) -> None:
        random = self.world.random.random
        delay = random() * (0.01 if random() > 0.02 else 3)  # now and then the keeper is slow
        self._to_keeper = max(self._to_keeper, self.world.now + delay)
        self.world.at(self._to_keeper, what)

    def _reply(self, line: Line, what: Callable[[], None]) -> None:
        self._later(line, self.world.random.random() * 0.01, what)

    def _write(self, line: Line, action: act.WriteInput) -> None:
        self.keeper.write(action.client, action.epoch, action.seq, action.data)
        seq = action.seq
        self._reply(line, lambda: self.do(line, line.stream.input_written(seq)))
        if line in self.lines:
            self.arbiter.active(action.client)
            self.decide()

    def _admit(self, line: Line) -> None:
        request = line.stream.request
        assert request is not None
        resumed = request.epoch == self.keeper.view.epoch
        self.arbiter.join(
            line.name, rows=request.rows, cols=request.cols, writes=request.mode == "rw",
            visible=request.visible, resumed=resumed,
        )  # fmt: skip
        responder = self.arbiter.decide().responder == line.name
        ack = self.keeper.last.get(line.name, 0)
        view = self.keeper.view
        self.do(line, line.stream.admit(view, mode=request.mode, input_ack=ack, responder=responder))
        self.decide()

    def _keyframe(self, line: Line) -> None:
        random = self.world.random
        if random.random() < self.keyframe_fails:
            line.stream.keyframe_unavailable()
            return
        view = self.keeper.view
        offset = max(0, view.head - random.randrange(self.keyframe_lag + 1))
        data = keyframe_bytes(self.keeper, offset)
        line.stream.keyframe(Keyframe(offset, len(data), *view.size_at(offset)[0][1:]), data, view)

    def decide(self) -> None:
        decision = self.arbiter.decide()
        if decision.size is not None:
            self.keeper.resize(*decision.size)
        view = self.keeper.view
        for line in list(self.lines):
            self.do(line, line.stream.set_responder(line.name == decision.responder, view))
        self.wake()

    def wake(self) -> None:
        for line in list(self.lines):
            self.pump(line)

    def pump(self, line: Line) -> None:
        if line not in self.lines:
            return
        while (action := line.stream.pull(self.keeper.view, self.world.now)) is not None:
            self.one(line, action)
        self.arm(line)

    def arm(self, line: Line) -> None:
        due = max(line.stream.wake_at, self.world.now)
        if due < getattr(line, "armed", 1e18):
            line.armed = due  # type: ignore[attr-defined]
            self.world.at(due, lambda: self._tick(line))

    def _tick(self, line: Line) -> None:
        line.armed = 1e18  # type: ignore[attr-defined]
        if line in self.lines and not line.server_gone:
            self.do(line, line.stream.tick(self.world.now))
            self.pump(line)


def keyframe_bytes(keeper: Keeper, offset: int) -> bytes:
    epoch = keeper.view.epoch
    digest = zlib.crc32(keeper.streams[epoch][:offset])
    return f"<{epoch}:{offset}:{digest}>".encode() * 4


class Client:
    """A page with its emulator. It believes nothing: all it is given is compared with the keeper's truth."""

    def __init__(self, world: World, host: Host, number: int, mode: Any = "rw", **options: Any) -> None:
        self.world, self.host = world, host
        self.name = f"{number:032x}"
        self.latency = 0.05
        self.parse_time = 0.01
        self.stalled_until = 0.0
        self.cuts: list[tuple[int, int] | None] = []  # scripted, one for each connection
        self.stream = ClientStream(
            self.name, rows=24, cols=80, mode=mode, random=world.random.random, limits=host.limits, **options
        )
        self.line: Line | None = None
        self.tried = 0
        self.armed = 1e18
        self.busy_until = 0.0
        # The emulator
        self.epoch = ""
        self.place: int | None = None
        self.size = (0, 0)
        self.screen = b""
        self.half: bytes = b""
        self.covered: dict[str, list[tuple[int, int]]] = {}
        self.first: dict[str, int] = {}
        self.resets: list[str] = []
        self.skipped: list[tuple[int, int]] = []
        self.answers: list[tuple[str, int]] = []
        self.fetched = 0
        # The person
        self.typed: list[bytes] = []
        self.dropped = 0
        self.states: list[str] = []
        self.ended: ev.Ended | None = None

    def start(self) -> None:
        self.do(self.stream.start(self.world.now))

    def type(self, data: bytes) -> None:
        self.typed.append(data)
        self.do(self.stream.type(data))

    def do(self, events: list[ev.Event]) -> None:
        for event in events:
            self.one(event)
        self.arm()

    def arm(self) -> None:
        due = self.stream.wake_at
        if due is not None and due < self.armed:
            self.armed = max(due, self.world.now)
            self.world.at(self.armed, self._tick)

    def _tick(self) -> None:
        self.armed = 1e18
        self.do(self.stream.tick(self.world.now))

    def one(self, event: ev.Event) -> None:
        world = self.world
        if isinstance(event, ev.SendText):
            assert self.line is not None
            self.line.send(0, encode(event.message))
        elif isinstance(event, ev.SendBinary):
            assert self.line is not None
            self.line.send(0, event.frame)
        elif isinstance(event, ev.Connect):
            cut = self.cuts[self.tried] if self.tried < len(self.cuts) else None
            self.tried += 1
            line = self.line = Line(world, self.host, self, cut)
            world.after(world.random.random() * self.latency, lambda: self._connected(line))
        elif isinstance(event, ev.CloseSocket):
            if self.line is not None:
                self.line.close(0, event.code)
        elif isinstance(event, ev.StateChanged):
            self.states.append(event.state.name)
        elif isinstance(event, ev.InputDropped):
            self.dropped += event.size
        elif isinstance(event, ev.Ended):
            self.ended = event
        elif isinstance(event, ev.FetchedOutput):
            self._check(self.epoch_now, event.offset, event.data)
            self.fetched += len(event.data)
        elif isinstance(event, ev.SkippedOutput):
            self.skipped.append((event.start, event.stop))
            self.covered.setdefault(self.epoch_now, []).append((event.start, event.stop))
        elif not isinstance(event, ev.Told | ev.FetchDone):
            # For the emulator: it works through its queue, slower or faster.
            epoch = self.epoch_now
            # After a reset the stream begins at once only where it begins at its first byte.
            begins = isinstance(event, ev.ClearScreen) and not self.stream._output.missing
            wait = max(self.busy_until, world.now, self.stalled_until)
            self.busy_until = wait + world.random.random() * self.parse_time
            world.at(self.busy_until, lambda: self._emulate(event, epoch, begins))

    @property
    def epoch_now(self) -> str:
        return self.stream._output._epoch

    def _connected(self, line: Line) -> None:
        if line.client_gone or self.line is not line:
            return
        if not self.host.up:
            line.alive = False
            line.client_gone = True
            self.do(self.stream.closed(1006, self.world.now))
            return
        self.host.accept(line)
        self.do(self.stream.opened(self.world.now))

    def _check(self, epoch: str, offset: int, data: bytes) -> None:
        truth = self.host.keeper.streams[epoch][offset : offset + len(data)]
        assert data == truth, f"wrong bytes at {epoch}:{offset}"

    def _emulate(self, event: ev.Event, epoch: str, begins: bool) -> None:
        if isinstance(event, ev.ClearScreen):
            self.resets.append(event.reason)
            self.place, self.half, self.epoch = None, b"", epoch
            if begins:
                self._begin(0, epoch)
        elif isinstance(event, ev.SetSize):
            self.size = (event.rows, event.cols)
        elif isinstance(event, ev.KeyframePart):
            self.half += event.data
            if event.last:
                keeper = self.host.keeper
                if self.half:
                    digest = zlib.crc32(keeper.streams[epoch][: event.offset])
                    assert self.half == f"<{epoch}:{event.offset}:{digest}>".encode() * 4
                self._begin(event.offset, epoch)
                self.do(self.stream.parsed(event.offset, event.generation, self.world.now))
        elif isinstance(event, ev.Output):
            assert event.offset == self.place, "a gap or a doubled byte"
            assert epoch == self.epoch
            self._check(epoch, event.offset, event.data)
            stop = event.offset + len(event.data)
            self._check_size(epoch, event.offset, stop)
            for at, byte in enumerate(event.data, event.offset):
                # A host knows the chunk only, so it asks with the chunk's beginning.
                if byte == QUERY and self.stream.may_answer(event.offset, event.generation):
                    self.answers.append((epoch, at))
                    self.do(self.stream.answer(b"?%d;" % at, event.offset, event.generation))
            self.place = stop
            self.covered[epoch].append((event.offset, stop))
            self.do(self.stream.parsed(stop, event.generation, self.world.now))

    def _begin(self, offset: int, epoch: str) -> None:
        self.place = offset
        self.first.setdefault(epoch, offset)
        self.covered.setdefault(epoch, [])

    def _check_size(self, epoch: str, start: int, stop: int) -> None:
        current = None
        for record in self.host.keeper.sizes[epoch]:
            if record.offset <= start:
                current = (record.rows, record.cols)
            else:
                assert record.offset >= stop, "a resize inside a frame"
        assert self.size == current, f"size {self.size} where the PTY had {current}"

    def settled(self) -> bool:
        view = self.host.keeper.view
        return (
            self.stream.state.name == "live" and self.place == view.head and self.epoch == view.epoch
            and self.size == self.host.keeper.size and self.stream.input.kept == 0
        )  # fmt: skip

    def finish(self) -> None:
        """Everything is quiet: is every byte accounted for, and every keystroke?"""
        view = self.host.keeper.view
        state = (self.stream.state, self.place, view, self.size, self.stream.input.kept)
        assert self.settled(), f"not settled: {state}"
        reached = self.first[view.epoch]
        for start, stop in sorted(self.covered[view.epoch]):
            assert start <= reached or stop <= reached, (
                f"bytes {reached} to {start} neither shown nor announced"
            )
            reached = max(reached, stop)
        assert reached == view.head
        received = b"".join(data for _, data in self.host.keeper.received.get(self.name, []))
        tokens = [token for token in received.split(b";") if token and not token.startswith(b"?")]
        typed = [token for piece in self.typed for token in piece.split(b";") if token]
        if not self.dropped:
            assert tokens == typed, f"typed {typed[:20]}…, received {tokens[:20]}…"
        else:
            assert len(set(tokens)) == len(tokens), "a keystroke was doubled"
            assert [t for t in typed if t in set(tokens)] == tokens, "keystrokes out of order"
            lost = sum(len(t) + 1 for t in typed) - sum(len(t) + 1 for t in tokens)
            assert lost <= self.dropped, "input was lost without a word"
