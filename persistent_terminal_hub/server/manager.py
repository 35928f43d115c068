"""The manager of all sessions of a workspace; Jupyter's terminals and ours are the same ones.

The sessions belong to the keeper. This server only shows them: when it stops, it lets go, and the next one
finds them again.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jupyter_server_terminals.terminalmanager import RUNNING_TOTAL, TerminalManager
from tornado import web
from traitlets import Integer, default

from . import names, own_keeper
from .disk_quota import DiskQuota
from .environment import session_environment
from .errors import SessionError, refusal
from .keeper_link import Change, Info, KeeperError, KeeperGone, KeeperLink
from .lookup import Lookup
from .session import PersistentPty, now
from .session_secrets import SessionSecrets

DEFAULT_SCROLLBACK = 8 * 1024 * 1024
#: Former names of a session that still lead to it.
FORMER_NAMES = 5
#: Where a session's meta data name the request that made it.
REQUEST = "request"


def _from_environment(name: str, fallback: int, least: int, most: int) -> int:
    try:
        return min(max(int(os.environ[name]), least), most)
    except (KeyError, ValueError):
        return fallback


class PersistentTerminalManager(Lookup, TerminalManager):
    """Named sessions that stay while nobody is attached, and while no server runs."""

    scrollback_bytes = Integer(help="Output kept per session, in bytes.").tag(config=True)
    max_sessions = Integer(help="Sessions that may run at once.").tag(config=True)
    default_cols = Integer(help="Width of a new session before a client says its own.").tag(config=True)
    default_rows = Integer(help="Height of a new session before a client says its own.").tag(config=True)

    terminals: dict[str, PersistentPty]  # type: ignore[assignment]

    @default("scrollback_bytes")
    def _scrollback_bytes(self) -> int:
        return _from_environment("PTH_SCROLLBACK_BYTES", DEFAULT_SCROLLBACK, 64 * 1024, 1 << 30)

    @default("max_sessions")
    def _max_sessions(self) -> int:
        return _from_environment("PTH_MAX_SESSIONS", 50, 1, 10_000)

    @default("default_cols")
    def _default_cols(self) -> int:
        return _from_environment("PTH_PTY_COLS", 80, 2, 1000)

    @default("default_rows")
    def _default_rows(self) -> int:
        return _from_environment("PTH_PTY_ROWS", 24, 2, 1000)

    def __init__(self, *args: Any, link: KeeperLink | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.link = link or own_keeper.link(str(getattr(self.parent, "root_dir", "") or Path.cwd()))
        self.link.on_change(self._on_change)
        self.by_id = {}
        #: The web application's `last_activity_times`, when there is one: output nobody watches is activity.
        self.activity_times: dict[str, Any] | None = None
        #: What new sessions get of their owner's secrets; None outside a workspace.
        self.secrets: SessionSecrets | None = None
        #: Refuses new sessions beyond it; None: there is none.
        self.quota: DiskQuota | None = None
        self.past = None
        self._creating = 0
        self._one_by_one = asyncio.Lock()
        self.life = lambda _info: {}

    # What stock code calls -------------------------------------------------------------------------

    def create(self, **kwargs: Any) -> dict[str, Any]:
        """Create a terminal for code that cannot wait; our own handlers use `create_session`."""
        name, _ = self.new_named_terminal(**kwargs)
        self._initialize_culler()
        model: dict[str, Any] = self.get_terminal_model(name)
        return model

    def new_named_terminal(self, **kwargs: Any) -> tuple[str, PersistentPty]:
        """Create a terminal as terminado does: at once, the event loop stands still meanwhile."""
        fields = self._create_fields(**_stock_arguments(kwargs))
        self._name(fields, fields["name"])
        self._count_one_more()
        try:
            info = self.link.create_blocking(**fields)
        except (KeeperError, OSError) as error:
            raise refusal(error) from error
        session = self.by_id[info.id]
        return session.term_name, session

    async def create_stock(self, **kwargs: Any) -> dict[str, Any]:
        """Create a terminal for `POST /api/terminals`; returns the stock model."""
        session = await self.create_session(**_stock_arguments(kwargs))
        self._initialize_culler()
        model: dict[str, Any] = self.get_terminal_model(session.term_name)
        return model

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
        await self._end(self.get_terminal(name))

    async def terminate_all(self) -> None:
        """Let go of all sessions: stock code calls this when the server stops, and they go on."""
        for session in list(self.by_id.values()):
            for client in list(session.clients):
                client.close(1012)  # "service restart": after 1001, JupyterLab would not come back
        await self.link.close()

    async def kill_all(self) -> None:
        """The same."""
        await self.terminate_all()

    async def _cull_inactive_terminal(self, name: str) -> None:
        # The stock culler, when an administrator turns it on, must not end what somebody watches.
        session = self.terminals.get(name)
        if session is not None and not session.info.attached:
            await super()._cull_inactive_terminal(name)

    # Sessions --------------------------------------------------------------------------------------

    async def ready(self) -> None:
        """Wait until the keeper's sessions are known; 503 when the keeper does not answer."""
        try:
            await self.link.ready()
        except KeeperGone as error:
            raise refusal(error) from error

    async def create_session(
        self,
        *,
        name: str | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        argv: Sequence[str] | None = None,
        shell: str | None = None,
        cols: int | None = None,
        rows: int | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> PersistentPty:
        """Start a session; raises `SessionError` with the sentence for the person who asked."""
        await self.ready()
        if self.quota is not None:
            await self.quota.check()
        fields = self._create_fields(
            name=name, cwd=cwd, env=env, argv=argv, shell=shell, cols=cols, rows=rows
        )
        fields["meta"] = dict(meta or {})
        self._count_one_more()
        self._creating += 1
        try:
            while True:
                self._name(fields, name)
                try:
                    info = await self.link.create(**fields)
                except KeeperError as error:
                    if error.code == "exists" and name is None:
                        await asyncio.sleep(0.01)  # somebody took it meanwhile; we shall hear of it
                        continue
                    raise
                break
        except (KeeperError, OSError) as error:
            raise refusal(error) from error
        finally:
            self._creating -= 1
        return self.by_id[info.id]

    async def create_once(
        self, request: str, meta: Mapping[str, Any], fields: Mapping[str, Any]
    ) -> PersistentPty:
        """The session that this request made before, when nobody heard of its success; else a new one."""
        await self.ready()
        async with self._one_by_one:
            made = (session for session in self.by_id.values() if session.info.meta.get(REQUEST) == request)
            return next(made, None) or await self.create_session(**fields, meta={**meta, REQUEST: request})

    @property
    def creating(self) -> bool:
        """Whether a session is being created."""
        return self._creating > 0

    @property
    def variables(self) -> dict[str, str]:
        """The workspace's own environment, as it was given to the control service."""
        return self.secrets.variables if self.secrets else {}

    async def rename(self, key: str, name: str) -> PersistentPty:
        """Give a running session another name; whoever is attached stays attached."""
        session = self.find(key)
        if not session.info.running:
            raise SessionError(410, "This session has ended; only a running one can be renamed.")
        former = session.term_name
        if name != former:
            self._check_free(name)
            try:
                await self.link.rename(session.id, name)
                names_before = [n for n in session.info.meta.get("former", []) if n not in (name, former)]
                await self.link.annotate(session.id, {"former": [*names_before, former][-FORMER_NAMES:]})
            except (KeeperError, OSError) as error:
                raise refusal(error) from error
        return session

    async def delete(self, key: str) -> None:
        """End a running session, or forget one that has ended."""
        session = await self.find_any(key)
        if session.info.running and isinstance(session, PersistentPty):
            await self._end(session)
            return
        try:
            if isinstance(session, PersistentPty):
                await self.link.remove(session.id)
            if self.past is not None:
                await asyncio.to_thread(self.past.forget, session.info.id)
        except (KeeperError, OSError) as error:
            raise refusal(error) from error

    async def _end(self, session: PersistentPty) -> None:
        try:
            await session.terminate(force=True)
        except KeeperError as error:
            if error.code not in ("ended", "not_found"):
                raise refusal(error) from error
        except OSError as error:  # TimeoutError included
            raise refusal(error) from error

    # What the keeper tells -------------------------------------------------------------------------

    def _on_change(self, change: Change) -> None:
        info = change.info
        if info is None:
            if change.kind == "connected":
                for session in self.by_id.values():
                    session.reconnected()
            return
        if change.kind == "created":
            session = self.by_id[info.id] = PersistentPty(self.link, info, self._on_output)
            session.life = self.life
            if info.running:
                self.terminals[info.name] = session
                self.log.info("Session %s runs as process %d.", info.id, info.pid)
            self._count()
            return
        found = self.by_id.get(info.id)
        if found is None:
            return
        if change.kind == "renamed":
            if self.terminals.get(change.old_name) is found:
                del self.terminals[change.old_name]
                self.terminals[info.name] = found
            for client in found.clients:
                client.term_name = info.name
        elif change.kind == "resized":
            found.size_changed()
        elif change.kind == "exited":
            self._forget_name(info)
            found.ended()
            exit_ = info.exit or {}
            self.log.info("Session %s ended: code %s, signal %s.", info.id, exit_["code"], exit_["signal"])
        elif change.kind == "removed":
            self._forget_name(info)
            del self.by_id[info.id]
            found.close()
        self._count()

    def _forget_name(self, info: Info) -> None:
        session = self.terminals.get(info.name)
        if session is not None and session.id == info.id:
            del self.terminals[info.name]

    def _count(self) -> None:
        RUNNING_TOTAL.set(len(self.terminals))

    def _on_output(self, session: PersistentPty) -> None:
        if self.activity_times is not None:
            self.activity_times["persistent_terminals"] = now()

    # Inside ----------------------------------------------------------------------------------------

    def _create_fields(
        self,
        *,
        name: str | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        argv: Sequence[str] | None = None,
        shell: str | None = None,
        cols: int | None = None,
        rows: int | None = None,
    ) -> dict[str, Any]:
        """What the keeper is asked for; raises `SessionError`."""
        if name is not None:
            self._check_free(name)
        program = list(argv) if argv else [shell, "-l"] if shell else list(self.shell_command)
        secrets = self.secrets.environment() if self.secrets else {}
        asked = {**secrets, **(env or {})}
        environment = session_environment(os.environ, self.extra_env or {}, asked, name=name or "")
        return {
            "name": name,
            "argv": [self._executable(program[0], environment), *program[1:]],
            # The server's environment, not the keeper's: only the server has what the hub set for the user.
            "env": environment,
            "inherit_env": False,
            "cwd": self._directory(cwd),
            "cols": cols or self.default_cols,
            "rows": rows or self.default_rows,
            "capacity": self.scrollback_bytes,
        }

    def _name(self, fields: dict[str, Any], name: str | None) -> None:
        fields["name"] = names.next_free(self.terminals) if name is None else name
        fields["env"]["PTH_SESSION"] = fields["name"]

    def _count_one_more(self) -> None:
        running = len(self.terminals) + self._creating
        if running >= self.max_sessions:
            raise SessionError(
                429,
                f"This workspace runs {running} sessions; its limit is {self.max_sessions}.",
                "End a session that you no longer need, then try again.",
            )

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


def _stock_arguments(kwargs: dict[str, Any]) -> dict[str, Any]:
    argv = kwargs.get("shell_command")
    return {
        "name": kwargs.get("name") or None,
        "cwd": kwargs.get("cwd"),
        "env": kwargs.get("extra_env"),
        "argv": argv if isinstance(argv, list) else None,
    }
