"""The server's end: attach decisions, window, jumps, bounds on what a client may do, bad input."""

from __future__ import annotations

import contextlib
import json
from random import Random
from typing import Any

import pytest

from persistent_terminal_hub.protocol import server_actions as act
from persistent_terminal_hub.protocol.codes import MAX_OFFSET, Code, Limits, ProtocolError
from persistent_terminal_hub.protocol.frames import decode_input, decode_output, encode_input
from persistent_terminal_hub.protocol.journal_view import JournalView, SizeRecord, Start, decide_attach
from persistent_terminal_hub.protocol.messages import (
    Ack,
    Attach,
    Error,
    Exit,
    Fetch,
    Keyframe,
    Message,
    Ping,
    Pong,
    Resize,
    Visible,
    decode_client,
    decode_server,
    encode,
)
from persistent_terminal_hub.protocol.server_stream import ServerStream
from persistent_terminal_hub.protocol.window import Window

ID = "0" * 32


def view(head: int = 0, floor: int = 0, epoch: str = "e1", sizes: Any = ((0, 24, 80),)) -> JournalView:
    return JournalView(epoch, floor, head, [SizeRecord(*size) for size in sizes])


def attach(**values: Any) -> Attach:
    return Attach(**{"client": ID, "rows": 24, "cols": 80, "epoch": "e1", **values})


@pytest.mark.parametrize(
    ("request_", "journal", "expected"),
    [
        (attach(offset=50), view(100, 10), Start(50, None)),
        (attach(offset=10), view(100, 10), Start(10, None)),
        (attach(offset=100), view(100, 10), Start(100, None)),
        (attach(offset=9), view(100, 10), Start(None, "gone")),
        (attach(offset=101), view(100, 10), Start(None, "future")),
        (attach(offset=MAX_OFFSET), view(100), Start(0, "future")),
        (attach(epoch="e2", offset=50), view(100, 10), Start(None, "epoch")),
        (attach(epoch=""), view(100, 10), Start(None, "fresh")),
        (attach(epoch=""), view(100, 0), Start(0, "fresh")),
        (attach(epoch=""), view(70_000, 0), Start(None, "fresh")),
        (attach(offset=50), view(100, 10, sizes=((0, 24, 80), (60, 24, 90))), Start(None, "width")),
        (attach(offset=60), view(100, 10, sizes=((0, 24, 80), (60, 24, 90))), Start(60, None)),
        (attach(offset=50), view(100, 10, sizes=((0, 24, 80), (60, 30, 80))), Start(50, None)),
        (
            attach(offset=50),
            view(100, 10, sizes=((0, 24, 80), (60, 24, 90), (70, 24, 80))),
            Start(None, "width"),
        ),
        (attach(offset=50), view(100, 10, sizes=((0, 24, 70), (40, 24, 80))), Start(50, None)),
    ],
)
def test_decide_attach(request_: Attach, journal: JournalView, expected: Start) -> None:
    assert decide_attach(request_, journal, 65536) == expected


class Server:
    """A stream that is live at the end of a journal, and the messages that it sent."""

    def __init__(self, head: int = 0, limits: Limits | None = None, **request: Any) -> None:
        self.view = view(head)
        self.stream = ServerStream(0.0, limits or Limits())
        request = {"offset": head, **request}
        assert self.stream.receive(encode(attach(**request)), 0.0) == [act.Admit(attach(**request))]
        self.stream.admit(self.view, mode=request.get("mode", "rw"), input_ack=0, responder=True)

    def hear(self, message: Message, now: float) -> list[act.Action]:
        return self.stream.receive(encode(message), now)

    def pull(self, now: float) -> list[act.Action]:
        actions: list[act.Action] = []
        while (action := self.stream.pull(self.view, now)) is not None:
            actions.append(action)
            if isinstance(action, act.SendData):
                self.stream.sent(action.stop, now)
            elif isinstance(action, act.SendFetched):
                actions += self.stream.fetched(True)
        return actions


def shut(actions: list[act.Action]) -> Code | None:
    return next((action.code for action in actions if isinstance(action, act.Shut)), None)


def test_a_stalled_client_gets_one_window_and_no_more() -> None:
    server = Server()
    server.view.head = 1_000_000
    sent = sum(a.stop - a.start for a in server.pull(0.0) if isinstance(a, act.SendData))
    for second in range(1, 15):
        server.view.head += 10_000_000
        server.view.floor = max(0, server.view.head - 8_000_000)
        sent += sum(a.stop - a.start for a in server.pull(float(second)) if isinstance(a, act.SendData))
    assert sent == Limits().window_start
    # It reads again: a keyframe is asked for when it has caught up with half of what was on its way.
    assert server.hear(Ack(sent // 4), 15.0) == [] and server.pull(15.0) == []
    server.hear(Ack(sent), 15.0)
    assert server.pull(15.0) == [act.RequestKeyframe(server.view.head)]
    server.stream.keyframe(Keyframe(server.view.head, 1, 24, 80), b"K", server.view)
    kinds = [a.message.type if isinstance(a, act.Send) else type(a).__name__ for a in server.pull(15.1)]
    assert kinds == ["skipped", "reset", "keyframe", "SendFrame"]


def drive(rate: float, round_trip: float, seconds: float) -> tuple[Window, float]:
    """A flood through a line of `rate` bytes a second; the window and the bytes delivered a second."""
    window = Window(Limits())
    now, cursor, acked = 0.0, 0, 0
    free_at, arrivals = 0.0, []
    while now < seconds:
        while cursor - acked < window.size:
            stop = cursor + min(65536, window.size - (cursor - acked))
            free_at = max(free_at, now) + (stop - cursor) / rate
            arrivals.append((free_at + round_trip, stop))
            window.sent(stop, acked, now)
            cursor = stop
        window.limited = True
        now, acked = arrivals.pop(0)
        window.acked(acked, now)
    return window, acked / now


@pytest.mark.parametrize("round_trip", [0.0005, 0.02, 0.1, 0.3])
def test_the_window_fills_a_fast_line_and_keeps_a_slow_one_short(round_trip: float) -> None:
    _, delivered = drive(60e6, round_trip, 10.0)
    assert delivered > min(60e6, Limits().window_max / (round_trip + 0.02)) * 0.7
    slow, delivered = drive(1e6, round_trip, 10.0)
    assert delivered > 0.8e6
    # What waits in front of the line, beyond the round trip: about 100 ms of it, however long it floods.
    assert slow.size / 1e6 - round_trip < 0.25


def test_the_window_ramps_within_a_few_round_trips() -> None:
    window, _ = drive(60e6, 0.001, 0.02)
    assert window.size == Limits().window_max


@pytest.mark.parametrize("pressed", [0.3, 1.0, 1.65, 2.2, 3.0])
@pytest.mark.parametrize("speed", [3e6, 50e6])
def test_ctrl_c_under_yes_on_a_slow_line(pressed: float, speed: float) -> None:
    """1 MB/s, an 8 MiB journal: the prompt is at the client within 300 ms, whenever the key was pressed."""
    server = Server()
    arrivals: list[tuple[float, int]] = []
    now, free, typed = 0.0, 0.0, False
    while server.stream.cursor.place != (server.view.head if typed else None):
        server.view.head = int(speed * min(now, pressed)) + (20 if typed else 0)
        server.view.floor = max(0, server.view.head - 8 * 2**20)
        if now >= pressed and not typed:
            typed = True
            server.stream.receive(encode_input(1, b"\x03"), now)
        while arrivals and arrivals[0][0] <= now:
            server.hear(Ack(arrivals.pop(0)[1]), now)
        for action in server.pull(now):
            if isinstance(action, act.SendData):
                free = max(free, now) + (action.stop - action.start) / 1e6
                arrivals.append((free, action.stop))
            elif isinstance(action, act.RequestKeyframe):
                free = max(free, now) + 0.03
                arrivals.append((free, server.view.head))
                server.stream.keyframe(Keyframe(server.view.head, 30_000, 24, 80), b"K" * 30_000, server.view)
        now += 0.005
        assert now < 20
    assert free - pressed < 0.3


def test_no_jump_for_a_client_that_keeps_up() -> None:
    server = Server()
    for step in range(100):
        now = step * 0.01
        server.view.head += 20_000
        server.stream.receive(encode_input(step + 1, b"k"), now)
        actions = server.pull(now)
        assert not any(isinstance(action, act.RequestKeyframe) for action in actions)
        server.hear(Ack(server.view.head), now + 0.005)


def test_without_an_emulator_the_stream_goes_on() -> None:
    server = Server(head=200_000, epoch="")
    assert server.pull(0.0) == [act.RequestKeyframe(200_000)]
    assert server.stream.wake_at == Limits().keyframe_patience
    actions = server.pull(Limits().keyframe_patience)
    assert [a.message.type for a in actions if isinstance(a, act.Send)] == ["reset", "keyframe"]
    assert actions[-1] == act.SendData(200_000 - 65536, 200_000)


def test_wake_at_never_spins() -> None:
    """After a pull and a tick nothing is due in the past."""
    server = Server()
    server.view.head = 500_000
    server.stream.receive(encode_input(1, b"k"), 0.0)
    for step in range(1, 200):
        now = step * 0.05
        server.stream.tick(now)
        server.pull(now)
        if step % 40 == 0:
            server.hear(Ping(1), now)
        assert server.stream.wake_at > now


def test_the_exit_comes_after_the_last_byte() -> None:
    server = Server()
    server.view.head = 200_000
    server.stream.end(Exit(code=1))
    assert all(isinstance(action, act.SendData) for action in server.pull(0.0))
    server.hear(Ack(131_072), 0.1)
    actions = server.pull(0.1)
    assert actions[-2:] == [act.Send(Exit(code=1)), act.Shut(Code.ENDED, "The session ended.")]
    assert server.stream.phase == "closed"


def test_floods_close() -> None:
    server = Server()
    results = [shut(server.hear(Resize(24, 80), 1.0)) for _ in range(600)]
    assert results.index(Code.FLOOD) == 500
    server = Server()  # the same in ten seconds is fine
    assert not any(shut(server.hear(Visible(True), n / 60)) for n in range(600))
    server = Server()
    frames = [server.stream.receive(encode_input(n, b"x" * 60_000), 1.0) for n in range(1, 6)]
    assert [shut(actions) for actions in frames] == [None] * 4 + [Code.FLOOD]
    server = Server()
    server.view.head = 1000
    server.pull(0.0)
    assert not any(shut(server.hear(Ack(n), 0.0)) for n in range(1000))  # progress is free
    assert any(shut(server.hear(Ack(999), 0.0)) == Code.FLOOD for _ in range(600))  # repetition is not


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("nonsense", Code.PROTOCOL),
        ('{"type":"ack","offset":1}', Code.PROTOCOL),  # never sent
        (encode(attach()), Code.PROTOCOL),  # twice
        ('{"type":"fetch","from":9,"to":3}', Code.PROTOCOL),
        (b"\0", Code.PROTOCOL),
        (b"\0" * 9, Code.PROTOCOL),
        (b"\0" * 8, Code.PROTOCOL),  # number 0
        (b"\0" * 100_000, Code.TOO_LARGE),
        ("x" * 100_000, Code.TOO_LARGE),
    ],
)
def test_bad_input_closes_and_then_nothing_is_heard(frame: str | bytes, code: Code) -> None:
    server = Server()
    assert shut(server.stream.receive(frame, 0.0)) == code
    assert server.stream.receive(encode(Ping(1)), 0.0) == []
    assert server.stream.receive(encode_input(1, b"x"), 0.0) == []
    assert server.pull(0.0) == [] and server.stream.tick(99.0) == []


def test_nothing_before_attach() -> None:
    for frame in (encode(Ack(0)), encode(Resize(1, 1)), encode_input(1, b"x")):
        assert shut(ServerStream(0.0).receive(frame, 0.0)) == Code.PROTOCOL
    stream = ServerStream(0.0)
    assert stream.tick(9.9) == [act.Send(Ping(1))]
    assert shut(stream.tick(10.0)) == Code.TIMEOUT


def test_heartbeat_forgives_a_blocked_loop() -> None:
    server = Server()
    assert server.stream.tick(30.0) == [act.Send(Ping(1))]  # the loop was blocked for 30 s
    server.hear(Pong(1), 30.1)
    assert shut(server.stream.tick(33.5)) is None
    assert shut(server.stream.tick(38.0)) is None
    for now in (43.0, 48.0, 50.0):
        assert shut(server.stream.tick(now)) is None
    assert shut(server.stream.tick(50.2)) == Code.TIMEOUT


def test_watchers_do_not_type() -> None:
    server = Server(mode="watch")
    (action,) = server.stream.receive(encode_input(1, b"x"), 0.0)
    assert isinstance(action, act.Send) and isinstance(action.message, Error)
    assert action.message.code == "read_only"


def test_doubled_input_is_not_passed_on() -> None:
    server = Server()
    assert server.stream.receive(encode_input(1, b"a"), 0.0) == [act.WriteInput(ID, "e1", 1, b"a")]
    assert [type(a) for a in server.stream.receive(encode_input(1, b"a"), 0.0)] == [act.Send]
    assert server.stream.receive(encode_input(3, b"c"), 0.0) == [act.WriteInput(ID, "e1", 3, b"c")]


def test_fetch_is_bounded_and_one_at_a_time() -> None:
    server = Server(head=1_000_000)
    assert server.hear(Fetch(0, 900_000), 0.0) == []
    read, done, ping = server.pull(0.0)
    assert read == act.SendFetched(0, Limits().fetch)
    assert isinstance(done, act.Send) and encode(done.message) == '{"type":"fetched","from":0,"to":262144}'
    assert isinstance(ping, act.Send) and isinstance(ping.message, Ping)
    assert server.hear(Fetch(0, 400_000), 0.0) == []
    assert not server.pull(0.0)  # it waits until the pong proves that the bytes were read
    (busy,) = server.hear(Fetch(0, 10), 0.0)
    assert isinstance(busy, act.Send) and isinstance(busy.message, Error)
    server.view.floor = 500_000
    server.hear(Pong(ping.message.id), 0.1)
    assert [encode(a.message) for a in server.pull(0.1) if isinstance(a, act.Send)] == [
        '{"type":"fetched","from":0,"to":0}'
    ]


def test_a_restarted_process_sends_the_client_back() -> None:
    server = Server(head=100)
    server.view.epoch, server.view.head = "e2", 5
    assert shut(server.pull(0.0)) == Code.REATTACH


JUNK: list[Any] = [
    None, True, False, 0, 1, -1, 2**53, 10**30, 1.5, "", "e1", "rw", ID, "x" * 3000, [], [1], {}, {"a": 1},
]  # fmt: skip
FIELDS = ("client", "epoch", "offset", "rows", "cols", "from", "to", "id", "mode", "visible", "token", "size")
TYPES = ("attach", "ack", "resize", "fetch", "ping", "pong", "token", "focus", "visible", "exit", "attached")


def test_decoders_raise_nothing_else() -> None:
    random = Random(1)
    whole = encode(attach(token="t"))
    for _ in range(3000):
        fields = {key: random.choice(JUNK) for key in random.sample(FIELDS, random.randrange(8))}
        at = random.randrange(len(whole))
        broken = whole[:at] + chr(random.randrange(0x500)) + whole[at + random.randrange(3) :]
        for candidate in (json.dumps({**fields, "type": random.choice(TYPES)}), json.dumps(fields), broken):
            for decode in (decode_client, decode_server):
                try:
                    message = decode(candidate)
                except ProtocolError:
                    continue
                assert decode(encode(message)) == message
        for decode_frame in (decode_input, decode_output):
            with contextlib.suppress(ProtocolError):
                decode_frame(random.randbytes(random.randrange(30)))


def test_errors_and_repr_hold_no_token() -> None:
    assert "secret" not in repr(attach(token="secret"))
    with pytest.raises(ProtocolError) as caught:
        decode_client('{"type":"secret","token":"secret"}')
    assert "secret" not in str(caught.value)
