"""record(): a durable outbox of what happened; the control service drains it into the chained log.

One line of JSON per event in `<data>/audit/current.jsonl`, on the disk before `record` returns. Any number of
processes may record. A drainer takes sealed segments, oldest first, and confirms each: a batch that was not
confirmed comes again, with the same name and the same ids, so whoever stores it can tell.

Only fields of the list below get in, so that no careless call writes a secret down. Recording never raises:
an event that cannot be written is logged and counted, and the count is recorded once there is room again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import pwd
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

log = logging.getLogger(__name__)

#: What an event may say. `who` did `what` `on` which thing, from where (`origin`), with what `result`.
FIELDS: Final = frozenset(
    {
        "who", "what", "on", "origin", "result", "reason", "method", "session", "workspace", "user",
        "by", "token_id", "count", "seconds", "image", "name", "role", "code", "command", "sha256",
    }
)  # fmt: skip
#: Characters of one value; the rest is cut off, visibly.
MAX_VALUE: Final = 1000
#: Bytes of a segment; then the next one begins.
SEGMENT: Final = 1024 * 1024
#: Bytes of all segments together. Nobody drains: better to stop, loudly, than to fill the hub's disk.
MAX_TOTAL: Final = 256 * 1024 * 1024
#: Seconds to wait for another process that is recording; a frozen one must not freeze the hub.
PATIENCE: Final = 2.0

_CURRENT: Final = "current.jsonl"
_SEALED = re.compile(r"\d{12}-[0-9a-f]{8}\.jsonl")
_ID = re.compile(r"[0-9a-f]{32}")
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{12,}(?:\.[A-Za-z0-9_-]*){0,4}")


class AuditError(Exception):
    """The outbox cannot be drained now; the text says why."""


@dataclass(slots=True)
class Batch:
    """A sealed segment. `confirm` once its events are stored; without it they come again.

    `torn` counts lines that a kill cut off; nobody was told that they were recorded.
    """

    name: str
    events: list[dict[str, Any]]
    torn: int
    _path: Path = field(repr=False)
    _lock: int = field(repr=False)

    def confirm(self) -> None:
        """Forget these events; one step, so all of them or none."""
        self._path.unlink(missing_ok=True)
        _sync_directory(self._path.parent)
        self.release()

    def release(self) -> None:
        """Let another drainer come."""
        descriptor, self._lock = self._lock, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Outbox:
    """The events of one directory (0700), which is made when it is first needed."""

    def __init__(self, path: Path, *, segment: int = SEGMENT, max_total: int = MAX_TOTAL) -> None:
        self.path = path
        self._segment = segment
        self._max_total = max_total
        self._lost = 0
        self._complained = False
        self._odd: set[str] = set()
        self._guard = threading.Lock()  # of the counters above

    # Recording --------------------------------------------------------------------------------------

    def record(self, /, **fields: object) -> bool:
        """Write one event down, durably (a few milliseconds: one fsync). Whether that worked; never raises.

        `id` (32 hexadecimal digits) names an event that may be recorded twice: the log takes it once.
        On an event loop with much to do: `await asyncio.to_thread(outbox.record, ...)`.
        """
        try:
            event = self._event(fields)
            with self._guard:
                lost, self._lost = self._lost, 0
            events = [event]
            if lost:
                events.insert(0, self._event({"what": "audit.lost", "result": "lost", "count": lost}))
            try:
                self._append(b"".join(_line(event) for event in events))
            except OSError as error:
                self._failed(lost + 1, error.strerror or type(error).__name__)
                return False
        except Exception as error:  # an audit must never break what it watches
            self._failed(1, type(error).__name__)
            return False
        if self._complained:
            self._complained = False
            log.warning("The audit outbox %s can be written again.", self.path)
        return True

    def _failed(self, lost: int, why: str) -> None:
        with self._guard:
            self._lost += lost
        if not self._complained:
            self._complained = True
            log.error(
                "Events cannot be recorded in the audit outbox %s (%s). They are counted until they can: "
                "make room on the disk, or let the control service drain the outbox.",
                self.path,
                why,
            )

    def _event(self, fields: Mapping[str, object]) -> dict[str, Any]:
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        identity = fields.get("id")
        known = isinstance(identity, str) and _ID.fullmatch(identity)
        event: dict[str, Any] = {"id": identity if known else secrets.token_hex(16), "at": moment}
        for name, value in fields.items():
            if name == "id":
                continue
            if name not in FIELDS:
                self._refuse(str(name))
            elif value is not None:
                event[name] = _plain(value)
        return event

    def _refuse(self, name: str) -> None:
        """Say once that a field is left out; never its value."""
        if len(self._odd) < 100 and name not in self._odd:
            self._odd.add(name)
            log.error("An audit event has no field %.40r; it was left out.", name)

    def _append(self, data: bytes) -> None:
        self._prepare()
        with self._locked("write.lock", PATIENCE) as held:
            if held:
                self._append_locked(data)
                return
        # Whoever holds the lock does not move. A segment of our own waits for nobody.
        aside = self.path / f".{secrets.token_hex(8)}"
        self._write_new(aside, data)
        aside.rename(self.path / self._next_name())
        _sync_directory(self.path)

    def _append_locked(self, data: bytes) -> None:
        current = self.path / _CURRENT
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(current, flags, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            # A writer that was killed in the middle: what it left must not swallow our line.
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            whole = b"\n" + data if torn else data
            try:
                _write_all(descriptor, whole)
                os.fsync(descriptor)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, size)  # an event is there whole, or not at all
                raise
        finally:
            os.close(descriptor)
        if size == 0:
            _sync_directory(self.path)
        if size + len(whole) >= self._segment:
            self._seal()

    def _seal(self) -> None:
        """Close the current segment; only with the writers' lock."""
        current = self.path / _CURRENT
        with contextlib.suppress(FileNotFoundError):
            if current.stat().st_size:
                current.rename(self.path / self._next_name())
                _sync_directory(self.path)

    def _next_name(self) -> str:
        # The number orders them, the rest keeps a name from ever coming back.
        last = max((int(path.name[:12]) for path in self._sealed()), default=0)
        return f"{last + 1:012d}-{secrets.token_hex(4)}.jsonl"

    def _prepare(self) -> None:
        if not self.path.is_dir():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        total = 0
        for path in self._sealed():
            with contextlib.suppress(FileNotFoundError):  # drained meanwhile
                total += path.stat().st_size
        if total >= self._max_total:
            raise OSError(0, f"it holds {self._max_total} bytes that nobody drained")

    def _write_new(self, path: Path, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    # Draining ---------------------------------------------------------------------------------------

    def drain(self) -> Batch | None:
        """The oldest events that nobody confirmed, None if there are none.

        One drainer at a time: AuditError when another is at work, or the outbox cannot be read.
        """
        if not self.path.is_dir():
            return None
        try:
            lock = _try_lock(self.path / "drain.lock")
            if lock is None:
                raise AuditError(f"Somebody else drains {self.path}.")
            try:
                batch = self._oldest(lock)
            except BaseException:
                os.close(lock)
                raise
        except OSError as error:
            raise AuditError(f"{self.path} cannot be drained ({error.strerror}).") from error
        if batch is None:
            os.close(lock)
        return batch

    def _oldest(self, lock: int) -> Batch | None:
        sealed = self._sealed()
        if not sealed:
            with self._locked("write.lock", PATIENCE) as held:
                if held:
                    self._seal()
            sealed = self._sealed()
        if not sealed:
            return None
        path = sealed[0]
        events: list[dict[str, Any]] = []
        torn = 0
        for line in path.read_bytes().split(b"\n"):
            if not line:
                continue
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            if isinstance(event, dict):
                events.append(event)
            else:
                torn += 1
        return Batch(path.name, events, torn, path, lock)

    def _sealed(self) -> list[Path]:
        return sorted(path for path in self.path.iterdir() if _SEALED.fullmatch(path.name))

    @contextlib.contextmanager
    def _locked(self, name: str, patience: float) -> Iterator[bool]:
        """Hold a lock file; False when it was not to be had in time."""
        deadline = time.monotonic() + patience
        while (descriptor := _try_lock(self.path / name)) is None and time.monotonic() < deadline:
            time.sleep(0.002)
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                os.close(descriptor)


def _try_lock(path: Path) -> int | None:
    """The descriptor that holds the lock. A new one each time: threads exclude each other, too."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _plain(value: object) -> str | int | float | bool:
    """What JSON can say, short, without tokens."""
    if isinstance(value, bool | int) and abs(value) < 2**53:
        return value
    if isinstance(value, float) and abs(value) < 1e300:  # neither NaN nor infinite
        return value
    if isinstance(value, bytes | bytearray):
        text = bytes(value[: 4 * MAX_VALUE]).decode("utf-8", "replace")
    elif isinstance(value, str):
        text = value[: 4 * MAX_VALUE]
    else:
        return f"<{type(value).__name__}>"
    text = _JWT.sub("<token>", text).encode("utf-8", "replace").decode()
    return text if len(text) <= MAX_VALUE else text[:MAX_VALUE] + "..."


def _line(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Who works at the command line -----------------------------------------------------------------------

#: Where such an event came from.
COMMAND_LINE: Final = "command line"


def account() -> str:
    """The name of this process's account on this machine."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"


# The outbox of this process -------------------------------------------------------------------------

_outbox: Outbox | None = None


def use(path: Path) -> Outbox:
    """Where `record` of this process writes from now on: `<data>/audit`."""
    global _outbox
    _outbox = Outbox(path)
    return _outbox


def record(event: Mapping[str, object]) -> None:
    """Write one event down in the outbox of this process. Never raises."""
    if _outbox is None:
        log.warning("An event was not recorded: this process has no audit outbox.")
        return
    _outbox.record(**{str(name): value for name, value in event.items()})
