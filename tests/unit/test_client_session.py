"""The SDK against a FAKE workspace: the real server machine and real PTYs, but no keeper."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tornado import httpserver, netutil, web

from persistent_terminal_hub.client import errors, sync
from persistent_terminal_hub.client.api import Hub, Workspace
from persistent_terminal_hub.client.session import Attachment
from persistent_terminal_hub.protocol.codes import Code
from tests.support.fake_workspace import TOKEN, FakeWorkspace


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeWorkspace]:
    made = FakeWorkspace()
    made.up()
    yield made
    made.close()


@pytest_asyncio.fixture
async def workspace(fake: FakeWorkspace) -> AsyncIterator[Workspace]:
    async with Workspace(fake.url, TOKEN) as made:
        yield made


async def test_sessions_are_made_listed_renamed_and_ended(workspace: Workspace) -> None:
    made = await workspace.create("one")
    assert [item.name for item in await workspace.list()] == ["one"]
    assert (await workspace.ensure("one"))[0].id == made.id
    with pytest.raises(errors.Conflict, match="runs already"):
        await workspace.create("one")
    assert (await workspace.rename("one", "two")).id == made.id
    await workspace.delete("two")
    with pytest.raises(errors.NoSuchSession):
        await workspace.get("nobody")


async def test_type_read_and_wait(workspace: Workspace) -> None:
    await workspace.create("work")
    async with await workspace.attach("work") as session:
        await session.send("echo $((6 * 7))\n")
        found = await session.wait_for("42", 5)
        assert session.read(found.start).data.startswith(b"42")
        await session.send("exit 3\n")
        assert (await session.wait_exit(5)).code == 3
        with pytest.raises(errors.SessionEnded, match="exit status 3"):
            await session.wait_for("never", 5)


async def test_a_second_client_reads_what_was_printed_before(workspace: Workspace) -> None:
    await workspace.create("work", argv=["sh", "-c", "echo before; cat"])
    async with await workspace.attach("work") as session:
        await session.wait_for(re.compile(rb"bef\w+"), 5)
    async with await workspace.attach("work", mode="watch") as session:
        assert "before" in (await session.wait_for("before", 5)).text
        with pytest.raises(errors.InputLost, match="only watch"):
            await session.send("x")


async def test_nothing_is_lost_or_doubled_across_cuts(fake: FakeWorkspace, workspace: Workspace) -> None:
    await workspace.create("cat", argv=["sh", "-c", "stty raw -echo; echo ready; cat"])
    async with await workspace.attach("cat") as session:
        start = (await session.wait_for("ready", 5)).stop
        typed = b"".join(b"%06d;" % number for number in range(4000))
        sender = asyncio.create_task(session.send(typed))
        for _ in range(6):
            await asyncio.sleep(0.1)
            fake.cut()
        await sender
        await session.wait_for("003999;", 10)
        data = session.read(start).data
        assert data[data.index(b"000000;") :] == typed
        assert fake.attaches >= 3


async def test_an_outage_is_waited_for(fake: FakeWorkspace, workspace: Workspace) -> None:
    await workspace.create("sh")
    async with await workspace.attach("sh") as session:
        await session.wait_for("$ ", 5)
        fake.down()
        await asyncio.sleep(0.3)
        assert session.state == "reconnecting"
        await session.send("echo typed-$((1+1))\n")
        fake.up()
        await session.wait_for("typed-2", 5)


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, errors.SignInAgain), (403, errors.NotYours), (404, errors.NoSuchSession),
     (410, errors.SessionEnded), (423, errors.WorkspaceLocked)],
)  # fmt: skip
async def test_refused_handshakes_are_exceptions(
    fake: FakeWorkspace, workspace: Workspace, status: int, error: type[Exception]
) -> None:
    await workspace.create("sh")
    fake.refuse = status
    with pytest.raises(error) as raised:
        async with asyncio.timeout(5):
            session = await workspace.attach("sh")
            await session.wait_for("nothing")
    assert str(raised.value).endswith((".", ")."))


@pytest.mark.parametrize(
    ("code", "error"),
    [(Code.SIGN_IN, errors.SignInAgain), (Code.FORBIDDEN, errors.NotYours),
     (Code.NO_SESSION, errors.NoSuchSession), (Code.TAKEN_OVER, errors.TakenOver),
     (Code.LOCKED, errors.WorkspaceLocked), (Code.PROTOCOL, errors.Refused)],
)  # fmt: skip
async def test_close_codes_are_exceptions(
    fake: FakeWorkspace, workspace: Workspace, code: Code, error: type[Exception]
) -> None:
    await workspace.create("sh")
    async with await workspace.attach("sh") as session:
        waiting = asyncio.create_task(session.wait_for("never", 5))
        await asyncio.sleep(0)
        for socket in list(fake.sockets):
            socket.close(int(code))
        with pytest.raises(error):
            await waiting


async def test_a_wrong_token_is_not_yours(fake: FakeWorkspace) -> None:
    async with Workspace(fake.url, "wrong") as workspace:
        with pytest.raises(errors.NotYours):
            await workspace.list()


async def test_a_server_that_is_no_workspace(unused_tcp_port: int) -> None:
    async with Workspace(f"http://127.0.0.1:{unused_tcp_port}/", TOKEN) as workspace:
        with pytest.raises(errors.Unreachable, match="does not answer"):
            await workspace.list()


async def test_the_end_while_away_is_still_told(fake: FakeWorkspace, workspace: Workspace) -> None:
    await workspace.create("sh")
    async with await workspace.attach("sh") as session:
        await session.wait_for("$ ", 5)
        fake.down()
        fake.sessions[0].kill()
        await asyncio.sleep(0.3)
        fake.up()
        exit_ = await session.wait_exit(5)
        assert exit_.signal == 9


async def test_the_stream_as_chunks(workspace: Workspace) -> None:
    await workspace.create("count", argv=["sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.1; done"])
    session: Attachment = await workspace.attach("count")
    text = "".join([chunk.text async for chunk in session.stream(0)])
    assert text == "line 1\nline 2\nline 3\n"
    await session.close()


async def test_questions_get_plain_answers(workspace: Workspace) -> None:
    ask = "stty raw -echo; printf '\\033[c'; head -c 7 | od -An -c; printf 'a\\033[5n'; head -c 4 | od -An -c"
    await workspace.create("asks", argv=["bash", "-c", "sleep 0.3; " + ask])
    async with await workspace.attach("asks") as session:
        await session.wait_for("?   1   ;   2   c", 5)
        await session.wait_for("[   0   n", 5)


async def test_what_was_missed_can_be_fetched(fake: FakeWorkspace, workspace: Workspace) -> None:
    await workspace.create("long", argv=["sh", "-c", "seq 1 30000; echo end; cat"])
    async with await workspace.attach("long") as session:
        await session.wait_for("end", 5, since=0)
        assert (await session.fetch(0, 12)).data == b"1\r\n2\r\n3\r\n4\r\n"


async def test_the_same_without_async(fake: FakeWorkspace) -> None:
    def script() -> None:
        with sync.Workspace.at(fake.url, TOKEN) as workspace:
            workspace.create("work")
            with workspace.attach("work") as session:
                session.send("echo $((6 * 7)); exit 2\n")
                found = session.wait_for("42", 5)
                assert session.read(found.start).text.startswith("42")
                assert session.wait_exit(5).code == 2
                assert session.exit
            with pytest.raises(errors.SessionEnded):
                workspace.attach("work")
            assert [item.ended for item in workspace.list()] == [True]

    await asyncio.to_thread(script)


class FakeHub:
    """What the client asks a hub for."""

    def __init__(self, workspace: FakeWorkspace) -> None:
        self.started: list[str] = []
        server = {"name": "lab", "url": "/user/a%40b/lab/", "ready": False}

        class Answer(web.RequestHandler):
            def get(handler, path: str) -> None:
                assert handler.request.headers["Authorization"] == f"token {TOKEN}"
                if path == "user":
                    handler.finish({"name": "a@b"})
                elif path == "users/a@b":
                    handler.finish({"name": "a@b", "servers": {"lab": server}})
                else:
                    handler.set_status(404)
                    handler.finish({"status": 404, "message": "Not Found"})

            def post(handler, path: str) -> None:
                self.started.append(path)
                server["ready"] = True
                handler.set_status(202)

        app = web.Application([(r"/hub/api/(.*)", Answer)])
        self.server = httpserver.HTTPServer(app)
        sockets = netutil.bind_sockets(0, "127.0.0.1")
        self.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/"
        self.server.add_sockets(sockets)


async def test_a_workspace_is_found_and_started_through_the_hub(fake: FakeWorkspace) -> None:
    hub = FakeHub(fake)
    try:
        async with Hub(hub.url, TOKEN) as api:
            assert [item.name for item in await api.workspaces()] == ["lab"]
            with pytest.raises(errors.NoSuchWorkspace, match="does not run"):
                await api.workspace("lab")
            with pytest.raises(errors.NoSuchWorkspace, match="There is no workspace a@b/other"):
                await api.workspace("other")
            with pytest.raises(errors.NoSuchWorkspace, match="no user 'bob'"):
                await api.workspace("lab", "bob")
            workspace = await api.workspace("lab", start=True)
            assert hub.started == ["users/a@b/servers/lab"]
            assert workspace.place.url == hub.url + "user/a%40b/lab/"
            await workspace.aclose()
    finally:
        hub.server.stop()


async def test_silence_does_not_stop_the_input(workspace: Workspace) -> None:
    count = "stty raw -echo; echo ready; head -c 400000 | cksum; read stop"
    await workspace.create("silent", argv=["sh", "-c", count])
    async with await workspace.attach("silent") as session:
        await session.wait_for("ready", 5)
        await session.send(b"x" * 400000)
        await session.flush(5)
        await session.wait_for("400000", 5)
