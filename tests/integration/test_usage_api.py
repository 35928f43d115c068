"""Use, measured in a real workspace, asked for over the real hub; and the quota of files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.control_fixtures import Person, installation
from tests.support.stack import Stack, wait_for

API = "/services/terminals/api/usage"
BURN = "import time; e=time.process_time()+1.5\nwhile time.process_time()<e: pass\ntime.sleep(120)"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings: dict[str, dict[str, Any]] = {
        "control": {"operators": ["olga"]},
        "usage": {"sampleSeconds": 5},
        "workspace": {"diskQuota": "5M"},
        "session": {"maxCpuSeconds": 3, "maxMemory": "200M", "warnSeconds": 2},
    }
    with installation(tmp_path_factory.mktemp("usage"), ("alice", "olga"), settings) as stack:
        yield stack


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
    modest = alice.session("sleep 300")
    # The one burns, the other holds what it took (and wrote to, or it would not be there).
    greedy = {
        "cpu": alice.session("while :; do :; done"),
        "memory": alice.session("exec python3 -c \"x = b'x' * 300_000_000; import time; time.sleep(300)\""),
    }

    def model(session: str) -> dict[str, Any]:
        return dict(alice.inside("GET", f"sessions/{session}").json())

    for session in greedy.values():
        wait_for(lambda session=session: model(session)["state"] == "ended", 60, "it was ended")  # type: ignore[misc]
    events = alice.inside("GET", "facts").json()["events"]
    for code, session in greedy.items():
        assert model(session)["exit"]["reason"] == code
        mine = [event for event in events if event.get("session") == session]
        assert [(event["kind"], event.get("code")) for event in mine] == [("warned", code), ("ended", code)]
        words = "CPU time" if code == "cpu" else "200 MiB"
        assert all(words in event["reason"] for event in mine), mine
    # The person's lists say it too.
    listed = {s["sessionId"]: s for s in alice.get("sessions")["sessions"]}
    assert listed[greedy["memory"]]["exit"]["reason"] == "memory"
    assert model(modest)["state"] != "ended"


def test_beyond_the_quota_nothing_new_starts(stack: Stack, alice: Person) -> None:
    (home,) = (stack.data / "workspaces").iterdir()
    big: Path = home / "big"
    big.write_bytes(b"x" * 8_000_000)
    # The sum is made every few minutes; a server that has just started makes it at once.
    alice.restart()
    wait_for(lambda: (alice.inside("GET", "usage").json()["diskBytes"] or 0) > 8e6, 20, "summed up")
    clone = {"id": "ab" * 8, "url": "https://192.0.2.1/r.git"}
    for refused in (
        alice.inside("POST", "sessions", {}),
        alice.ask("POST", "sessions", {"workspace": "alice~"}),
        alice.ask("POST", "workspaces/alice~/execute", {"command": "touch new"}),
        alice.inside("POST", "execute", {"command": "touch new"}),
        alice.inside("POST", "clone", clone),
    ):
        assert refused.status_code == 409 and "quota is 5 MiB" in refused.json()["message"], refused.text
    assert alice.call("POST", "/user/alice/api/terminals", {}).status_code == 409
    assert not (home / "new").exists()
    stats = alice.get("workspaces/alice~/stats")
    assert stats["diskQuotaBytes"] == 5 << 20 and stats["diskBytes"] > 8e6
    big.unlink()
    assert alice.ask("POST", "workspaces/alice~/execute", {"command": "touch new"}).status_code == 200
    created = alice.inside("POST", "sessions", {})
    assert created.status_code == 201, created.text
