"""What a client of the keeper may ask about the workspace's lock and the clocks of its rules."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persistent_terminal_hub.keeper import log
from persistent_terminal_hub.keeper.clocks import RulesClock
from persistent_terminal_hub.keeper.lock import MAX_JTI, MAX_REASON, Lock, Verdict
from persistent_terminal_hub.keeper.loop import Loop
from persistent_terminal_hub.keeper.service import Connection
from persistent_terminal_hub.keeper.sessions import Event, Refused, Sessions
from persistent_terminal_hub.keeper.watching import WatchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from persistent_terminal_hub.keeper.operations import _Fields as Fields

Answer = dict[str, Any]

SAVE_AGAIN_SECONDS = 5.0
MAX_WEBSOCKETS = 1_000_000


class Workspace:
    """The lock and the clocks, and who is told of the lock."""

    def __init__(self, loop: Loop, directory: Path, announce: Callable[[Event], None]) -> None:
        self._loop = loop
        self._announce = announce
        self.clock = RulesClock()
        self.lock = Lock(directory)
        self._saving = False
        if self.lock.trouble:
            log.say(self.lock.trouble)
        self.save_again()

    def save_again(self) -> None:
        """As long as the record does not say what we say, try to write it."""
        if not self.lock.durable and not self._saving:
            self._saving = True
            self._loop.call_later(SAVE_AGAIN_SECONDS, self._save)

    def _save(self) -> None:
        self._saving = False
        if not self.lock.durable and self.lock.save():
            log.say("The record of the lock is written now.")
        self.save_again()

    def lock_now(self, reason: str) -> None:
        """Lock, and tell who watches."""
        if self.lock.lock(reason):
            if not self.lock.durable:
                log.say(self.lock.trouble)
            self.tell()
        self.save_again()

    def tell(self) -> None:
        """Tell the lock's state to who watches."""
        state = self.lock.state
        self._announce(
            {
                "event": "lock",
                "locked": state.locked,
                "reason": state.reason,
                "generation": state.generation,
                "since": self.since,
            }
        )

    @property
    def since(self) -> tuple[float, float] | None:
        """When it was locked; the monotonic time is not before this keeper's start."""
        state = self.lock.state
        return (state.since, self.lock.locked_at) if state.locked else None

    def model(self) -> Answer:
        """The lock as it is told."""
        state = self.lock.state
        return {
            "locked": state.locked,
            "since": self.since,
            "reason": state.reason,
            "generation": state.generation,
            "durable": self.lock.durable,
        }


class LockOperations:
    """One method for each operation; :class:`~.operations.Operations` finds them by their names."""

    _sessions: Sessions
    _workspace: Workspace

    def op_lock(self, _connection: Connection, fields: Fields) -> Answer:
        reason = fields.optional_text("reason") or "The workspace was locked."
        self._workspace.lock_now(reason[:MAX_REASON])
        return self._workspace.model()

    def op_unlock(self, _connection: Connection, fields: Fields) -> Answer:
        jti = fields.optional_text("jti")
        if not jti or len(jti) > MAX_JTI:
            raise Refused("invalid", f"`jti` is a text of 1 to {MAX_JTI} characters.")
        exp = _seconds(fields, "exp", least=1.0, most=2.0**40)
        if exp is None:
            raise Refused("invalid", "`exp` is missing.")
        try:
            verdict = self._workspace.lock.unlock(jti, exp)
        except OSError as error:
            log.say(str(error))
            self._workspace.save_again()
            raise Refused("not_recorded", f"The workspace stays locked. {error}") from None
        self._workspace.save_again()
        if verdict is Verdict.USED:
            raise Refused("used", "This unlock was used before, or may have been; log in again for another.")
        if verdict is Verdict.NOT_LOCKED:
            raise Refused("not_locked", "The workspace is not locked.")
        self._workspace.clock.present()  # a fresh login
        self._workspace.tell()
        return self._workspace.model()

    def op_lock_state(self, _connection: Connection, _fields: Fields) -> Answer:
        return self._workspace.model()

    def op_presence(self, _connection: Connection, fields: Fields) -> Answer:
        at = _seconds(fields, "at", least=0.0, most=2.0**40)
        return {"presence": self._workspace.clock.present(at)}

    def op_connected(self, connection: Connection, fields: Fields) -> Answer:
        self._workspace.clock.count(connection.number, fields.integer("count", 0, MAX_WEBSOCKETS))
        return {"connected": self._workspace.clock.connected(self._sessions)}

    def op_rules_clock(self, _connection: Connection, _fields: Fields) -> Answer:
        clock = self._workspace.clock
        return {
            "presence": clock.presence,
            "connected": clock.connected(self._sessions),
            "is_connected": clock.is_connected(self._sessions),
            "started": clock.started,
            "websockets": clock.websockets,
            "now": (time.time(), time.monotonic()),
        }

    def op_watch_pid(self, _connection: Connection, fields: Fields) -> Answer:
        session = self._sessions.running(fields.session)
        if fields.header.get("pid") is None:
            session.watches.clear()
        else:
            pid = fields.integer("pid", 1, 2**31 - 1)
            seconds = _seconds(fields, "max", least=1.0, most=2.0**40)
            if seconds is None:
                raise Refused("invalid", "`max` is missing: for how many seconds at most to watch.")
            try:
                session.watches.add(pid, session.pid, session.id, seconds)
            except WatchError as error:
                raise Refused("not_watched", str(error)) from None
        return {"watched": session.watches.info()}


def _seconds(fields: Fields, name: str, *, least: float, most: float) -> float | None:
    value = fields.header.get(name)
    if value is None:
        return None
    usable = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not usable or not math.isfinite(value) or not least <= value <= most:
        raise Refused("invalid", f"`{name}` is a number of seconds from {least:g} to {most:g}.")
    return float(value)


def state_directory(runtime_dir: Path, *, alone: bool) -> Path:
    """Where the lock's record is: on the volume; of a keeper without a workspace, beside its socket."""
    told = os.environ.get("PTH_STATE_DIR")
    if told:
        return Path(told)
    if alone:
        return runtime_dir
    home = os.environ.get("HOME")
    return Path(home, ".persistent-terminal-hub") if home else runtime_dir
