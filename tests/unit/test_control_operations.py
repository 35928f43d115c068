"""The state machine of operations."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from persistent_terminal_hub.control.operations import (
    FINAL,
    Course,
    Plan,
    State,
    advanced,
    asked_to_cancel,
    begin,
    failed,
    percent,
    plan_of,
    taken,
)

CREATE = plan_of("create", {"start": True, "source": {"url": "x"}})


def run(plan: Plan, course: Course, *, steps: int = 99) -> Course:
    for _ in range(steps):
        course = advanced(plan, taken(plan, course))
    return course


@pytest.mark.parametrize(
    ("kind", "request_", "steps"),
    [
        ("create", {}, ("register", "start", "finish")),
        ("create", {"start": False}, ("register", "finish")),
        ("create", {"source": {"url": "x"}}, ("register", "start", "clone", "finish")),
        ("delete", {}, ("remove", "forget")),
    ],
)
def test_plans(kind: str, request_: dict[str, Any], steps: tuple[str, ...]) -> None:
    assert plan_of(kind, request_).steps == steps


def test_an_unknown_kind() -> None:
    with pytest.raises(KeyError):
        plan_of("burn", {})


def test_all_the_way() -> None:
    assert run(CREATE, begin(CREATE)).state is State.DONE


def test_a_failure_is_taken_back() -> None:
    course = failed(CREATE, advanced(CREATE, taken(CREATE, begin(CREATE))), "No.")
    assert (course.state, course.step) == (State.UNDOING, "remove")
    course = run(CREATE, course)
    assert (course.state, course.error) == (State.FAILED, "No.")


def test_a_failure_while_undoing_says_both() -> None:
    course = failed(CREATE, failed(CREATE, taken(CREATE, begin(CREATE)), "No."), "Nor back.")
    assert (course.state, course.error) == (State.FAILED, "No. Nor back.")


def test_a_cancellation_before_anything_began() -> None:
    course = asked_to_cancel(CREATE, begin(CREATE))
    assert course is not None
    assert run(CREATE, course).state is State.CANCELLED


def test_a_cancellation_that_comes_too_late() -> None:
    course = run(CREATE, begin(CREATE), steps=len(CREATE.steps) - 1)
    cancelled = asked_to_cancel(CREATE, course)
    assert cancelled is not None
    # The last step was done while the wish was on its way.
    assert advanced(CREATE, cancelled).state is State.DONE
    assert asked_to_cancel(CREATE, advanced(CREATE, course)) is None


def test_what_cannot_be_cancelled() -> None:
    delete = plan_of("delete", {})
    assert asked_to_cancel(delete, begin(delete)) is None


class Machine(RuleBasedStateMachine):
    """Whatever happens in whatever order, nothing half-done is called an end."""

    def __init__(self) -> None:
        super().__init__()
        self.course = begin(CREATE)
        self.done: list[str] = []

    @precondition(lambda self: not self.course.is_final)
    @rule()
    def take(self) -> None:
        self.course = taken(CREATE, self.course)

    @precondition(lambda self: self.course.state in (State.RUNNING, State.UNDOING))
    @rule()
    def step(self) -> None:
        self.done.append(self.course.step)
        self.course = advanced(CREATE, self.course)

    @precondition(lambda self: self.course.state is State.RUNNING)
    @rule()
    def fail(self) -> None:
        self.course = failed(CREATE, self.course, "No.")

    @rule()
    def cancel(self) -> None:
        self.course = asked_to_cancel(CREATE, self.course) or self.course

    @rule()
    def forgotten(self) -> None:
        """A killed service reads the same row again."""
        self.course = Course(self.course.state, self.course.step, self.course.cancel, self.course.error)

    @invariant()
    def ends_are_whole(self) -> None:
        if self.course.state is State.DONE:
            assert self.done[-len(CREATE.steps) :] == list(CREATE.steps) and not self.course.cancel
        if self.course.state in (State.FAILED, State.CANCELLED):
            assert self.done[-2:] == list(CREATE.undo)
            assert bool(self.course.error) == (self.course.state is State.FAILED)
        assert 0 <= percent(CREATE, self.course) <= 100


TestMachine = Machine.TestCase


@given(st.sampled_from(sorted(FINAL)), st.booleans())
def test_an_end_is_an_end(state: State, cancel: bool) -> None:
    course = Course(state, "finish", cancel)
    assert taken(CREATE, course) == advanced(CREATE, course) == failed(CREATE, course, "x") == course
    assert asked_to_cancel(CREATE, course) is None
