"""The workspace's lock and the unlock tokens that were used: pure state, and its copy on the volume.

What must hold, whatever is killed and whenever:

- a lock that was acknowledged is there after a restart, until an unlock was acknowledged;
- a token opens at most once, ever;
- a record that cannot be read, believed or written means *locked*. Only its absence means the first start.

The lock keeps a person at an unattended browser out. It does not keep the user's own programs out: they have
the same uid and may change the record.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import json
import math
import os
import stat
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

_T = TypeVar("_T")

FILE_NAME, SPARE_NAME = "lock.json", "lock.spare"
MAX_REASON = 200  # characters
MAX_JTI = 128
#: Token ids that are remembered one by one; of older ones only that they are older.
MAX_USED = 1000
#: Seconds from now at which every unlock token that exists now has expired: its life and the clocks' skew.
TOKEN_LIFE = 90.0
MAX_RECORD = 1024 * 1024
# Held in reserve, so that a full volume cannot keep its owner locked out of it.
SPARE_BYTES = 16 * 1024
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class LockState:
    """What the record says. `since` is wall-clock seconds, for display."""

    locked: bool = False
    since: float = 0.0
    reason: str = ""
    generation: int = 0  # counts locks
    used: tuple[tuple[str, float], ...] = ()  # (id, wall-clock end of the token's life)
    #: A token whose life ends no later may have been used: it opens nothing.
    floor: float = 0.0


class Verdict(enum.Enum):
    """What became of an unlock."""

    OPENED = "opened"
    USED = "used"
    NOT_LOCKED = "not_locked"


def locked(state: LockState, reason: str, wall: float) -> LockState:
    """Lock; what is locked stays as it is."""
    if state.locked:
        return state
    return replace(state, locked=True, since=wall, reason=reason, generation=state.generation + 1)


def unlocked(state: LockState, jti: str, exp: float) -> tuple[Verdict, LockState]:
    """Open with a token. It is used up then, also when there was nothing to open."""
    if exp <= state.floor or any(jti == seen for seen, _ in state.used):
        return Verdict.USED, state
    used = sorted((*state.used, (jti, exp)), key=lambda item: item[1])
    forgotten, kept = used[:-MAX_USED], used[-MAX_USED:]
    # No clock decides what is forgotten: one that jumps ahead and back would make old tokens good again.
    floor = max([state.floor, *(end for _, end in forgotten)])
    after = replace(state, locked=False, used=tuple(kept), floor=floor)
    if not state.locked:
        return Verdict.NOT_LOCKED, after
    return Verdict.OPENED, replace(after, since=0.0, reason="")


def encode(state: LockState) -> bytes:
    """The record as bytes: a line of JSON, and a line with its checksum."""
    fields: dict[str, Any] = {
        "format": _FORMAT,
        "locked": state.locked,
        "since": state.since,
        "reason": state.reason,
        "generation": state.generation,
        "floor": state.floor,
        "used": dict(state.used),
    }
    line = json.dumps(fields, separators=(",", ":")).encode()
    return line + b"\n" + hashlib.sha256(line).hexdigest().encode() + b"\n"


def decode(data: bytes) -> LockState:
    """The state in a record. Raises ValueError for whatever `encode` did not write."""
    line, _, digest = data.partition(b"\n")
    if digest != hashlib.sha256(line).hexdigest().encode() + b"\n":
        raise ValueError("the checksum does not fit")
    fields = json.loads(line)
    if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
        raise ValueError("the format is not known")
    try:
        return LockState(
            locked=_checked(fields["locked"], bool),
            since=_checked(fields["since"], float),
            reason=_checked(fields["reason"], str),
            generation=_checked(fields["generation"], int),
            used=tuple((_checked(k, str), _checked(v, float)) for k, v in fields["used"].items()),
            floor=_checked(fields["floor"], float),
        )
    except (KeyError, AttributeError, TypeError) as error:
        raise ValueError("a field is missing or of another kind") from error


def _checked(value: object, kind: type[_T]) -> _T:
    if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
        raise TypeError
    return value


class Lock:
    """The lock with its record in a directory. Never raises for what the record is or the disk does."""

    def __init__(self, directory: Path) -> None:
        """Read the record; what was wrong with it is in :attr:`trouble`, a sentence."""
        self._directory = directory
        self.path = directory / FILE_NAME
        self._spare = directory / SPARE_NAME
        self.trouble = ""
        #: Whether the record says what we say.
        self.durable = False
        self.state = self._read()
        self.locked_at = time.monotonic()  # no earlier than this process knows of it
        if not self.save() and not self.state.locked:
            self.state = locked(self.state, self.trouble, time.time())

    # -- what can be done ----------------------------------------------------------------------------
    def lock(self, reason: str) -> bool:
        """Lock, whatever the disk does; False if it was locked already. :attr:`durable` says the rest."""
        before = self.state
        self.state = locked(before, reason[:MAX_REASON], time.time())
        changed = self.state is not before
        if changed:
            self.locked_at = time.monotonic()
        if changed or not self.durable:
            self.save()
        return changed

    def unlock(self, jti: str, exp: float) -> Verdict:
        """Open with a token, once. Raises OSError if that cannot be recorded; it stays locked then."""
        verdict, after = unlocked(self.state, jti, float(exp))
        if after is not self.state:
            before, self.state = self.state, after
            if not self.save():
                # The token is used up; what it was to open is not open.
                fields = ("locked", "since", "reason")
                self.state = replace(after, **{name: getattr(before, name) for name in fields})
                if verdict is Verdict.OPENED:
                    raise OSError(self.trouble)
        return verdict

    def save(self) -> bool:
        """Write the record; say whether it is there, also after a loss of power."""
        try:
            self._write(encode(self.state))
        except OSError as error:
            self.durable = False
            self.trouble = (
                f"The record of the lock cannot be written ({error.strerror or 'error'}); "
                "free space, or make its directory writable."
            )
        else:
            self.durable = True
            self._reserve()
        return self.durable

    # -- the record ----------------------------------------------------------------------------------
    def _read(self) -> LockState:
        try:
            return decode(_contents(self.path))
        except FileNotFoundError:
            return LockState()
        except (OSError, ValueError, RecursionError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is damaged"
            self.trouble = f"The record of the lock cannot be read ({why or 'error'}); so it is locked."
        wall = time.time()
        # Which tokens were used is not known any more: all that exist now must expire unused.
        return replace(locked(LockState(), self.trouble, wall), floor=wall + TOKEN_LIFE)

    def _write(self, data: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = self._open_spare()
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.ftruncate(fd, len(data))
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(self._spare, self.path)  # noqa: PTH105 (the tests stop at each call of os)
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)  # the name, too
        finally:
            os.close(fd)

    def _reserve(self) -> None:
        """Take the room for the next record now: a full volume can still be unlocked then."""
        with contextlib.suppress(OSError):
            fd = self._open_spare()
            try:
                os.posix_fallocate(fd, 0, SPARE_BYTES + 2 * MAX_JTI * len(self.state.used))
            finally:
                os.close(fd)

    def _open_spare(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(self._spare, flags, 0o600)
        try:
            os.fchmod(fd, 0o600)
        except OSError:
            os.close(fd)
            raise
        return fd


def _contents(path: Path) -> bytes:
    # A name that leads elsewhere, or to a pipe, is not our record; and must not make us wait.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("it is not a file")
        data = file.read(MAX_RECORD + 1)
    if len(data) > MAX_RECORD:
        raise ValueError("it is too large")
    return data
