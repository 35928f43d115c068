"""`pth.v1` against a real keeper and a real Jupyter server: attaching, sizes, keyframes, refusals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import secrets
import struct
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import connect

from tests.integration.stream_fixtures import LINE, Viewer, Workspace, counted
from tests.support.relay import Relay

CAT = ("/bin/sh", "-c", "stty raw -echo; echo ready; exec cat")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """One workspace for all tests here."""
    made = Workspace(tmp_path_factory.mktemp("workspace"))
    yield made
    made.stop()


def viewer(workspace: Workspace, session: str, **options: Any) -> Viewer:
    return Viewer(workspace.url(session, options.pop("port", None)), workspace.headers, **options)


def metric(workspace: Workspace, line: str) -> float:
    text = workspace.request("/metrics")[1].decode()
    return next(float(row.split()[-1]) for row in text.splitlines() if row.startswith(line + " "))


async def open_raw(workspace: Workspace, session: str, **attach: Any) -> Any:
    """A client without manners."""
    socket = await connect(
        workspace.url(session), subprotocols=["pth.v1"], additional_headers=workspace.headers,  # type: ignore[list-item]
        compression=None, proxy=None,
    )  # fmt: skip
    if attach:
        hello = {"type": "attach", "client": secrets.token_hex(16), "rows": 24, "cols": 80, **attach}
        await socket.send(json.dumps(hello))
        assert json.loads(await socket.recv())["type"] == "attached"
    return socket


async def close_code(socket: Any) -> int:
    async with asyncio.timeout(10):
        while True:
            try:
                await socket.recv()
            except websockets.ConnectionClosed:
                return int(socket.close_code)


async def test_types_reads_and_hears_the_end(workspace: Workspace) -> None:
    session = workspace.create("/bin/sh", "-c", "read line; echo got-$line; exit 7", name="by-name")
    async with viewer(workspace, "by-name") as v:
        await v.live()
        v.type(b"abc\n")
        await v.until(lambda: b"got-abc" in v.seen)
        await v.until(lambda: v.exit is not None)
        assert (v.exit.code, v.exit.reason) == (7, "exited")
        await v.until(lambda: v.state == "ended")
    async with viewer(workspace, session) as late:  # who comes after the end still sees the last screen
        await late.until(lambda: late.exit is not None)
        assert b"got-abc" in late.seen
        await late.until(lambda: 4410 in late.codes)


async def test_resumes_with_exactly_what_was_missed(workspace: Workspace) -> None:
    session = workspace.create(*CAT)
    async with Relay(workspace.port) as relay, viewer(workspace, session, port=relay.port) as v:
        await v.live()
        other = viewer(workspace, session, mode="rw")
        async with other:
            await other.live()
            relay.down()
            await v.until(lambda: v.state == "reconnecting")
            before, had = v.place, v.bytes
            other.type(b"x" * 5000)
            await other.until(lambda: other.seen.count(b"x") == 5000)
            relay.up()
            await v.until(lambda: v.seen.count(b"x") == 5000)
        assert v.clears == ["fresh"] and v.place == (before or 0) + 5000 and v.bytes == had + 5000


async def test_a_full_journal_gives_a_keyframe(workspace: Workspace) -> None:
    session = workspace.counting(30_000, capacity=128 * 1024)
    end = 30_000 * LINE
    workspace.printed(session, end)
    async with viewer(workspace, session) as v:
        await v.until(lambda: v.place is not None and v.place >= end)
        await v.until(lambda: v.keyframes == 1 and counted(end - LINE, end)[:14] in v.seen)
        assert metric(workspace, 'pth_keyframes_total{exact="true",method="tail"}') >= 1
        floor = workspace.blocking.call("get", session=session).header["session"]["start"]
        v.do(v.stream.fetch(end - 1000, end))
        await v.until(lambda: v.fetches == [(end - 1000, end)])
        assert v.fetched == {end - 1000: counted(end - 1000, end)}
        v.do(v.stream.fetch(0, 10))  # long gone
        await v.until(lambda: len(v.fetches) == 2)
        assert floor > 0 and v.fetches[1] == (0, 0)


async def test_slow_client_types_and_jumps_ahead(workspace: Workspace) -> None:
    """A flood over a slow line: the typed character is answered soon, and what was left out is announced."""
    jumps = metric(workspace, "pth_cursor_jumps_total")
    session = workspace.create("/bin/sh", "-c", "trap 'echo; echo STOPPED; exec cat' INT; yes; :")
    async with Relay(workspace.port) as relay:
        relay.bytes_per_second = 1_000_000
        async with viewer(workspace, session, port=relay.port) as v:

            def behind() -> int:
                end = workspace.blocking.call("get", session=session).header["session"]["end"]
                return int(end) - (v.place or 0)

            await v.until(lambda: v.bytes > 200_000 and behind() > 2_000_000)
            loop = asyncio.get_running_loop()
            typed = loop.time()
            v.type(b"\x03")
            await v.until(lambda: b"STOPPED" in v.seen, 5)
            assert loop.time() - typed < 2.0  # the benchmark demands 0.3 on a quiet machine
            assert v.skipped and "lag" in v.clears
    assert metric(workspace, "pth_cursor_jumps_total") > jumps


ASKS = r"""
import os, tty
tty.setraw(0)
for _ in range(100_000): os.write(1, b"y" * 79 + b"\r\n")
os.read(0, 1)
os.write(1, b"\x1b[5n")
os.write(1, b"\r\nGOT " + repr(os.read(0, 16)).encode())
os.read(0, 1)
"""


async def test_a_question_that_a_client_skips_is_answered(workspace: Workspace) -> None:
    """The client jumps to behind the question, so it cannot answer; the program waits."""
    session = workspace.create(sys.executable, "-c", ASKS)
    async with Relay(workspace.port) as relay:
        relay.bytes_per_second = 1_000_000
        async with viewer(workspace, session, port=relay.port) as v:
            await v.until(lambda: v.bytes > 200_000)
            workspace.printed(session, 8_100_000)
            v.type(b"x")
            await v.until(lambda: rb"GOT b'\x1b[0n'" in v.seen, 10)
            assert v.skipped


async def test_bulk_of_one_session_does_not_delay_another(workspace: Workspace) -> None:
    flood, quiet = workspace.create("yes"), workspace.create(*CAT)
    async with viewer(workspace, flood) as noisy, viewer(workspace, quiet) as v:
        await v.until(lambda: b"ready" in v.seen)
        await noisy.until(lambda: noisy.bytes > 1_000_000)
        loop = asyncio.get_running_loop()
        times = []
        for number in range(20):
            sent = loop.time()
            v.type(b"%03d;" % number)
            await v.until(lambda number=number: b"%03d;" % number in v.seen)  # type: ignore[misc]
            times.append(loop.time() - sent)
        assert sorted(times)[10] < 0.1  # the client parses the flood on the same core
    workspace.blocking.call("signal", session=flood, signal="KILL", to="session")


async def test_a_client_that_hangs_costs_others_nothing(workspace: Workspace) -> None:
    session = workspace.create("/bin/sh", "-c", "read go; seq -f %014.0f 0 99999 | cat; exec sleep 1000")
    end = 100_000 * LINE + 4  # and the echo of what was typed
    async with viewer(workspace, session) as v, viewer(workspace, session) as stuck:
        await asyncio.gather(v.live(), stuck.live())
        stuck.parsing.clear()
        v.type(b"go\n")
        await v.until(lambda: v.place == end, 20)
        assert (stuck.place or 0) < 1_000_000
        stuck.parsing.set()
        await stuck.until(lambda: stuck.place == end, 20)
        assert stuck.seen[-LINE:] == counted(end - 4 - LINE, end - 4)


async def test_two_clients_size_and_responder(workspace: Workspace) -> None:
    session = workspace.create("/bin/sh", "-c", "while read x; do stty size; done")
    first = viewer(workspace, session, rows=30, cols=100)
    second = viewer(workspace, session, rows=20, cols=60)
    async with first as a, second as b:
        await asyncio.gather(a.live(), b.live())

        async def size(who: Viewer) -> bytes:
            await who.until(lambda: a.place == b.place)
            who.seen.clear()
            who.type(b"\n")
            await who.until(lambda: who.seen.count(b"\n") >= 2)
            return bytes(who.seen).split()[-2] + b"x" + bytes(who.seen).split()[-1]

        assert await size(a) == b"30x100"
        assert await size(b) == b"20x60"
        a.do(a.stream.resize(40, 120))
        a.do(a.stream.focus())
        await b.until(lambda: b.sizes[-1] == (40, 120))
        a.do(a.stream.set_visible(False))
        await a.until(lambda: a.sizes[-1] == (20, 60))

        def answers() -> list[bool]:
            return [who.stream.may_answer(10**6, who.stream._output._generation) for who in (a, b)]

        await b.until(lambda: answers() == [False, True])
        b.do(b.stream.stop(0))
        await a.until(lambda: answers()[0])


async def test_resize_of_the_width_costs_the_resume(workspace: Workspace) -> None:
    session = workspace.create(*CAT)
    async with Relay(workspace.port) as relay, viewer(workspace, session, port=relay.port) as v:
        await v.live()
        relay.down()
        await v.until(lambda: v.state == "reconnecting")
        async with viewer(workspace, session) as other:
            await other.live()
            other.type(b"wide")
            await other.until(lambda: b"wide" in other.seen)
            other.do(other.stream.resize(24, 50))
            await other.until(lambda: other.sizes[-1] == (24, 50))
            relay.up()
            await v.until(lambda: b"wide" in v.seen)
        assert v.clears == ["fresh", "width"]


async def test_watchers_do_not_type(workspace: Workspace) -> None:
    session = workspace.create(*CAT)
    socket = await open_raw(workspace, session, mode="watch")
    await socket.send(struct.pack(">Q", 1) + b"evil")
    while (message := json.loads(text) if isinstance(text := await socket.recv(), str) else {}) != {}:
        if message["type"] == "error":
            break
    async with viewer(workspace, session) as v:
        v.type(b"good")
        await v.until(lambda: b"good" in v.seen)
        assert b"evil" not in v.seen
    await socket.close()


async def test_a_newer_connection_takes_over(workspace: Workspace) -> None:
    session = workspace.create(*CAT)
    client = secrets.token_hex(16)
    first = await open_raw(workspace, session, client=client)
    second = await open_raw(workspace, session, client=client)
    assert await close_code(first) == 4409
    await second.send(struct.pack(">Q", 1) + b"still here")
    await second.close()


async def test_full_screen_program_is_asked_to_redraw(workspace: Workspace) -> None:
    """What the journal forgot was never overwritten, so the keyframe is not exact; the program draws anew."""
    program = workspace.folder / "screen.py"
    program.write_text(
        "import os, signal, sys, time\n"
        "n = 0\n"
        "def draw(*_):\n"
        "    global n; n += 1\n"
        "    os.write(1, b'\\x1b[HDRAWN %d %d\\x1b[K' % (n, os.get_terminal_size().lines))\n"
        "for i in range(9000): os.write(1, b'\\x1b[%d;1Hfill %d' % (2 + i % 20, i))\n"
        "os.write(1, b'\\x1b[?1049h')\n"
        "signal.signal(signal.SIGWINCH, draw)\n"
        "os.write(1, b'full')\n"
        "while True: time.sleep(10)\n"
    )
    session = workspace.create(sys.executable, str(program), capacity=64 * 1024)
    workspace.printed(session, 100_000)
    async with viewer(workspace, session) as v:
        await v.until(lambda: b"DRAWN" in v.seen and b" 24\x1b[K" in v.seen, 15)
        assert set(v.sizes) == {(24, 80)}  # not recorded as a resize


# Who does not get in, and who is put out ------------------------------------------------------------


async def refusal(url: str, **options: Any) -> int:
    """The close code, or the HTTP status."""
    options = {"subprotocols": ["pth.v1"], "proxy": None, **options}
    try:
        socket = await connect(url, **options)
        with contextlib.suppress(websockets.ConnectionClosed):  # refused already
            await socket.send(json.dumps({"type": "attach", "client": "0" * 32, "rows": 24, "cols": 80}))
        return await close_code(socket)
    except websockets.InvalidStatus as refused:
        return int(refused.response.status_code)


async def test_refusals(workspace: Workspace) -> None:
    url, headers = workspace.url(workspace.create(*CAT)), workspace.headers
    assert await refusal(url) == 4401
    assert await refusal(url, additional_headers={"Authorization": "token wrong"}) == 4401
    assert await refusal(workspace.url("no-such"), additional_headers=headers) == 4404
    assert await refusal(url, origin="https://evil.example") == 403
    assert await refusal(url + f"?token={workspace.token}") == 400
    assert await refusal(url, additional_headers=headers, subprotocols=None) == 400


async def test_bad_messages_are_closed_with_a_code(workspace: Workspace) -> None:
    session = workspace.create(*CAT)
    for frames, code in [
        (["nonsense"], 4400),
        ([struct.pack(">Q", 1) + b"before attach"], 4400),
        (["{}"], 4400),
        (["x" * 20_000], 4413),
        (["x" * 100_000], 4413),
        ([b"y" * 70_000], 4413),
    ]:
        socket = await open_raw(workspace, session)
        for frame in frames:
            await socket.send(frame)
        assert await close_code(socket) == code, frames[0][:20]
    flood = await open_raw(workspace, session, mode="rw")
    for _ in range(700):
        await flood.send('{"type":"ping","id":1}')
    assert await close_code(flood) == 4429
    gap = await open_raw(workspace, session, mode="rw")
    await gap.send(struct.pack(">Q", 1) + b"a")
    await gap.send(struct.pack(">Q", 9) + b"b")
    assert await close_code(gap) == 4400


async def test_garbage_harms_nobody(workspace: Workspace) -> None:
    """Random bytes where frames should be; a client beside it notices nothing."""
    session = workspace.create(*CAT)
    dice = random.Random(3)
    async with viewer(workspace, session) as v:
        await v.until(lambda: b"ready" in v.seen)
        for _ in range(30):
            socket = await open_raw(workspace, session)
            transport = socket.transport
            transport.write(dice.randbytes(dice.choice([1, 2, 10, 200, 5000])))
            if dice.random() < 0.5:
                transport.write(bytes([0x82, 0xFF]) + b"\xff" * 12)
            await asyncio.sleep(0)
            transport.abort()
        v.type(b"unharmed")
        await v.until(lambda: b"unharmed" in v.seen)
        assert v.connections == 1
    assert workspace.keeper.log.count("disconnected") < 20
    assert workspace.request("/api/status")[0] == 200


async def test_more_input_than_the_program_reads_is_a_flood(workspace: Workspace) -> None:
    session = workspace.create("/bin/sh", "-c", "stty raw -echo; echo ready; exec sleep 1000")
    socket = await open_raw(workspace, session, mode="rw")
    for seq in range(1, 16):
        await socket.send(struct.pack(">Q", seq) + b"z" * 60_000)
    assert await close_code(socket) == 4429
