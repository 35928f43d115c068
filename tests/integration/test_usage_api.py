"""Use, measured in a real workspace, asked for over the real hub; and the quota of files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from test_secrets_delivery import Person

from tests.support.stack import Stack, wait_for

API = "/services/terminals/api/usage"
BURN = "import time; e=time.process_time()+1.5\nwhile time.process_time()<e: pass\ntime.sleep(120)"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings: dict[str, dict[str, Any]] = {
        "culler": {"enabled": False},
        "control": {"operators": ["olga"]},
        "usage": {"sampleSeconds": 5},
        "workspace": {"diskQuota": "5M"},
        "session": {"maxCpuSeconds": 3, "warnSeconds": 2},
    }
    stack = Stack(tmp_path_factory.mktemp("usage"), backend="process", settings=settings)
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


def test_what_a_session_used_is_summed_up(stack: Stack, alice: Person) -> None:
    session = alice.session(f'python3 -c "{BURN}"')

    def used() -> Any:
        answer = alice.call("GET", f"{API}?sessions=true&resolution=minute").json()
        mine = [s for w in answer["workspaces"] for s in w["sessions"] if s["id"] == session]
        return answer if mine and mine[0]["cpuSeconds"] >= 1.2 else None

    answer = wait_for(used, 40, "the session's CPU time was noted")
    (workspace,) = answer["workspaces"]
    (user,) = answer["users"]
    assert user["user"] == workspace["user"] == "alice" and workspace["name"] == ""
    assert user["cpuSeconds"] == workspace["cpuSeconds"] >= 1.2
    assert abs(sum(s["cpuSeconds"] for s in workspace["samples"]) - workspace["cpuSeconds"]) < 1e-6
    assert workspace["memoryPeak"] >= workspace["memoryBytes"] > 1_000_000
    olga = Person(stack, "olga")
    assert olga.call("GET", API).json()["users"] == []
    for query in ("?all=true", "?user=alice"):
        assert [u["user"] for u in olga.call("GET", API + query).json()["users"]] == ["alice"]
    assert alice.call("GET", f"{API}?all=true").status_code == 403
    assert alice.call("GET", f"{API}?user=olga").status_code == 404
    for query in ("?from=5&to=5", "?from=-1", "?to=9999999999999", "?resolution=second", "?what=1",
                  "?all=true&user=alice", "?all=yes!"):  # fmt: skip
        answer = olga.call("GET", API + query)
        assert answer.status_code == 422 and answer.json()["message"], query
    assert alice.call("GET", f"{API}?from=0&resolution=day").status_code == 200


def test_a_session_that_uses_too_much_is_warned_and_ended(alice: Person) -> None:
    path = "/user/alice/persistent-terminals/api"
    modest = alice.session("sleep 300")
    greedy = alice.session("while :; do :; done")
    wait_for(
        lambda: alice.call("GET", f"{path}/sessions/{greedy}").json()["state"] == "ended", 60, "it was ended"
    )
    model = alice.call("GET", f"{path}/sessions/{greedy}").json()
    assert "cpu" in str(model)
    events = alice.call("GET", f"{path}/facts").json()["events"]
    kinds = [(event["kind"], event.get("code")) for event in events if event.get("session") == greedy]
    assert kinds == [("warned", "cpu"), ("ended", "cpu")]
    assert alice.call("GET", f"{path}/sessions/{modest}").json()["state"] != "ended"


def test_beyond_the_quota_nothing_new_starts(stack: Stack, alice: Person) -> None:
    (home,) = (stack.data / "workspaces").iterdir()
    big: Path = home / "big"
    big.write_bytes(b"x" * 8_000_000)
    path = "/user/alice/persistent-terminals/api"
    # The sum is made every few minutes; a server that has just started makes it at once.
    stack.api(alice.browser, "DELETE", "/users/alice/server")
    wait_for(lambda: not stack.api(alice.browser, "GET", "/users/alice").json()["servers"], 30, "it stopped")
    stack.start_workspace(alice.browser, "alice")
    wait_for(lambda: (alice.call("GET", f"{path}/usage").json()["diskBytes"] or 0) > 8e6, 20, "summed up")
    refused = alice.call("POST", f"{path}/sessions", {})
    assert refused.status_code == 409 and "quota is 5 MiB" in refused.json()["message"]
    assert alice.call("POST", "/user/alice/api/terminals", {}).status_code == 409
    big.unlink()
    created = alice.call("POST", f"{path}/sessions", {})
    assert created.status_code == 201, created.text
