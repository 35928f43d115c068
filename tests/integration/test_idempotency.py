"""A POST that is sent again, in both databases."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from alembic import command
from sqlalchemy import text

from persistent_terminal_hub.control import idempotency
from persistent_terminal_hub.control.claims import KEPT_SECONDS, LEASE_SECONDS, OPERATION
from persistent_terminal_hub.control.database import Database, _config
from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.idempotency import (
    Answer,
    Claim,
    IdempotentRequests,
    check_key,
    digest_of,
)

pytest_plugins = ["database_fixtures"]

EMPTY = digest_of(b"", "a\0r\0k")


class Work:
    """Counts how often it was done."""

    def __init__(self) -> None:
        self.done = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, claim: Claim) -> Answer:
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

    async def refuse(claim: Claim) -> Answer:
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


class Dead:
    """A service that was killed while it worked on a request."""

    def __init__(self, database: Database) -> None:
        self.now = 1e9
        self.database = database
        self.alive = IdempotentRequests(database, "alive", lambda: self.now)
        claim = IdempotentRequests(database, "dead", lambda: self.now)._claim("a", "r", "k", EMPTY)
        assert isinstance(claim, Claim)
        self.claim = claim

    async def again(self, work: Work | None = None) -> Answer:
        """The same request, sent to another instance."""
        return await self.alive.once(run, "a", "r", "k", b"", work or Work())


async def test_a_dead_service_is_taken_over_from_in_seconds(database: Database) -> None:
    dead, work = Dead(database), Work()
    with pytest.raises(ApiError) as caught:
        await dead.again(work)
    assert caught.value.status == 409 and caught.value.retry_after
    dead.now += LEASE_SECONDS
    assert (await dead.again(work)).status == 201
    assert (await dead.again(work)).body == {"number": 1} and work.done == 1
    dead.now += KEPT_SECONDS + 1
    dead.alive.forget_old()
    await dead.again(work)
    assert work.done == 2


async def test_who_takes_over_finds_what_was_made(database: Database) -> None:
    dead = Dead(database)
    database.run(lambda session: dead.claim.note(session, {OPERATION: "made"}))
    dead.now += LEASE_SECONDS
    found: list[object] = []

    async def look(claim: Claim) -> Answer:
        found.append(claim.noted)
        return Answer(202, None)

    await dead.alive.once(run, "a", "r", "k", b"", look)
    assert found == [{OPERATION: "made"}]


async def test_what_may_have_run_is_not_run_again(database: Database) -> None:
    dead, work = Dead(database), Work()
    database.run(dead.claim.unknown)
    dead.now += LEASE_SECONDS
    for _ in range(2):
        with pytest.raises(ApiError) as caught:
            await dead.again(work)
        assert caught.value.reason == "Outcome unknown" and work.done == 0
        assert caught.value.retry_after is None
    # It only stood still, and has the answer after all.
    IdempotentRequests(database, "dead")._keep(dead.claim, Answer(200, "late"))
    assert await dead.again(work) == Answer(200, "late")


async def test_who_lost_a_claim_makes_nothing(database: Database) -> None:
    """A service that stood still for longer than its lease, while another one took over."""
    dead = Dead(database)
    dead.now += LEASE_SECONDS
    assert (await dead.again()).body == {"number": 1}
    with pytest.raises(ApiError) as caught:
        database.run(lambda session: dead.claim.note(session, {OPERATION: "second"}))
    assert caught.value.status == 409
    slow = IdempotentRequests(database, "dead", lambda: dead.now)
    assert not slow._renew(dead.claim)
    slow._give_up(dead.claim, True)
    slow._keep(dead.claim, Answer(500, "wrong"))
    assert (await dead.again()).body == {"number": 1}


async def test_a_lease_is_renewed_while_the_work_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "RENEW_SECONDS", 0.01)
    now = [1e9]
    requests, work = IdempotentRequests(database, "one", lambda: now[0]), Work()
    work.go.clear()
    first = asyncio.ensure_future(requests.once(run, "a", "r", "k", b"", work))
    for _ in range(3):
        await asyncio.sleep(0.3)
        now[0] += LEASE_SECONDS - 1
        with pytest.raises(ApiError):
            await requests.once(run, "a", "r", "k", b"", work)
    work.go.set()
    assert (await first).body == {"number": 1}


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ApiError(423, "Locked."), 201),
        (ApiError(503, "Did not get there."), 201),
        (ApiError(503, "Nobody knows.", unknown=True), 409),
        (RuntimeError("a mistake"), 409),
        (asyncio.CancelledError(), 409),
    ],
)
async def test_a_command_that_got_no_answer(database: Database, error: BaseException, again: int) -> None:
    requests = IdempotentRequests(database, "one")

    async def cut_off(claim: Claim) -> Answer:
        await run(database.run, claim.unknown)
        raise error

    with pytest.raises(type(error)):
        await requests.once(run, "a", "r", "k", b"", cut_off)
    try:
        status = (await requests.once(run, "a", "r", "k", b"", Work())).status
    except ApiError as refused:
        status = refused.status
    assert status == again


async def test_a_claim_of_the_version_before(database_url: str) -> None:
    """Its service was stopped for the update, so nobody works on it any more."""
    database = Database(database_url)
    config = _config()
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        values = {"request": EMPTY, "created": time.time()}
        connection.execute(
            text(
                'INSERT INTO idempotent_requests ("user", route, "key", request, holder, created) '
                "VALUES ('a', 'r', 'k', :request, 'old', :created)"
            ),
            values,
        )
    database.migrate()
    work = Work()
    assert (await IdempotentRequests(database, "new").once(run, "a", "r", "k", b"", work)).status == 201
    assert work.done == 1
    database.close()


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 129, "a\n", "\x7f"])
def test_keys_that_are_none(key: str) -> None:
    with pytest.raises(ApiError):
        check_key(key)
