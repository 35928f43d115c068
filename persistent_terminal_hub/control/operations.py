"""Things that take long, as a state machine (pure): which step comes next, and what a cancellation means.

    waiting -> running -> done
                  |  \\
                  |   failed, cancelled        (nothing to undo)
                  v
               undoing -> failed, cancelled

Every step may be done again: an operation whose service was killed is continued at the step where it was.
`operation_runner` does the steps, `operation_store` keeps where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """Of an operation."""

    WAITING = "waiting"
    RUNNING = "running"
    UNDOING = "undoing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL = frozenset({State.DONE, State.FAILED, State.CANCELLED})
ACTIVE = frozenset(State) - FINAL


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of an operation, and those that take back what a part of them did."""

    steps: tuple[str, ...]
    undo: tuple[str, ...] = ()
    can_be_cancelled: bool = True


@dataclass(frozen=True, slots=True)
class Course:
    """Where an operation is. `error` is the sentence of what failed."""

    state: State
    step: str
    cancel: bool = False
    error: str = ""

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens."""
        return self.state in FINAL


def plan_of(kind: str, request: Mapping[str, Any]) -> Plan:
    """What a request of this kind takes. KeyError for an unknown kind."""
    if kind == "create":
        steps = ["register"]
        if request.get("start", True):
            steps.append("start")
        if request.get("source"):
            steps.append("clone")
        return Plan((*steps, "finish"), ("remove", "forget"))
    return _PLANS[kind]


_PLANS = {
    "start": Plan(("start",), ("stop",)),
    "stop": Plan(("stop",), can_be_cancelled=False),
    "restart": Plan(("stop", "start"), can_be_cancelled=False),
    "delete": Plan(("remove", "forget"), can_be_cancelled=False),
}


def begin(plan: Plan) -> Course:
    """An operation that was just asked for."""
    return Course(State.WAITING, plan.steps[0])


def taken(plan: Plan, course: Course) -> Course:
    """Somebody begins or goes on with it."""
    if course.is_final:
        return course
    if course.cancel and course.state is not State.UNDOING:
        return _back(plan, course)
    return replace(course, state=State.RUNNING) if course.state is State.WAITING else course


def advanced(plan: Plan, course: Course) -> Course:
    """Its step is done."""
    if course.is_final:
        return course
    steps = plan.undo if course.state is State.UNDOING else plan.steps
    following = steps[steps.index(course.step) + 1 :]
    if following and course.state is State.UNDOING:
        return replace(course, step=following[0])
    if following and course.cancel:
        return _back(plan, course)
    if following:
        return replace(course, state=State.RUNNING, step=following[0])
    if course.state is State.UNDOING:
        return _ended(course)
    # All is done: a cancellation came too late.
    return replace(course, state=State.DONE, cancel=False)


def failed(plan: Plan, course: Course, error: str) -> Course:
    """Its step cannot be done. A step of undoing that fails is given up: the rest of them would be wrong."""
    if course.is_final:
        return course
    if course.state is State.UNDOING:
        return replace(course, state=State.FAILED, error=f"{course.error} {error}".strip())
    return _back(plan, replace(course, error=error))


def asked_to_cancel(plan: Plan, course: Course) -> Course | None:
    """With the wish noted; None when it cannot be cancelled (any more)."""
    if course.is_final or not plan.can_be_cancelled:
        return None
    if course.state is State.UNDOING:
        return course
    return replace(course, cancel=True)


def percent(plan: Plan, course: Course, of_step: float = 0.0) -> int:
    """How much is done, 0 to 100; `of_step` is the share of the step under way."""
    if course.state is State.DONE:
        return 100
    steps = plan.undo if course.state is State.UNDOING else plan.steps
    if course.step not in steps:
        return 0
    return min(99, int(100 * (steps.index(course.step) + min(max(of_step, 0.0), 1.0)) / len(steps)))


def _back(plan: Plan, course: Course) -> Course:
    if plan.undo:
        return replace(course, state=State.UNDOING, step=plan.undo[0])
    return _ended(course)


def _ended(course: Course) -> Course:
    return replace(course, state=State.FAILED if course.error else State.CANCELLED)
