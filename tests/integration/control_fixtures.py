"""A whole installation with the control service, and people who use its API."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.stack import Stack, free_ports, wait_for

ENDED = ("done", "failed", "cancelled")


class Person:
    """Somebody with a token."""

    def __init__(self, stack: Stack, name: str, password: str | None = None) -> None:
        self.stack = stack
        self.name = name
        self.browser = stack.login(name, password) if password else stack.login(name)
        self.token = stack.token(self.browser, name)

    def call(self, method: str, path: str, body: Any = None) -> requests.Response:
        """A request to any address of the installation."""
        headers = {"Authorization": f"token {self.token}"}
        return requests.request(method, self.stack.url + path, headers=headers, json=body, timeout=30)

    def ask(self, method: str, path: str, body: Any = None, **kwargs: Any) -> requests.Response:
        """A request to the API; `path` is below api/."""
        headers = {"Authorization": f"token {self.token}", **kwargs.pop("headers", {})}
        url = f"{self.stack.url}/services/terminals/api/{path}"
        return requests.request(method, url, headers=headers, json=body, timeout=60, **kwargs)

    def get(self, path: str) -> Any:
        """The JSON of what is there."""
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def operation(self, answer: requests.Response, seconds: float = 90) -> dict[str, Any]:
        """How the operation of a 202 ended."""
        assert answer.status_code == 202, answer.text
        return self.wait(answer.json()["operation"]["id"], seconds)

    def wait(self, identity: str, seconds: float = 90) -> dict[str, Any]:
        """How an operation ended."""

        def ended() -> dict[str, Any] | None:
            answer = self.ask("GET", f"operations/{identity}")
            return answer.json() if answer.ok and answer.json()["state"] in ENDED else None

        return dict(wait_for(ended, seconds, f"operation {identity} ends"))

    def create(self, name: str, **fields: Any) -> dict[str, Any]:
        """A workspace that was created; its model."""
        done = self.operation(self.ask("POST", "workspaces", {"name": name, **fields}))
        assert done["state"] == "done", done
        return dict(self.get(f"workspaces/{done['workspaceId']}"))

    # -- in a workspace, without the service
    def inside(self, method: str, path: str, body: Any = None, workspace: str = "") -> requests.Response:
        """A request to the extension of one's own workspace."""
        where = f"/user/{self.name}/{workspace}/" if workspace else f"/user/{self.name}/"
        return self.call(method, f"{where}persistent-terminals/api/{path}", body)

    def session(self, command: str, workspace: str = "") -> str:
        """Run a command in a new session and return the session's id."""
        answer = self.inside("POST", "sessions", {"argv": ["bash", "-c", command]}, workspace)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def printed(self, command: str, out: Path) -> str:
        """What a command in a new session of a local process writes to its standard output."""
        out.unlink(missing_ok=True)
        self.session(f"({command}) > {out}.tmp 2>&1; mv {out}.tmp {out}")
        wait_for(out.exists, 10, f"the session ran {command}")
        return out.read_text()

    def put_secret(self, name: str, value: str, query: str = "", **more: str) -> requests.Response:
        """Set a secret."""
        return self.ask("PUT", f"secrets/{name}{query}", {"value": value, **more})

    def wait_for_secrets(self, names: list[str], workspace: str = "") -> None:
        """Until a workspace has them."""
        wait_for(
            lambda: self.inside("GET", "secrets", None, workspace).json().get("names") == names,
            20, f"{names} arrived",
        )  # fmt: skip

    def restart(self) -> None:
        """Stop the default workspace and start it."""
        self.stack.api(self.browser, "DELETE", f"/users/{self.name}/server")
        wait_for(
            lambda: not self.stack.api(self.browser, "GET", f"/users/{self.name}").json()["servers"],
            60, "the workspace stopped",
        )  # fmt: skip
        self.stack.start_workspace(self.browser, self.name)

    def status(self, key: str) -> str:
        """Of a workspace; "gone" when there is none."""
        answer = self.ask("GET", f"workspaces/{key}")
        return str(answer.json()["status"]) if answer.ok else "gone"


def answers(stack: Stack) -> bool:
    """Whether the control service is there."""
    return requests.get(f"{stack.url}/services/terminals/api/me", timeout=5).status_code == 401


def kill_control(stack: Stack) -> None:
    """kill -9 of the service; its supervisor starts another."""
    with contextlib.suppress(ProcessLookupError, AssertionError):
        os.kill(stack.pid_of("persistent_terminal_hub.control"), signal.SIGKILL)


@contextlib.contextmanager
def installation(
    folder: Path,
    users: tuple[str, ...],
    settings: Mapping[str, Mapping[str, Any]],
    backend: str = "process",
    **options: Any,
) -> Iterator[Stack]:
    """One that answers, with accounts; everything of it is gone at the end. `options` are `Stack`'s."""
    stack = Stack(folder, backend=backend, settings={"culler": {"enabled": False}, **settings}, **options)
    try:
        stack.start()
        for name in users:
            stack.add_user(name)
        wait_for(lambda: answers(stack), 30, "the service answers")
        yield stack
    finally:
        stack.stop()
        stack.remove_everything()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings: dict[str, dict[str, Any]] = {
        "control": {"operators": ["olga"]},
        "workspace": {"maxPerUser": 4},
        "audit": {"headMinutes": 1},
    }
    with installation(tmp_path_factory.mktemp("control"), ("alice", "bob", "olga"), settings) as stack:
        yield stack


@pytest.fixture(scope="module")
def alice(stack: Stack) -> Person:
    return Person(stack, "alice")


@pytest.fixture(scope="module")
def bob(stack: Stack) -> Person:
    return Person(stack, "bob")


@pytest.fixture(scope="module")
def olga(stack: Stack) -> Person:
    return Person(stack, "olga")


@pytest.fixture(scope="module")
def admin(stack: Stack) -> Person:
    return Person(stack, "admin", stack.admin_password)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A git:// URL of a repository with two files."""
    base = tmp_path_factory.mktemp("git")
    work, port = base / "work", free_ports(1)[0]
    work.mkdir()
    (work / "README").write_text("read me\n")
    (work / "package.json").write_text("{}")

    def git(*args: str, cwd: Path = work) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
        subprocess.run(["git", *identity, *args], cwd=cwd, check=True, capture_output=True)

    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    git("clone", "--bare", str(work), str(base / "repo.git"), cwd=base)
    daemon = subprocess.Popen(
        ["git", "daemon", "--reuseaddr", "--export-all", "--listen=127.0.0.1", f"--port={port}",
         f"--base-path={base}", str(base)], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"git://127.0.0.1:{port}/repo.git"
    finally:
        daemon.terminate()
        daemon.wait()
