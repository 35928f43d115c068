"""All sessions of the workspace: making, finding, ending and forgetting them, and the bound on memory."""

from __future__ import annotations

import itertools
import os
import pwd
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from persistent_terminal_hub.keeper import process
from persistent_terminal_hub.keeper.history import History
from persistent_terminal_hub.keeper.journal import DEFAULT_CAPACITY
from persistent_terminal_hub.keeper.loop import Loop
from persistent_terminal_hub.keeper.session import Session
from persistent_terminal_hub.keeper.spawn import StartError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
# A safety net; the server enforces what the settings say.
MAX_SESSIONS = 1000
MIN_CAPACITY, MAX_CAPACITY = 64 * 1024, 1024 * 1024 * 1024
DEFAULT_JOURNALS_BOUND = 512 * 1024 * 1024
# What every journal may keep, however many there are and however tight the bound is.
KEPT_PER_JOURNAL = 64 * 1024
# When the bound is reached, this share of it is freed at once, so that it is not reached again at once.
SLACK = 16
DEFAULT_ENDED_KEPT = 20
# Programs look at the size when they get round to it: changed and back at once, some see no change.
REDRAW_SECONDS = 0.05
# What the hub gives to a server is not for the programs in a terminal. (Where secrets come in a file they
# never are in our own environment; without containers they are.)
NOT_FOR_SHELLS = frozenset(
    {"JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN", "CONFIGPROXY_AUTH_TOKEN", "JUPYTERHUB_CRYPT_KEY"}
)

Event = dict[str, Any]


class Refused(Exception):
    """An operation that cannot be done: a word for programs, a sentence for people."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class Sessions:
    """The registry. ``announce`` is called with every event."""

    def __init__(self, loop: Loop, announce: Callable[[Event], None], grace: float) -> None:
        self._loop = loop
        self._announce = announce
        self._grace = grace
        self._all: dict[str, Session] = {}
        self._by_pid: dict[int, Session] = {}
        self._ending: set[int] = set()  # pids of shells whose processes are being ended
        #: Writes what ended sessions printed; nothing, until somebody says where and how much.
        self.history = History(Path(), 0)
        self.bound = DEFAULT_JOURNALS_BOUND
        self.ended_kept = DEFAULT_ENDED_KEPT
        self.memory = 0
        self.bytes_out = 0
        self.bytes_in_before = 0  # of sessions removed since
        self.created = 0
        self.closed = False

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._all.values()))

    def __len__(self) -> int:
        return len(self._all)

    @property
    def bytes_in(self) -> int:
        """Input accepted since the keeper started."""
        return self.bytes_in_before + sum(session.bytes_in for session in self)

    # -- finding -------------------------------------------------------------------------------------
    def find(self, key: object) -> Session:
        """The session with this id or name. Raises :class:`Refused`."""
        if isinstance(key, str):
            found = self._all.get(key) or self._named(key)
            if found is not None:
                return found
        raise Refused("not_found", "There is no such session.")

    def running(self, key: object) -> Session:
        """The same, if it has not ended."""
        session = self.find(key)
        if session.exit is not None:
            raise Refused("ended", f"Session {session.name!r} has ended.")
        return session

    def _named(self, name: str) -> Session | None:
        """The running session of this name, else the one that was started last."""
        found = [session for session in self._all.values() if session.name == name]
        return next((session for session in found if session.exit is None), found[-1] if found else None)

    def _check_name(self, name: object) -> str:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise Refused(
                "invalid_name",
                "A session's name has 1 to 64 letters, digits, '_', '.' or '-', the first a letter or digit.",
            )
        holder = self._named(name)
        if holder is not None and holder.exit is None:  # an ended one holds nothing
            raise Refused("exists", f"There is a session {name!r} already.")
        return name

    def _free_name(self) -> str:
        taken = {session.name for session in self._all.values() if session.exit is None}
        return next(name for name in map(str, itertools.count(1)) if name not in taken)

    # -- making --------------------------------------------------------------------------------------
    def create(
        self,
        *,
        name: str | None = None,
        argv: Sequence[str] = (),
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        inherit_env: bool = True,
        size: tuple[int, int] = (80, 24),
        capacity: int = DEFAULT_CAPACITY,
        meta: dict[str, Any] | None = None,
    ) -> Session:
        """Start a session. Raises :class:`Refused`."""
        if self.closed:
            raise Refused("ending", "The workspace is ending.")
        if len(self._all) >= MAX_SESSIONS:
            raise Refused("limit", f"There are {MAX_SESSIONS} sessions already.")
        name = self._free_name() if name is None else self._check_name(name)
        identity = os.urandom(8).hex()
        full_env = shell_environment() if inherit_env else {}
        full_env.update(env or {})
        full_env["PTH_SESSION_ID"] = identity
        argv = list(argv) or [default_shell(full_env)]
        capacity = min(max(capacity, MIN_CAPACITY), MAX_CAPACITY)
        try:
            session = Session(
                self._loop, self, self.created + 1, identity, name, argv, full_env, cwd, size, capacity
            )
        except StartError as error:
            raise Refused("start_failed", str(error)) from None
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise Refused("start_failed", f"The system cannot give another terminal ({reason}).") from None
        session.meta = meta or {}
        self._all[identity] = session
        self._by_pid[session.pid] = session
        self._ending.discard(session.pid)  # a pid that was used before
        self.created += 1
        self.grown(session, 0, session.journal.allocated)
        self._announce({"event": "created", "session": session.info()})
        return session

    def rename(self, session: Session, name: object) -> None:
        """Give a session another name."""
        if name == session.name:
            return
        old, session.name = session.name, self._check_name(name)
        self._announce({"event": "renamed", "session": session.id, "name": session.name, "old_name": old})

    def resize(self, session: Session, cols: int, rows: int) -> int:
        """Give a session's terminal another size; return the offset from which on it is in force."""
        if (cols, rows) == (session.cols, session.rows):
            return session.journal.head
        record = session.resize(cols, rows)
        self._announce({"event": "resized", "session": session.id, **record._asdict()})
        return record.offset

    def redraw(self, session: Session) -> None:
        """Make a full-screen program draw anew: one row less and back. Nothing of it is recorded.

        Here and not with whoever asks, so that the old size comes back even if that one is killed.
        """

        def restore() -> None:
            if session.exit is None:
                session.process.set_size(session.cols, session.rows)

        session.process.set_size(session.cols, session.rows - 1 if session.rows > 1 else 2)
        self._loop.call_later(REDRAW_SECONDS, restore)

    def attach(self, session: Session, connection: int, client: str) -> None:
        """Note that a client came."""
        session.attach(connection, client)
        self._tell_attachment(session)

    def detach(self, session: Session, connection: int, client: str | None = None) -> None:
        """Note that a client, or all of a connection's clients, went."""
        if session.detach(connection, client):
            self._tell_attachment(session)

    def _tell_attachment(self, session: Session) -> None:
        at = session.attached_at
        self._announce(
            {"event": "attachment", "session": session.id, "attached": len(session.attached), "at": at}
        )

    # -- what sessions report (session.Owner) --------------------------------------------------------
    def grown(self, session: Session, bytes_out: int, memory: int) -> None:
        """Keep account of the journals, within the bound."""
        self.bytes_out += bytes_out
        self.memory += memory
        if memory > 0 and self.memory > self.bound:
            self._reclaim()

    def input_ready(self, session: Session) -> None:
        """Tell whoever was refused that there is room."""
        self._announce({"event": "input_ready", "session": session.id})

    def _reclaim(self) -> None:
        """Let journals give up their oldest part: those of ended and long-dormant sessions first."""

        def rank(session: Session) -> tuple[bool, float]:
            return session.exit is None, session.dormant_since

        target = self.bound - self.bound // SLACK
        for session in sorted(self._all.values(), key=rank):
            if self.memory <= target:
                break
            self.memory -= session.journal.give_up(self.memory - target, KEPT_PER_JOURNAL)

    # -- ending --------------------------------------------------------------------------------------
    def reaped(self, pid: int, status: int) -> bool:
        """Take note that a child is gone; say whether it was a session's shell."""
        session = self._by_pid.pop(pid, None)
        if session is None:
            return False
        session.finish(status)
        self.history.ended(session)
        self._announce(
            {
                "event": "exited",
                "session": session.id,
                "exit": session.exit and session.exit._asdict(),
                "end": session.journal.head,
            }
        )
        ended = sorted((s.exit.at.monotonic, s.id) for s in self if s.exit is not None)
        for _, identity in ended[: max(0, len(ended) - self.ended_kept)]:
            self.remove(self._all[identity])
        return True

    def remove(self, session: Session) -> None:
        """Forget an ended session and its journal."""
        if session.exit is None:
            raise Refused("running", f"Session {session.name!r} is still running; end it first.")
        del self._all[session.id]
        self.history.leaving(session)
        self.memory -= session.journal.allocated
        self.bytes_in_before += session.bytes_in
        session.close()
        self._announce({"event": "removed", "session": session.id})

    def signal(self, session: Session, signum: int, whom: str) -> None:
        """Send a signal to the foreground programs, the shell, or everything in a session."""
        try:
            if whom == "session":
                process.signal_sessions({session.pid}, signum)
            elif whom == "shell":
                os.kill(session.pid, signum)
            else:
                os.killpg(session.process.foreground() or session.pid, signum)
        except (ProcessLookupError, PermissionError) as error:
            raise Refused("not_signalled", f"The signal was not delivered: {error.strerror}.") from None

    def end(self, session: Session, reason: str, grace: float | None = None) -> None:
        """End a session and everything in it: HUP and CONT, then TERM, at last KILL."""
        self._end([session], reason, self._grace if grace is None else grace)

    def end_all(self, grace: float, reason: str) -> None:
        """End everything; no session is created from now on. :attr:`settled` says when it is done."""
        self.closed = True
        self._end([session for session in self if session.exit is None], reason, grace)

    def _end(self, sessions: Sequence[Session], reason: str, grace: float) -> None:
        pids = frozenset(session.pid for session in sessions)
        for session in sessions:
            session.end_reason = session.end_reason or reason
        self._ending |= pids
        self._escalate(pids, signal.SIGHUP, signal.SIGCONT)
        self._loop.call_later(grace / 2, lambda: self._escalate(pids, signal.SIGTERM))
        self._loop.call_later(grace, lambda: self._escalate(pids, signal.SIGKILL))
        # Whatever is not dead now is in the kernel's hands.
        self._loop.call_later(grace + 1, lambda: self._ending.difference_update(pids))

    def _escalate(self, pids: frozenset[int], *signums: int) -> None:
        pids &= self._ending
        if pids:
            self._ending -= pids - process.signal_sessions(pids, *signums)

    def check_ended(self) -> None:
        """Look whether what was told to end is gone. Called after children were reaped."""
        if self._ending and not self._ending & self._by_pid.keys():
            self._ending &= process.signal_sessions(self._ending)

    @property
    def settled(self) -> bool:
        """Whether every shell is gone, nothing is left of the sessions that were told to end, and what they
        printed is kept."""
        return not self._by_pid and not self._ending and self.history.settled

    def stats(self) -> dict[str, Any]:
        """Figures for metrics."""
        running = sum(session.exit is None for session in self)
        return {
            "sessions_running": running,
            "sessions_ended": len(self) - running,
            "sessions_attached": sum(bool(s.attached) for s in self if s.exit is None),
            "sessions_created_total": self.created,
            "bytes_in_total": self.bytes_in,
            "bytes_out_total": self.bytes_out,
            "journals_memory": self.memory,
            "journals_bound": self.bound,
            "time": time.time(),
        }


def shell_environment() -> dict[str, str]:
    """What programs in a terminal inherit from the keeper."""
    env = {name: value for name, value in os.environ.items() if name not in NOT_FOR_SHELLS}
    env["TERM"] = "xterm-256color"
    env.setdefault("LANG", "C.UTF-8")
    return env


def default_shell(env: Mapping[str, str]) -> str:
    """The user's shell."""
    try:
        named = env.get("SHELL") or pwd.getpwuid(os.getuid()).pw_shell
    except KeyError:  # a uid without a name, as containers have them
        named = ""
    return next((s for s in (named, "/bin/bash", "/bin/sh") if s and os.access(s, os.X_OK)), "/bin/sh")
