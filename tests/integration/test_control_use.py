"""Using workspaces by the API: execute, sessions, logs, a clone, the audit log; all parts are real."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import requests
from websockets.sync.client import connect

from persistent_terminal_hub.client.control_sync import ControlService
from persistent_terminal_hub.control.database import Database
from persistent_terminal_hub.control.models import IdempotentRequest
from tests.integration.control_fixtures import Person, kill_control
from tests.support.relay import Relay
from tests.support.stack import Stack, wait_for

pytest_plugins = ["control_fixtures"]


@pytest.fixture(scope="module")
def lab(alice: Person) -> str:
    """The id of a workspace of alice's that runs."""
    return str(alice.create("lab", env={"GREETING": "hello"})["workspaceId"])


def execute(person: Person, key: str, command: Any, **fields: Any) -> requests.Response:
    return person.ask("POST", f"workspaces/{key}/execute", {"command": command, **fields})


# -- execute -----------------------------------------------------------------------------------------------
def test_outputs_apart(alice: Person, lab: str) -> None:
    answer = execute(
        alice, lab, "echo $GREETING $MORE; echo oops >&2; cat; exit 3", env={"MORE": "1"}, stdin="in"
    )
    assert answer.status_code == 200, answer.text
    ended = answer.json()
    assert (ended["exitCode"], ended["stdout"], ended["stderr"]) == (3, "hello 1\nin", "oops\n")
    assert not ended["timedOut"] and not ended["stdoutTruncated"]
    root = alice.get(f"workspaces/{lab}")["rootPath"]
    assert execute(alice, lab, ["pwd"]).json()["stdout"].strip() == root


def test_bounds(alice: Person, lab: str) -> None:
    late = execute(alice, lab, "echo a; sleep 60 & sleep 60", timeout=0.5).json()
    assert late["timedOut"] and late["stdout"] == "a\n" and late["seconds"] < 20
    much = execute(alice, lab, "head -c 3000000 /dev/zero").json()
    assert much["stdoutTruncated"] and much["stdoutBytes"] == 3_000_000 and len(much["stdout"]) == 1024 * 1024
    assert execute(alice, lab, "true", timeout=99999).status_code == 422


@pytest.mark.parametrize(
    "fields",
    [
        {"cwd": ".."},
        {"cwd": "/etc"},
        {"cwd": "link"},
        {"cwd": "a\x00b"},
        {"command": []},
        {"command": " "},
        {"command": "true", "env": {"A=B": "c"}},
        {"command": ["/no/such/program"]},
        {"command": "true", "more": 1},
        {"command": "true", "stdin": "!", "stdinEncoding": "base64"},
    ],
)
def test_what_is_refused(alice: Person, lab: str, fields: dict[str, Any]) -> None:
    execute(alice, lab, "ln -sfn / link")
    answer = alice.ask("POST", f"workspaces/{lab}/execute", {"command": "true", **fields})
    assert answer.status_code == 422, answer.text
    assert answer.json()["message"].endswith(".")


def test_no_secrets_of_the_hub(alice: Person, lab: str) -> None:
    env = execute(alice, lab, "env").json()["stdout"]
    assert "JUPYTERHUB_API_TOKEN" not in env and "CLIENT_ID" not in env


def test_streamed(alice: Person, lab: str) -> None:
    began = time.monotonic()
    answer = alice.ask(
        "POST", f"workspaces/{lab}/execute",
        {"command": "echo one; sleep 1; echo two >&2; exit 4", "stream": True}, stream=True,
    )  # fmt: skip
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    lines, first = [], 0.0
    for line in answer.iter_lines():
        first = first or time.monotonic() - began
        lines.append(json.loads(line))
    assert time.monotonic() - began - first > 0.5, "the first line came before the end"
    assert lines[:2] == [{"stream": "stdout", "data": "one\n"}, {"stream": "stderr", "data": "two\n"}]
    assert lines[-1]["result"]["exitCode"] == 4


def test_who_goes_away_kills_it(alice: Person, lab: str) -> None:
    mark = f"7{uuid.uuid4().int % 100000}.5"
    with pytest.raises(requests.ReadTimeout):
        requests.post(
            f"{alice.stack.url}/services/terminals/api/workspaces/{lab}/execute",
            json={"command": f"sleep {mark}", "timeout": 100},
            headers={"Authorization": f"token {alice.token}"}, timeout=1.5,
        )  # fmt: skip
    wait_for(lambda: _running(f"sleep {mark}") == 0, 10, "the command is gone")


def _running(text: str) -> int:
    found = subprocess.run(["pgrep", "-fc", f"^{text}"], capture_output=True, text=True, check=False)
    return int(found.stdout or 0)


def test_not_too_many(alice: Person, lab: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(12) as threads:
        codes = list(threads.map(lambda _: execute(alice, lab, "sleep 2").status_code, range(12)))
    assert set(codes) == {200, 429} and codes.count(200) >= 8


def test_repeated_with_the_same_key(alice: Person, lab: str) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"command": "echo x >> counted; wc -l < counted"}
    path = f"workspaces/{lab}/execute"
    first = alice.ask("POST", path, body, headers=headers).json()
    assert alice.ask("POST", path, body, headers=headers).json() == first
    assert execute(alice, lab, "wc -l < counted").json()["stdout"].strip() == "1"


def test_killed_in_the_middle_it_is_not_run_again(stack: Stack, alice: Person, lab: str) -> None:
    """A command: nobody can tell any more. A session: the one that was made is found."""
    keys = [{"Idempotency-Key": str(uuid.uuid4())} for _ in range(2)]
    command = {"command": "echo x >> ran; sleep 3; echo y >> ran", "timeout": 20}
    path = f"workspaces/{lab}/execute"

    def ask() -> None:
        with contextlib.suppress(requests.RequestException):
            alice.ask("POST", path, command, headers=keys[0])

    asking = threading.Thread(target=ask)
    asking.start()
    wait_for(lambda: execute(alice, lab, "cat ran").json()["stdout"] == "x\n", 20, "it runs")
    kill_control(stack)
    asking.join()
    wait_for(lambda: alice.ask("GET", "me").ok, 30, "the service is back")

    def again() -> dict[str, Any] | None:
        answer = alice.ask("POST", path, command, headers=keys[0])
        assert answer.status_code == 409, answer.text
        return dict(answer.json()) if answer.json()["reason"] != "In progress" else None

    began = time.monotonic()
    refused = wait_for(again, 30, "the claim of the service that was killed lapses")
    assert time.monotonic() - began < 20
    assert refused["reason"] == "Outcome unknown" and "not known" in refused["message"] and refused["hint"]
    assert execute(alice, lab, "grep -c x ran").json()["stdout"].strip() == "1"

    body = {"workspace": lab, "name": "twice"}
    made = alice.ask("POST", "sessions", body, headers=keys[1]).json()
    # As if the service had been killed before it could write the answer down.
    database = Database(f"sqlite:///{stack.data}/control.sqlite")
    with database.session() as session:
        row = session.get(
            IdempotentRequest, ("alice", _route("POST", "sessions"), keys[1]["Idempotency-Key"])
        )
        assert row is not None and row.noted
        row.status = row.answer = None
    database.close()
    found = alice.ask("POST", "sessions", body, headers=keys[1])
    assert found.status_code == 201, found.text
    assert found.json()["id"] == made["id"] and found.json()["token"]
    names = [s["name"] for s in alice.get(f"sessions?workspace={lab}")["sessions"]]
    assert names.count("twice") == 1
    assert alice.ask("DELETE", f"sessions/{made['id']}").status_code == 204


def _route(method: str, path: str) -> str:
    return f"{method} {hashlib.sha256(f'/services/terminals/api/{path}'.encode()).hexdigest()}"


@pytest.mark.parametrize("cwd", ["no/such", "../no-such", "/dev/null", "a\x00b", "x" * 5000])
def test_a_session_begins_in_a_folder_or_not_at_all(alice: Person, lab: str, cwd: str) -> None:
    answer = alice.ask("POST", "sessions", {"workspace": lab, "name": "lost", "cwd": cwd})
    assert answer.status_code == 422, answer.text
    assert "lost" not in {s["name"] for s in alice.get(f"sessions?workspace={lab}")["sessions"]}


def test_a_session_may_begin_wherever_its_shell_may_go(alice: Person, lab: str) -> None:
    """Only for commands is the home a bound: a terminal is no less than a shell."""
    root = Path(alice.get(f"workspaces/{lab}")["rootPath"])
    for cwd, where in (("..", root.parent), ("/etc/../etc", Path("/etc"))):
        made = alice.ask("POST", "sessions", {"workspace": lab, "cwd": cwd}).json()
        assert made["cwd"] == str(where.resolve())
        assert alice.ask("DELETE", f"sessions/{made['id']}").status_code == 204


# -- locked ------------------------------------------------------------------------------------------------
def test_a_locked_workspace(stack: Stack, alice: Person, olga: Person, admin: Person) -> None:
    shut = alice.create("shut")["workspaceId"]
    made = [alice.ask("POST", "sessions", {"workspace": shut, "name": n}).json() for n in "abc"]
    wish = (f"workspaces/{shut}/unlock-request", {"message": "the licence ends"})
    assert olga.ask("POST", *wish).status_code == 409, "it is open"
    lock = f"{stack.url}/hub/persistent-terminals/api/lock"
    done = requests.post(
        lock, json={"workspace": "shut"}, headers={"Authorization": f"token {alice.token}"}, timeout=30
    )
    assert done.status_code == 200 and done.json()["workspaces"][0]["result"] == "locked", done.text
    asked: list[tuple[str, str, Any]] = [
        ("POST", f"workspaces/{shut}/execute", {"command": "true"}),
        ("POST", f"workspaces/{shut}/execute", {"command": "true", "stream": True}),
        ("GET", f"workspaces/{shut}/logs", None),
        ("POST", "sessions", {"workspace": shut}),
        ("PATCH", f"sessions/{made[0]['id']}", {"name": "x"}),
        ("DELETE", f"sessions/{made[0]['id']}", None),
    ]
    for method, path, body in asked:
        answer = alice.ask(method, path, body)
        assert answer.status_code == 423, (method, path, answer.text)
        assert answer.json()["hint"] and "locked" in answer.json()["message"]
    listed = alice.get(f"sessions?workspace={shut}")["sessions"]
    assert {(s["name"], s["state"]) for s in listed} == {(n, "locked") for n in "abc"}
    assert all(s["cwd"] is None and s["argv"] is None for s in listed)
    # Who steers asks its owner, who reads it at once; it opens nothing.
    assert olga.ask("POST", *wish).json() == {"asked": True}
    status = requests.get(f"{stack.url}/user/alice/shut/persistent-terminals/api/status", timeout=10).json()
    said = "olga asks you to log in again and unlock it: the licence ends."
    assert status["locked"] and status["reason"].endswith(said)
    cards = alice.call("GET", "/hub/persistent-terminals/api/home").json()["workspaces"]
    assert [card["asked"] for card in cards if card["name"] == "shut"] == [said]
    # Who steers does not need what is in it.
    assert olga.ask("DELETE", f"sessions/{made[1]['id']}").status_code == 204
    assert admin.ask("DELETE", f"sessions/{made[2]['id']}").status_code == 204
    assert {
        s["name"] for s in alice.get(f"sessions?workspace={shut}")["sessions"] if s["state"] == "locked"
    } == {"a"}
    assert admin.ask("GET", f"workspaces/{shut}/stats").status_code == 200
    assert olga.operation(olga.ask("POST", f"workspaces/{shut}/stop", {}))["state"] == "done"
    assert alice.operation(alice.ask("POST", f"workspaces/{shut}/start", {}))["state"] == "done"
    assert execute(alice, shut, "true").status_code == 423, "a start opens nothing"
    assert alice.operation(alice.ask("DELETE", f"workspaces/{shut}"))["state"] == "done"
    assert alice.status(shut) == "gone"


# -- rights ------------------------------------------------------------------------------------------------
def test_rights(alice: Person, bob: Person, olga: Person, admin: Person, lab: str) -> None:
    made = alice.ask("POST", "sessions", {"workspace": lab, "name": "mine"}).json()
    for person, executed, logs, listed, ended in ((bob, 404, 404, 404, 404), (olga, 403, 403, 200, 204)):
        assert execute(person, lab, "true").status_code == executed
        assert person.ask("GET", f"workspaces/{lab}/logs").status_code == logs
        assert person.ask("POST", "sessions", {"workspace": lab}).status_code == executed
        assert person.ask("PATCH", f"sessions/{made['id']}", {"name": "x"}).status_code == executed
        assert person.ask("GET", f"sessions/{made['id']}").status_code == listed
        assert person.ask("DELETE", f"sessions/{made['id']}").status_code == ended
    gone = alice.get(f"sessions/{made['id']}")
    assert gone["state"] == "ended"
    assert execute(admin, lab, ["whoami"]).status_code == 200
    assert bob.ask("GET", "audit").status_code == 403


# -- sessions ----------------------------------------------------------------------------------------------
def test_a_session_from_its_creation_to_its_end(alice: Person, lab: str) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"workspace": lab, "name": "job", "argv": ["/bin/sh", "-c", "echo $GREETING; read x; exit 5"]}
    answer = alice.ask("POST", "sessions", body, headers=headers)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["webSocketUrl"].startswith("ws://127.0.0.1") and "/user/alice/lab/" in made["webSocketUrl"]
    assert made["token"] and made["tokenExpiresIn"] > 0
    assert alice.ask("POST", "sessions", body, headers=headers).json() == made
    assert "token" not in alice.get(f"sessions/{made['id']}")
    assert made["id"] in {s["id"] for s in alice.get("sessions")["sessions"]}
    with connect(made["webSocketUrl"], subprotocols=["pth.v1"]) as socket:  # type: ignore[list-item]
        socket.send(
            json.dumps(
                {
                    "type": "attach", "client": uuid.uuid4().hex, "token": made["token"], "epoch": None,
                    "offset": 0, "input_seq": 0, "rows": 24, "cols": 80, "visible": True, "mode": "rw",
                }
            )
        )  # fmt: skip
        first = json.loads(socket.recv(10))
        assert first["type"] == "attached", first
    renamed = alice.ask("PATCH", f"sessions/{made['id']}", {"name": "work"})
    assert renamed.status_code == 200 and renamed.json()["name"] == "work"
    assert alice.ask("DELETE", f"sessions/{made['id']}").status_code == 204
    assert alice.get(f"sessions/{made['id']}")["state"] == "ended"
    assert alice.ask("DELETE", f"sessions/{made['id']}").status_code == 204
    assert alice.ask("GET", f"sessions/{made['id']}").status_code == 404
    assert alice.ask("GET", "sessions/nonsense").status_code == 404


def test_sessions_of_a_stopped_workspace_are_known(alice: Person) -> None:
    other = alice.create("other")["workspaceId"]
    made = alice.ask("POST", "sessions", {"workspace": "alice~other", "name": "kept"}).json()
    assert alice.get(f"sessions?workspace={other}")["sessions"][0]["state"] == "dormant"
    assert alice.operation(alice.ask("POST", f"workspaces/{other}/stop", {}))["state"] == "done"
    seen = alice.get(f"sessions/{made['id']}")
    assert seen["state"] == "ended" and seen["name"] == "kept"
    assert alice.ask("POST", "sessions", {"workspace": other}).status_code == 409
    assert execute(alice, other, "true").status_code == 409
    assert alice.operation(alice.ask("DELETE", f"workspaces/{other}"))["state"] == "done"
    assert alice.ask("GET", f"sessions/{made['id']}").status_code == 404


def test_logs(alice: Person, lab: str) -> None:
    lines = alice.get(f"workspaces/{lab}/logs?lines=50")["lines"]
    assert 0 < len(lines) <= 50
    assert alice.ask("GET", f"workspaces/{lab}/logs?lines=0").status_code == 422


# -- clone -------------------------------------------------------------------------------------------------
def test_clone(stack: Stack, alice: Person, repository: str) -> None:
    body = {"name": "code", "source": {"url": repository, "depth": 1, "branch": "main", "install": True}}
    begun = alice.ask("POST", "workspaces/clone", body)
    assert begun.status_code == 202, begun.text
    done = alice.operation(begun)
    assert done["state"] == "done" and done["path"] == "repo", done
    key = done["workspaceId"]
    assert execute(alice, key, "cat repo/README; ls -A").json()["stdout"].split() == [
        "read", "me", *sorted(execute(alice, key, ["ls", "-A"]).json()["stdout"].split())
    ]  # fmt: skip
    assert ".pth-clone" not in execute(alice, key, "ls -A").json()["stdout"]
    setup = alice.get(f"sessions/{key}.{done['setupSession']}")
    assert setup["name"] == "setup" and setup["cwd"].endswith("/repo")
    assert alice.get(f"workspaces/{key}")["source"]["url"] == repository
    assert alice.operation(alice.ask("DELETE", f"workspaces/{key}"))["state"] == "done"


@pytest.mark.parametrize("path", ["nothing.git", None])
def test_a_clone_that_fails_leaves_nothing(alice: Person, repository: str, path: str | None) -> None:
    url = repository.replace("repo.git", path) if path else "ext::sh -c id"
    done = alice.operation(alice.ask("POST", "workspaces/clone", {"name": "bad", "source": {"url": url}}))
    assert done["state"] == "failed" and done["error"], done
    assert alice.status("alice~bad") == "gone"


# -- the command line --------------------------------------------------------------------------------------
def _command(person: Person, hub: str = "") -> tuple[list[str], dict[str, str]]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PTH_", "JUPYTERHUB_"))}
    env |= {"PTH_TOKEN": person.token, "PTH_HUB_URL": hub or person.stack.url}
    return [sys.executable, "-c", "from persistent_terminal_hub.cli import main; main()"], env


def command(person: Person, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run `persistent-terminal-hub` as a person with a token."""
    program, env = _command(person)
    return subprocess.run(
        [*program, *arguments], env=env, input=stdin, capture_output=True, timeout=90, check=False
    )


async def test_a_workspace_by_the_command_line(alice: Person, repository: str) -> None:
    """From a clone whose events are cut to its deletion."""
    async with Relay(int(alice.stack.url.rpartition(":")[2])) as relay:
        program, env = _command(alice, f"http://127.0.0.1:{relay.port}")
        process = await asyncio.create_subprocess_exec(
            *program, "workspace", "clone", repository, "cli", "--depth", "1", env=env,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        said = []
        async for line in process.stderr:
            said.append(line.decode())
            relay.cut()  # after each line that comes through
        assert await process.wait() == 0, said
        out = (await process.stdout.read()).decode()
    assert out.startswith("alice/cli was created: http") and "The repository is in " in out
    assert relay.connections > 2 and all(line.startswith("[") for line in said), said
    assert said[-1] == "[100 %] Done.\n" and len(set(said)) == len(said) >= 4, said

    listed = command(alice, "workspace", "list").stdout.decode().splitlines()
    assert any(line.split()[:2] == ["alice/cli", "running"] for line in listed), listed
    data = b"\x00\xff in\n"
    ran = command(alice, "workspace", "exec", "cli", "sh", "-c", "cat; echo err >&2; exit 3", stdin=data)
    assert (ran.returncode, ran.stdout, ran.stderr) == (3, data, b"err\n")
    shell = ("sh", "-c", "cat README; echo $X")
    ran = command(alice, "workspace", "exec", "-C", "repo", "-e", "X=a b", "cli", "--", *shell)
    assert (ran.returncode, ran.stdout) == (0, b"read me\na b\n"), ran.stderr
    late = command(alice, "workspace", "exec", "-t", "1", "cli", "sleep", "60")
    assert late.returncode == 124 and b"time limit" in late.stderr
    gone = command(alice, "workspace", "exec", "-C", "none", "cli", "true")
    assert gone.returncode == 125 and gone.stderr.startswith(b"error: There is no folder"), gone.stderr
    assert command(alice, "workspace", "logs", "cli", "-n", "5").stdout.count(b"\n") in range(1, 6)
    stats = json.loads(command(alice, "workspace", "stats", "cli", "--json").stdout)
    assert stats["cpuSeconds"] > 0
    assert b"CPU" in command(alice, "workspace", "stats", "cli").stdout

    made = command(alice, "sessions", "create", "cli", "job", "--", "sleep", "1000")
    assert made.stdout == b"It runs: persistent-terminal-hub attach alice/cli:job\n", made.stderr
    assert b"alice/cli:job" in command(alice, "sessions", "list", "cli").stdout
    asked = command(alice, "workspace", "delete", "cli")
    assert asked.returncode == 2 and b"Running sessions that end with it: job." in asked.stderr
    assert command(alice, "sessions", "end", "cli:job").returncode == 0
    stopped = command(alice, "workspace", "stop", "cli")
    assert (stopped.returncode, stopped.stdout) == (0, b"alice/cli is stopped.\n"), stopped.stderr
    assert command(alice, "workspace", "exec", "cli", "true").returncode == 125
    changed = command(alice, "workspace", "set", "cli", "--display-name", "Käse", "-e", "A=1", "--json")
    assert json.loads(changed.stdout)["displayName"] == "Käse", changed.stderr
    assert command(alice, "workspace", "restart", "cli").returncode == 0
    assert command(alice, "workspace", "exec", "cli", "cat", "repo/README").stdout == b"read me\n"
    deleted = command(alice, "workspace", "delete", "cli", "--yes")
    assert (deleted.returncode, deleted.stdout) == (0, b"alice/cli is deleted.\n"), deleted.stderr
    assert command(alice, "workspace", "show", "cli").returncode == 3


def test_an_interrupted_creation_leaves_nothing(alice: Person) -> None:
    program, env = _command(alice)
    with subprocess.Popen(
        [*program, "workspace", "create", "brief"], env=env, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) == 130, first + rest
    assert "is being cancelled" in rest and rest.endswith("It is cancelled; nothing is left of it.\n"), rest
    assert alice.status("alice~brief") == "gone"


def test_what_the_command_line_is_refused(bob: Person, olga: Person, lab: str) -> None:
    for person, arguments, status in (
        (bob, ("workspace", "delete", "alice/lab", "--yes"), 3),
        (bob, ("workspace", "exec", "alice/lab", "true"), 125),
        (bob, ("workspace", "create", "LAB"), 1),
        (olga, ("workspace", "delete", "alice/lab", "--yes"), 4),
    ):
        done = command(person, *arguments)
        lines = done.stderr.decode().splitlines()
        assert (done.returncode, done.stdout) == (status, b""), (arguments, lines)
        assert len(lines) == 1 and lines[0].startswith("error: ") and lines[0].endswith("."), lines


def test_reports_and_secrets_by_the_command_line(alice: Person, admin: Person, lab: str) -> None:
    assert command(alice, "secrets", "set", "CLI_SECRET", "--workspace", "lab", stdin=b"v\n").returncode == 0
    listed = json.loads(command(alice, "secrets", "list", "--json").stdout)
    assert [(s["name"], s["workspace"]) for s in listed if s["name"] == "CLI_SECRET"] == [
        ("CLI_SECRET", "alice~lab")
    ]
    assert command(alice, "secrets", "delete", "CLI_SECRET", "--workspace", "lab").returncode == 0
    assert json.loads(command(alice, "usage", "--json").stdout)["to"] > 0
    found = command(admin, "audit", "list", "--who", "alice", "--what", "secret.put").stdout.decode()
    assert "alice/lab" in found.splitlines()[1]


def test_the_client_without_async(alice: Person, lab: str) -> None:
    with ControlService.at(alice.stack.url, alice.token) as hub:
        assert hub.me().name == "alice"
        assert lab in {item.workspace_id for item in hub.workspaces.list(status="running")}
        pieces: list[tuple[str, bytes]] = []
        done = hub.workspaces.execute("lab", "echo a; exit 2", on_output=lambda *piece: pieces.append(piece))
        assert done.exit_code == 2 and pieces == [("stdout", b"a\n")]
        assert hub.workspaces.execute("lab", ["printf", "b"]).text == "b"
        change = hub.workspaces.create("quick", start=False)
        assert change.operation is not None
        numbers = [line.number for line in hub.operations.follow(change.operation)]
        assert numbers == list(range(1, len(numbers) + 1))
        deletion = hub.workspaces.delete("quick").operation
        assert deletion is not None and hub.operations.wait(deletion).state == "done"


# -- audit -------------------------------------------------------------------------------------------------
def test_what_the_hub_was_asked_for_is_written_down_too(stack: Stack, alice: Person, admin: Person) -> None:
    """On the hub's own pages and API, past the control service."""
    session = stack.login("alice")
    assert stack.post(stack.session(), "/hub/login", {"username": "alice", "password": "wrong"}).status_code
    made = stack.api(session, "POST", "/users/alice/tokens", json={"note": "audited"}).json()
    assert stack.api(session, "DELETE", f"/users/alice/tokens/{made['id']}").status_code == 204
    stack.start_workspace(session, "alice", "plain")
    assert stack.api(session, "DELETE", "/users/alice/servers/plain", json={"remove": True}).status_code < 300
    assert stack.api(session, "DELETE", "/users/admin/server").status_code in (403, 404)
    assert session.get(f"{stack.url}/hub/logout", timeout=10).ok
    wanted = {
        ("alice", "login", "hub", "ok"), ("alice", "login", "hub", "refused"),
        ("alice", "logout", "hub", "ok"),
        ("alice", "token.create", "alice", "ok"), ("alice", "token.revoke", "alice", "ok"),
        ("alice", "server.start", "alice/plain", "begun"), ("alice", "server.stop", "alice/plain", "ok"),
        ("", "server.stopped", "alice/plain", "ok"), ("alice", "server.stop", "admin/", "refused"),
        ("admin", "account.approve", "authorize", "ok"),
    }  # fmt: skip

    def missing() -> set[tuple[str, ...]]:
        records = [entry["record"] for entry in admin.get("audit?limit=1000")["records"]]
        return wanted - {tuple(r.get(n, "") for n in ("who", "what", "on", "result")) for r in records}

    wait_for(lambda: not missing(), 20, "everything is in the log")


def test_everything_is_written_down_once(stack: Stack, alice: Person, admin: Person, lab: str) -> None:
    secret = f"marker-{uuid.uuid4().hex}"
    assert execute(alice, lab, f"true {secret}").status_code == 200
    assert alice.ask("POST", "workspaces", {"name": "BAD"}).status_code == 422
    kill_control(stack)
    wait_for(lambda: alice.ask("GET", "me").ok, 30, "the service is back")
    page = admin.get("audit?who=alice&limit=1000")
    whats = {record["record"]["what"] for record in page["records"]}
    assert {"workspace.create", "execute", "session.create", "session.end", "api.refused"} <= whats
    assert secret not in json.dumps(page), "the text of a command is not recorded unless it is asked for"
    created = [
        r["record"] for r in page["records"]
        if r["record"]["what"] == "workspace.create" and r["record"]["on"] == "alice/lab"
    ]  # fmt: skip
    assert [r["result"] for r in created] == ["ok", "asked"]
    begun = [(r["record"]["what"], r["record"]["result"]) for r in page["records"]]
    for what in ("session.create", "session.rename", "session.end"):
        assert begun.count((what, "ok")) and begun.count((what, "begun")) >= begun.count((what, "ok"))
    small = admin.get("audit?limit=2")
    rest = admin.get(f"audit?limit=2&before={small['before']}")
    numbers = [r["number"] for r in small["records"] + rest["records"]]
    assert numbers == list(range(numbers[0], numbers[0] - 4, -1))
    export = admin.ask("GET", "audit?format=jsonl").text.splitlines()
    assert len(export) >= len(page["records"])
    verify = subprocess.run(
        [str(Path(sys.executable).parent / "persistent-terminal-hub"), "audit", "verify",
         "--config", str(stack.config)], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert verify.returncode == 0, verify.stdout + verify.stderr
