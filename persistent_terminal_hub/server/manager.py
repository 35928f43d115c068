"""The manager of all sessions of a server; Jupyter's terminals and ours are the same ones."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jupyter_server_terminals.terminalmanager import RUNNING_TOTAL, TerminalManager
from tornado import web
from traitlets import Integer, default

from . import names
from .engine import Engine, EngineError, ExitStatus, LocalEngine, SpawnSpec
from .environment import session_environment
from .scrollback import DEFAULT_LIMIT
from .session import EndedSession, PersistentPty, now

#: Ended sessions that are remembered until they are deleted.
MAX_ENDED = 100


class SessionError(web.HTTPError):
    """A request that cannot be done: a status, a sentence, and what to do about it."""

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        # log_message is a %-format.
        super().__init__(status, message.replace("%", "%%"))
        self.message = message
        self.hint = hint


def _from_environment(name: str, fallback: int, least: int, most: int) -> int:
    try:
        return min(max(int(os.environ[name]), least), most)
    except (KeyError, ValueError):
        return fallback


class PersistentTerminalManager(TerminalManager):
    """Named sessions that stay while nobody is attached."""

    scrollback_bytes = Integer(help="Output kept per session, in bytes.").tag(config=True)
    max_sessions = Integer(help="Sessions that may run at once.").tag(config=True)
    default_cols = Integer(help="Width of a new session before a client says its own.").tag(config=True)
    default_rows = Integer(help="Height of a new session before a client says its own.").tag(config=True)

    terminals: dict[str, PersistentPty]  # type: ignore[assignment]

    @default("scrollback_bytes")
    def _scrollback_bytes(self) -> int:
        return _from_environment("PTH_SCROLLBACK_BYTES", DEFAULT_LIMIT, 64 * 1024, 1 << 30)

    @default("max_sessions")
    def _max_sessions(self) -> int:
        return _from_environment("PTH_MAX_SESSIONS", 50, 1, 10_000)

    @default("default_cols")
    def _default_cols(self) -> int:
        return _from_environment("PTH_PTY_COLS", 80, 2, 1000)

    @default("default_rows")
    def _default_rows(self) -> int:
        return _from_environment("PTH_PTY_ROWS", 24, 2, 1000)

    def __init__(self, *args: Any, engine: Engine | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.engine: Engine = engine or LocalEngine()
        self.ended: OrderedDict[str, EndedSession] = OrderedDict()
        #: The web application's `last_activity_times`, when there is one: output nobody watches is activity.
        self.activity_times: dict[str, Any] | None = None
        # Former names, so that a page that was open during a rename finds its session again.
        self._former: dict[str, str] = {}

    # What stock code calls -------------------------------------------------------------------------

    def create(self, **kwargs: Any) -> dict[str, Any]:
        """Create a terminal for `POST /api/terminals`; returns the stock model."""
        argv = kwargs.get("shell_command")
        session = self.create_session(
            name=kwargs.get("name") or None,
            cwd=kwargs.get("cwd"),
            env=kwargs.get("extra_env"),
            argv=argv if isinstance(argv, list) else None,
        )
        self._initialize_culler()
        model: dict[str, Any] = self.get_terminal_model(session.term_name)
        return model

    def new_named_terminal(self, **kwargs: Any) -> tuple[str, PersistentPty]:
        """Create a terminal as terminado does."""
        name: str = self.create(**kwargs)["name"]
        return name, self.terminals[name]

    def get_terminal(self, term_name: str | None = None) -> PersistentPty:
        """The session that a stock socket asks for."""
        session = self.find_running(term_name or "")
        if session is None:
            raise web.HTTPError(404, "There is no terminal of this name.")
        return session

    def get_terminal_model(self, name: str) -> dict[str, Any]:
        """The stock model of one terminal."""
        session = self.get_terminal(name)
        moment = session.last_activity.isoformat().replace("+00:00", "Z")
        return {"name": session.term_name, "last_activity": moment}

    async def terminate(self, name: str, force: bool = False) -> None:
        """End a session by name; 404 when there is none."""
        await self.get_terminal(name).terminate(force=force)

    async def terminate_all(self) -> None:
        """End all sessions, at once."""
        await asyncio.gather(*(session.terminate(force=True) for session in list(self.terminals.values())))

    async def kill_all(self) -> None:
        """End all sessions, at once."""
        await self.terminate_all()

    async def _cull_inactive_terminal(self, name: str) -> None:
        # The stock culler, when an administrator turns it on, must not end what somebody watches.
        session = self.terminals.get(name)
        if session is not None and not session.clients:
            await super()._cull_inactive_terminal(name)

    # Sessions --------------------------------------------------------------------------------------

    def create_session(
        self,
        *,
        name: str | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        argv: Sequence[str] | None = None,
        shell: str | None = None,
        cols: int | None = None,
        rows: int | None = None,
    ) -> PersistentPty:
        """Start a session; raises `SessionError` with the sentence for the person who asked."""
        if name is None:
            name = names.next_free(self.terminals)
        self._check_free(name)
        if len(self.terminals) >= self.max_sessions:
            raise SessionError(
                429,
                f"This workspace runs {len(self.terminals)} sessions; its limit is {self.max_sessions}.",
                "End a session that you no longer need, then try again.",
            )
        session_id = uuid.uuid4().hex
        program = list(argv) if argv else [shell, "-l"] if shell else list(self.shell_command)
        environment = session_environment(
            os.environ, self.extra_env or {}, env or {}, name=name, session_id=session_id
        )
        spec = SpawnSpec(
            argv=(self._executable(program[0], environment), *program[1:]),
            env=environment,
            cwd=self._directory(cwd),
            cols=cols or self.default_cols,
            rows=rows or self.default_rows,
        )
        try:
            session = PersistentPty(
                self.engine,
                spec,
                name=name,
                session_id=session_id,
                scrollback_bytes=self.scrollback_bytes,
                on_output=self._on_output,
                on_end=self._on_end,
            )
        except EngineError as error:
            raise SessionError(422, str(error)) from error
        self._former.pop(name, None)
        self.terminals[name] = session
        RUNNING_TOTAL.set(len(self.terminals))
        self.log.info("Session %s started as process %d.", session.id, session.process.pid)
        return session

    def models(self) -> list[dict[str, Any]]:
        """Every session that runs, then those that ended, oldest first."""
        running = sorted(self.terminals.values(), key=lambda session: session.created)
        return [session.model() for session in running] + [ended.model for ended in self.ended.values()]

    def find_running(self, key: str) -> PersistentPty | None:
        """The running session with this id, name or former name."""
        if key in self.terminals:
            return self.terminals[key]
        session_id = self._former.get(key, key)
        return next((session for session in self.terminals.values() if session.id == session_id), None)

    def find(self, key: str) -> PersistentPty | EndedSession:
        """The session with this id or name, running ones first; raises 404."""
        ended = self.ended.get(key) or next((e for e in reversed(self.ended.values()) if e.name == key), None)
        found = self.find_running(key) or ended
        if found is None:
            raise SessionError(404, "There is no such session.", "List the sessions to see which there are.")
        return found

    def rename(self, key: str, name: str) -> PersistentPty:
        """Give a running session another name; whoever is attached stays attached."""
        session = self.find(key)
        if isinstance(session, EndedSession):
            raise SessionError(410, "This session has ended; only a running one can be renamed.")
        former = session.term_name
        if name != former:
            self._check_free(name)
            del self.terminals[former]
            self._former[former] = session.id
            self._former.pop(name, None)
            self.terminals[name] = session
            session.term_name = name
            for client in session.clients:
                client.term_name = name
        return session

    async def delete(self, key: str) -> None:
        """End a running session, or forget one that has ended."""
        session = self.find(key)
        if isinstance(session, EndedSession):
            self.ended.pop(session.id, None)
        else:
            await session.terminate(force=True)

    # Inside ----------------------------------------------------------------------------------------

    def _check_free(self, name: str) -> None:
        if not names.is_valid(name):
            raise SessionError(422, str(names.InvalidName()), "Choose another name.")
        if name in self.terminals:
            raise SessionError(
                409, f"A session named {name!r} runs already.", "Choose another name, or attach to it."
            )

    def _directory(self, cwd: str | None) -> str:
        root = Path(str(getattr(self.parent, "root_dir", "") or Path.cwd())).expanduser()
        directory = root / Path(cwd).expanduser() if cwd else root
        if not directory.is_dir():
            raise SessionError(
                422, f"The directory {cwd!r} does not exist.", "Name an existing directory as cwd."
            )
        return str(directory.resolve())

    def _executable(self, program: str, environment: Mapping[str, str]) -> str:
        found = shutil.which(program, path=environment.get("PATH"))
        if found is None:
            raise SessionError(422, f"The program {program!r} was not found or may not be executed.")
        return found

    def _on_output(self, session: PersistentPty) -> None:
        if self.activity_times is not None:
            self.activity_times["persistent_terminals"] = now()

    def _on_end(self, session: PersistentPty, status: ExitStatus) -> None:
        self.terminals.pop(session.term_name, None)
        self._former = {name: key for name, key in self._former.items() if key != session.id}
        session.clients.clear()
        self.ended[session.id] = EndedSession(session.id, session.term_name, session.model())
        while len(self.ended) > MAX_ENDED:
            self.ended.popitem(last=False)
        RUNNING_TOTAL.set(len(self.terminals))
        self.log.info("Session %s ended: %s.", session.id, status.signal or f"exit code {status.code}")
