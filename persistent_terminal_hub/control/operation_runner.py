"""Does the steps of operations: takes what nobody works on, step by step, until it is done or taken back.

Killed at any moment, it has left a row that says which step comes next; this or another instance goes on with
it when the lease has lapsed. A step is therefore written so that it may be done again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.operation_store import (
    LEASE_SECONDS,
    LeaseLost,
    OperationStore,
    Task,
)
from persistent_terminal_hub.control.operations import (
    Course,
    Plan,
    State,
    advanced,
    failed,
    percent,
    plan_of,
    taken,
)
from persistent_terminal_hub.sealing import SealingError

log = logging.getLogger(__name__)

#: Operations that one instance works on at the same time.
AT_ONCE = 32
#: Seconds between two looks for what other instances left, or took in.
LOOK_SECONDS = 2.0
#: Seconds for which a step is tried again while the hub or the workspace does not answer.
PATIENCE_SECONDS = 300.0

Blocking = Callable[..., Awaitable[Any]]


class Step(Protocol):
    """One step. Raises ApiError when it cannot be done; 503: not now."""

    async def __call__(self, work: Work) -> None: ...


class Work:
    """What a step works with."""

    def __init__(self, runner: Runner, task: Task, private: Mapping[str, Any]) -> None:
        self._runner = runner
        self.task = task
        self.private = private
        self.notes: dict[str, Any] = dict(task.notes)
        self.course: Course = task.course
        self.plan: Plan = plan_of(task.kind, task.request)
        self.cancelled = asyncio.Event()
        if task.course.cancel:
            self.cancelled.set()

    @property
    def token(self) -> str:
        """Acts as the person who asked."""
        return str(self.private.get("token", ""))

    async def say(self, message: str, of_step: float = 0.0) -> None:
        """A line of progress."""
        share = percent(self.plan, self.course, of_step)
        await self._runner.call(self._runner.store.say, self.task.id, self._runner.holder, share, message)

    async def note(self, **values: Any) -> None:
        """Remember across a kill."""
        self.notes |= values
        await self._runner.call(self._runner.store.note, self.task.id, self._runner.holder, values)


class Runner:
    """The operations of this instance."""

    def __init__(
        self,
        store: OperationStore,
        steps: Mapping[str, Step],
        holder: str,
        call: Blocking,
        on_change: Callable[[Task, Course, Session], None],
    ) -> None:
        self.store = store
        self.holder = holder
        self.call = call
        self._steps = steps
        self._on_change = on_change
        self._wake = asyncio.Event()
        self._works: dict[str, tuple[Work, asyncio.Task[None]]] = {}

    def wake(self) -> None:
        """Something was asked for."""
        self._wake.set()

    def cancel(self, identity: str) -> None:
        """It was noted in the database that it shall be cancelled."""
        if identity in self._works:
            self._works[identity][0].cancelled.set()
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            while True:
                self._wake.clear()
                try:
                    await self._take()
                except SQLAlchemyError as error:
                    log.error("Operations wait: the database does not answer (%s).", type(error).__name__)
                # Not `wait_for`: in Python 3.11 it loses a cancellation that comes together with the event,
                # and this loop would never end.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._wake.wait()
        finally:
            tasks = [task for _, task in self._works.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(SQLAlchemyError):
                await self.call(self.store.let_go, self.holder)

    async def _take(self) -> None:
        room = AT_ONCE - len(self._works)
        if room <= 0:
            return
        for task in await self.call(self.store.claim, self.holder, room):
            if task.id not in self._works:
                work = self._open(task)
                doing = asyncio.ensure_future(self._work(work))
                self._works[task.id] = (work, doing)
                doing.add_done_callback(partial(self._over, task.id))

    def _open(self, task: Task) -> Work:
        try:
            private = self.store.private(task)
        except SealingError as error:
            log.error("Operation %s: %s", task.id, error)
            private = {}
        return Work(self, task, private)

    def _over(self, identity: str, _done: object) -> None:
        self._works.pop(identity, None)
        self._wake.set()

    async def _work(self, work: Work) -> None:
        keeping = asyncio.ensure_future(self._keep_lease(work))
        try:
            while not work.course.is_final:
                await self._step(work)
        except LeaseLost:
            log.warning("Operation %s is worked on by another instance.", work.task.id)
        except SQLAlchemyError as error:
            # The lease lapses, and whoever finds the row goes on.
            log.error("Operation %s waits: %s.", work.task.id, type(error).__name__)
        except Exception:
            log.exception("Operation %s", work.task.id)
        finally:
            keeping.cancel()

    async def _step(self, work: Work) -> None:
        before = work.course
        work.course = taken(work.plan, work.course)
        if work.course != before:
            await self._save(work, _sentence(work.course))
            if work.course.is_final:
                return
        doing: asyncio.Future[None] = asyncio.ensure_future(self._patiently(work))
        cancelled = asyncio.ensure_future(work.cancelled.wait())
        undoing = work.course.state is State.UNDOING
        try:
            awaited: list[asyncio.Future[Any]] = [doing] if undoing else [doing, cancelled]
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            cancelled.cancel()
            if not doing.done():
                doing.cancel()
                await asyncio.gather(doing, return_exceptions=True)
        if doing.cancelled():
            work.course = taken(work.plan, replace(work.course, cancel=True))
            await self._save(work, _sentence(work.course))
            return
        error = doing.exception()
        if error is None:
            work.course = advanced(work.plan, work.course)
        elif isinstance(error, ApiError):
            work.course = failed(work.plan, work.course, f"{error.message} {error.hint}".strip())
        elif isinstance(error, LeaseLost | SQLAlchemyError):
            raise error
        else:
            log.error("Operation %s, step %s", work.task.id, work.course.step, exc_info=error)
            work.course = failed(work.plan, work.course, "The service made a mistake; its log says which.")
        await self._save(work, _sentence(work.course))

    async def _patiently(self, work: Work) -> None:
        """The step, again and again while the hub or the workspace does not answer."""
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + PATIENCE_SECONDS, 0.5
        while True:
            try:
                return await self._steps[work.course.step](work)
            except ApiError as error:
                if error.status != 503 or loop.time() > until:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    async def _save(self, work: Work, message: str) -> None:
        share, also = percent(work.plan, work.course), partial(self._on_change, work.task, work.course)
        known = await self.call(self.store.save, work.task.id, self.holder, work.course, share, message, also)
        if known.cancel and not work.course.is_final:
            work.course = replace(work.course, cancel=True)
            work.cancelled.set()

    async def _keep_lease(self, work: Work) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 5)
            try:
                if await self.call(self.store.renew, work.task.id, self.holder):
                    work.cancelled.set()
            except LeaseLost:
                # We stood still for too long; whoever took over must not meet us half-way.
                self._works[work.task.id][1].cancel()
                return
            except SQLAlchemyError:
                continue


def _sentence(course: Course) -> str:
    if course.state is State.DONE:
        return "Done."
    if course.state is State.FAILED:
        return course.error or "It failed."
    if course.state is State.CANCELLED:
        return "Cancelled; nothing is left of it."
    if course.state is State.UNDOING:
        begun = course.error or "It was cancelled."
        return f"{begun} Taking back what was done ({course.step})."
    return _STEPS.get(course.step, course.step)


_STEPS = {
    "register": "Making the workspace known to the hub.",
    "start": "Starting the workspace.",
    "stop": "Stopping the workspace.",
    "clone": "Cloning the repository.",
    "remove": "Removing the workspace with its files.",
    "forget": "Removing its records.",
    "finish": "Finishing.",
}
