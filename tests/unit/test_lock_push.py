"""Workspaces that are told to lock: answers, time limits, how many at a time, and asking again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from persistent_terminal_hub import tokens
from persistent_terminal_hub.client.errors import NotConfigured
from persistent_terminal_hub.client.lock_command import wish_of
from persistent_terminal_hub.hub.lock_push import LockSender, Target
from persistent_terminal_hub.hub.unlock import HubTokens
from persistent_terminal_hub.signing_keys import KeyStore


class Workspaces:
    """Servers of workspaces, all behind one port; each answers as its name says."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, Any]] = []
        self.at_once = self.most_at_once = 0
        self.recovered = False
        everyone = self

        class Lock(RequestHandler):
            async def post(self, name: str) -> None:
                everyone.seen.append(
                    (name, self.request.headers["Authorization"], json.loads(self.request.body))
                )
                everyone.at_once += 1
                everyone.most_at_once = max(everyone.at_once, everyone.most_at_once)
                try:
                    await everyone.answer(self, name)
                finally:
                    everyone.at_once -= 1

        socket, self.port = bind_unused_port()
        self.server = HTTPServer(Application([(r"/user/alice/(.*)/persistent-terminals/api/lock", Lock)]))
        self.server.add_sockets([socket])

    async def answer(self, handler: RequestHandler, name: str) -> None:
        if name == "frozen":
            await asyncio.sleep(5)
        elif name == "recovers" and not self.recovered:
            handler.set_status(503)
        elif name == "already":
            handler.finish({"locked": True, "already": True})
        elif name == "stock":
            handler.set_status(404)
        elif name == "elsewhere":
            handler.redirect("http://127.0.0.1:9/")
        elif name == "odd":
            handler.finish("<html>")
        else:
            await asyncio.sleep(0.02)
            handler.finish({"locked": True, "since": "now", "already": False})

    def target(self, name: str) -> Target:
        return Target("alice", name, lambda: f"http://127.0.0.1:{self.port}/user/alice/{name}/")


@pytest.fixture
async def workspaces() -> AsyncIterator[Workspaces]:
    made = Workspaces()
    yield made
    made.server.stop()


@pytest.fixture
def keys(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys")


async def test_each_answer_in_one_word(workspaces: Workspaces, keys: KeyStore) -> None:
    sender = LockSender(HubTokens(keys, "h1"), timeout=0.5, first_pause=60)
    names = ["lab", "already", "stock", "elsewhere", "odd", "frozen"]
    gone = Target("alice", "gone", lambda: None)
    nobody = Target("alice", "nobody", lambda: "http://127.0.0.1:9/user/alice/nobody/")
    results = await sender.lock([*(workspaces.target(name) for name in names), gone, nobody], "administrator")
    assert results == [
        "locked", "already", "refused", "refused", "refused", "not_answering", "not_running", "not_answering",
    ]  # fmt: skip
    assert set(sender.pursued) == {"alice/frozen", "alice/nobody"}
    for task in list(sender.pursued.values()):
        task.cancel()


async def test_the_order_is_signed_for_this_workspace_and_action(
    workspaces: Workspaces, keys: KeyStore
) -> None:
    await LockSender(HubTokens(keys, "h1")).lock([workspaces.target("lab")], "user")
    ((_, header, body),) = workspaces.seen
    assert body == {"reason": "user"}
    said = tokens.verify(
        header.removeprefix("Bearer "), keys.public(), tokens.Purpose.STEER,
        issuer="hub:h1", audience="workspace:alice/lab", subject="alice", max_lifetime=60,
    )  # fmt: skip
    assert said.claims["actions"] == ["lock"]


async def test_not_all_at_once(workspaces: Workspaces, keys: KeyStore) -> None:
    sender = LockSender(HubTokens(keys, "h1"), concurrency=3)
    results = await sender.lock([workspaces.target(f"w{number}") for number in range(20)], "administrator")
    assert results == ["locked"] * 20
    assert 1 < workspaces.most_at_once <= 3


async def test_who_did_not_answer_is_asked_until_it_does(workspaces: Workspaces, keys: KeyStore) -> None:
    sender = LockSender(HubTokens(keys, "h1"), first_pause=0.01)
    assert await sender.lock([workspaces.target("recovers")], "user") == ["not_answering"]
    (task,) = sender.pursued.values()
    # Asked for once more by somebody else: still one that pursues it.
    assert await sender.lock([workspaces.target("recovers")], "user") == ["not_answering"]
    assert list(sender.pursued.values()) == [task]
    workspaces.recovered = True
    await asyncio.wait_for(task, 10)
    assert not sender.pursued
    assert len(workspaces.seen) >= 3


async def test_who_stops_or_never_answers_is_given_up(workspaces: Workspaces, keys: KeyStore) -> None:
    sender = LockSender(HubTokens(keys, "h1"), first_pause=0.01, patience=0.05)
    urls = [f"http://127.0.0.1:{workspaces.port}/user/alice/recovers/", None]
    stops = Target("alice", "stops", lambda: urls.pop(0))
    assert await sender.lock([stops, workspaces.target("recovers")], "user") == ["not_answering"] * 2
    await asyncio.wait_for(asyncio.gather(*sender.pursued.values()), 10)
    assert not sender.pursued


@pytest.mark.parametrize(
    ("target", "all_", "wish"),
    [
        (None, False, {}),
        (None, True, {"all": True}),
        ("lab", False, {"workspace": "lab"}),
        ("alice/lab", False, {"user": "alice", "workspace": "lab"}),
        ("alice/", False, {"user": "alice", "workspace": ""}),
        ("alice/", True, {"user": "alice", "all": True}),
    ],
)
def test_what_the_command_asks_for(target: str | None, all_: bool, wish: dict[str, Any]) -> None:
    assert wish_of(target, all_) == wish


@pytest.mark.parametrize(
    ("target", "all_"), [("/lab", False), ("a/b/c", False), ("alice/lab", True), ("lab", True)]
)
def test_what_the_command_does_not_understand(target: str, all_: bool) -> None:
    with pytest.raises(NotConfigured):
        wish_of(target, all_)
