"""Processes that a session was asked to watch: while one of them lives, the session counts as busy.

They are held by pidfd, so that a pid that is used again is not taken for the process that had it before.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from pathlib import Path
from typing import NamedTuple

from persistent_terminal_hub.keeper.loop import READ, Loop, Timer

MAX_WATCHED = 16  # of one session
MAX_SECONDS = 366 * 86400.0
#: From a process up to its session's shell, at most.
MAX_ANCESTORS = 200


class WatchError(Exception):
    """That process cannot be watched; the text says why."""


class _Watch(NamedTuple):
    fd: int
    until: float  # monotonic
    timer: Timer


class Watches:
    """The processes watched for one session."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._all: dict[int, _Watch] = {}

    def __bool__(self) -> bool:
        return bool(self._all)

    def add(self, pid: int, leader: int, session: str, seconds: float) -> None:
        """Watch a process of a session (its shell is `leader`) for so long at most. Raises WatchError."""
        if pid not in self._all and len(self._all) >= MAX_WATCHED:
            raise WatchError(f"This session watches {MAX_WATCHED} processes already.")
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            raise WatchError(f"There is no process {pid}.") from None
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "not a process"
            raise WatchError(f"Process {pid} cannot be watched ({reason}).") from None
        try:
            fits = _belongs(pid, leader, session)
            if _is_dead(fd):  # else all that was read was of this process
                raise WatchError(f"There is no process {pid}.")
            if not fits:
                raise WatchError(f"Process {pid} was not started in this session.")
            self.drop(pid)
            self._loop.add(fd, READ, lambda _events: self.drop(pid))
        except BaseException:
            os.close(fd)
            raise
        seconds = min(seconds, MAX_SECONDS)
        timer = self._loop.call_later(seconds, lambda: self.drop(pid))
        self._all[pid] = _Watch(fd, time.monotonic() + seconds, timer)

    def drop(self, pid: int) -> None:
        """Do not watch this one any more; one that is not watched is fine."""
        watch = self._all.pop(pid, None)
        if watch is not None:
            watch.timer.cancel()
            self._loop.remove(watch.fd)
            os.close(watch.fd)

    def clear(self) -> None:
        """Watch nothing."""
        for pid in list(self._all):
            self.drop(pid)

    def info(self) -> list[dict[str, float]]:
        """Each with its `pid` and the `seconds` that are left."""
        now = time.monotonic()
        return [
            {"pid": pid, "seconds": max(0.0, round(watch.until - now, 3))} for pid, watch in self._all.items()
        ]


def _is_dead(fd: int) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(0))


def _belongs(pid: int, leader: int, session: str) -> bool:
    """Whether a process is our user's and of the session: of its terminal, below its shell, or, for one that
    went into the background for good, by the environment it was started with."""
    try:
        uids = next(
            line.split()[1:] for line in _read(pid, "status").splitlines() if line.startswith(b"Uid:")
        )
        if {int(uid) for uid in uids} != {os.geteuid()}:
            return False
        _, own_session = _parent_and_session(pid)
        if own_session == leader:
            return True
        ancestor = pid
        for _ in range(MAX_ANCESTORS):
            if ancestor == leader:
                return True
            if ancestor <= 1:
                break
            ancestor, _ = _parent_and_session(ancestor)
        with contextlib.suppress(OSError):
            return f"PTH_SESSION_ID={session}".encode() in _read(pid, "environ").split(b"\0")
    except (OSError, ValueError, StopIteration):
        pass
    return False


def _read(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


def _parent_and_session(pid: int) -> tuple[int, int]:
    stat = _read(pid, "stat")
    # After the name, which is in parentheses and may contain anything: state ppid pgrp session
    _, parent, _, session, _ = stat[stat.rindex(b")") + 2 :].split(None, 4)
    return int(parent), int(session)
