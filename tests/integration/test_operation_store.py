"""Operations in both databases: one instance at a time, in order, and on after a kill."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from persistent_terminal_hub.control.audit_log import AuditLog, Entry, Query
from persistent_terminal_hub.control.database import Database
from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.models import Operation, Workspace
from persistent_terminal_hub.control.operation_records import ended
from persistent_terminal_hub.control.operation_runner import Runner, Work
from persistent_terminal_hub.control.operation_store import (
    KEPT_SECONDS,
    LEASE_SECONDS,
    LeaseLost,
    OperationStore,
    Task,
)
from persistent_terminal_hub.control.operations import Course, State, advanced, plan_of, taken
from persistent_terminal_hub.control.workspaces import READY, Asked, Workspaces
from persistent_terminal_hub.sealing import Sealer
from persistent_terminal_hub.sealing_keys import FileKeys

pytest_plugins = ["database_fixtures"]


class Clock:
    """Wall-clock seconds."""

    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: Database, tmp_path: Path, clock: Clock) -> OperationStore:
    return OperationStore(database, Sealer(FileKeys(tmp_path / "keys.json")), clock)


def ask(
    database: Database, store: OperationStore, kind: str = "start", workspace: str = "w", **request: Any
) -> str:
    return database.run(
        lambda session: store.insert(
            session, kind, owner="a", actor="a", workspace=workspace,
            request={"name": "n"}, private={"token": "secret-token"},
        )
    )  # fmt: skip


def test_the_token_is_sealed_and_wiped(database: Database, store: OperationStore) -> None:
    identity = ask(database, store)
    task = store.claim("one", 9)[0]
    assert "secret-token" not in task.sealed and "secret-token" not in repr(task)
    assert store.private(task) == {"token": "secret-token"}
    store.save(identity, "one", Course(State.DONE, "start"), 100, "Done.")
    with database.session() as session:
        row = session.get(Operation, identity)
        assert row is not None and row.sealed == ""


def test_one_instance_at_a_time(database: Database, store: OperationStore, clock: Clock) -> None:
    identity = ask(database, store)
    assert [task.id for task in store.claim("one", 9)] == [identity]
    assert store.claim("two", 9) == []
    clock.now += LEASE_SECONDS - 1
    assert store.renew(identity, "one") is False
    clock.now += LEASE_SECONDS - 1
    assert store.claim("two", 9) == []
    clock.now += 2
    assert [task.id for task in store.claim("two", 9)] == [identity]
    for lost in (
        lambda: store.renew(identity, "one"),
        lambda: store.save(identity, "one", Course(State.DONE, "start"), 100, ""),
        lambda: store.say(identity, "one", 1, ""),
        lambda: store.note(identity, "one", {}),
    ):
        with pytest.raises(LeaseLost):
            lost()  # type: ignore[no-untyped-call]


def test_an_instance_that_ends_lets_go(database: Database, store: OperationStore) -> None:
    ask(database, store)
    store.claim("one", 9)
    store.let_go("one")
    assert len(store.claim("two", 9)) == 1


def test_one_workspace_one_operation(database: Database, store: OperationStore, clock: Clock) -> None:
    first = ask(database, store, "stop")
    clock.now += 1
    second = ask(database, store, "start")
    other = ask(database, store, "start", workspace="x")
    assert {task.id for task in store.claim("one", 9)} == {first, other}
    assert store.claim("one", 9) == []
    store.save(first, "one", Course(State.DONE, "stop"), 100, "Done.")
    assert [task.id for task in store.claim("two", 9)] == [second]


def test_events_and_their_numbers(database: Database, store: OperationStore) -> None:
    identity = ask(database, store)
    store.claim("one", 9)
    store.say(identity, "one", 10, "a")
    store.save(identity, "one", Course(State.DONE, "start"), 100, "b")
    lines, state = store.events(identity, 0)
    assert [(line.number, line.message) for line in lines][1:] == [(2, "a"), (3, "b")] and state is State.DONE
    assert [line.number for line in store.events(identity, 2)[0]] == [3]
    assert store.events("0" * 32, 0) == ([], None)


def test_old_ones_are_forgotten(database: Database, store: OperationStore, clock: Clock) -> None:
    ended, running = ask(database, store), ask(database, store, workspace="x")
    store.claim("one", 9)
    store.save(ended, "one", Course(State.DONE, "start"), 100, "")
    clock.now += KEPT_SECONDS + 1
    store.forget_old()
    assert store.get(ended) is None and store.get(running) is not None


# -- the runner --------------------------------------------------------------------------------------------
class Steps:
    """Counts what was done; `on` may fail, wait or die."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.on: dict[str, Callable[[], Any]] = {}

    def table(self) -> Any:
        names = ("register", "start", "stop", "clone", "finish", "remove", "forget")
        return {name: self._step(name) for name in names}

    def _step(self, name: str) -> Any:
        async def step(_work: Work) -> None:
            self.done.append(name)
            if name in self.on:
                result = self.on[name]()
                if asyncio.iscoroutine(result):
                    await result

        return step


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def runner(store: OperationStore, steps: Steps, name: str) -> tuple[Runner, list[State]]:
    ends: list[State] = []
    over: set[str] = set()

    def changed(task: Task, course: Course, _session: Session) -> None:
        if course.is_final and task.id not in over:  # a transaction may be repeated
            over.add(task.id)
            ends.append(course.state)

    made = Runner(store, steps.table(), name, asyncio.to_thread, changed)
    return made, ends


async def test_steps_in_order(database: Database, store: OperationStore) -> None:
    steps = Steps()
    identity = await asyncio.to_thread(ask, database, store, "create")
    working, ends = runner(store, steps, "one")
    task = asyncio.ensure_future(working.run())
    await until(lambda: bool(ends))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert steps.done == ["register", "start", "finish"] and ends == [State.DONE]
    found = store.get(identity)
    assert found is not None and found.course.state is State.DONE


async def test_a_failure_is_taken_back(database: Database, store: OperationStore) -> None:
    steps = Steps()

    def refuse() -> None:
        raise ApiError(409, "There is no room.", "Wait.")

    steps.on["start"] = refuse
    identity = await asyncio.to_thread(ask, database, store, "create")
    working, ends = runner(store, steps, "one")
    task = asyncio.ensure_future(working.run())
    await until(lambda: bool(ends))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert steps.done == ["register", "start", "remove", "forget"] and ends == [State.FAILED]
    found = store.get(identity)
    assert found is not None and found.course.error == "There is no room. Wait."


async def test_cancelled_in_the_middle(database: Database, store: OperationStore) -> None:
    steps = Steps()
    steps.on["start"] = lambda: asyncio.sleep(3600)
    identity = await asyncio.to_thread(ask, database, store, "create")
    working, ends = runner(store, steps, "one")
    task = asyncio.ensure_future(working.run())
    await until(lambda: "start" in steps.done)
    assert store.cancel(identity) is not None
    working.cancel(identity)
    await until(lambda: bool(ends))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert steps.done == ["register", "start", "remove", "forget"] and ends == [State.CANCELLED]


async def test_no_answer_is_no_failure(database: Database, store: OperationStore) -> None:
    steps = Steps()
    left = [2]

    def away() -> None:
        if left[0]:
            left[0] -= 1
            raise ApiError(503, "The hub does not answer.")

    steps.on["start"] = away
    await asyncio.to_thread(ask, database, store)
    working, ends = runner(store, steps, "one")
    task = asyncio.ensure_future(working.run())
    await until(lambda: bool(ends))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert steps.done == ["start"] * 3 and ends == [State.DONE]


async def test_a_killed_instance_is_followed(database: Database, store: OperationStore, clock: Clock) -> None:
    identity = await asyncio.to_thread(ask, database, store, "create")
    # The one that dies has done one step.
    dead = (await asyncio.to_thread(store.claim, "dead", 9))[0]
    plan = plan_of("create", dead.request)
    store.save(identity, "dead", advanced(plan, taken(plan, dead.course)), 30, "x")
    steps = Steps()
    working, ends = runner(store, steps, "alive")
    task = asyncio.ensure_future(working.run())
    await asyncio.sleep(0.1)
    assert steps.done == []
    clock.now += LEASE_SECONDS + 1
    working.wake()
    await until(lambda: bool(ends))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert steps.done == ["start", "finish"] and ends == [State.DONE]


async def test_a_row_and_its_record_end_together(
    database: Database, store: OperationStore, clock: Clock, tmp_path: Path
) -> None:
    """Killed at its end, cancelled, and then taken by another one: one end is told, the true one."""
    log = AuditLog(database, FileKeys(tmp_path / "audit.json"))
    identity = await asyncio.to_thread(ask, database, store, "create")

    loop, died = asyncio.get_running_loop(), asyncio.Event()

    class Killed(Exception):
        pass

    def instance(name: str, dies: bool) -> Runner:
        def changed(task: Task, course: Course, session: Session) -> None:
            if course.is_final:
                log.append_in(session, [Entry.of(ended(task, course, clock.now))])
                if dies:
                    loop.call_soon_threadsafe(died.set)
                    raise Killed

        return Runner(store, Steps().table(), name, asyncio.to_thread, changed)

    async def works(name: str, dies: bool, done: Callable[[], bool]) -> None:
        task = asyncio.ensure_future(instance(name, dies).run())
        await until(done)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def course() -> Course:
        task = store.get(identity)
        assert task is not None
        return task.course

    await works("dead", True, died.is_set)
    assert not course().is_final and log.find(Query()) == []
    assert store.cancel(identity) is not None
    clock.now += LEASE_SECONDS + 1
    await works("alive", False, lambda: course().is_final)
    assert [row.result for row in log.find(Query())] == ["cancelled"]
    assert course().state is State.CANCELLED


async def test_many_for_two_instances(database: Database, store: OperationStore) -> None:
    """Each is done once, whoever does it."""
    names = [await asyncio.to_thread(ask, database, store, "create", f"w{n}") for n in range(20)]
    steps = [Steps(), Steps()]
    pairs = [runner(store, step, f"r{n}") for n, step in enumerate(steps)]
    tasks = [asyncio.ensure_future(working.run()) for working, _ in pairs]
    await until(lambda: sum(len(ends) for _, ends in pairs) == len(names), 60)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(steps[0].done) + len(steps[1].done) == 3 * len(names)


def test_what_was_made_while_the_hub_was_asked_is_no_leftover(
    database: Database, store: OperationStore
) -> None:
    """A second creation of a name: the hub had said that it knows none of it, and meanwhile the first one
    became true."""
    table = Workspaces(database, store)
    asked = Asked("a", "127.0.0.1", "secret-token")

    def create(leftover: str | None, at_hub: bool = False) -> str:
        row, _ = table.create(
            "a", "paper", asked, display_name="Paper", options={}, env={}, source=None, credentials=None,
            start=False, at_hub=at_hub, leftover=leftover, most=3,
        )  # fmt: skip
        return row.id

    def come_true(identity: str) -> None:
        def work(session: Session) -> None:
            session.execute(update(Workspace).where(Workspace.id == identity).values(state=READY))
            session.execute(update(Operation).values(state="done"))

        database.run(work)

    first = create(table.ready("a", "paper"))
    assert table.ready("a", "paper") is None
    for active in (True, False):
        if not active:
            come_true(first)
        with pytest.raises(ApiError, match="There is a workspace a/paper already"):
            create(None)
    assert table.ready("a", "paper") == first
    with pytest.raises(ApiError, match="already"):
        create(first, at_hub=True)
    # Known before the hub was asked, and the hub does not know it: removed on the hub's own pages.
    second = create(table.ready("a", "paper"))
    assert second != first and table.by_id(first) is None
