"""The culler for real: a hub, workspaces as processes, the supervisor. Durations are scaled, not mocked.

Idle stop 3 s, a cycle each second. The job sleeps ten times the idle stop in a terminal that nobody watches.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.benchmarks.idle_culler_comparison import type_and_leave
from tests.integration.hub_fixtures import Browser, Serve, wait_for, workspace_processes
from tests.support import enabled_extension

pytest_plugins = ["tests.integration.hub_fixtures"]

IDLE_SECONDS = 3.0
SETTINGS = """
workspace: {{backend: process, stopTimeoutSeconds: 5}}
session: {{warnSeconds: 1}}
culler: {{intervalSeconds: 1, idleStopMinutes: {idle}, dryRun: {dry}, timeoutSeconds: 2}}
"""


@contextlib.contextmanager
def serving(folder: Path, idle: float, dry: bool) -> Iterator[Serve]:
    serve = Serve(
        folder / "data",
        SETTINGS.format(idle=idle / 60, dry=str(dry).lower()),
        environment=enabled_extension.environment(folder / "site"),
    )
    serve.start().wait_ready()
    try:
        yield serve
    finally:
        serve.stop()
        for pid in workspace_processes(serve):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    with serving(tmp_path_factory.mktemp("culler"), IDLE_SECONDS, False) as made:
        yield made


@pytest.fixture(scope="module")
def browser(hub: Serve) -> Browser:
    made = Browser(hub)
    made.log_in("admin", hub.password)
    return made


def server_of(browser: Browser) -> dict[str, Any]:
    return dict(browser.api("GET", "users/admin").json()["servers"].get("", {}))


def start(browser: Browser) -> str:
    """Start the workspace; a token for it."""
    assert browser.api("POST", "users/admin/server").status_code in (201, 202)
    assert wait_for(lambda: server_of(browser).get("ready"), 60)
    return str(browser.api("POST", "users/admin/tokens", json={"note": "test"}).json()["token"])


def decisions(hub: Serve, action: str = "") -> list[dict[str, Any]]:
    """What the culler has written so far."""
    lines = [line.removeprefix("[culler] ") for line in hub.log.splitlines() if line.startswith("[culler] {")]
    found = [json.loads(line) for line in lines]
    return [each for each in found if action in ("", each["action"])]


def test_a_detached_silent_job_survives_and_then_the_workspace_stops(hub: Serve, browser: Browser) -> None:
    token = start(browser)
    done = hub.data / "job-done"
    job = f"sleep {10 * IDLE_SECONDS:g}"
    type_and_leave(f"{hub.url}user/admin/", token, f"sh -c 'echo started; {job}; echo done >{done}'")
    began = time.monotonic()
    while not done.exists():
        assert server_of(browser).get("ready"), decisions(hub)
        assert time.monotonic() - began < 60
        time.sleep(1)
    assert decisions(hub, "stop") == []
    kept = [each["reason"] for each in decisions(hub, "keep") if "job" in each["reason"]]
    assert kept and kept[0].startswith("A job runs in the session")
    assert wait_for(lambda: not server_of(browser), 30)
    (stop,) = decisions(hub, "stop")
    assert (stop["user"], stop["workspace"], stop["result"]) == ("admin", "", "done")
    assert "the warning was shown" in stop["reason"]
    assert wait_for(lambda: not workspace_processes(hub), 10)
    # It is on record, too.
    events = [
        json.loads(line)
        for path in (hub.data / "audit").glob("*")
        if path.suffix != ".lock" and path.is_file()
        for line in path.read_text().splitlines()
    ]
    assert ("service:culler", "workspace.stop", "admin/") in [
        (event.get("who"), event.get("what"), event.get("on")) for event in events
    ]


def test_a_workspace_that_does_not_answer_is_left_alone(hub: Serve, browser: Browser) -> None:
    start(browser)
    before = len(decisions(hub, "stop"))
    server = [
        pid
        for pid in workspace_processes(hub)
        if "persistent_terminal_hub.server.singleuser" in command_of(pid) and "keeper" not in command_of(pid)
    ]
    assert len(server) == 1
    os.kill(server[0], signal.SIGSTOP)
    try:
        said = len(decisions(hub, "keep"))
        silent = lambda: [each for each in decisions(hub, "keep")[said:] if each.get("state") == "timeout"]  # noqa: E731
        assert wait_for(silent, 15)
        time.sleep(2 * IDLE_SECONDS)
        assert len(decisions(hub, "stop")) == before
        assert server_of(browser).get("ready")
    finally:
        os.kill(server[0], signal.SIGCONT)
    # It answers again, was idle all the time, and is warned and stopped now.
    assert wait_for(lambda: not server_of(browser), 30)


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def test_it_outlives_the_hub_and_comes_back_itself(hub: Serve) -> None:
    culler = hub.child_pid("persistent_terminal_hub.culler")
    assert culler
    # At the very start it waits for the hub, too.
    assert wait_for(lambda: len(decisions(hub, "go on")) == len(decisions(hub, "wait")), 10)
    before = len(decisions(hub, "wait"))
    os.kill(hub.child_pid("jupyterhub_config"), signal.SIGKILL)
    assert wait_for(lambda: len(decisions(hub, "wait")) > before, 10)
    assert "The hub does not answer" in decisions(hub, "wait")[-1]["reason"]
    assert wait_for(lambda: decisions(hub)[-1]["action"] == "go on", 60)
    assert hub.child_pid("persistent_terminal_hub.culler") == culler
    os.kill(culler, signal.SIGKILL)
    assert wait_for(lambda: hub.child_pid("persistent_terminal_hub.culler") not in (0, culler), 10)
    assert "culler was ended by SIGKILL; starting it again" in hub.log


def test_what_its_token_may_do(hub: Serve, browser: Browser) -> None:
    token = (hub.data / "culler_token").read_text().strip()
    assert (hub.data / "culler_token").stat().st_mode & 0o077 == 0
    headers = {"Authorization": f"token {token}"}

    def status(method: str, path: str, **options: Any) -> int:
        return requests.request(
            method, hub.url + path, headers=headers, timeout=10, allow_redirects=False, **options
        ).status_code

    assert status("GET", "hub/persistent-terminals/api/running") == 200
    assert status("GET", "hub/persistent-terminals/api/orphans") == 200
    start(browser)  # and look there first: it stops in a moment
    for method, path in (
        ("GET", "user/admin/api/status"), ("GET", "user/admin/api/terminals"),
        ("GET", "hub/api/users"), ("GET", "hub/api/users/admin"), ("POST", "hub/api/users/eve"),
        ("POST", "hub/api/users/admin/server"), ("POST", "hub/api/users/admin/tokens"),
        ("DELETE", "hub/api/users/admin"), ("GET", "hub/api/proxy"), ("POST", "hub/api/shutdown"),
    ):  # fmt: skip
        assert status(method, path) in (403, 404), path
    # The token is in no command line and no log.
    assert token not in hub.log
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        assert token not in command_of(int(path.parent.name))


def test_a_dry_run_stops_nothing_and_dies_with_its_supervisor(tmp_path: Path) -> None:
    with serving(tmp_path, 1.0, True) as hub:
        browser = Browser(hub)
        browser.log_in("admin", hub.password)
        start(browser)
        assert wait_for(lambda: decisions(hub, "warn"), 20)
        time.sleep(3)
        assert server_of(browser).get("ready")
        assert all(each["dryRun"] for each in decisions(hub))
        assert {each["result"] for each in decisions(hub, "warn")} == {"not done"}
        culler = hub.child_pid("persistent_terminal_hub.culler")
        assert hub.process is not None
        hub.process.kill()
        hub.process.wait()
        assert wait_for(lambda: not command_of(culler), 10)
