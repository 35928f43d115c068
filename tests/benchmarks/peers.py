"""The peers: how each is started, how a session is made, how a client attaches to one."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from . import procstat
from .codecs import COLS, ROWS, Codec, PthCodec, StockCodec, TtydCodec
from .terminal import PtyTerminal, Terminal, WebTerminal
from .work import BenchError, Work
from .wsclient import WebSocket

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def clean_environment(folder: Path) -> dict[str, str]:
    """The environment of every peer: a home of its own, nothing of a hub or of another Jupyter."""
    drop = ("JUPYTER", "JPY_", "PTH_", "TMUX", "XDG_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(drop)}
    env.update(HOME=str(folder), TERM="xterm-256color", LANG="C.UTF-8", PYTHONPATH=str(REPOSITORY))
    return env


class Peer(ABC):
    """One system under test. Started fresh for each group of metrics."""

    name: ClassVar[str]

    def __init__(self, work: Work) -> None:
        self.work = work
        self.folder = work.folder / work.fresh(self.name)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def loop_pid(self) -> int:
        """The process whose event loop serves the clients."""

    def pids(self) -> list[int]:
        """Its own processes."""
        return procstat.service_processes(self.loop_pid if self._process is None else self._process.pid)

    @abstractmethod
    def start(self, shell: Path) -> None:
        """Start it; every session will run `shell`."""

    @abstractmethod
    def new_session(self) -> str:
        """Start a session; its name."""

    @abstractmethod
    def end_session(self, session: str) -> None:
        """End it with all that runs in it."""

    @abstractmethod
    def attach(
        self,
        session: str,
        *,
        again: Terminal | None = None,
        relay: int | None = None,
        receive_buffer: int | None = None,
    ) -> Terminal:
        """Attach a client: as one that comes back, through a relay, with a small receive buffer."""

    def stop(self) -> None:
        """End it and all of its sessions."""
        process, self._process = self._process, None
        if process is None:
            return
        # The helpers by pid: some have left our process group, and outlive a parent that had to be killed.
        pids = [pid for pid in procstat.service_processes(process.pid) if pid != process.pid]
        commands = {pid: procstat.command_line(pid) for pid in pids}
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pid, command in commands.items():
            if command and procstat.command_line(pid) == command:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _run(self, argv: list[str], env: dict[str, str]) -> None:
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                argv, env=env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def _last_words(self) -> str:
        lines = (self.folder / "log").read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it printed nothing"


class JupyterPeer(Peer):
    """A Jupyter server on a port of its own."""

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.token = secrets.token_hex(16)
        self.address = ("127.0.0.1", 0)

    @property
    def headers(self) -> dict[str, str]:
        """What lets the client in."""
        return {"Authorization": f"token {self.token}"}

    @property
    def loop_pid(self) -> int:
        """The Jupyter server."""
        if self._process is None:
            raise BenchError("It does not run.")
        for pid in procstat.service_processes(self._process.pid):
            if "jupyter_server" in procstat.command_line(pid).partition(" -- ")[0]:
                return pid
        raise BenchError("Its Jupyter server is gone.")

    def server_command(
        self,
        extensions: dict[str, bool],
        shell: Path,
        *,
        ip: str = "127.0.0.1",
        python: str = sys.executable,
        root: str = "",
    ) -> list[str]:
        """A Jupyter server with exactly these extensions."""
        settings = {"shell_command": [str(shell)]}
        return [
            python, "-m", "jupyter_server", "--allow-root", "--no-browser", f"--ServerApp.ip={ip}",
            f"--ServerApp.port={self.address[1]}", "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={root or self.folder}", f"--IdentityProvider.token={self.token}",
            "--Application.log_level=ERROR", f"--ServerApp.jpserver_extensions={extensions!r}",
            f"--ServerApp.terminado_settings={settings!r}",
        ]  # fmt: skip

    def launch(self, argv: list[str], **env: str) -> None:
        """Start, and wait until the API answers."""
        self._run(argv, clean_environment(self.folder) | env | {
            "JUPYTER_NO_CONFIG": "1", "JUPYTER_CONFIG_DIR": str(self.folder),
            "JUPYTER_RUNTIME_DIR": str(self.folder), "JUPYTER_DATA_DIR": str(self.folder),
        })  # fmt: skip
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the API answers."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.api("GET", "/api/status", seconds=2)
                return
            except (OSError, http.client.HTTPException) as error:
                if self._process is not None and self._process.poll() is not None:
                    raise BenchError(f"It ended at once: {self._last_words()}") from None
                if time.monotonic() > deadline:
                    raise BenchError(f"It did not answer within {START_SECONDS:g} s: {error}") from None
                time.sleep(0.1)

    def api(self, method: str, path: str, body: object = None, seconds: float = 15.0) -> Any:
        """One request of the REST API; its JSON, if any."""
        connection = http.client.HTTPConnection(*self.address, timeout=seconds)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {**self.headers, "Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            told = content.decode(errors="replace") if content[:1] == b"{" else answer.reason
            raise BenchError(f"{method} {path}: {answer.status} {told[:300]}")
        return json.loads(content) if content else None

    def connect(self, path: str, codec: Codec, relay: int | None, receive_buffer: int | None) -> Terminal:
        """Attach by WebSocket."""
        address = ("127.0.0.1", relay) if relay else self.address
        socket_ = WebSocket(
            address, path, headers=self.headers, subprotocol=codec.subprotocol, receive_buffer=receive_buffer
        )
        return WebTerminal(socket_, codec)


class Stock(JupyterPeer):
    """jupyter_server with jupyter_server_terminals as it comes."""

    name = "stock"

    def start(self, shell: Path) -> None:
        """Start the server."""
        self.folder.mkdir()
        self.address = ("127.0.0.1", free_port())
        self.launch(self.server_command({"jupyter_server_terminals": True}, shell))

    def new_session(self) -> str:
        """`POST /api/terminals`."""
        return str(self.api("POST", "/api/terminals")["name"])

    def end_session(self, session: str) -> None:
        """`DELETE /api/terminals/NAME`."""
        self.api("DELETE", f"/api/terminals/{session}")

    def attach(
        self,
        session: str,
        *,
        again: Terminal | None = None,
        relay: int | None = None,
        receive_buffer: int | None = None,
    ) -> Terminal:
        """JupyterLab's own socket."""
        return self.connect(f"/terminals/websocket/{session}", StockCodec(), relay, receive_buffer)


class Ours(JupyterPeer):
    """The keeper, and under it a Jupyter server with our extension."""

    name = "ours"
    protocol: ClassVar[str] = "pth.v1"  # `stock`: JupyterLab's own socket, served by us

    def start(self, shell: Path) -> None:
        """Start the keeper, which starts the server."""
        self.folder.mkdir()
        runtime = self.folder / "run"
        runtime.mkdir(mode=0o700)
        self._shell = shell
        self.address = ("127.0.0.1", free_port())
        self.launch(
            [sys.executable, "-m", "persistent_terminal_hub.keeper", "--", *self.command(shell)],
            PTH_RUNTIME_DIR=str(runtime), PTH_MAX_SESSIONS="1000",
        )  # fmt: skip

    def command(self, shell: Path, **how: str) -> list[str]:
        """The server under the keeper."""
        extensions = {"jupyter_server_terminals": True, "persistent_terminal_hub.server": True}
        return self.server_command(extensions, shell, **how)

    def new_session(self) -> str:
        """`POST persistent-terminals/api/sessions`."""
        body = {"argv": [str(self._shell)], "rows": ROWS, "cols": COLS}
        session = self.api("POST", "/persistent-terminals/api/sessions", body)
        return str(session["id"] if self.protocol == "pth.v1" else session["name"])

    def end_session(self, session: str) -> None:
        """`DELETE persistent-terminals/api/sessions/ID`."""
        self.api("DELETE", f"/persistent-terminals/api/sessions/{session}")

    def attach(
        self,
        session: str,
        *,
        again: Terminal | None = None,
        relay: int | None = None,
        receive_buffer: int | None = None,
    ) -> Terminal:
        """`pth.v1`; a client that comes back says what it has."""
        if self.protocol != "pth.v1":
            return self.connect(f"/terminals/websocket/{session}", StockCodec(), relay, receive_buffer)
        codec = again.codec.again() if isinstance(again, WebTerminal) else PthCodec()
        return self.connect(f"/persistent-terminals/ws/sessions/{session}", codec, relay, receive_buffer)


class Ttyd(Peer):
    """ttyd: a program of its own for every connection, so a session is a connection."""

    name = "ttyd"

    @property
    def loop_pid(self) -> int:
        """ttyd is one process."""
        if self._process is None:
            raise BenchError("It does not run.")
        return self._process.pid

    def start(self, shell: Path) -> None:
        """Start it, and wait for its port."""
        program = shutil.which("ttyd")
        if program is None:
            raise BenchError("ttyd is not on PATH.")
        self.folder.mkdir()
        self.address = ("127.0.0.1", free_port())
        argv = [program, "-i", "127.0.0.1", "-p", str(self.address[1]), "-W", "-d", "1", str(shell)]
        self._run(argv, clean_environment(self.folder))
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(self.address, 1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self._process is None or self._process.poll() is not None:
                    raise BenchError(f"ttyd does not answer: {self._last_words()}") from None
                time.sleep(0.05)

    def new_session(self) -> str:
        """Nothing to do before a client comes."""
        return ""

    def end_session(self, session: str) -> None:
        """It ended with its connection."""

    def attach(
        self,
        session: str,
        *,
        again: Terminal | None = None,
        relay: int | None = None,
        receive_buffer: int | None = None,
    ) -> Terminal:
        """A new connection, a new shell."""
        address = ("127.0.0.1", relay) if relay else self.address
        codec = TtydCodec()
        socket_ = WebSocket(
            address, "/ws", headers={}, subprotocol=codec.subprotocol, receive_buffer=receive_buffer
        )
        return WebTerminal(socket_, codec)


class Tmux(Peer):
    """A tmux server of its own; a client is `tmux attach` on a PTY."""

    name = "tmux"
    RATE = 1_000_000  # what stands for the relay: the client's PTY is read this fast

    def start(self, shell: Path) -> None:
        """Start the server with one session that stays."""
        program = shutil.which("tmux")
        if program is None:
            raise BenchError("tmux is not on PATH.")
        self.folder.mkdir()
        self._env = clean_environment(self.folder)
        self._argv = [program, "-S", str(self.folder / "socket"), "-f", "/dev/null"]
        self._shell = shell
        self._tmux("new-session", "-d", "-s", "keep", "sleep 3600")
        self._tmux("set-option", "-g", "history-limit", "10000")
        self._pid = int(self._tmux("display-message", "-p", "#{pid}"))

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._argv, *arguments], env=self._env, capture_output=True, text=True, timeout=10, check=False
        )
        if done.returncode:
            raise BenchError(f"tmux {arguments[0]}: {done.stderr.strip()}")
        return done.stdout.strip()

    @property
    def loop_pid(self) -> int:
        """The server."""
        return self._pid

    def new_session(self) -> str:
        """`tmux new-session -d`."""
        name = self.work.fresh("s")
        self._tmux("new-session", "-d", "-s", name, "-x", str(COLS), "-y", str(ROWS), str(self._shell))
        return name

    def end_session(self, session: str) -> None:
        """`tmux kill-session`."""
        self._tmux("kill-session", "-t", session)

    def attach(
        self,
        session: str,
        *,
        again: Terminal | None = None,
        relay: int | None = None,
        receive_buffer: int | None = None,
    ) -> Terminal:
        """`tmux attach`; there is no TCP, so a relay means a PTY that is read slowly."""
        return PtyTerminal(
            [*self._argv, "attach-session", "-t", session], self._env, rate=self.RATE if relay else None
        )

    def stop(self) -> None:
        """`tmux kill-server`."""
        if hasattr(self, "_argv"):
            with contextlib.suppress(BenchError, subprocess.TimeoutExpired):
                self._tmux("kill-server")


class Kernel(Peer):
    """No peer but the yardstick: a C program reads the PTY. It can only be run, not attached to."""

    name = "kernel"

    @property
    def loop_pid(self) -> int:
        """Nobody's."""
        raise BenchError("The bare PTY has no server.")

    def start(self, shell: Path) -> None:
        """Nothing runs."""
        self._shell = shell

    def run(self, mode: str, *arguments: str) -> list[float]:
        """One run of creader; the numbers that it prints."""
        done = subprocess.run(
            [str(self.work.tool), mode, str(self._shell), *arguments],
            env=clean_environment(self.work.folder), capture_output=True, text=True, timeout=70, check=False,
        )  # fmt: skip
        if done.returncode:
            raise BenchError(done.stderr.strip() or f"creader ended with {done.returncode}")
        return [float(line) for line in done.stdout.split()]

    def new_session(self) -> str:
        """It has none."""
        raise BenchError("The bare PTY has no sessions to attach to.")

    def end_session(self, session: str) -> None:
        """It has none."""

    def attach(
        self,
        session: str,
        *,
        again: Terminal | None = None,
        relay: int | None = None,
        receive_buffer: int | None = None,
    ) -> Terminal:
        """Nothing to attach to."""
        raise BenchError("The bare PTY has no sessions to attach to.")


PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in (Ours, Stock, Kernel, Ttyd, Tmux)}
