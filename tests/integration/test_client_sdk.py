"""The SDK against a real keeper and a real Jupyter server, through a relay that cuts, and kills."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from persistent_terminal_hub.client import errors
from persistent_terminal_hub.client.api import Workspace
from tests.integration.client_fixtures import Stack, stack

__all__ = ["stack"]

pytestmark = pytest.mark.asyncio(loop_scope="module")
RAW = ["sh", "-c", "stty raw -echo; echo ready; exec cat"]


@pytest_asyncio.fixture(loop_scope="module")
async def workspace(stack: Stack) -> AsyncIterator[Workspace]:
    async with Workspace(stack.url, stack.token) as made:
        yield made


async def test_create_type_wait_rename_and_exit(workspace: Workspace) -> None:
    await workspace.create("work", env={"PS1": "$ "})
    async with await workspace.attach("work") as session:
        await session.send("echo $((6 * 7))\n")
        found = await session.wait_for("42", 10)
        assert session.read(found.start).data.startswith(b"42")
        assert (await workspace.rename("work", "renamed")).state == "active"
        await session.send("exit 3\n")
        assert (await session.wait_exit(10)).code == 3
    assert (await workspace.exit_of("renamed")).code == 3
    with pytest.raises(errors.SessionEnded):
        await workspace.attach("renamed")
    with pytest.raises(errors.NoSuchSession):
        await workspace.attach("nobody")


async def test_what_a_session_printed(workspace: Workspace) -> None:
    said = "printf 'one\\033[31m two\\033[m\\r\\n%s' zwei; sleep 0.3; printf '\\rthree\\n'"
    await workspace.create("printing", argv=["sh", "-c", said + "; read go; seq 100000; exit 5"])
    async with await workspace.attach("printing") as session:
        await session.wait_for("three", 10)
        running = await workspace.output("printing")
        assert running.data.startswith(b"one\x1b[31m two") and running.data.endswith(b"\rthree\r\n")
        assert (running.start, running.stop) == (0, session.offset)
        assert await workspace.output_text("printing") == "one two\nthree\n"
        await session.send("go\n")
        await session.wait_exit(10)
    ended = await workspace.output("printing")
    assert ended.data.endswith(b"100000\r\n") and len(ended.data) > 600_000
    assert (await workspace.output_text("printing")).endswith("\n99999\n100000\n")
    with pytest.raises(errors.NoSuchSession):
        await workspace.output("nobody")


async def test_a_wrong_token(stack: Stack) -> None:
    async with Workspace(stack.url, "wrong") as workspace:
        with pytest.raises((errors.NotYours, errors.SignInAgain)):
            await workspace.list()


async def test_typing_while_the_server_is_killed(stack: Stack, workspace: Workspace) -> None:
    """What is typed comes back from `cat` once and in order: exactly-once in both directions."""
    await workspace.create("echo", argv=RAW)
    choose = random.Random(7)
    typed = bytearray()
    async with await workspace.attach("echo") as session:
        start = (await session.wait_for("ready", 10)).stop
        pid = (await workspace.get("echo")).raw["pid"]
        for kills in range(3):
            for _ in range(40):
                piece = b"%06d;" % len(typed) * choose.randrange(1, 30)
                typed += piece
                await session.send(piece)
                await asyncio.sleep(0.005)
            await asyncio.to_thread(stack.kill_server) if kills < 2 else stack.relay.cut()
        await session.send("the end")
        await session.wait_for("the end", 30)
        got = session.read(start).data
        assert bytes(typed) + b"the end" == got[-len(typed) - 7 :]
        assert got[: -len(typed) - 7].strip() == b""
        assert session.input_lost == 0
        assert (await workspace.get("echo")).raw["pid"] == pid


async def test_output_through_many_cuts(stack: Stack, workspace: Workspace) -> None:
    lines = 20000
    await workspace.create("lines", argv=["sh", "-c", f"read go; seq -f %08g {lines}; read stop"])
    async with await workspace.attach("lines", keep=1 << 20) as session:
        await session.send("go\n")
        choose = random.Random(3)
        for _ in range(15):
            await asyncio.sleep(choose.random() * 0.05)
            stack.relay.cut()
        await session.wait_for(f"{lines:08d}\r\n", 20)
        data = session.read(0).data
        assert data.endswith(b"".join(b"%08d\r\n" % number for number in range(1, lines + 1)))
        assert session.skipped == []


async def test_an_end_during_an_outage_is_told(stack: Stack, workspace: Workspace) -> None:
    await workspace.create("ends", argv=["sh", "-c", "read go; sleep 0.3; exit 9"])
    async with await workspace.attach("ends") as session:
        await session.send("go\n")
        await session.flush(5)
        stack.relay.down()
        await asyncio.sleep(1)
        stack.relay.up()
        assert (await session.wait_exit(10)).code == 9


async def test_a_second_attach_of_the_same_client_takes_over(workspace: Workspace) -> None:
    await workspace.create("two", argv=RAW)
    name = "ab" * 16
    async with await workspace.attach("two", client=name) as first:
        await first.wait_for("ready", 10)
        async with await workspace.attach("two", client=name) as second:
            await second.wait_for("ready", 10)
            with pytest.raises(errors.TakenOver):
                await first.wait_for("never", 10)


async def test_what_was_missed_can_be_fetched(workspace: Workspace) -> None:
    await workspace.create("long", argv=["sh", "-c", "seq -f %08g 30000; read stop"])
    async with await workspace.attach("long", keep=4096) as session:
        await session.wait_for("00030000", 20)
        assert (await session.fetch(0, 20)).data == b"00000001\r\n00000002\r\n"
