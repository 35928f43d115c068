"""Secrets from the API to a session, through the real proxy, hub, service and workspace."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from websockets.sync.client import connect

from persistent_terminal_hub.control.audit_command import AUDIT_KEYS
from persistent_terminal_hub.control.audit_log import AuditLog
from persistent_terminal_hub.control.database import Database
from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.hub import Hub
from persistent_terminal_hub.control.leftovers import GRACE_SECONDS, Leftovers, Removal
from persistent_terminal_hub.sealing_keys import FileKeys
from tests.integration.control_fixtures import Person, installation
from tests.support.stack import Stack, wait_for

API = "/services/terminals/api/secrets"
VALUE = "s3cr3t-value-that-is-nowhere-else"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings: dict[str, dict[str, Any]] = {"control": {"operators": ["olga"]}}
    with installation(tmp_path_factory.mktemp("secrets"), ("alice", "olga", "gone"), settings) as stack:
        yield stack


@pytest.fixture(scope="module")
def alice(stack: Stack) -> Person:
    alice = Person(stack, "alice")
    stack.start_workspace(alice.browser, "alice")
    return alice


@pytest.fixture(scope="module")
def admin(stack: Stack) -> Person:
    return Person(stack, "admin", stack.admin_password)


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
    assert alice.put_secret("API_TOKEN", VALUE).status_code == 201
    assert alice.put_secret(
        "key.pem", base64.b64encode(b"\0" + VALUE.encode()).decode(), encoding="base64"
    ).ok
    alice.wait_for_secrets(["API_TOKEN", "key.pem"])

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
    assert alice.put_secret("API_TOKEN", "another").status_code == 204
    wait_for(lambda: alice.printed("echo $API_TOKEN", out).strip() == "another", 20, "the change arrived")
    (tmp_path / "go2").touch()
    wait_for(late.exists, 10, "the session ended")
    assert late.read_text() == VALUE

    listed = alice.call("GET", API)
    assert [entry["name"] for entry in listed.json()["secrets"]] == ["API_TOKEN", "key.pem"]
    assert all(entry["problem"] is None for entry in listed.json()["secrets"])
    assert alice.put_secret("API_TOKEN", VALUE).status_code == 204
    alice.wait_for_secrets(["API_TOKEN", "key.pem"])
    wait_for(lambda: alice.printed("echo $API_TOKEN", out).strip() == VALUE, 20, "the value arrived")
    assert VALUE not in listed.text + alice.call("GET", API).text
    for where, content in everything_but_sessions(stack, out):
        for form in (VALUE.encode(), base64.b64encode(VALUE.encode())[:-4]):
            assert form not in content, where


def test_for_one_workspace_wins_and_goes(alice: Person, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert alice.put_secret("BOTH", "all").status_code == 201
    assert alice.put_secret("BOTH", "one", "?workspace=alice~").status_code == 201
    assert alice.put_secret("BOTH", "other", "?workspace=gpu").status_code == 201
    wait_for(lambda: alice.printed("echo $BOTH", out).strip() == "one", 20, "the one for it wins")
    assert alice.call("DELETE", f"{API}/BOTH?workspace=alice~").status_code == 204
    wait_for(lambda: alice.printed("echo $BOTH", out).strip() == "all", 20, "the one for all is left")
    assert alice.call("DELETE", f"{API}/BOTH?workspace=alice~").status_code == 404
    found = alice.call("GET", f"{API}?workspace=gpu").json()["secrets"]
    assert [(entry["name"], entry["workspace"]) for entry in found] == [("BOTH", "alice~gpu")]


def test_a_restart_and_a_killed_service(stack: Stack, alice: Person, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert alice.put_secret("KEPT", "first").ok
    assert alice.ask("PATCH", "workspaces/alice~", {"env": {"MODE": "kept, too"}}).ok
    old = stack.pid_of("persistent_terminal_hub.control")
    os.kill(old, signal.SIGKILL)
    alice.restart()
    wait_for(lambda: stack.pid_of("persistent_terminal_hub.control") != old, 20, "the service is back")
    wait_for(lambda: alice.printed("echo $KEPT", out).strip() == "first", 30, "it came again")
    assert alice.printed("echo $MODE", out).strip() == "kept, too"
    # Killed between the change and its delivery, or not: it arrives.
    assert wait_for(lambda: alice.put_secret("KEPT", "second"), 20, "the service answers").ok
    os.kill(stack.pid_of("persistent_terminal_hub.control"), signal.SIGKILL)
    wait_for(lambda: alice.printed("echo $KEPT", out).strip() == "second", 40, "the change arrived")
    wait_for(lambda: alice.call("GET", API).status_code == 200, 20, "the service is back")


def test_a_workspace_is_created_with_its_own(stack: Stack, alice: Person, tmp_path: Path) -> None:
    given = {"env": {"MODE": "fast ü"}, "secrets": {"OWN": VALUE, "KEPT": "of lab"}}
    asked = alice.ask("POST", "workspaces", {"name": "lab", **given})
    done = alice.operation(asked)
    lab = alice.get("workspaces/alice~lab")
    assert done["state"] == "done" and lab["env"] == given["env"]
    assert VALUE not in asked.text + str(done) + str(lab)
    listed = {(s["name"], s["workspace"]) for s in alice.get("secrets?workspace=lab")["secrets"]}
    assert listed == {("OWN", "alice~lab"), ("KEPT", "alice~lab")}

    def seen(how: str) -> dict[str, str]:
        """The environment of a session that is made in one of the ways there are."""
        out = tmp_path / f"{how}-{time.monotonic_ns()}"
        command = f"env -0 > {out}.tmp; mv {out}.tmp {out}"
        if how == "jupyterlab":  # the stock resource, and its socket
            made = alice.call("POST", "/user/alice/lab/api/terminals", {})
            assert made.status_code == 200, made.text
            url = f"{stack.url}/user/alice/lab/terminals/websocket/{made.json()['name']}"
            header = {"Authorization": f"token {alice.token}"}
            with connect(url.replace("http", "ws", 1), additional_headers=header) as socket:
                socket.send(json.dumps(["stdin", command + "\n"]))
                wait_for(out.exists, 20, "the terminal ran it")
        elif how == "extension":
            alice.session(command, "lab")
        else:
            body = {"workspace": "alice~lab", "argv": ["bash", "-c", command]}
            assert alice.ask("POST", "sessions", body).status_code == 201
        wait_for(out.exists, 20, f"a session of {how} ran it")
        return dict(entry.split("=", 1) for entry in out.read_text().rstrip("\0").split("\0"))

    # At once: whoever waited for the creation has them.
    for how in ("jupyterlab", "extension", "api"):
        env = seen(how)
        assert (env["MODE"], env["OWN"], env["KEPT"]) == ("fast ü", VALUE, "of lab"), how
    executed = alice.ask("POST", "workspaces/alice~lab/execute", {"command": "echo $MODE-$OWN"})
    assert executed.json()["stdout"] == "fast ü-\n"
    direct = alice.inside("POST", "execute", {"command": "echo $MODE-$OWN"}, "lab")
    assert direct.json()["stdout"] == "fast ü-\n"

    # A change reaches new sessions.
    assert alice.ask("PATCH", "workspaces/alice~lab", {"env": {"MODE": "slow"}}).status_code == 200
    wait_for(lambda: seen("extension")["MODE"] == "slow", 20, "the change arrived")
    assert alice.operation(alice.ask("DELETE", "workspaces/alice~lab"))["state"] == "done"
    assert alice.get("secrets?workspace=lab")["secrets"] == []


@pytest.mark.parametrize(
    ("source", "secrets", "words"),
    [
        (
            {"url": "https://192.0.2.1/r.git", "credentialsSecret": "NOT_THERE"},
            {},
            "no secret named",
        ),
        ({"url": "https://192.0.2.1/r.git", "credentialsSecret": "GIT"}, {"GIT": "x"}, "user:token"),
        ({"url": "ssh://git@192.0.2.1/r.git", "credentialsSecret": "GIT"}, {"GIT": "a:b"}, "private ssh key"),
        ({"url": "git://192.0.2.1/r.git", "credentialsSecret": "GIT"}, {"GIT": "a:b"}, "https and ssh"),
        ({"url": "https://192.0.2.1/r.git"}, {"PATH": "x"}, "is taken"),
    ],
)
def test_a_creation_that_is_refused_stores_nothing(
    alice: Person, source: dict[str, str], secrets: dict[str, str], words: str
) -> None:
    body = {"name": "no", "source": source, "secrets": secrets}
    for path in ("workspaces", "workspaces/clone"):
        answer = alice.ask("POST", path, body)
        assert answer.status_code == 422 and words in answer.json()["message"], answer.text
    assert alice.status("alice~no") == "gone" and alice.get("secrets?workspace=no")["secrets"] == []


async def test_who_is_deleted_leaves_nothing(stack: Stack, alice: Person, admin: Person) -> None:
    gone = Person(stack, "gone")
    assert gone.put_secret("THEIRS", VALUE).status_code == 201
    assert gone.put_secret("THEIRS", VALUE, "?workspace=lab").status_code == 201
    alice.create("byhand", start=False, secrets={"OF_BYHAND": VALUE}, env={"A": "b"})
    assert admin.call("DELETE", "/hub/api/users/alice/servers/byhand", {"remove": True}).ok
    # What the service does every few minutes, on its own database and beside it.
    database = Database(f"sqlite:///{stack.data}/control.sqlite")
    removal = Removal(database, AuditLog(database, FileKeys(stack.data / "keys" / AUDIT_KEYS)))
    hub, nowhere = Hub(f"{stack.url}/hub/api", admin.token), Hub("http://127.0.0.1:1/hub/api", "x")
    now = 0.0

    async def in_a_thread(call: Any, *args: Any) -> Any:
        return await asyncio.to_thread(call, *args)

    leftovers = Leftovers(hub, removal, in_a_thread, lambda: now)
    try:
        await leftovers.look()
        assert admin.call("DELETE", "/hub/api/users/gone").ok
        # A hub that does not answer takes nothing from anybody.
        away = Leftovers(nowhere, removal, in_a_thread, lambda: now)
        for _ in range(2):
            with pytest.raises(ApiError):
                await away.look()
            now += GRACE_SECONDS
        await leftovers.look()  # byhand was missing before, gone was not
        kept = await asyncio.to_thread(removal.kept)
        assert "gone" in kept and "byhand" not in kept["alice"].workspaces
        now += GRACE_SECONDS
        await leftovers.look()
        kept = await asyncio.to_thread(removal.kept)
        assert "gone" not in kept and "alice" in kept
    finally:
        await hub.close()
        await nowhere.close()
        database.close()
    assert alice.get("secrets?workspace=byhand")["secrets"] == []
    assert {s["name"] for s in alice.get("secrets")["secrets"]} >= {"API_TOKEN", "KEPT"}
    records = [r["record"] for r in admin.get("audit?what=secret.delete&who=service:terminals")["records"]]
    assert {(r["on"], r["name"], r["reason"]) for r in records} == {
        ("gone/*", "THEIRS", "The user is gone."),
        ("gone/lab", "THEIRS", "The user is gone."),
        ("alice/byhand", "OF_BYHAND", "The workspace is gone."),
    }
    # Somebody else of the same name has nothing of it.
    stack.add_user("gone")
    assert Person(stack, "gone").get("secrets")["secrets"] == []


def test_nobody_else(stack: Stack, alice: Person, admin: Person) -> None:
    olga = Person(stack, "olga")
    for other in (olga, admin):
        assert other.call("GET", API).json() == {"secrets": []}
        assert other.call("GET", f"{API}?workspace=alice~").status_code == 404
        assert other.put_secret("X", "x", "?workspace=alice~").status_code == 404
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
