"""A workspace in a real container by the API alone, from a private repository's clone to its deletion.

And secrets: on the container's tmpfs, in its sessions, and nowhere that Docker shows.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration.control_fixtures import Person, installation
from tests.support.git_server import PORT, USER, GitServer
from tests.support.stack import Stack, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.netns]

IMAGE = os.environ.get("PTH_TEST_IMAGE", "persistent-terminal-hub/workspace:latest")
VALUE = "s3cr3t-value-that-is-nowhere-else"
TOKEN = "t0ken-of-the-git-server-and-nowhere-else"
#: As docs/how-to/build-the-image.md says.
TRUSTING = """\
FROM {image}
USER root
COPY authority.crt /usr/local/share/ca-certificates/
RUN update-ca-certificates
USER 1000:1000
"""
BURN = """\
import time
held, end = b'x' * 80_000_000, time.process_time() + 1.5
while time.process_time() < end: pass
time.sleep(300)
"""


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    if os.geteuid() != 0 or not shutil.which("iptables"):
        pytest.skip("a network namespace needs root and iptables")
    server = GitServer(tmp_path_factory.mktemp("git"), TOKEN)
    try:
        server.open()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def trusting(git: GitServer) -> Iterator[str]:
    """The workspace image, with the git server's authority in it as an administrator brings it in."""
    name = f"pth-test/trusting:{secrets.token_hex(4)}"
    context = git.folder / "image"
    context.mkdir()
    (context / "Dockerfile").write_text(TRUSTING.format(image=IMAGE))
    shutil.copy(git.authority, context)
    subprocess.run(["docker", "build", "-q", "-t", name, str(context)], check=True, capture_output=True)
    yield name
    subprocess.run(["docker", "rmi", "-f", name], check=False, capture_output=True)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, git: GitServer, trusting: str) -> Iterator[Stack]:
    settings: dict[str, dict[str, Any]] = {
        "control": {"operators": ["olga"]},
        "usage": {"sampleSeconds": 5},
        "workspace": {
            "image": IMAGE, "images": [trusting], "egressAllow": [f"{git.address}:{PORT}"],
        },
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("secrets-docker")
    with installation(folder, ("alice", "bob", "olga"), settings, "docker") as stack:
        yield stack


@pytest.fixture(scope="module")
def alice(stack: Stack) -> Person:
    return Person(stack, "alice")


def left_of(stack: Stack, workspace: str) -> str:
    """What Docker has of a workspace of alice's."""
    label = ["--filter", f"label=pth.hub={stack.hub_id}", "--filter", f"label=pth.workspace={workspace}"]
    found = [stack.docker(*kind.split(), "-q", *label) for kind in ("ps -a", "volume ls", "network ls")]
    return "".join(found)


def written_anywhere(stack: Stack) -> str:
    """The database and all that the installation's own processes wrote."""
    with sqlite3.connect(f"file:{stack.data}/control.sqlite?mode=ro", uri=True) as database:
        rows = "\n".join(database.iterdump())
    files = "".join(path.read_text(errors="replace") for path in (stack.data / "audit").glob("*"))
    return rows + files + stack.output()


def test_a_private_repository_from_its_clone_to_its_end(stack: Stack, git: GitServer, trusting: str) -> None:
    alice, bob, olga = (Person(stack, name) for name in ("alice", "bob", "olga"))
    common = {
        "image": trusting, "egress": "list", "resources": {"cpu": 1, "memory": "1G", "pids": 256},
        "env": {"MODE": "fast"},
    }  # fmt: skip
    source = {"url": git.url, "branch": "main", "credentialsSecret": "GIT"}

    def clone(name: str, token: str) -> dict[str, Any]:
        body = {"name": name, **common, "source": source, "secrets": {"GIT": f"{USER}:{token}"}}
        return alice.operation(alice.ask("POST", "workspaces/clone", body))

    # At the same time: the right token, and a wrong one.
    with ThreadPoolExecutor(2) as threads:
        doing = [
            threads.submit(clone, "paper", TOKEN), threads.submit(clone, "wrong", "another-token"),
        ]  # fmt: skip
        done, wrong = (each.result() for each in doing)
    assert done["state"] == "done" and done["path"] == "paper", done
    assert wrong["state"] == "failed" and "refused the credentials. Nothing was cloned." in wrong["error"]
    assert alice.status("alice~wrong") == "gone" and left_of(stack, "wrong") == ""
    assert [(s["name"], s["workspace"]) for s in alice.get("secrets")["secrets"]] == [("GIT", "alice~paper")]

    # The token is nowhere but in the workspace's memory.
    container = stack.container("alice", "paper")
    config = stack.docker("exec", container, "cat", "paper/.git/config")
    assert git.url in config and TOKEN not in config
    shown = stack.docker("inspect", container) + stack.docker("logs", container)
    processes = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"
    shown += stack.docker("exec", container, "sh", "-c", processes)
    assert "JUPYTERHUB_API_URL" in shown
    assert TOKEN not in shown + str(done) + git.log.read_text() + written_anywhere(stack)
    assert stack.docker("exec", container, "sh", "-c", "ls /run/pth | grep clone || true") == ""

    # Commands, logs, and what it uses.
    def execute(command: str) -> str:
        answer = alice.ask("POST", "workspaces/alice~paper/execute", {"command": command})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["stdout"])

    assert execute("cat paper/README; echo $MODE; id -u") == "read me\nfast\n1000\n"
    # `list` lets it reach the git server, and nothing else that is there.
    reach = "curl -sS -m 3 -o /dev/null -w %{http_code} "
    assert execute(f"{reach} {git.url}/info/refs") == "401"
    assert execute(f"{reach} http://{git.address}:9/ 2>/dev/null; echo") == "000\n"
    assert len(alice.get("workspaces/alice~paper/logs?lines=20")["lines"]) > 0
    burning = alice.session(f'exec python3 -c "{BURN}"', "paper")

    def used() -> Any:
        found = alice.get("workspaces/alice~paper/stats")
        mine = next((s for s in found["sessions"] if s["id"] == burning), None)
        return (found, mine) if mine and mine["cpuSeconds"] >= 1.4 else None

    whole, session = wait_for(used, 30, "the session's CPU time is seen")
    assert 80e6 < session["memoryBytes"] < whole["memoryBytes"] <= whole["memoryPeakBytes"] <= 1 << 30
    assert session["cpuSeconds"] < whole["cpuSeconds"] and whole["memoryLimitBytes"] == 1 << 30
    assert whole["receivedBytes"] > 0 and whole["sentBytes"] > 0

    # Nobody else does anything with it; an operator sees and steers.
    for method, path, body in (
        ("GET", "", None), ("PATCH", "", {"displayName": "x"}), ("DELETE", "", None), ("POST", "/stop", {}),
        ("POST", "/start", {}), ("POST", "/restart", {}), ("POST", "/execute", {"command": "id"}),
        ("GET", "/logs", None), ("GET", "/stats", None),
    ):  # fmt: skip
        for key in ("alice~paper", done["workspaceId"]):
            assert bob.ask(method, f"workspaces/{key}{path}", body).status_code == 404, (method, path)
    for path in ("sessions/" + f"{done['workspaceId']}.{burning}", f"operations/{done['id']}"):
        assert bob.ask("GET", path).status_code == bob.ask("DELETE", path).status_code == 404, path
    assert bob.ask("POST", "sessions", {"workspace": "alice~paper"}).status_code == 404
    for other in (bob, olga):
        for path in ("lab", "api/terminals", "persistent-terminals/api/sessions"):
            assert other.call("GET", f"/user/alice/paper/{path}").status_code in (403, 404), path
    seen = olga.get("workspaces/alice~paper")
    assert seen["status"] == "running" and seen["env"] == {}
    assert olga.get("workspaces/alice~paper/stats")["cpuSeconds"] > 1
    for path, body in (("/execute", {"command": "id"}), ("/start", {}), ("/restart", {})):
        assert olga.ask("POST", f"workspaces/alice~paper{path}", body).status_code == 403
    assert olga.ask("GET", "workspaces/alice~paper/logs").status_code == 403
    assert olga.ask("POST", "sessions", {"workspace": "alice~paper"}).status_code == 403
    assert olga.ask("DELETE", "workspaces/alice~paper").status_code == 403

    # Stopped by the operator, started again by its owner: files, and what ended sessions printed.
    ended = alice.session("echo printed-$MODE; exit 3", "paper")
    wait_for(lambda: alice.inside("GET", f"sessions/{ended}", None, "paper").json()["state"] == "ended", 20)
    execute("echo kept > paper/mine")
    stopped = olga.operation(olga.ask("POST", "workspaces/alice~paper/stop", {}))
    assert stopped["state"] == "done" and alice.status("alice~paper") == "stopped"
    restarted = alice.operation(alice.ask("POST", "workspaces/alice~paper/restart", {}))
    assert restarted["state"] == "done" and stack.container("alice", "paper") != container
    assert execute("cat paper/README paper/mine; echo $MODE") == "read me\nkept\nfast\n"
    again = alice.session("echo again-$MODE", "paper")

    def output(session: str) -> str:
        return alice.inside("GET", f"sessions/{session}/output?format=text", None, "paper").text

    wait_for(lambda: "again-fast" in output(again), 20, "the new session has the variables")
    past = {s["sessionId"]: s for s in alice.get("sessions?workspace=alice~paper")["sessions"]}
    assert past[ended]["state"] == "ended" and past[ended]["exit"]["code"] == 3
    assert past[burning]["state"] == "ended"
    assert "printed-fast" in output(ended)

    assert alice.operation(alice.ask("DELETE", "workspaces/alice~paper"))["state"] == "done"
    assert alice.status("alice~paper") == "gone" and left_of(stack, "paper") == ""
    assert alice.get("secrets")["secrets"] == []


def test_only_on_the_tmpfs_and_in_sessions(stack: Stack, alice: Person) -> None:
    assert alice.put_secret("API_TOKEN", VALUE).status_code == 201
    stack.start_workspace(alice.browser, "alice")
    alice.wait_for_secrets(["API_TOKEN"])
    container = stack.container("alice")

    def inside(command: str) -> str:
        return stack.docker("exec", container, "sh", "-c", command)

    alice.session("env > ~/seen; cat $PTH_SECRETS_DIR/API_TOKEN > ~/read; sync; touch ~/done; sleep 300")
    wait_for(lambda: "done" in inside("ls ~"), 20, "the session ran")
    assert f"API_TOKEN={VALUE}" in inside("cat ~/seen").splitlines()
    assert inside("cat ~/read") == VALUE
    assert "tmpfs" in inside("stat -f -c %T /run/pth/secrets/API_TOKEN")
    files = "/run/pth/secrets /run/pth/secrets/API_TOKEN /run/pth/session-secrets.json"
    assert inside(f"stat -L -c %a {files}") == "700\n600\n600\n"
    inside("rm ~/seen ~/read")
    assert VALUE not in stack.docker("inspect", container) + stack.docker("logs", container)
    # Of all processes in it, only those of the session have it.
    others = (
        "for p in /proc/[0-9]*; do grep -qa PTH_SESSION_ID= $p/environ || cat $p/environ $p/cmdline; done"
    )
    shown = inside(f"({others}) 2>/dev/null | tr '\\0' '\\n'")
    assert "JUPYTERHUB_API_URL" in shown and VALUE not in shown
    assert VALUE not in stack.docker("diff", container)

    # Another start has another, empty tmpfs, and the secrets come again.
    alice.restart()
    alice.wait_for_secrets(["API_TOKEN"])


def test_its_own_figures(alice: Person) -> None:
    burn = "import time; e=time.process_time()+1.5\nwhile time.process_time()<e: pass\ntime.sleep(100)"
    session = alice.session(f"head -c 30000000 /dev/zero > ~/big; python3 -c '{burn}'")
    path = "/user/alice/persistent-terminals/api/usage"

    def used() -> Any:
        found = alice.call("GET", path).json()
        mine = next((s for s in found["sessions"] if s["id"] == session), None)
        return found if mine and mine["cpuSeconds"] >= 1.4 else None

    found = wait_for(used, 40, "the session's CPU time is seen")
    assert found["cpuSeconds"] > 1.4
    assert found["memoryLimitBytes"] == 2 << 30
    assert 10_000_000 < found["memoryBytes"] <= found["memoryPeakBytes"]
    assert found["receivedBytes"] > 0 and found["sentBytes"] > 0
    assert found["diskBytes"] is not None
    noted = wait_for(
        lambda: alice.call("GET", "/services/terminals/api/usage").json()["users"], 30, "it was noted"
    )
    assert noted[0]["cpuSeconds"] > 0 and noted[0]["receivedBytes"] > 0
