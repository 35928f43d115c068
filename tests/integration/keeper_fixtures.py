"""A keeper as a real process, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from persistent_terminal_hub.keeper.blocking_client import BlockingClient
from persistent_terminal_hub.keeper.subscription import Subscription

ROOT = Path(__file__).resolve().parents[2]


def until(check: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


class KeeperProcess:
    """A keeper and connections to it."""

    def __init__(self, directory: Path) -> None:
        self.runtime = directory / "run"
        self.runtime.mkdir(mode=0o700, exist_ok=True)
        self.state = directory / "state"
        self.socket = self.runtime / "keeper.sock"
        self.log_path = directory / "keeper.log"
        self.popen: subprocess.Popen[bytes] | None = None
        self._clients: list[BlockingClient] = []

    @property
    def pid(self) -> int:
        assert self.popen is not None
        return self.popen.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def start(self, *server: str, grace: float = 1.0, env: dict[str, str] | None = None) -> None:
        full = {
            **os.environ,
            "PTH_RUNTIME_DIR": str(self.runtime),
            "PTH_STATE_DIR": str(self.state),
            "PYTHONPATH": str(ROOT),
            **(env or {}),
        }
        command = [sys.executable, "-m", "persistent_terminal_hub.keeper", "--grace", str(grace), "--"]
        with self.log_path.open("ab") as log:
            self.popen = subprocess.Popen([*command, *(server or ("sleep", "1000"))], env=full, stderr=log)
        until(self._listens)

    def _listens(self) -> bool:
        # The file is there a moment before anybody listens.
        try:
            BlockingClient(self.socket).close()
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def connect(self) -> BlockingClient:
        client = BlockingClient(self.socket)
        self._clients.append(client)
        return client

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        if self.popen is not None and self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(10)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[KeeperProcess]:
    """A running keeper whose server is `sleep`."""
    process = KeeperProcess(tmp_path)
    process.start()
    yield process
    process.stop()


def create(client: BlockingClient, *argv: str, **fields: Any) -> str:
    """Start a session; its id."""
    identity: str = client.call("create", argv=list(argv), **fields).header["session"]["id"]
    return identity


class Screen:
    """Collects a session's output from the start."""

    def __init__(self, client: BlockingClient, session: str) -> None:
        self.subscription: Subscription = client.subscribe(session)
        self.data = b""

    def take(self) -> bytes:
        """Everything so far."""
        while chunk := self.subscription.reader.read(len(self.data)).data:
            self.data += chunk
        return self.data

    def until(self, what: bytes, seconds: float = 10.0) -> bytes:
        """Wait for some output."""
        end = time.monotonic() + seconds
        while what not in self.take():
            assert time.monotonic() < end, f"no {what!r} in {self.data[-300:]!r}"
            self.subscription.wait(0.5)
        return self.data

    def all(self, seconds: float = 10.0) -> bytes:
        """Everything, when the session has ended."""
        end = time.monotonic() + seconds
        while not self.subscription.reader.ended:
            assert time.monotonic() < end, "the session did not end"
            self.subscription.wait(0.5)
        return self.take()


class Typist:
    """A client that numbers its input."""

    def __init__(self, client: BlockingClient, session: str, name: str = "typist") -> None:
        self._client, self._session, self._name = client, session, name
        self.seq = 0

    def type(self, data: bytes) -> int:
        self.seq += 1
        answer = self._client.call("input", data, session=self._session, client=self._name, seq=self.seq)
        return int(answer.header["ack"])
