"""A POST that is sent again, in both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from persistent_terminal_hub.control.database import Database
from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.idempotency import (
    CLAIM_SECONDS,
    KEPT_SECONDS,
    Answer,
    IdempotentRequests,
    check_key,
)

pytest_plugins = ["database_fixtures"]


class Work:
    """Counts how often it was done."""

    def __init__(self) -> None:
        self.done = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self) -> Answer:
        await self.go.wait()
        self.done += 1
        return Answer(201, {"number": self.done})


async def run(function: Callable[..., Any], *args: Any) -> Any:
    return await asyncio.to_thread(function, *args)


async def test_the_second_gets_the_firsts_answer(database: Database) -> None:
    requests, work = IdempotentRequests(database, "one"), Work()
    first = await requests.once(run, "a", "POST x", "k", b"body", work)
    second = await IdempotentRequests(database, "two").once(run, "a", "POST x", "k", b"body", work)
    assert first == second == Answer(201, {"number": 1})
    with pytest.raises(ApiError) as caught:
        await requests.once(run, "a", "POST x", "k", b"other", work)
    assert caught.value.status == 422
    for user, route, key in (("b", "POST x", "k"), ("a", "POST y", "k"), ("a", "POST x", "l")):
        await requests.once(run, user, route, key, b"body", work)
    assert work.done == 4


async def test_a_refusal_is_not_kept(database: Database) -> None:
    requests = IdempotentRequests(database, "one")

    async def refuse() -> Answer:
        raise ApiError(409, "Not now.")

    with pytest.raises(ApiError):
        await requests.once(run, "a", "r", "k", b"", refuse)
    assert (await requests.once(run, "a", "r", "k", b"", Work())).status == 201


async def test_many_at_once_do_it_once(database: Database) -> None:
    work = Work()
    work.go.clear()
    instances = [IdempotentRequests(database, str(number)) for number in range(6)]
    tasks = [asyncio.ensure_future(i.once(run, "a", "r", "k", b"", work)) for i in instances]
    async with asyncio.timeout(30):
        while sum(task.done() for task in tasks) < 5:
            await asyncio.sleep(0.01)
    work.go.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert work.done == 1
    refused = [answer for answer in answers if isinstance(answer, ApiError)]
    assert len(refused) == 5 and {error.status for error in refused} == {409}


async def test_a_claim_of_a_dead_service_lapses(database: Database) -> None:
    now = [1e9]
    dead = IdempotentRequests(database, "dead", lambda: now[0])
    dead._claim("a", "r", "k", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    alive, work = IdempotentRequests(database, "alive", lambda: now[0]), Work()
    with pytest.raises(ApiError):
        await alive.once(run, "a", "r", "k", b"", work)
    now[0] += CLAIM_SECONDS
    assert (await alive.once(run, "a", "r", "k", b"", work)).status == 201
    now[0] += KEPT_SECONDS
    alive.forget_old()
    await alive.once(run, "a", "r", "k", b"", work)
    assert work.done == 2


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 129, "a\n", "\x7f"])
def test_keys_that_are_none(key: str) -> None:
    with pytest.raises(ApiError):
        check_key(key)
