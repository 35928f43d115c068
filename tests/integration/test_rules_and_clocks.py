"""A fresh login after nobody was connected; and a wall clock that jumps by a day, which changes nothing."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import requests

from .lock_fixtures import BASE, Hub, LockedWorkspace, stand_in_hub  # noqa: F401 - a fixture
from .test_rules_in_workspace import API, LONG, Ruled, ruled, started  # noqa: F401 - fixtures
from .test_server_extension import wait_for

# Loaded by every Python of the workspace: its wall clock is off by what the file says, no other clock is.
SHIFTED = """
import os, time
def shifted(real=time.time, name=os.environ["PTH_TEST_SHIFT"]):
    with open(name) as file:
        return real() + float(file.read())
time.time = shifted
time.time_ns = lambda: int(shifted() * 1e9)
"""
DAY = 86400.0
RULES = {"idle_lock": 30.0, "ttl": 40.0, "max_age": 60.0, "warn_before": 1.0, "idle_stop": 30.0}


def test_nobody_connected_for_long_asks_for_a_fresh_login(ruled: Ruled) -> None:  # noqa: F811
    name = ruled.session(ruled.create(argv=["cat"])["id"])["name"]
    with ruled.ws(f"{BASE}terminals/websocket/{name}"):
        ruled.rules(**{**LONG, "reauth_on_reconnect": 2.0})
        # An open page is enough, touched or not.
        assert ruled.stays_open(4.0, lambda: None)
    assert not ruled.locked
    # What is no page or client does not count, however often it asks.
    assert not ruled.stays_open(8.0, lambda: None)
    reason = ruled.workspace.control.call("lock_state").header["reason"]
    assert "No page or client was connected" in reason
    ruled.unlock()
    # The page has as long again to connect, and then it is as before.
    assert ruled.stays_open(1.0, lambda: None)
    with ruled.ws(f"{BASE}terminals/websocket/{name}"):
        assert ruled.stays_open(4.0, lambda: None)


class Jumping(Ruled):
    """A workspace whose wall clock the test sets."""

    def __init__(self, workspace: LockedWorkspace, shift: Path) -> None:
        super().__init__(workspace)
        self.file = shift

    def jump(self, seconds: float) -> None:
        """The wall clock differs from the real one by so much from now on, for keeper and server."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{seconds:+.0f}\n")
        fresh.replace(self.file)

    def wall(self) -> float:
        """By how much the keeper's wall clock is ahead: from a session that it starts now."""
        made = self.session(self.create(argv=["true"])["id"])
        return datetime.fromisoformat(made["created"]).timestamp() - time.time()


@pytest.fixture(scope="module")
def jumping(
    tmp_path_factory: pytest.TempPathFactory,
    hub: Hub,
) -> Iterator[Jumping]:
    home = tmp_path_factory.mktemp("home")
    shift = home / "shift"
    shift.write_text("+0\n")
    (home / "code").mkdir()
    (home / "code" / "sitecustomize.py").write_text(SHIFTED)
    workspace = LockedWorkspace(
        home, hub, PTH_RULES=json.dumps(LONG), PTH_TEST_SHIFT=str(shift)
    )  # fmt: skip
    try:
        workspace.wait()
        yield Jumping(workspace, shift)
    finally:
        workspace.keeper.stop()


@pytest.mark.parametrize("shift", [DAY, -DAY])
def test_a_wall_clock_that_jumps_by_a_day_locks_and_ends_nothing(jumping: Jumping, shift: float) -> None:
    jumping.jump(0)
    jumping.unlock()
    jumping.ask("POST", f"{API}/presence")
    jumping.rules(**RULES)
    session = jumping.create(argv=["cat"])["id"]
    assert abs(jumping.wall()) < 30
    seen = len(jumping.facts()["events"])
    jumping.jump(shift)
    assert abs(jumping.wall() - shift) < 30, "the clock did not jump"
    # The workspace's clock looks several times.
    interval = 30.0 / 20
    assert jumping.stays_open(4 * interval, lambda: None)
    facts = jumping.ask("GET", f"{API}/facts").json()  # as the owner: the hub's tokens are of another day
    assert [event["kind"] for event in facts["events"][seen:]] == []
    assert session in [s["id"] for s in facts["sessions"]]
    assert 0 <= facts["since_presence"] < 30 and facts["warned"] == {}
    assert jumping.session(session)["state"] != "ended"
    assert jumping.session(session)["warnings"] == []
    # Tokens bear wall time: a lock stays while the clock is wrong, with a sentence, and opens after that.
    jumping.workspace.control.call("lock", reason="test")
    refused = jumping.workspace.unlock(headers={"Accept": "application/json"})
    assert refused.status_code == 403
    assert "too late" in refused.text or "clocks" in refused.text
    jumping.jump(0)
    jumping.unlock()
    assert not jumping.locked
    assert jumping.ask("GET", f"{API}/sessions/{session}").json()["state"] != "ended"
    jumping.ask("DELETE", f"{API}/sessions/{session}")


def test_it_locks_in_time_although_the_clock_went_back(jumping: Jumping) -> None:
    jumping.jump(0)
    jumping.unlock()
    jumping.rules(**{**RULES, "idle_lock": 2.0})
    jumping.ask("POST", f"{API}/presence")
    jumping.jump(-DAY)

    def locked() -> bool:
        with contextlib.suppress(requests.ConnectionError):  # the lock cuts what is under way
            return jumping.locked
        return False

    try:
        wait_for(locked, 10, "locked")
    finally:
        jumping.jump(0)
        jumping.unlock()
        jumping.rules(**RULES)
