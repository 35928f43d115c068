"""A keeper with a real Jupyter server as its child, a relay that cuts before it, and tmux as a person."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import secrets
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest_asyncio

from tests.integration.keeper_fixtures import ROOT, KeeperProcess, until

ATTACH = f"{sys.executable} -c 'from persistent_terminal_hub.cli import main; main()' attach"
BASE = "/user/a%40b/lab/"


class Relay:
    """TCP to the server, until it is cut; in the test's own loop."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._ends: set[asyncio.StreamWriter] = set()
        self._up = True
        self.connections = 0
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        try:
            if not self._up:
                return
            far_reader, far = await asyncio.open_connection("127.0.0.1", self._to)
            self.connections += 1
            ends.add(far)
            self._ends |= ends
            copies = [asyncio.create_task(self._copy(*way)) for way in ((reader, far), (far_reader, writer))]
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            for copy in copies:
                copy.cancel()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._ends -= ends
            for end in ends:
                end.transport.abort()

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()

    def cut(self) -> None:
        """Drop every connection; new ones are fine."""
        for end in list(self._ends):
            end.transport.abort()

    def down(self) -> None:
        """Drop every connection and refuse new ones."""
        self._up = False
        self.cut()

    def up(self) -> None:
        """Let new ones through."""
        self._up = True

    def stop(self) -> None:
        self.down()
        self._server.close()


class Stack:
    """The processes of a workspace, and the relay."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = secrets.token_hex(16)
        self.keeper = KeeperProcess(folder)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._port = int(listener.getsockname()[1])
        extensions = {"jupyter_server_terminals": True, "persistent_terminal_hub.server": True}
        command = [
            sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser",
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={self._port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}",
            f"--ServerApp.base_url={BASE}", f"--ServerApp.jpserver_extensions={extensions!r}",
            "--Application.log_level=WARN",
        ]  # fmt: skip
        home = str(folder)
        env = {
            "JUPYTER_NO_CONFIG": "1", "JUPYTER_CONFIG_DIR": home, "JUPYTER_RUNTIME_DIR": home,
            "JUPYTER_DATA_DIR": home, "JUPYTER_TOKEN": self.token, "HOME": home, "SHELL": "/bin/bash",
        }  # fmt: skip
        (folder / ".bash_profile").write_text("PS1='$ '\n")
        self.keeper.start(*command, env=env)
        self._blocking = self.keeper.connect()
        self.wait_for_server()
        self.relay = Relay(self._port)

    @property
    def url(self) -> str:
        """The workspace behind the relay."""
        return f"http://127.0.0.1:{self.relay.port}{BASE}"

    @property
    def direct_url(self) -> str:
        """The workspace itself."""
        return f"http://127.0.0.1:{self._port}{BASE}"

    def metric(self, name: str) -> float:
        """One figure of the server's /metrics."""
        line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        with contextlib.closing(line):
            line.request("GET", f"{BASE}metrics", headers={"Authorization": f"token {self.token}"})
            text = line.getresponse().read().decode()
        return sum(float(row.split()[-1]) for row in text.splitlines() if row.startswith(f"{name} "))

    def wait_for_server(self) -> None:
        def answers() -> bool:
            line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
            with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(line):
                line.request("GET", f"{BASE}api/status", headers={"Authorization": f"token {self.token}"})
                return line.getresponse().status == 200
            return False

        until(answers, 30)

    def kill_server(self) -> None:
        """SIGKILL of the Jupyter server; the keeper starts another."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(self._blocking.call("stats").header["server_pid"]), signal.SIGKILL)

    @property
    def attach_env(self) -> dict[str, str]:
        """What `attach` needs to find it."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("PTH_", "TMUX"))}
        return {
            **clean, "PYTHONPATH": str(ROOT), "HOME": str(self.folder), "PTH_SERVER_URL": self.url,
            "PTH_TOKEN": self.token,
        }  # fmt: skip

    def stop(self) -> None:
        self.keeper.stop()


class Person:
    """Types into a terminal emulator (tmux) and looks at its screen."""

    def __init__(self, env: dict[str, str]) -> None:
        self._socket = f"pth-{secrets.token_hex(4)}"
        self._env = {**env, "PS1": "outer> "}

    async def tmux(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            "tmux", "-L", self._socket, "-f", "/dev/null", *arguments,
            env=self._env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await process.communicate()
        return out.decode()

    async def open(self, rows: int = 24, cols: int = 80) -> None:
        shell = f"PS1='outer> ' {shutil.which('bash')} --norc --noprofile"
        await self.tmux("new-session", "-d", "-x", str(cols), "-y", str(rows), shell)
        await self.tmux("set-option", "-g", "history-limit", "20000")
        await self.sees("outer>")

    async def type(self, text: str, *keys: str) -> None:
        if text:
            await self.tmux("send-keys", "-l", text)
        if keys:
            await self.tmux("send-keys", *keys)

    async def screen(self) -> str:
        return await self.tmux("capture-pane", "-p")

    async def history(self) -> str:
        return await self.tmux("capture-pane", "-p", "-S", "-")

    async def sees(self, what: str | Callable[[str], bool], seconds: float = 12) -> str:
        end = time.monotonic() + seconds
        while True:
            screen = await self.screen()
            if what(screen) if callable(what) else what in screen:
                return screen
            assert time.monotonic() < end, f"{what!r} is not on the screen:\n{screen}"
            await asyncio.sleep(0.1)

    async def close(self) -> None:
        await self.tmux("kill-server")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: object) -> AsyncIterator[Stack]:
    """One workspace for a file of tests."""
    made = Stack(tmp_path_factory.mktemp("ws"))  # type: ignore[attr-defined]
    try:
        await made.relay.start()
        yield made
        made.relay.stop()
    finally:
        made.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def person(stack: Stack) -> AsyncIterator[Person]:
    """Somebody at a terminal of 24 by 80."""
    made = Person(stack.attach_env)
    await made.open()
    yield made
    await made.close()
