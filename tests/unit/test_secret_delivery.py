"""When secrets are brought where, against a hub and workspaces that are made up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.secret_delivery import AGAIN_SECONDS, LAST_WAIT, SecretDelivery
from persistent_terminal_hub.control.secrets import Bundle, version_of
from persistent_terminal_hub.sealing import SealingError

Place = tuple[str, str]


class World:
    """The hub, the workspaces, the store, and the clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.entries: dict[Place, str] = {}
        self.away: set[Place] = set()
        self.state: dict[str, dict[str, bytes]] = {}
        self.has: dict[Place, tuple[str, dict[str, str]]] = {}
        self.asked: list[tuple[str, Place]] = []
        self.sealed = False
        #: Of workspaces; servers of an older image do not take it.
        self.env: dict[Place, dict[str, str]] = {}
        self.takes_env = True
        self.got_env: dict[Place, object] = {}

    async def running(self) -> list[dict[str, Any]]:
        return [
            {"user": user, "workspace": name, "address": "http://x", "started": started}
            for (user, name), started in self.entries.items()
        ]

    def forget(self, owner: str, name: str) -> None:
        pass

    async def ask(
        self, owner: str, name: str, method: str, path: str, action: str, *, body: Any, **_more: object
    ) -> Any:
        assert (path, action) == ("secrets", "secrets")
        self.asked.append((method, (owner, name)))
        if (owner, name) in self.away:
            raise ApiError(503, "It does not answer.")
        if method == "PUT":
            assert self.takes_env or "env" not in body
            self.has[owner, name] = (body["version"], body["secrets"])
            self.got_env[owner, name] = body.get("env")
        answer: dict[str, Any] = {"version": self.has.get((owner, name), ("", {}))[0]}
        return answer | ({"env": []} if self.takes_env else {})

    def version(self, place: Place) -> str:
        marks = ((name, "", hash(value)) for name, value in self.state.get(place[0], {}).items())
        return version_of(marks, self.env.get(place))

    def versions(self, places: Iterable[Place]) -> dict[Place, str]:
        return {place: self.version(place) for place in places}

    def bundle(self, owner: str, name: str) -> Bundle:
        if self.sealed:
            raise SealingError("The keys are away.")
        values = dict(self.state.get(owner, {}))
        return Bundle(self.version((owner, name)), values, self.env.get((owner, name), {}))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def delivery(world: World) -> SecretDelivery:
    async def blocking(call: Any, *args: Any) -> Any:
        return call(*args)

    return SecretDelivery(world, world, world, blocking, lambda: world.now)  # type: ignore[arg-type]


async def look(world: World, delivery: SecretDelivery, at: float) -> list[str]:
    world.now = at
    world.asked.clear()
    await delivery.look()
    return [method for method, _ in world.asked]


async def test_brought_once_and_asked_now_and_then(world: World, delivery: SecretDelivery) -> None:
    world.state["a"] = {"T": b"x"}
    world.entries = {("a", ""): "1", ("b", ""): "1"}
    assert sorted(await look(world, delivery, 0)) == ["GET", "GET", "PUT"]
    assert world.has["a", ""][1] == {"T": "eA=="} and ("b", "") not in world.has
    assert await look(world, delivery, 3) == []
    assert await look(world, delivery, AGAIN_SECONDS * 1.3) == ["GET"]  # not the one without secrets
    # Started again: asked at once; it has lost them.
    world.entries["a", ""] = "2"
    del world.has["a", ""]
    assert await look(world, delivery, AGAIN_SECONDS * 1.3 + 3) == ["GET", "PUT"]


async def test_a_workspaces_env_goes_the_same_way(world: World, delivery: SecretDelivery) -> None:
    world.entries, world.env = {("a", ""): "1", ("b", ""): "1"}, {("a", ""): {"MODE": "1"}}
    assert sorted(await look(world, delivery, 0)) == ["GET", "GET", "PUT"]
    assert world.got_env == {("a", ""): {"MODE": "1"}}
    world.env["a", ""] = {"MODE": "2"}
    assert await look(world, delivery, 3) == ["GET", "PUT"]
    assert world.got_env == {("a", ""): {"MODE": "2"}}
    world.takes_env, world.state["b"] = False, {"T": b"x"}
    assert await look(world, delivery, 6) == ["GET", "PUT"]
    assert world.got_env["b", ""] is None and world.has["b", ""][1] == {"T": "eA=="}


async def test_a_change_and_the_last_one_deleted(world: World, delivery: SecretDelivery) -> None:
    world.state["a"] = {"T": b"x"}
    world.entries = {("a", ""): "1"}
    await look(world, delivery, 0)
    world.state["a"] = {"T": b"y"}
    assert await look(world, delivery, 3) == ["GET", "PUT"]
    world.state["a"] = {}
    assert await look(world, delivery, 6) == ["GET", "PUT"]
    assert world.has["a", ""] == ("", {})
    assert await look(world, delivery, 500) == []


async def test_one_that_does_not_answer_is_asked_less_and_less(
    world: World, delivery: SecretDelivery
) -> None:
    world.state["a"] = {"T": b"x"}
    world.entries, world.away = {("a", ""): "1"}, {("a", "")}
    asked = 0
    for second in range(0, 600, 2):
        asked += len(await look(world, delivery, second))
    assert 5 <= asked <= 14
    delivery.changed("a")
    assert await look(world, delivery, 600) == ["GET"]
    world.away.clear()
    assert await look(world, delivery, 600 + LAST_WAIT * 1.3) == ["GET", "PUT"]


async def test_without_keys_nothing_is_taken_away(world: World, delivery: SecretDelivery) -> None:
    world.state["a"] = {"T": b"x"}
    world.entries = {("a", ""): "1"}
    await look(world, delivery, 0)
    world.sealed = True
    world.state["a"] = {"T": b"y"}
    assert await look(world, delivery, 3) == ["GET"]
    assert world.has["a", ""][1] == {"T": "eA=="}
    assert not await delivery.ensure("a", "")
    world.sealed = False
    assert await delivery.ensure("a", "")
    assert world.has["a", ""][1] == {"T": "eQ=="}
