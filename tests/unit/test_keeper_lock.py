"""The lock: whatever is killed, damaged or full, it stays locked, and no token opens twice."""

from __future__ import annotations

import errno
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from persistent_terminal_hub.keeper import lock as module
from persistent_terminal_hub.keeper.lock import Lock, LockState, Verdict, decode, encode, locked, unlocked

EXP = 2_000_000_000.0
DISK = ("write", "ftruncate", "fsync", "replace", "open", "fchmod")


class Killed(BaseException):
    """The process was killed here."""


class FaultyOs:
    """The real calls; after so many of those that write, each fails, or the process is killed."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.fault: Callable[[], BaseException] = Killed

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in DISK:
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.left is not None:
                if self.left == 0:
                    if name == "write":  # half of it gets there
                        os.write(args[0], bytes(args[1])[: len(args[1]) // 2])
                    raise self.fault()
                self.left -= 1
            return real(*args, **kwargs)

        return call


def full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


class LockMachine(RuleBasedStateMachine):
    """The model: what was acknowledged. Where the process was killed in an operation, both may be true."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "state"
        self.os = FaultyOs()
        module.os = self.os  # type: ignore[attr-defined]
        self.may_be: set[bool] = {False}
        self.opened: set[str] = set()
        self.presented: set[str] = set()
        self.number = 0

    def teardown(self) -> None:
        module.os = os  # type: ignore[attr-defined]
        self.directory.cleanup()

    @initialize()
    def first_start(self) -> None:
        self.lock = Lock(self.path)
        assert not self.lock.state.locked

    def reload(self) -> None:
        """The process is killed, and a new one reads what is there."""
        self.os.left = None
        self.lock = Lock(self.path)
        assert self.lock.state.locked in self.may_be
        self.may_be = {self.lock.state.locked}

    def killed_at(self, step: int | None) -> None:
        self.os.left, self.os.fault = step, Killed

    @rule(step=st.none() | st.integers(0, 12))
    def lock_it(self, step: int | None) -> None:
        self.killed_at(step)
        try:
            self.lock.lock("idle")
        except Killed:
            self.may_be |= {True}
            self.reload()
        else:
            self.os.left = None
            assert self.lock.state.locked
            self.may_be = {True}

    @rule(step=st.none() | st.integers(0, 12), again=st.booleans(), number=st.integers(0, 30))
    def unlock_it(self, step: int | None, again: bool, number: int) -> None:
        if again and self.presented:
            jti = sorted(self.presented)[number % len(self.presented)]
        else:
            self.number += 1
            jti = f"token-{self.number}"
        was_locked = self.lock.state.locked
        was_presented = jti in self.presented
        self.killed_at(step)
        self.presented.add(jti)
        try:
            verdict = self.lock.unlock(jti, EXP + len(self.presented))
        except Killed:
            self.may_be |= {False}
            self.presented.discard(jti)  # nobody was told; it may be used or not
            if was_presented:
                self.presented.add(jti)
            self.reload()
            return
        self.os.left = None
        if verdict is Verdict.OPENED:
            assert was_locked
            assert jti not in self.opened, "a token opened twice"
            self.opened.add(jti)
            self.may_be = {False}
            assert not self.lock.state.locked
        else:
            assert self.lock.state.locked == was_locked
            if not was_presented and jti not in self.opened:
                assert verdict is Verdict.NOT_LOCKED or not was_locked

    @rule()
    def kill(self) -> None:
        self.reload()

    @rule(step=st.integers(0, 8))
    def full_disk(self, step: int) -> None:
        """An unlock that cannot be recorded does not open."""
        if not self.lock.state.locked:
            return
        self.number += 1
        jti = f"token-{self.number}"
        self.os.left, self.os.fault = step, full
        try:
            opened = self.lock.unlock(jti, EXP + 1000 + self.number) is Verdict.OPENED
        except OSError:
            opened = False
            self.may_be = {True, False}  # the record may have got there; nobody was let in by it
        self.os.left = None
        assert opened != self.lock.state.locked
        if opened:
            self.opened.add(jti)
            self.may_be = {False}
            self.presented.add(jti)
        else:
            assert self.lock.unlock(jti, EXP) is Verdict.USED
            assert self.lock.save()
            self.may_be = {True}

    @invariant()
    def as_acknowledged(self) -> None:
        assert self.lock.state.locked in self.may_be


LockMachine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestLockMachine = LockMachine.TestCase


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(1, 1e9)), max_size=60), st.integers(1, 8))
@settings(max_examples=100)
def test_no_token_opens_twice_however_few_are_remembered(tokens: list[tuple[int, float]], most: int) -> None:
    ends: dict[str, float] = {}
    opened: set[str] = set()
    before = module.MAX_USED
    module.MAX_USED = most
    try:
        state = LockState()
        for number, exp in tokens:
            jti = str(number)
            end = ends.setdefault(jti, exp)  # a token's end is signed: it does not change
            state = locked(state, "idle", 1.0)
            verdict, state = unlocked(state, jti, end)
            assert (verdict is Verdict.OPENED) != state.locked
            if verdict is Verdict.OPENED:
                assert jti not in opened
                opened.add(jti)
            assert len(state.used) <= most
    finally:
        module.MAX_USED = before


def test_a_token_is_used_up_when_there_was_nothing_to_open() -> None:
    verdict, state = unlocked(LockState(), "a", EXP)
    assert verdict is Verdict.NOT_LOCKED
    assert unlocked(locked(state, "now", 5.0), "a", EXP)[0] is Verdict.USED


def test_locking_twice_keeps_the_first_and_counts_one(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    assert lock.lock("idle")
    first = lock.state
    assert not lock.lock("again")
    assert lock.state is first
    assert first.generation == 1
    lock.unlock("a", EXP)
    lock.lock("again")
    assert lock.state.generation == 2


@given(
    st.booleans(),
    st.text(max_size=20),
    st.dictionaries(st.text(min_size=1, max_size=8), st.floats(1, 1e12), max_size=5),
)
@settings(max_examples=50)
def test_records_come_back_as_they_were(is_locked: bool, reason: str, used: dict[str, float]) -> None:
    state = LockState(is_locked, 5.5, reason, 7, tuple(used.items()), 3.0)
    assert decode(encode(state)) == state


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Path]:
    """The record of a workspace that is not locked, with a used token: the one worth damaging."""
    lock = Lock(tmp_path)
    lock.lock("idle")
    lock.unlock("spent", time.time() + 30)
    assert not Lock(tmp_path).state.locked
    yield lock.path


def test_a_record_cut_at_any_byte_means_locked(record: Path) -> None:
    whole = record.read_bytes()
    for length in range(len(whole)):
        record.write_bytes(whole[:length])
        lock = Lock(record.parent)
        assert lock.state.locked, length
        assert lock.trouble
        assert lock.unlock("spent", time.time() + 30) is Verdict.USED


def test_a_record_with_any_byte_changed_means_locked(record: Path) -> None:
    whole = record.read_bytes()
    for place in range(len(whole)):
        for bit in (1, 0x20, 0x80):
            damaged = bytearray(whole)
            damaged[place] ^= bit
            record.write_bytes(damaged)
            assert Lock(record.parent).state.locked, (place, bit)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"{}",
        b"[" * 100_000,
        b"null\n74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b\n",
        b"x" * (module.MAX_RECORD + 1),
    ],
)
def test_garbage_means_locked_and_a_later_login_opens(tmp_path: Path, content: bytes) -> None:
    (tmp_path / module.FILE_NAME).write_bytes(content)
    lock = Lock(tmp_path)
    assert lock.state.locked
    assert "locked" in lock.state.reason
    # What exists now may have been used; what is made later was not.
    assert lock.unlock("now", time.time() + 60) is Verdict.USED
    assert lock.unlock("later", time.time() + module.TOKEN_LIFE + 60) is Verdict.OPENED
    assert not Lock(tmp_path).state.locked


def test_what_stands_in_the_place_of_the_record_means_locked(tmp_path: Path) -> None:
    def make(name: str) -> Path:
        directory = tmp_path / name
        directory.mkdir()
        return directory / module.FILE_NAME

    make("directory").mkdir()
    make("link").symlink_to(tmp_path / "nowhere")
    os.mkfifo(make("pipe"))
    for name in ("directory", "link", "pipe"):
        assert Lock(tmp_path / name).state.locked, name
    (tmp_path / "file").write_text("")
    assert Lock(tmp_path / "file").state.locked


def test_a_first_start_that_cannot_write_is_locked_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = FaultyOs()
    faulty.left, faulty.fault = 0, full
    monkeypatch.setattr(module, "os", faulty)
    lock = Lock(tmp_path)
    assert lock.state.locked
    assert not lock.durable
    assert "No space left" in lock.state.reason
    with pytest.raises(OSError, match="No space left"):
        lock.unlock("a", EXP)
    assert lock.state.locked
    faulty.left = None
    assert lock.unlock("b", EXP) is Verdict.OPENED
    assert not Lock(tmp_path).state.locked


def test_the_record_is_its_owners_only_and_room_is_held_for_the_next(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "a" / "b")
    assert lock.path.stat().st_mode & 0o777 == 0o600
    assert lock.path.parent.stat().st_mode & 0o777 == 0o700
    spare = lock.path.with_name(module.SPARE_NAME)
    assert spare.stat().st_blocks * 512 >= module.SPARE_BYTES
