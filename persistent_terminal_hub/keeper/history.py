"""What ended sessions printed, on the volume: it outlives the container, whose memory holds the journals.

One file per session, ``<state>/history/<id>``: a line of JSON (what ``Session.info`` says, and ``kept_from``,
the offset of the first byte that follows), then the newest bytes of its output. A file is whole or not there.

A child process writes them. A volume that is slow or hangs so costs the sessions nothing, and the keeper has
no thread, because it forks. The child inherits the journals' memory, so nothing is copied for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from persistent_terminal_hub.keeper import log, spawn
from persistent_terminal_hub.keeper.journal import Journal, Reader
from persistent_terminal_hub.keeper.session import Session

#: Bytes of output kept per session unless PTH_HISTORY_BYTES says otherwise (0: nothing is kept at all).
DEFAULT_BYTES: Final = 1024 * 1024
#: Beyond either, the sessions that ended first go.
MAX_FILES: Final = 100
MAX_TOTAL: Final = 64 * 1024 * 1024
#: The longest first line; what people can put into a session (argv, meta) is bounded far below it.
MAX_HEADER: Final = 256 * 1024
#: So much more likely than the keeper to be chosen by the OOM killer.
_OOM_ABOVE_US: Final = 500


class Ended(NamedTuple):
    """What the writer needs of one session."""

    id: str
    info: dict[str, Any]
    journal: Journal


def history_directory(state: Path) -> Path:
    """Where the files are, below the directory of a workspace's state."""
    return state / "history"


def bytes_kept(environ: Mapping[str, str]) -> int:
    """Output to keep per session, as the settings say."""
    try:
        return max(0, int(environ["PTH_HISTORY_BYTES"]))
    except (KeyError, ValueError):
        return DEFAULT_BYTES


class History:
    """Writes sessions that ended. Methods are called from the loop only."""

    def __init__(self, directory: Path, most: int) -> None:
        """``most``: bytes of output per session; 0: nothing is written."""
        self._directory = directory
        self._most = most
        self._waiting: dict[str, Ended] = {}
        self._writers: set[int] = set()

    @property
    def settled(self) -> bool:
        """Whether all is written, as far as it could be."""
        return not self._writers and not self._waiting

    def ended(self, session: Session) -> None:
        """A session has ended: write it, now or together with others when the writer is free."""
        if self._most:
            self._waiting[session.id] = Ended(session.id, session.info(), session.journal)
            if not self._writers:
                self._write()

    def leaving(self, session: Session) -> None:
        """Its journal goes away now, so it cannot wait."""
        if session.id in self._waiting:
            self._write()

    def reaped(self, pid: int, status: int) -> bool:
        """Take note that a child is gone; say whether it was a writer."""
        if pid not in self._writers:
            return False
        self._writers.discard(pid)
        if status:
            log.say("What sessions printed could not be kept on the volume. Is it full?")
        if self._waiting and not self._writers:
            self._write()
        return True

    def _write(self) -> None:
        batch = list(self._waiting.values())
        self._waiting.clear()
        # No signal may run our handlers in the child.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:  # pragma: no cover - runs in the child
                status = 1
                try:
                    _in_child(self._directory, batch, self._most)
                    status = 0
                finally:
                    os._exit(status)
            self._writers.add(pid)
        except OSError as error:  # no more processes
            log.say(f"What {len(batch)} sessions printed is not kept on the volume: {error.strerror}.")
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_child(directory: Path, batch: Sequence[Ended], most: int) -> None:  # pragma: no cover
    signal.set_wakeup_fd(-1)
    spawn.raise_oom_score_adj("self", _OOM_ABOVE_US)
    readers = [Reader(ended.journal.fd) for ended in batch]
    # A terminal whose other end somebody holds is never hung up.
    os.closerange(3, 65536)
    for ended, reader in zip(batch, readers, strict=True):
        write(directory, ended.id, ended.info, reader, most)
    prune(directory)


def write(directory: Path, identity: str, info: dict[str, Any], reader: Reader, most: int) -> None:
    """Write one session's file. Raises OSError."""
    chunk = reader.read(max(reader.floor, reader.head - most), most)
    data, start = chunk.data, chunk.start
    if start > 0:  # begin with a line, where there is one
        cut = data.find(b"\n") + 1
        data, start = data[cut:], start + cut
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = directory / f".{identity}.{os.getpid()}"
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(json.dumps({**info, "kept_from": start}).encode() + b"\n")
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(directory / identity)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def prune(directory: Path, most_files: int = MAX_FILES, most_bytes: int = MAX_TOTAL) -> None:
    """Remove the oldest files beyond the bounds, and what a killed writer left. Raises OSError."""
    found = []
    for path in directory.iterdir():
        if path.name.startswith("."):
            if not Path("/proc", path.suffix[1:]).exists():  # its writer
                path.unlink(missing_ok=True)
            continue
        with contextlib.suppress(OSError):
            about = path.stat()
            found.append((about.st_mtime_ns, about.st_size, path))
    total = 0
    for number, (_, size, path) in enumerate(sorted(found, reverse=True)):
        total += size
        if number >= most_files or total > most_bytes:
            path.unlink(missing_ok=True)
