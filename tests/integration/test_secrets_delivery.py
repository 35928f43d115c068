"""Secrets from the API to a session, through the real proxy, hub, service and workspace."""

from __future__ import annotations

import base64
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.stack import Stack, wait_for

API = "/services/terminals/api/secrets"
VALUE = "s3cr3t-value-that-is-nowhere-else"


class Person:
    """A user with a token and a workspace."""

    def __init__(self, stack: Stack, name: str, password: str | None = None) -> None:
        self.stack, self.name = stack, name
        self.browser = stack.login(name, password) if password else stack.login(name)
        self.token = stack.token(self.browser, name)

    def call(self, method: str, path: str, body: Any = None) -> requests.Response:
        headers = {"Authorization": f"token {self.token}"}
        return requests.request(method, self.stack.url + path, headers=headers, json=body, timeout=30)

    def put(self, name: str, value: str, query: str = "", **more: str) -> requests.Response:
        return self.call("PUT", f"{API}/{name}{query}", {"value": value, **more})

    def session(self, command: str) -> str:
        """Run a command in a new session and return the session's id."""
        path = f"/user/{self.name}/persistent-terminals/api/sessions"
        answer = self.call("POST", path, {"argv": ["bash", "-c", command]})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def printed(self, command: str, out: Path) -> str:
        """What a command in a new session writes to its standard output."""
        out.unlink(missing_ok=True)
        self.session(f"({command}) > {out}.tmp 2>&1; mv {out}.tmp {out}")
        wait_for(out.exists, 10, f"the session ran {command}")
        return out.read_text()

    def wait_for_version(self, names: list[str]) -> None:
        path = f"/user/{self.name}/persistent-terminals/api/secrets"
        wait_for(lambda: self.call("GET", path).json().get("names") == names, 20, f"{names} arrived")

    def restart(self) -> None:
        self.stack.api(self.browser, "DELETE", f"/users/{self.name}/server")
        wait_for(
            lambda: not self.stack.api(self.browser, "GET", f"/users/{self.name}").json()["servers"],
            30, "the workspace stopped",
        )  # fmt: skip
        self.stack.start_workspace(self.browser, self.name)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings: dict[str, dict[str, Any]] = {"culler": {"enabled": False}, "control": {"operators": ["olga"]}}
    stack = Stack(tmp_path_factory.mktemp("secrets"), backend="process", settings=settings)
    try:
        stack.start()
        for user in ("alice", "olga"):
            stack.add_user(user)
        wait_for(lambda: requests.get(stack.url + API, timeout=5).status_code == 401, 30, "it answers")
        yield stack
    finally:
        stack.stop()
        stack.remove_everything()


@pytest.fixture(scope="module")
def alice(stack: Stack) -> Person:
    alice = Person(stack, "alice")
    stack.start_workspace(alice.browser, "alice")
    return alice


def everything_but_sessions(stack: Stack, out: Path) -> Iterator[tuple[str, bytes]]:
    """What must not hold a value: files of the installation, and processes that are no session's."""
    for path in stack.folder.rglob("*"):
        # The runtime directory is where the secrets are meant to be.
        if path.is_file() and "run" not in path.relative_to(stack.folder).parts and path != out:
            yield str(path), path.read_bytes()
    mark = str(stack.data).encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environ, line = (process / "environ").read_bytes(), (process / "cmdline").read_bytes()
        except OSError:
            continue
        if mark in environ and b"PTH_SESSION_ID=" not in environ:
            yield f"{process} {line!r}", environ + line


def test_from_the_api_to_a_new_session_only(stack: Stack, alice: Person, tmp_path: Path) -> None:
    out = tmp_path / "out"
    old = tmp_path / "old"
    alice.session(f"while [ ! -e {tmp_path}/go ]; do sleep 0.1; done; env > {old}.tmp; mv {old}.tmp {old}")
    assert alice.put("API_TOKEN", VALUE).status_code == 201
    assert alice.put("key.pem", base64.b64encode(b"\0" + VALUE.encode()).decode(), encoding="base64").ok
    alice.wait_for_version(["API_TOKEN", "key.pem"])

    command = (
        "echo $API_TOKEN; cat $PTH_SECRETS_DIR/API_TOKEN; echo; cat $PTH_SECRETS_DIR/key.pem | base64 -w0"
    )
    shown = alice.printed(f"{command}; echo; stat -c %a $PTH_SECRETS_DIR $PTH_SECRETS_DIR/key.pem", out)
    assert shown.split() == [VALUE, VALUE, base64.b64encode(b"\0" + VALUE.encode()).decode(), "700", "600"]

    (tmp_path / "go").touch()
    wait_for(old.exists, 10, "the old session ended")
    assert VALUE not in old.read_text() and "PTH_SECRETS_DIR" not in old.read_text()

    # Another value: files of a session that runs stay as they were.
    late = tmp_path / "late"
    alice.session(
        f"while [ ! -e {tmp_path}/go2 ]; do sleep 0.1; done; cat $PTH_SECRETS_DIR/API_TOKEN > {late}.tmp; "
        f"mv {late}.tmp {late}"
    )
    assert alice.put("API_TOKEN", "another").status_code == 204
    wait_for(lambda: alice.printed("echo $API_TOKEN", out).strip() == "another", 20, "the change arrived")
    (tmp_path / "go2").touch()
    wait_for(late.exists, 10, "the session ended")
    assert late.read_text() == VALUE

    listed = alice.call("GET", API)
    assert [entry["name"] for entry in listed.json()["secrets"]] == ["API_TOKEN", "key.pem"]
    assert all(entry["problem"] is None for entry in listed.json()["secrets"])
    assert alice.put("API_TOKEN", VALUE).status_code == 204
    alice.wait_for_version(["API_TOKEN", "key.pem"])
    wait_for(lambda: alice.printed("echo $API_TOKEN", out).strip() == VALUE, 20, "the value arrived")
    assert VALUE not in listed.text + alice.call("GET", API).text
    for where, content in everything_but_sessions(stack, out):
        for form in (VALUE.encode(), base64.b64encode(VALUE.encode())[:-4]):
            assert form not in content, where


def test_for_one_workspace_wins_and_goes(alice: Person, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert alice.put("BOTH", "all").status_code == 201
    assert alice.put("BOTH", "one", "?workspace=alice~").status_code == 201
    assert alice.put("BOTH", "other", "?workspace=gpu").status_code == 201
    wait_for(lambda: alice.printed("echo $BOTH", out).strip() == "one", 20, "the one for it wins")
    assert alice.call("DELETE", f"{API}/BOTH?workspace=alice~").status_code == 204
    wait_for(lambda: alice.printed("echo $BOTH", out).strip() == "all", 20, "the one for all is left")
    assert alice.call("DELETE", f"{API}/BOTH?workspace=alice~").status_code == 404
    found = alice.call("GET", f"{API}?workspace=gpu").json()["secrets"]
    assert [(entry["name"], entry["workspace"]) for entry in found] == [("BOTH", "alice~gpu")]


def test_a_restart_and_a_killed_service(stack: Stack, alice: Person, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert alice.put("KEPT", "first").ok
    old = stack.pid_of("persistent_terminal_hub.control")
    os.kill(old, signal.SIGKILL)
    alice.restart()
    wait_for(lambda: stack.pid_of("persistent_terminal_hub.control") != old, 20, "the service is back")
    wait_for(lambda: alice.printed("echo $KEPT", out).strip() == "first", 30, "it came again")
    # Killed between the change and its delivery, or not: it arrives.
    assert wait_for(lambda: alice.put("KEPT", "second"), 20, "the service answers").ok
    os.kill(stack.pid_of("persistent_terminal_hub.control"), signal.SIGKILL)
    wait_for(lambda: alice.printed("echo $KEPT", out).strip() == "second", 40, "the change arrived")
    wait_for(lambda: alice.call("GET", API).status_code == 200, 20, "the service is back")


def test_nobody_else(stack: Stack, alice: Person) -> None:
    olga, admin = Person(stack, "olga"), Person(stack, "admin", stack.admin_password)
    for other in (olga, admin):
        assert other.call("GET", API).json() == {"secrets": []}
        assert other.call("GET", f"{API}?workspace=alice~").status_code == 404
        assert other.put("X", "x", "?workspace=alice~").status_code == 404
        assert other.call("DELETE", f"{API}/KEPT?workspace=alice~").status_code == 404
    assert olga.call("GET", "/user/alice/persistent-terminals/api/secrets").status_code in (403, 404)
    body = {"scopes": ["read:users!user=alice", "access:services!service=terminals"]}
    weak = stack.api(alice.browser, "POST", "/users/alice/tokens", json=body).json()["token"]
    answer = requests.get(stack.url + API, headers={"Authorization": f"token {weak}"}, timeout=10)
    assert answer.status_code == 403
    assert requests.get(stack.url + API, timeout=10).status_code == 401


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"{API}/PATH", {"value": "x"}, 422),
        (f"{API}/PTH_RULES", {"value": "x"}, 422),
        (f"{API}/ld_preload", {"value": "x"}, 422),
        (f"{API}/.hidden", {"value": "x"}, 422),
        (f"{API}/a%2Fb", {"value": "x"}, 422),
        (f"{API}/..", {"value": "x"}, 404),
        (f"{API}/%2e%2e%2fkeys", {"value": "x"}, 422),
        (f"{API}/a%00b", {"value": "x"}, 422),
        (f"{API}/{'a' * 129}", {"value": "x"}, 422),
        (f"{API}/А", {"value": "x"}, 422),  # a Cyrillic letter
        (f"{API}/OK", {"value": "x" * 40_000}, 413),
        (f"{API}/OK", {"value": "x" * 70_000}, 422),
        (f"{API}/OK", {"value": "x", "more": 1}, 422),
        (f"{API}/OK", {"value": 1}, 422),
        (f"{API}/OK", {}, 422),
        (f"{API}/OK", {"value": "%%", "encoding": "base64"}, 422),
        (f"{API}/OK?workspace=", {"value": "x"}, 422),
        (f"{API}/OK?workspace=alice~{'a' * 70}", {"value": "x"}, 422),
        (f"{API}/OK?user=alice", {"value": "x"}, 422),
    ],
)
def test_bad_input(alice: Person, path: str, body: Any, status: int) -> None:
    answer = alice.call("PUT", path, body)
    assert answer.status_code == status, answer.text
    assert answer.json()["message"]
    assert "OK" not in [entry["name"] for entry in alice.call("GET", API).json()["secrets"]]


def test_the_log_of_what_happened_has_names_only(stack: Stack) -> None:
    def recorded() -> str:
        """In the outbox, or drained into the log."""
        text = "".join(path.read_text() for path in (stack.data / "audit").glob("*.jsonl"))
        with sqlite3.connect(f"file:{stack.data}/control.sqlite?mode=ro", uri=True) as database:
            return text + "".join(row[0] for row in database.execute("SELECT record FROM audit"))

    wait_for(lambda: "secret.put" in recorded() and "secret.delete" in recorded(), 20, "it was recorded")
    assert "API_TOKEN" in recorded() and VALUE not in recorded()
