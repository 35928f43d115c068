"""What a person inside a workspace can and cannot do: a real hub, proxy, engine and container."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from ipaddress import IPv4Network

import pytest
import requests

from tests.support.stack import Stack, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    limits = {"memory": "512M", "pids": 120, "cpu": 1.0, "maxPerUser": 2}
    installation = Stack(tmp_path_factory.mktemp("stack"), settings={"workspace": limits})
    installation.start()
    installation.add_user("carol")
    yield installation
    installation.stop()
    installation.remove_everything()


@pytest.fixture(scope="module")
def carol(stack: Stack) -> requests.Session:
    session = stack.login("carol")
    stack.start_workspace(session, "carol")
    return session


def inside(stack: Stack, *command: str, check: bool = True) -> str:
    """Run a command in carol's container."""
    return stack.docker("exec", stack.container("carol"), *command, check=check)


def answers(stack: Stack, session: requests.Session) -> bool:
    """Does the Jupyter server in the workspace answer?"""
    token = stack.token(session, "carol")
    url = f"{stack.url}/user/carol/api/status"
    return requests.get(url, headers={"Authorization": f"token {token}"}, timeout=20).ok


def test_unprivileged_and_read_only(stack: Stack, carol: requests.Session) -> None:
    status = dict(
        line.split(":\t", 1) for line in inside(stack, "cat", "/proc/1/status").splitlines() if ":\t" in line
    )
    assert status["Uid"].split() == ["1000"] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    for folder in ("/", "/usr/bin", "/etc", "/opt/pth", "/run"):
        assert "Read-only" in inside(stack, "sh", "-c", f"touch {folder}/x 2>&1; true"), folder
    inside(stack, "sh", "-c", "touch /workspace/x /tmp/x && rm /workspace/x /tmp/x")
    assert inside(stack, "stat", "-c", "%a %u", "/run/pth").split() == ["700", "1000"]
    assert "No such file" in inside(stack, "sh", "-c", "ls /var/run/docker.sock 2>&1; true")


def test_no_secret_in_docker_inspect(stack: Stack, carol: requests.Session) -> None:
    script = (
        "import glob,json\nseen={}\n"
        "for p in glob.glob('/proc/[0-9]*/environ'):\n"
        "  try: data=open(p,'rb').read().decode()\n"
        "  except OSError: continue\n"
        "  seen.update(dict(v.split('=',1) for v in data.split(chr(0)) if '=' in v))\n"
        "print(json.dumps({k:v for k,v in seen.items() if 'TOKEN' in k or 'SECRET' in k}))"
    )
    secrets = json.loads(inside(stack, "python3", "-c", script))
    assert secrets.get("JUPYTERHUB_API_TOKEN"), "the server has no token: the test looks in the wrong place"
    proxy_token = (stack.data / "proxy_token").read_text().strip()
    inspected = stack.docker("inspect", stack.container("carol"))
    for value in {*secrets.values(), proxy_token}:
        assert value not in inspected
    assert "JUPYTERHUB" not in inspected
    assert all(value not in stack.output() for value in {*secrets.values(), proxy_token})


def test_a_fork_bomb_is_contained(stack: Stack, carol: requests.Session) -> None:
    bomb = (
        "import os,time\nn=0\n"
        "try:\n"
        "  while n<5000:\n"
        "    if os.fork()==0: time.sleep(3); os._exit(0)\n"
        "    n+=1\n"
        "except OSError as e: print('stopped', n, e.errno)\n"
    )
    out = inside(stack, "python3", "-c", bomb)
    assert out.startswith("stopped") and int(out.split()[1]) < 120
    wait_for(lambda: answers(stack, carol), 30, "the workspace answers after the fork bomb")


def test_a_memory_hog_is_contained(stack: Stack, carol: requests.Session) -> None:
    container = stack.container("carol")
    hog = "b=[]\nwhile True: b.append(bytearray(b'x'*16*2**20))"
    code = inside(stack, "sh", "-c", f'python3 -c "{hog}"; echo code=$?', check=False)
    assert "code=137" in code or code == "", code
    wait_for(lambda: answers(stack, carol), 30, "the workspace answers after the memory hog")
    assert stack.container("carol") == container


@pytest.mark.skipif(os.geteuid() != 0, reason="only a root hub filters by itself")
def test_a_root_hub_filters_the_network(stack: Stack, carol: requests.Session) -> None:
    settings = json.loads(stack.config.read_text())
    hub = str(next(IPv4Network(settings["docker"]["subnetPool"]).hosts()))
    with socket.create_server(("0.0.0.0", 0)) as service:  # of the machine, on all its addresses
        port = service.getsockname()[1]
        socket.create_connection((hub, port), 5).close()
        for target, number, wanted in (
            (hub, port, False), (hub, settings["server"]["hubPort"], True), ("169.254.169.254", 80, False),
        ):  # fmt: skip
            script = (
                f"import socket\ntry: socket.create_connection(({target!r}, {number}), 5); print(True)\n"
                "except OSError: print(False)"
            )
            assert inside(stack, "python3", "-c", script).strip() == str(wanted), (target, number)
    # The helper is killed and comes back; nobody's rules but this hub's are touched.
    os.kill(stack.pid_of("egress-helper"), signal.SIGKILL)
    wait_for(lambda: "egress-helper is back" in stack.output(), 30, "the helper is back")


def test_a_third_named_workspace_is_refused_with_the_rule(stack: Stack, carol: requests.Session) -> None:
    for name in ("one", "two"):
        stack.start_workspace(carol, "carol", name)
    answer = stack.api(carol, "POST", "/users/carol/servers/three")
    assert answer.status_code == 400 and "2" in answer.json()["message"]
    assert stack.container("carol", "one") != stack.container("carol", "two")
    for name in ("one", "two"):
        assert stack.api(carol, "DELETE", f"/users/carol/servers/{name}").status_code in (202, 204)
