"""Attach tokens against a real server: coming in without cookie and hub, renewal, and everybody else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import stat
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
import websockets
from websockets.asyncio.client import connect

from persistent_terminal_hub.client import errors
from persistent_terminal_hub.client.api import Workspace
from persistent_terminal_hub.client.place import Place
from persistent_terminal_hub.client.session import Attachment
from persistent_terminal_hub.tokens import Purpose, SigningKey, issue
from tests.integration.attach_fixtures import BASE, LIFETIME, FakeHub, HubWorkspace

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORKSPACE = "workspace:ann/lab"


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    made = FakeHub()
    made.start()
    yield made
    made.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workspace(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HubWorkspace]:
    made = HubWorkspace(tmp_path_factory.mktemp("ws"), hub)
    await made.relay.start()
    yield made
    made.relay.stop()
    made.stop()


@pytest.fixture
def ann(hub: FakeHub) -> Iterator[dict[str, str]]:
    """The header of somebody whom the hub knows."""
    token = secrets.token_hex(16)
    yield hub.let_in(token)
    hub.users.pop(token, None)
    if hub.server is None:
        hub.start()


def forge(key: SigningKey, session: str, purpose: Purpose = Purpose.ATTACH, **changes: Any) -> str:
    claims = {"session": session, "grant": "", "confirmed": time.time()} | changes.pop("claims", {})
    said = {"issuer": WORKSPACE, "audience": WORKSPACE, "subject": "ann", "lifetime": LIFETIME} | changes
    return issue(key, purpose, **said, claims=claims)


def socket_of(workspace: HubWorkspace, session: str) -> str:
    return f"ws://127.0.0.1:{workspace.port}{BASE}persistent-terminals/ws/sessions/{session}"


async def open_socket(url: str, headers: dict[str, str] | None = None) -> Any:
    return await connect(
        url, subprotocols=["pth.v1"], additional_headers=headers, proxy=None, compression=None,
    )  # type: ignore[list-item]  # fmt: skip


def attach(token: str | None = None) -> str:
    message = {"type": "attach", "client": secrets.token_hex(16), "rows": 24, "cols": 80, "token": token}
    return json.dumps(message)


async def outcome(socket: Any, seconds: float = 10) -> str | int:
    """`attached`, or the close code."""
    async with asyncio.timeout(seconds):
        try:
            while True:
                frame = await socket.recv()
                if isinstance(frame, str) and json.loads(frame)["type"] == "attached":
                    return "attached"
        except websockets.ConnectionClosed:
            return int(socket.close_code)
        finally:
            await socket.close()


async def try_token(workspace: HubWorkspace, key: str, token: str | None) -> tuple[str | int, str | int]:
    """By the header, by the first message."""
    url = socket_of(workspace, key)
    by_header = await open_socket(url, {"Authorization": f"Bearer {token}"})
    with contextlib.suppress(websockets.ConnectionClosed):  # refused already
        await by_header.send(attach())
    by_message = await open_socket(url)
    await by_message.send(attach(token))
    return await outcome(by_header), await outcome(by_message)


async def test_creating_a_session_returns_a_token(workspace: HubWorkspace, ann: dict[str, str]) -> None:
    answer = await asyncio.to_thread(workspace.request, "POST", "", ann, json={"name": "made"})
    made = answer.json()
    assert answer.status_code == 201 and answer.headers["Cache-Control"] == "no-store"
    assert made["tokenExpiresIn"] == LIFETIME and made["webSocketUrl"] == socket_of(workspace, made["id"])
    assert made["token"] not in made["webSocketUrl"]
    assert await try_token(workspace, made["id"], made["token"]) == ("attached", "attached")
    assert await try_token(workspace, "made", made["token"]) == ("attached", "attached")
    for path in ("", f"/{made['id']}"):
        shown = await asyncio.to_thread(workspace.request, "GET", path, ann)
        assert "token" not in shown.text
    key = workspace.keeper.runtime / "attach-key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    # It opens the stream of one session, and nothing else.
    for header in (f"Bearer {made['token']}", f"token {made['token']}"):
        refused = await asyncio.to_thread(workspace.request, "GET", "", {"Authorization": header})
        assert refused.status_code == 403
    assert not [asked for asked in workspace.hub.asked if made["token"] in asked and "/" not in asked][1:]


async def test_hostile_tokens(workspace: HubWorkspace, hub: FakeHub, ann: dict[str, str]) -> None:
    made, other = [(await asyncio.to_thread(workspace.create, ann))["id"] for _ in range(2)]
    key = workspace.key
    good = forge(key, made)
    past = time.time() - 100
    table: list[tuple[str, int | str, str]] = [
        ("good", "attached", good),
        ("expired", 4401, forge(key, made, now=past)),
        ("from the future", 4401, forge(key, made, now=time.time() + 60)),
        ("too long", 4401, forge(key, made, lifetime=LIFETIME + 1)),
        ("forged", 4401, forge(SigningKey.generate(), made)),
        ("by the hub", 4401, forge(hub.keys[0], made)),
        ("purpose", 4401, forge(key, made, Purpose.SHARE)),
        ("issuer", 4401, forge(key, made, issuer="hub:0123456789ab")),
        ("another workspace", 4403, forge(key, made, audience="workspace:ann/")),
        ("another session", 4403, forge(key, other)),
        ("no session", 4403, forge(key, "")),
        ("session is a list", 4401, forge(key, made, claims={"session": [made]})),
        ("no grant", 4401, forge(key, made, claims={"grant": None})),
        ("cut", 4401, good[:-4]),
        ("garbage", 4401, "eyJ.eyJ.eyJ"),
    ]
    for name, wanted, token in table:
        assert await try_token(workspace, made, token) == (wanted, wanted), name
    # A session that is gone: told to the one who had a token for it, and to nobody else.
    assert await try_token(workspace, "0" * 16, forge(key, "0" * 16)) == (4404, 4404)
    assert await try_token(workspace, "0" * 16, good) == (4403, 4403)
    assert await try_token(workspace, "nobody-knows", good) == (4403, 4403)


async def test_a_stranger_learns_nothing(workspace: HubWorkspace, ann: dict[str, str]) -> None:
    made = await asyncio.to_thread(workspace.create, ann, name="secret")
    sockets = [await open_socket(socket_of(workspace, key)) for key in (made["id"], "secret", "no-such")]
    for socket in sockets:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await socket.recv()
    reasons = []
    for socket, first in zip(sockets, [attach(), attach("eyJ.x.y"), attach()], strict=True):
        await socket.send(first)
        assert await outcome(socket) == 4401
        reasons.append(socket.close_reason)
    assert reasons[0] == reasons[2]
    for first in ("nonsense", '{"type":"ping","id":1}', b"\0" * 9, "x" * 20_000):
        socket = await open_socket(socket_of(workspace, made["id"]))
        await socket.send(first)
        assert await outcome(socket) in (4400, 4413)
    twice = await open_socket(socket_of(workspace, made["id"]))
    await twice.send(attach(made["token"]))
    await twice.send(attach(made["token"]))
    assert await outcome(twice) == 4400
    with pytest.raises(websockets.InvalidStatus):
        await open_socket(socket_of(workspace, made["id"]) + f"?token={made['token']}")


async def test_strangers_are_few(workspace: HubWorkspace, ann: dict[str, str]) -> None:
    made = await asyncio.to_thread(workspace.create, ann)
    crowd = [await open_socket(socket_of(workspace, made["id"])) for _ in range(32)]
    assert await outcome(await open_socket(socket_of(workspace, made["id"]))) == 1013
    by_header = await open_socket(
        socket_of(workspace, made["id"]), {"Authorization": f"Bearer {made['token']}"}
    )
    await by_header.send(attach())
    assert await outcome(by_header) == "attached"
    await asyncio.gather(*(socket.close() for socket in crowd))
    late = await open_socket(socket_of(workspace, made["id"]))
    assert await outcome(late, 15) == 4408


async def test_the_sdk_comes_back_while_the_hub_is_down_and_nobody_knows_its_cookie(
    workspace: HubWorkspace, hub: FakeHub, ann: dict[str, str]
) -> None:
    known = ann["Authorization"].removeprefix("token ")
    async with Workspace(workspace.url, known) as api:
        info = await api.create(argv=["/bin/bash", "--norc"])
        assert "token" not in info.raw
        async with await api.attach(info.id) as session:
            await session.send("echo first-$((1+1))\n")
            await session.wait_for("first-2", 10)
    hub.stop()
    # It expires (3 s, and 5 s for the clock) long before the test is over.
    token = forge(workspace.key, info.id, lifetime=3)
    expired = time.monotonic() + 8
    url = api.socket_url(info.id)
    # With credentials that the workspace has never seen, and that nobody can be asked about.
    place = Place(workspace.url, "0" * 32)
    stranger = Attachment(url, place)
    with pytest.raises(TimeoutError):
        await stranger.open(1.5)
    assert stranger.state == "idle"
    async with Attachment(url, place, token=token) as session:
        await session.open(10)
        await session.send("echo second-$((1+1))\n")
        await session.wait_for("second-2", 10)
        # Renewed although the hub is away: the token it came with has expired when the line is cut.
        await asyncio.sleep(max(0, expired - time.monotonic()))
        assert session.token != token
        workspace.relay.cut()
        await session.send("echo third-$((1+1))\n")
        await session.wait_for("third-2", 10)
        # A killed server does not know the cookie either; its key is still there.
        os.kill(workspace.server_pid, signal.SIGKILL)
        await session.send("echo fourth-$((1+1))\n")
        await session.wait_for("fourth-2", 60)
        assert session.state == "live" and session.token is not None
    async with Attachment(url, Place(workspace.url, ""), token=token) as late:
        with pytest.raises(errors.SignInAgain):
            await late.open(10)


async def test_who_is_revoked_is_put_out_at_the_renewal(
    workspace: HubWorkspace, hub: FakeHub, ann: dict[str, str]
) -> None:
    known = ann["Authorization"].removeprefix("token ")
    async with Workspace(workspace.url, known) as api:
        info = await api.create(argv=["/bin/bash", "--norc"])
        by_hub = await api.attach(info.id)
        token = by_hub.token
        async with (
            by_hub,
            Attachment(api.socket_url(info.id), Place(workspace.url, ""), token=token) as by_token,
        ):
            await by_token.open(10)
            await asyncio.sleep(LIFETIME / 2)
            assert (by_hub.state, by_token.state) == ("live", "live")
            newest = by_token.token
            del hub.users[known]
            for attachment in (by_hub, by_token):
                with pytest.raises(errors.SignInAgain):
                    await attachment.wait_for("never", LIFETIME)
        # The hub has said no: a token that is still valid does not help who shows these credentials ...
        again = Attachment(api.socket_url(info.id), api.place, token=newest)
        with pytest.raises(errors.SignInAgain):
            await again.open(10)
        # ... and who shows none is asked about after a moment.
        bare = Attachment(api.socket_url(info.id), Place(workspace.url, ""), token=newest)
        with pytest.raises(errors.SignInAgain):
            await bare.open(10)
            await bare.wait_for("never", 5)


async def test_a_token_that_nobody_vouches_for_ends_when_it_says(
    workspace: HubWorkspace, hub: FakeHub, ann: dict[str, str]
) -> None:
    """The hub is there, but this process does not know whom to ask about: no renewal."""
    made = (await asyncio.to_thread(workspace.create, ann))["id"]
    session = Attachment(
        socket_of(workspace, made), Place(workspace.url, ""), token=forge(workspace.key, made, lifetime=3)
    )
    await session.open(10)
    with pytest.raises(errors.SignInAgain):
        await session.wait_for("never", 10)
    # It may prove itself again on the live connection, and then goes on.
    socket = await open_socket(socket_of(workspace, made))
    await socket.send(attach(forge(workspace.key, made, lifetime=2)))
    began = time.monotonic()
    for _ in range(3):
        await asyncio.sleep(1)
        await socket.send(json.dumps({"type": "token", "token": forge(workspace.key, made, lifetime=2)}))
    assert await outcome_after(socket) == 4401
    assert time.monotonic() - began > 4
    for bad, code in ((forge(workspace.key, "other"), 4403), ("x", 4401), (
        forge(workspace.key, made, subject="bob"), 4403,
    )):  # fmt: skip
        socket = await open_socket(socket_of(workspace, made))
        await socket.send(attach(forge(workspace.key, made)))
        while json.loads(await socket.recv())["type"] != "attached":
            pass
        await socket.send(json.dumps({"type": "token", "token": bad}))
        assert await outcome_after(socket) == code


async def outcome_after(socket: Any) -> int:
    async with asyncio.timeout(15):
        while True:
            try:
                await socket.recv()
            except websockets.ConnectionClosed:
                return int(socket.close_code)


async def test_nothing_of_it_is_in_the_log(workspace: HubWorkspace, ann: dict[str, str]) -> None:
    made = await asyncio.to_thread(workspace.create, ann)
    await try_token(workspace, made["id"], made["token"])
    assert "eyJ" not in workspace.keeper.log and "Traceback" not in workspace.keeper.log
    await asyncio.to_thread(workspace.wait)
