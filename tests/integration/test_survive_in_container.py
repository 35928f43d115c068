"""Nothing lost, nothing doubled: the real keeper and server in the real container, behind the real proxy.

A program in the container prints numbered lines and writes down what is typed. Meanwhile the Jupyter server
is killed, the line is cut at random, the hub is away. Afterwards both directions must be whole.
PTH_TEST_KILLS sets how often the server is killed (100 for the long run; the default keeps CI short).
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest

from persistent_terminal_hub.client.api import Workspace
from persistent_terminal_hub.client.session import Attachment
from tests.support.device import Line
from tests.support.stack import Stack

KILLS = int(os.environ.get("PTH_TEST_KILLS", "6"))
CUTS = 25
AWAY = float(os.environ.get("PTH_TEST_HUB_AWAY_SECONDS", "5"))

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300 + KILLS * 20 + int(AWAY))]

PROGRAM = """
import os, select, sys, time, tty
tty.setraw(0)
log = open(sys.argv[1], 'wb', buffering=0)
number, due = 0, time.monotonic()
while True:
    ready, _, _ = select.select([0], [], [], max(0, due - time.monotonic()))
    if ready:
        data = os.read(0, 65536)
        log.write(data)
        if b'!' in data:
            break
    else:
        number += 1
        os.write(1, b'o%d\\n' % number)
        due += 0.01
os.write(1, b'end %d\\n' % number)
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    installation = Stack(tmp_path_factory.mktemp("stack"))
    installation.start()
    installation.add_user("emil")
    session = installation.login("emil")
    installation.start_workspace(session, "emil")
    installation.tokens["emil"] = installation.token(session, "emil")
    yield installation
    installation.stop()
    installation.remove_everything()


def inside(stack: Stack, *command: str) -> str:
    return stack.docker("exec", stack.container("emil"), *command)


async def both_ways(stack: Stack, url: str, name: str, disturb: Callable[[], Awaitable[None]]) -> None:
    """Type and read while `disturb` runs; then both directions must be whole and in order."""
    log = f"/workspace/{name}.log"
    received = bytearray()
    typed = 0
    async with Workspace(url, stack.tokens["emil"]) as workspace:
        await workspace.create(name=name, argv=["python3", "-u", "-c", PROGRAM, log])
        pid = (await workspace.get(name)).raw["pid"]
        attachment: Attachment = await workspace.attach(name)
        async with attachment:

            async def read() -> None:
                async for chunk in attachment.stream(0):
                    assert chunk.start == len(received), "a gap or an overlap"
                    received.extend(chunk.data)
                    if b"end " in received[-64:]:
                        return

            async def write(until: asyncio.Event) -> None:
                nonlocal typed
                while not received:  # until it prints, the terminal echoes what is typed
                    await asyncio.sleep(0.01)
                while not until.is_set():
                    typed += 1
                    await attachment.send(f"t{typed};")
                    await asyncio.sleep(0.03)
                await attachment.send("!")

            disturbed = asyncio.Event()
            reader, writer = asyncio.create_task(read()), asyncio.create_task(write(disturbed))
            await asyncio.sleep(1)
            await disturb()
            await asyncio.sleep(1)
            disturbed.set()
            await asyncio.wait_for(writer, 60)
            await asyncio.wait_for(reader, 120)
            assert attachment.skipped == [] and attachment.input_lost == 0
            assert (await workspace.get(name)).raw["pid"] == pid
    lines = bytes(received).split(b"\n")
    last = int(lines[-2].removeprefix(b"end "))
    assert lines[:-2] == [b"o%d" % n for n in range(1, last + 1)]
    written = inside(stack, "cat", log)
    assert written == "".join(f"t{n};" for n in range(1, typed + 1)) + "!"
    assert last > 100


async def test_the_server_is_killed_while_a_client_types_and_reads(stack: Stack) -> None:
    async def disturb() -> None:
        chance = random.Random(7)
        for _ in range(KILLS):
            await asyncio.to_thread(stack.kill_server, "emil")
            await asyncio.sleep(chance.uniform(1, 8))  # also while the next one is still starting

    await both_ways(stack, f"{stack.url}/user/emil", "killed", disturb)


async def test_the_line_is_cut_at_random(stack: Stack) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    line = Line(listener, stack.port)

    async def disturb() -> None:
        chance = random.Random(11)
        for _ in range(CUTS):
            line.cut()
            await asyncio.sleep(chance.uniform(0, 0.3))
            line.mend()
            await asyncio.sleep(chance.uniform(0.05, 1.2))

    try:
        await both_ways(stack, f"http://127.0.0.1:{port}/user/emil", "cut", disturb)
    finally:
        line.close()


async def test_the_hub_is_away_and_the_server_is_killed(stack: Stack) -> None:
    """PTH_TEST_HUB_AWAY_SECONDS=400 shows it beyond the 300 s that JupyterHub's own cache lasts."""

    async def disturb() -> None:
        stack.take_hub_away()
        await asyncio.sleep(AWAY)
        await asyncio.to_thread(stack.kill_server, "emil")
        await asyncio.sleep(12)

    try:
        await both_ways(stack, f"{stack.url}/user/emil", "away", disturb)
    finally:
        stack.bring_hub_back()
