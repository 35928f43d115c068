"""The embedded backend for real: a workspace outlives hub and proxy, is adopted, and stops completely."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest
import requests
import websockets.sync.client

from persistent_terminal_hub.hub.process_spawner import workspace_key
from tests.integration.hub_fixtures import Browser, Serve, wait_for, workspace_processes

pytest_plugins = ["tests.integration.hub_fixtures"]


@pytest.fixture
def hub(local_hub: Serve) -> Serve:
    return local_hub


def admin_of(hub: Serve) -> Browser:
    browser = Browser(hub)
    browser.log_in("admin", hub.password)
    return browser


class Terminal:
    """A terminal of the workspace, over the proxy, without the hub once it is open."""

    def __init__(self, hub: Serve, browser: Browser) -> None:
        token = browser.api("POST", "users/admin/tokens", json={"note": "test"}).json()["token"]
        self.headers = {"Authorization": f"token {token}"}
        self.base = hub.url + "user/admin/"
        answer = requests.post(self.base + "api/terminals", headers=self.headers, timeout=30)
        assert answer.ok, answer.text
        url = self.base.replace("http", "ws", 1) + "terminals/websocket/" + answer.json()["name"]
        self.socket = websockets.sync.client.connect(  # type: ignore
            url, additional_headers=self.headers
        )

    def run(self, command: str, expect: str, seconds: float = 15) -> str:
        self.socket.send(json.dumps(["stdin", command + "\r"]))
        seen = ""
        deadline = time.monotonic() + seconds
        while expect not in seen:
            kind, *rest = json.loads(self.socket.recv(timeout=max(0.1, deadline - time.monotonic())))
            seen += str(rest[0]) if kind == "stdout" else ""
        return seen


def server_of(browser: Browser) -> dict[str, Any]:
    found = browser.api("GET", "users/admin").json()
    return dict(found["servers"].get("", {}))


def start(browser: Browser) -> None:
    if server_of(browser).get("ready"):
        return
    assert browser.api("POST", "users/admin/server").status_code in (201, 202)
    assert wait_for(lambda: server_of(browser).get("ready"), 40)


def test_a_workspace_outlives_the_hub_and_the_supervisor(hub: Serve) -> None:
    browser = admin_of(hub)
    start(browser)
    terminal = Terminal(hub, browser)
    terminal.run("stty -echo; echo pid=$$=", "=\r\n")
    terminal.run("echo $HOME; pwd; echo ${PTH_WORKSPACE_NOTICE:0:10}", "Workspaces")
    before = server_of(browser)

    # The hub is killed: keystrokes still echo through the proxy, and the supervisor starts another.
    old = hub.child_pid("jupyterhub_config")
    os.kill(old, signal.SIGKILL)
    terminal.run("echo still-$((40+2))", "still-42")
    assert wait_for(lambda: hub.child_pid("jupyterhub_config") not in (0, old), 10)
    assert "hub was ended by SIGKILL; starting it again" in hub.log
    assert wait_for(lambda: admin_answers(hub), 30)
    browser = admin_of(hub)
    after = server_of(browser)
    assert after["ready"]
    assert after["started"] == before["started"]
    terminal.run("echo again-$((40+3))", "again-43")

    # The proxy is killed: connections drop, routes come back by themselves.
    os.kill(hub.child_pid("configurable-http-proxy"), signal.SIGKILL)
    status = terminal.base + "api/status"
    assert wait_for(lambda: ok(status, terminal.headers), 20)

    # The supervisor is killed: its children go with it, the workspace stays; the next one finds it.
    assert hub.process is not None
    hub.process.kill()
    hub.process.wait()
    hub.start().wait_ready()
    browser = admin_of(hub)
    assert server_of(browser)["started"] == before["started"]
    assert ok(status, terminal.headers)


def admin_answers(hub: Serve) -> bool:
    try:
        return requests.get(hub.url + "hub/health", timeout=3).ok
    except requests.RequestException:
        return False


def ok(url: str, headers: dict[str, str]) -> bool:
    try:
        return requests.get(url, headers=headers, timeout=3).ok
    except requests.RequestException:
        return False


def test_files_are_private_and_a_stop_ends_everything(hub: Serve) -> None:
    browser = admin_of(hub)
    start(browser)
    assert hub.data.stat().st_mode & 0o777 == 0o700
    runtime = list((hub.data / "run").iterdir())
    for path in runtime:
        assert path.stat().st_mode & 0o777 == 0o700
    terminal = Terminal(hub, browser)
    # Out of the process group, deaf to TERM and HUP: what people leave behind.
    terminal.run(
        "setsid nohup sh -c 'trap \"\" TERM HUP; sleep 1000' >/dev/null 2>&1 & echo left-$((1+1))", "left-2"
    )
    assert len(workspace_processes(hub)) >= 3
    assert browser.api("DELETE", "users/admin/server").status_code in (202, 204)
    assert wait_for(lambda: not server_of(browser), 20)
    # Other files' people may have workspaces on this hub.
    assert wait_for(lambda: not workspace_processes(hub, "admin-"), 20)


def test_files_are_never_passed_on_with_a_name(hub: Serve) -> None:
    browser = admin_of(hub)
    start(browser)
    refused = browser.api("PATCH", "users/admin", json={"name": "chief"})
    assert refused.status_code == 409
    assert "admin keeps this name, because the files" in refused.json()["message"]
    assert browser.api("GET", "users/admin").ok
    assert browser.api("POST", "users/quentin").status_code == 201
    assert browser.api("PATCH", "users/quentin", json={"name": "quincy"}).status_code == 200  # has had none
    files = hub.data / "workspaces" / workspace_key("quincy", "")
    files.mkdir()
    (files / "diary").write_text("secret")
    assert browser.api("DELETE", "users/quincy").status_code == 204
    assert not files.exists()


def test_a_dead_workspace_is_noticed_after_a_restart(hub: Serve) -> None:
    browser = admin_of(hub)
    start(browser)
    hub.stop()
    assert "Workspaces that were running go on" in hub.log
    left = workspace_processes(hub)
    assert left
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    hub.start().wait_ready()
    assert not server_of(admin_of(hub))
