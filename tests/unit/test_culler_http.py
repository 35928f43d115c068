"""Asking over real HTTP: every way of not answering is told apart, and the token allows just what it says.

The server is a FAKE workspace and a fake hub in this process.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tornado import httpserver, web

from persistent_terminal_hub.culler.app import signer
from persistent_terminal_hub.culler.arbiter import Arbiter, may_stop
from persistent_terminal_hub.culler.http import Http, NoAnswer
from persistent_terminal_hub.culler.hub_api import HubApi, HubAway, Leftovers, Workspace
from persistent_terminal_hub.culler.workspaces import Workspaces
from persistent_terminal_hub.policy import Rules, SessionFacts, WorkspaceFacts
from persistent_terminal_hub.services import place_of
from persistent_terminal_hub.signing_keys import KeyStore
from persistent_terminal_hub.tokens import Purpose, verify

GOOD = asdict(WorkspaceFacts(0.0, "running", age=10.0, since_presence=5.0, since_connected=5.0))


class Fake:
    """Answers what a test put into `answers`: path to (status, body); a body of None is never sent."""

    def __init__(self, folder: Path) -> None:
        self.answers: dict[str, tuple[int, bytes | None]] = {}
        self.seen: list[tuple[str, str, Any, str]] = []
        self.keys = KeyStore(folder / "keys")
        self.http = Http(4)

    async def start(self) -> Fake:
        fake = self

        class Handler(web.RequestHandler):
            async def all(self) -> None:
                body = json.loads(self.request.body) if self.request.body else None
                authorization = self.request.headers["Authorization"]
                fake.seen.append((self.request.method or "", self.request.uri or "", body, authorization))
                status, answer = fake.answers.get(self.request.path, (404, b"{}"))
                if answer is None:
                    await asyncio.sleep(30)
                self.set_status(status)
                self.finish(answer or None)

            get = post = put = delete = all  # type: ignore[assignment]

        application = web.Application([(r".*", Handler)], log_function=lambda _: None)
        self.server = httpserver.HTTPServer(application)
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        self.server.add_socket(listener)
        self.origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.workspace = Workspace("ada", "gpu", frozenset(), f"{self.origin}/user/ada/gpu/")
        self.workspaces = Workspaces(self.http, signer(self.keys, "0123456789ab"), 0.3)
        self.hub = HubApi(self.http, f"{self.origin}/pre/hub/api", "secret")
        return self

    def facts(self, status: int, body: bytes | None) -> None:
        self.answers["/user/ada/gpu/persistent-terminals/api/facts"] = (status, body)

    def running(self, *entries: Any) -> None:
        body = json.dumps({"workspaces": entries}).encode()
        self.answers["/pre/hub/persistent-terminals/api/running"] = (200, body)


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[Fake]:
    made = await Fake(tmp_path).start()
    yield made
    made.http.close()
    made.server.stop()
    await made.server.close_all_connections()


async def test_facts_with_a_token_that_allows_nothing_else(fake: Fake) -> None:
    fake.facts(200, json.dumps({**GOOD, "rulesHash": "r"}).encode())
    look = await fake.workspaces.look(fake.workspace)
    assert (look.facts.state, look.facts.since_presence, look.rules_hash, look.why) == ("running", 5, "r", "")
    method, uri, _, authorization = fake.seen[0]
    assert (method, uri) == ("GET", "/user/ada/gpu/persistent-terminals/api/facts?no_track_activity=1")
    verified = verify(
        authorization.removeprefix("Bearer "), fake.keys.public(), Purpose.STEER,
        issuer="hub:0123456789ab", audience="workspace:ada/gpu", max_lifetime=60,
    )  # fmt: skip
    assert verified.claims["actions"] == ["facts"]


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, b"<html>", "unreadable"),
        (200, b"[" * 100_000, "unreadable"),
        (200, b"{}", "unreadable"),
        (200, None, "timeout"),
        (302, b"", "unreadable"),
        (401, b"{}", "denied"),
        (403, b'{"message": "The token has expired."}', "denied"),
        (404, b"{}", "unreadable"),
        (423, b"{}", "locked"),
        (500, b"", "unreadable"),
        (503, b"", "busy"),
        (429, b"", "busy"),
    ],
)
async def test_what_is_no_answer(fake: Fake, status: int, body: bytes | None, why: str) -> None:
    fake.facts(status, body)
    look = await fake.workspaces.look(fake.workspace)
    assert (look.facts.state, look.why) == ("unreachable", why)
    assert "Bearer" not in look.detail and "ey" not in look.detail


async def test_nobody_there(fake: Fake) -> None:
    gone = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{gone.getsockname()[1]}/"
    gone.close()
    look = await fake.workspaces.look(Workspace("ada", "", address=address))
    assert (look.facts.state, look.why) == ("unreachable", "refused")
    assert (await fake.workspaces.look(Workspace("ada", ""))).why == "no address"
    pending = await fake.workspaces.look(Workspace("ada", "", address=address, pending="stop"))
    assert pending.facts.state == "pending"


async def test_a_connection_that_breaks(fake: Fake) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    look = await fake.workspaces.look(Workspace("ada", "", address=address))
    server.close()
    assert (look.facts.state, look.why) == ("unreachable", "broken")


async def test_an_answer_without_end_is_not_read(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.facts(200, b'"' + b"x" * (9 * 1024 * 1024) + b'"')
    assert (await fake.workspaces.look(fake.workspace)).why == "broken"


async def test_what_it_tells_a_workspace(fake: Fake) -> None:
    base = "/user/ada/gpu/persistent-terminals/api"
    for path in ("/warn", "/lock", "/rules"):
        fake.answers[base + path] = (204, b"")
    fake.answers[base + "/sessions/a%2Fb"] = (410, b"")
    tell = fake.workspaces
    assert (await tell.warn(fake.workspace, "idle_stop", 60.0, "why")).ok
    assert (await tell.lock(fake.workspace, "why")).ok
    assert (await tell.end_session(fake.workspace, "a/b", "ttl")).ok  # it has ended by itself
    assert (await tell.put_rules(fake.workspace, Rules())).ok
    said = [(method, uri.removeprefix(base), body) for method, uri, body, _ in fake.seen]
    assert said[0] == (
        "POST",
        "/warn",
        {"code": "idle_stop", "seconds": 60, "session": None, "reason": "why"},
    )
    assert said[1] == ("POST", "/lock", {"reason": "why"})
    assert said[2][:2] == ("DELETE", "/sessions/a%2Fb?reason=ttl")
    assert said[3] == ("PUT", "/rules", asdict(Rules()))
    actions = [
        verify(
            authorization.removeprefix("Bearer "), fake.keys.public(), Purpose.STEER,
            issuer="hub:0123456789ab", audience="workspace:ada/gpu", max_lifetime=60,
        ).claims["actions"]
        for *_, authorization in fake.seen
    ]  # fmt: skip
    assert actions == [["warn"], ["lock"], ["end"], ["rules"]]
    refused = await tell.lock(Workspace("ada", "x", address=fake.origin + "/y/"), "why")
    assert not refused.ok and refused.detail == "HTTP 404"


async def test_the_hub(fake: Fake) -> None:
    fake.running(
        {"user": "a", "workspace": "", "groups": ["g", 3], "address": "http://10.0.0.2:8888/user/a/"},
        {"user": "b", "workspace": "x", "pending": "spawn", "address": None},
        {"user": "", "workspace": ""},
        {"user": "c", "workspace": "", "address": "file:///etc/passwd"},
        "nonsense",
    )
    assert await fake.hub.running() == [
        Workspace("a", "", frozenset({"g"}), "http://10.0.0.2:8888/user/a/"),
        Workspace("b", "x", pending="spawn"),
        Workspace("c", ""),
    ]
    fake.answers["/pre/hub/persistent-terminals/api/orphans"] = (
        200,
        json.dumps(
            {
                "orphans": [
                    {"user": "a", "workspace": "", "container": "c1", "userKnown": True},
                    {"user": "b", "workspace": "", "container": "c2", "userKnown": False},
                    {"user": "d", "workspace": "", "container": "c3", "userKnown": True, "deleted": True},
                    {"user": "e", "workspace": "", "container": "c4", "userKnown": True, "paused": True},
                ],
                "stopped": [
                    {"user": "f", "workspace": "", "stoppedFor": 5, "groups": ["g"]},
                    {"user": "h", "workspace": "", "stoppedFor": None},
                    {"user": "i", "workspace": "", "stoppedFor": float("nan")},
                ],
            }
        ).encode(),
    )
    found = await fake.hub.leftovers()
    assert [(orphan.user, orphan.adoptable) for orphan in found.orphans] == [
        ("a", True), ("b", False), ("d", False), ("e", False),
    ]  # fmt: skip
    assert [(each.user, each.seconds, each.groups) for each in found.stopped] == [("f", 5, {"g"})]
    await fake.hub.stop("a/b", "")
    await fake.hub.stop("a", "g p")
    assert [uri for method, uri, _, _ in fake.seen if method == "DELETE"] == [
        "/pre/hub/api/users/a%2Fb/server",
        "/pre/hub/api/users/a/servers/g%20p",
    ]


@pytest.mark.parametrize("answer", [(503, b""), (403, b"{}"), (200, b"<html>"), (200, b"[]"), (200, b"{}")])
async def test_a_hub_that_does_not_answer_well(fake: Fake, answer: tuple[int, bytes]) -> None:
    fake.answers["/pre/hub/persistent-terminals/api/running"] = answer
    with pytest.raises(HubAway) as caught:
        await fake.hub.running()
    assert "secret" not in str(caught.value)
    fake.answers["/pre/hub/persistent-terminals/api/orphans"] = answer
    if answer == (200, b"{}"):
        assert await fake.hub.leftovers() == Leftovers()
    else:
        with pytest.raises(HubAway):
            await fake.hub.leftovers()


async def test_a_hub_that_is_gone(fake: Fake) -> None:
    with pytest.raises(HubAway, match="does not answer"):
        await HubApi(fake.http, "http://127.0.0.1:1/hub/api", "secret").running()
    with pytest.raises(NoAnswer):
        await HubApi(fake.http, "http://127.0.0.1:1/hub/api", "secret").stop("a", "")


# -- beside jupyterhub-idle-culler ---------------------------------------------------------------------------


async def ask(arbiter: Arbiter, limit: float = 4.0, name: str = "ada/gpu") -> bool:
    server = {"name": name.partition("/")[2], "full_name": name}
    return await arbiter(inactive=timedelta(hours=1), inactive_limit=limit, server=server)


async def test_the_arbiter(fake: Fake) -> None:
    fake.running({"user": "ada", "workspace": "gpu", "address": fake.workspace.address})
    arbiter = Arbiter(fake.hub, fake.workspaces)
    fake.facts(200, json.dumps(GOOD).encode())
    assert await ask(arbiter)
    assert not await ask(arbiter, limit=6.0)
    assert not await ask(arbiter, name="eve/")
    fake.facts(200, None)
    assert not await ask(arbiter)
    assert sum("running" in uri for _, uri, _, _ in fake.seen) == 1  # the list is kept for a while


def test_what_an_arbiter_lets_stop() -> None:
    idle = WorkspaceFacts(0.0, "running", age=100.0, since_presence=50.0, since_connected=50.0)
    assert may_stop(idle, 50.0)
    job = SessionFacts("s", "s", 10.0, busy=True)
    page = SessionFacts("s", "s", 10.0, attached=True)
    for change in (
        {"busy": True}, {"sessions": (job,)}, {"sessions": (page,)}, {"since_connected": 0.0},
        {"since_connected": 49.0}, {"since_presence": 49.0}, {"age": 49.0}, {"since_busy": 49.0},
        {"state": "unreachable"}, {"state": "pending"},
    ):  # fmt: skip
        assert not may_stop(replace(idle, **change), 50.0), change  # type: ignore[arg-type]


def test_what_it_needs_to_start() -> None:
    with pytest.raises(ValueError, match="PTH_HUB_ID, JUPYTERHUB_API_TOKEN"):
        place_of({"JUPYTERHUB_API_URL": "http://x/hub/api"}, "culler")
