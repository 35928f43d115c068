"""The embedded backend: a workspace is a group of local processes of the hub's own user.

For machines without a Docker Engine. There is no isolation between workspaces, and the hub says so on
its console and on every page. What it shares with containers: a workspace outlives the hub, a restarted
hub adopts it, and stopping it ends everything that runs in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner
from jupyterhub.utils import random_port
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.web import HTTPError
from traitlets import Float, Instance, Integer, Unicode

from persistent_terminal_hub.hub import failures, proc
from persistent_terminal_hub.hub.listening import until_listening
from persistent_terminal_hub.hub.logs_api import tail_of_file
from persistent_terminal_hub.hub.request_records import RecordedSpawns
from persistent_terminal_hub.hub.stop_grace import keeper_grace
from persistent_terminal_hub.hub.workspace_rules import rules_environment
from persistent_terminal_hub.settings import Settings

#: A unix socket's path may have 107 bytes; this leaves room for the longest name below the directory.
RUNTIME_DIR_LIMIT = 80

#: A workspace's log is moved aside when it has grown beyond this at a start.
LOG_LIMIT_BYTES = 4 * 1024 * 1024


def workspace_key(user: str, server_name: str) -> str:
    """A short name, different for every pair, safe in a path: what people read plus a hash that decides."""
    readable = re.sub(r"[^a-z0-9]+", "-", f"{user}-{server_name or 'default'}".lower()).strip("-")[:24]
    digest = hashlib.sha256(f"{user}\0{server_name}".encode()).hexdigest()[:12]
    return f"{readable}-{digest}"


def runtime_dir(data_run: Path, hub_id: str, key: str) -> Path:
    """Where a workspace keeps its sockets: below the data directory unless that path is too long."""
    short = key.rsplit("-", 1)[-1]
    path = data_run / short
    if len(os.fsencode(path)) <= RUNTIME_DIR_LIMIT:
        return path
    base = Path(f"/run/user/{os.getuid()}")
    if not (base.is_dir() and base.stat().st_uid == os.getuid()):
        base = Path("/tmp")  # noqa: S108  (made 0700 and checked to be ours below)
    return base / f"pth-{os.getuid()}-{hub_id}" / short


def make_private(path: Path) -> None:
    """Create a directory that only we may enter; refuse one that somebody else prepared."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for directory in (path, path.parent):
        found = directory.lstat()
        if found.st_uid != os.getuid() or not directory.is_dir() or directory.is_symlink():
            raise RuntimeError(
                f"{directory} belongs to another user: remove it, then start the workspace again."
            )
        if directory is path:
            directory.chmod(0o700)


class PersistentProcessSpawner(RecordedSpawns, LocalProcessSpawner):
    """Starts a workspace as a process group of its own, finds it again after a restart of the hub."""

    data_dir = Unicode(help="The hub's data directory (absolute).").tag(config=True)
    hub_id = Unicode(help="Which hub this is.").tag(config=True)
    settings = Instance(Settings, (), help="The settings of the hub.").tag(config=True)
    stop_timeout = Integer(10, help="Seconds between TERM and KILL at a stop.").tag(config=True)

    listen_seconds = Float(
        20.0, help="How long a new server is asked at short intervals whether it listens."
    ).tag(config=True)

    # Declared by the parents, untyped.
    pid: int
    port: int

    #: Start time of `pid` in clock ticks since boot: the same number with another start is another process.
    started_at = Integer(0)
    boot_id = Unicode("")

    _adopted = False

    @property
    def key(self) -> str:
        """This workspace's short name."""
        return workspace_key(self.user.name, self.name)

    @property
    def workspace_path(self) -> Path:
        """Home and working directory of the workspace."""
        return Path(self.data_dir) / "workspaces" / self.key

    @property
    def runtime_path(self) -> Path:
        """Sockets of the workspace (PTH_RUNTIME_DIR)."""
        return runtime_dir(Path(self.data_dir) / "run", self.hub_id, self.key)

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """Called by `get_env`: what a login would set."""
        env["USER"] = env["LOGNAME"] = self.user.name
        env["HOME"] = str(self.workspace_path)
        env["SHELL"] = os.environ.get("SHELL") or "/bin/bash"
        env["PTH_RUNTIME_DIR"] = str(self.runtime_path)
        env["PTH_STATE_DIR"] = str(self.workspace_path / ".persistent-terminal-hub")
        env["PTH_HUB_ID"] = self.hub_id
        env["PTH_WORKSPACE_ID"] = f"{self.user.name}/{self.name}"
        # Every process of the workspace inherits this mark; a stop looks for it.
        env["PTH_WORKSPACE_KEY"] = f"{self.hub_id}/{self.key}"
        return env

    def get_env(self) -> dict[str, str]:
        """The environment of the keeper and the server."""
        env: dict[str, str] = super().get_env()
        return env | rules_environment(self.settings, self)

    def move_certs(self, paths: dict[str, str]) -> dict[str, str]:
        """The workspace runs as our own user: the certificates are readable where they are."""
        return paths

    def get_state(self) -> dict[str, Any]:
        """What the hub's database keeps, to find the process again."""
        state: dict[str, Any] = super().get_state()
        if self.pid:
            state["started_at"] = self.started_at
            state["boot_id"] = self.boot_id
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Called at hub start, before the first poll."""
        super().load_state(state)
        self.started_at = state.get("started_at", 0)
        self.boot_id = state.get("boot_id", "")
        self._adopted = bool(self.pid)

    def clear_state(self) -> None:
        """Called when the workspace has stopped."""
        super().clear_state()
        self.started_at = 0
        self.boot_id = ""
        self._adopted = False

    def get_args(self) -> list[str]:
        """Called at a start: what follows the command."""
        args: list[str] = super().get_args()
        # The server refuses root unless told; whoever serves as root was warned by `serve`.
        return [*args, "--allow-root"] if os.geteuid() == 0 else args

    async def start(self) -> tuple[str, int]:
        """Start the workspace's first process; returns where its server will listen."""
        if self.orm_spawner.user_options:
            # JupyterHub has recorded them already, and would repeat them at every later start.
            self.orm_spawner.user_options = {}
            self.user.db.commit()
            raise failures.options_refused(
                "Workspaces of this hub are plain processes; nothing can be chosen."
            )
        self._adopted = False
        self.port = self.port or random_port()
        self.workspace_path.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_private(self.runtime_path)
        log_path = self._rotated_log()
        self.log.info("Starting workspace %s (log: %s)", self._log_name, log_path)
        # Not the hub's own output: a pipe to a supervisor that dies would take the workspace with it.
        with log_path.open("ab") as log_file:
            # Not asyncio's: its transport kills a running child when the loop ends, that is, with the hub.
            self.proc = subprocess.Popen(  # noqa: ASYNC220
                [*self.cmd, *self.get_args()],
                env=self.get_env(),
                cwd=self.workspace_path,
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                start_new_session=True,
            )
        self.pid = self.proc.pid
        self.started_at = proc.started_at(self.pid)
        self.boot_id = proc.boot_id()
        await until_listening("127.0.0.1", self.port, self.listen_seconds, self._alive)
        return ("127.0.0.1", self.port)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Called by the page that waits."""
        yield {"progress": 20, "message": "Starting your workspace…"}
        while not self.pid:  # noqa: ASYNC110  (JupyterHub ends this when the start has ended)
            await asyncio.sleep(0.2)
        yield {"progress": 60, "message": "Waiting for JupyterLab to answer…"}

    def _rotated_log(self) -> Path:
        log_path = Path(self.data_dir) / "logs" / f"workspace-{self.key}.log"
        log_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if log_path.stat().st_size > LOG_LIMIT_BYTES:
                log_path.replace(log_path.with_suffix(".log.1"))
        return log_path

    def _alive(self) -> bool:
        if not self.pid:
            return False
        if self.proc is not None and self.proc.pid == self.pid and self.proc.poll() is not None:
            return False  # poll() also took the zombie away
        if self.boot_id and self.boot_id != proc.boot_id():
            return False
        return proc.is_alive(self.pid, self.started_at)

    async def poll(self) -> int | None:
        """None while the workspace's first process lives."""
        if not self._alive():
            self.clear_state()
            return 0
        if self._adopted and self._check_pending:
            # At its start the hub stops every server that does not answer within http_timeout. A server
            # that is slow, or just being restarted by the keeper, must not cost its terminals: wait here.
            while self._alive() and not await self._answers():  # noqa: ASYNC110  (other processes)
                await asyncio.sleep(1)
            if not self._alive():
                self.clear_state()
                return 0
        self._adopted = False
        return None

    async def _answers(self) -> bool:
        if not self.server:
            return True
        try:
            await AsyncHTTPClient().fetch(
                f"http://127.0.0.1:{self.server.port}{self.server.base_url}api", request_timeout=5
            )
        except HTTPClientError as error:
            return error.code < 500
        except OSError:
            return False
        return True

    async def stop(self, now: bool = False) -> None:
        """TERM to the group, then, after the grace, KILL to everything that carries the workspace's mark."""
        if self._alive():
            group = self.pid
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)
            deadline = asyncio.get_running_loop().time() + (1 if now else self.stop_timeout)
            while self._alive() and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        # Jobs of the terminals have sessions of their own, out of the group's reach.
        mark = f"PTH_WORKSPACE_KEY={self.hub_id}/{self.key}"
        calm = 0
        for _ in range(30):
            leftover = await asyncio.to_thread(proc.with_environment, mark)
            # Looked for twice: one that was just being started shows its mark a moment later.
            calm = 0 if leftover else calm + 1
            if calm == 2:
                break
            for pid in leftover:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.1)
        self.clear_state()

    async def log_tail(self, _lines: int) -> str:
        """The end of what the workspace's own programs printed."""
        return await tail_of_file(Path(self.data_dir) / "logs" / f"workspace-{self.key}.log")

    async def rename(self, old_name: str, new_name: str) -> None:
        """Refused: the files are in a directory that is called after the workspace."""
        raise HTTPError(
            409,
            "A workspace keeps its name, because its files are stored under it. "
            "Change its display name instead.",
        )

    async def delete_forever(self) -> None:
        """Remove the workspace with its files, or somebody who is later given the name would find them."""
        await asyncio.to_thread(self._remove_files)

    def _remove_files(self) -> None:
        for path in (self.workspace_path, self.runtime_path):
            shutil.rmtree(path, ignore_errors=not path.exists())
        for log_path in (Path(self.data_dir) / "logs").glob(f"workspace-{self.key}.log*"):
            log_path.unlink(missing_ok=True)


def default_command(stop_timeout_seconds: int) -> list[str]:
    """The contract's command of a workspace: the keeper, with the Jupyter server as its child."""
    keeper = [sys.executable, "-m", "persistent_terminal_hub.keeper"]
    grace = ["--grace", str(keeper_grace(stop_timeout_seconds))]
    return [*keeper, *grace, "--", sys.executable, "-m", "persistent_terminal_hub.server.singleuser"]
