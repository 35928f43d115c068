"""Secrets and use in a real container: on its tmpfs, in its sessions, and nowhere that Docker shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from test_secrets_delivery import API, VALUE, Person

from tests.support.stack import Stack, wait_for

pytestmark = pytest.mark.docker

IMAGE = os.environ.get("PTH_TEST_IMAGE", "persistent-terminal-hub/workspace:latest")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings: dict[str, dict[str, Any]] = {
        "culler": {"enabled": False},
        "workspace": {"image": IMAGE},
        "usage": {"sampleSeconds": 5},
    }
    stack = Stack(tmp_path_factory.mktemp("secrets-docker"), settings=settings)
    try:
        stack.start()
        stack.add_user("alice")
        wait_for(lambda: requests.get(stack.url + API, timeout=5).status_code == 401, 30, "it answers")
        yield stack
    finally:
        stack.stop()
        stack.remove_everything()


def test_only_on_the_tmpfs_and_in_sessions(stack: Stack) -> None:
    alice = Person(stack, "alice")
    assert alice.put("API_TOKEN", VALUE).status_code == 201
    stack.start_workspace(alice.browser, "alice")
    alice.wait_for_version(["API_TOKEN"])
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
    stack.api(alice.browser, "DELETE", "/users/alice/server")
    wait_for(lambda: not stack.api(alice.browser, "GET", "/users/alice").json()["servers"], 60, "it stopped")
    stack.start_workspace(alice.browser, "alice")
    alice.wait_for_version(["API_TOKEN"])


def test_its_own_figures(stack: Stack) -> None:
    alice = Person(stack, "alice")
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
