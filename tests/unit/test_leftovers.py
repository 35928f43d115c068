"""Who counts as gone, and when what is kept of them is removed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.leftovers import GRACE_SECONDS, Gone, Kept, Leftovers, missing


def user(created: float, *servers: str) -> dict[str, Any]:
    at = datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z")
    return {"created": at, "servers": {name: {"name": name} for name in servers}}


def of(name: str, model: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, **model}


#: The hub's first user is of the moment 100.
@pytest.mark.parametrize(
    ("kept", "there", "gone"),
    [
        (Kept(200, 300, {}), user(150), []),
        (Kept(200, 300, {}), None, [Gone("bob")]),
        # The hub began anew after all of it was written: it cannot know.
        (Kept(50, 90, {}), None, []),
        (Kept(50, 90, {"lab": 60}), user(150), []),
        # Another person of the same name.
        (Kept(200, 300, {}), user(250), [Gone("bob", None, 250.0)]),
        (Kept(200, 300, {"lab": 210, "gpu": 220}), user(150, "", "gpu"), [Gone("bob", "lab")]),
        (Kept(200, 300, {"lab": 210}), user(150, "lab"), []),
        # The hub does not say since when.
        (Kept(200, 300, {}), {"servers": {}}, []),
    ],
)
def test_what_is_missing(kept: Kept, there: dict[str, Any] | None, gone: list[Gone]) -> None:
    users = {"admin": of("admin", user(100))}
    if there is not None:
        users["bob"] = of("bob", there)
    assert [each for each, _ in missing({"bob": kept}, users)] == gone


def test_a_hub_that_knows_nobody_is_not_believed() -> None:
    assert list(missing({"bob": Kept(1, 2, {"lab": 1})}, {})) == []


class World:
    """The hub and what is kept, made up."""

    def __init__(self) -> None:
        self.now = 0.0
        self.away = False
        self.there = {"admin": of("admin", user(100)), "bob": of("bob", user(150))}
        self.missed: set[str] = set()
        self.removed: list[Gone] = []

    async def users(self) -> list[dict[str, Any]]:
        if self.away:
            raise ApiError(503, "The hub does not answer.")
        return [model for name, model in self.there.items() if name not in self.missed]

    async def user(self, name: str) -> dict[str, Any] | None:
        if self.away:
            raise ApiError(503, "The hub does not answer.")
        return self.there.get(name)

    def kept(self) -> dict[str, Kept]:
        return {} if Gone("bob") in self.removed else {"bob": Kept(200, 300, {})}

    def remove(self, gone: Gone, _reason: str) -> int:
        self.removed.append(gone)
        return 1


async def test_only_who_stays_away_and_only_when_the_hub_says_so() -> None:
    world = World()

    async def blocking(call: Any, *args: Any) -> Any:
        return call(*args)

    leftovers = Leftovers(world, world, blocking, lambda: world.now)  # type: ignore[arg-type]

    async def look(at: float) -> list[Gone]:
        world.now = at
        await leftovers.look()
        return world.removed

    world.missed = {"bob"}  # by a page of the list only
    assert await look(0) == [] and await look(GRACE_SECONDS) == []
    world.missed = set()
    del world.there["bob"]
    assert await look(2000) == [] and await look(2000 + GRACE_SECONDS - 1) == []
    world.there["bob"] = of("bob", user(150))
    assert await look(2000 + GRACE_SECONDS) == []
    # Gone again: the time begins anew; while the hub is away nothing is removed, however long.
    del world.there["bob"]
    assert await look(5000) == []
    world.away = True
    with pytest.raises(ApiError):
        await look(9000)
    assert world.removed == []
    world.away = False
    assert await look(9001) == [Gone("bob")]
    assert await look(9002) == [Gone("bob")]
