"""The server's view of the lock: older keepers, events, and the first word of the clock."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from persistent_terminal_hub.keeper.channel import KeeperError
from persistent_terminal_hub.server import rules_clock
from persistent_terminal_hub.server.keeper_link import Change, Info, KeeperLink
from persistent_terminal_hub.server.presence import Presence
from persistent_terminal_hub.server.rules_clock import WorkspaceClock

NEW = ["lock", "unlock", "lock_state", "presence", "rules_clock", "connected", "watch_pid", "list"]


class Reply:
    def __init__(self, header: dict[str, Any]) -> None:
        self.header = header


class Keeper:
    """A FAKE keeper's client: answers what it is told to, and remembers what it was asked."""

    def __init__(self, ops: list[str], presence: float = 0.0) -> None:
        self.keeper = {"ops": ops}
        self.is_open = True
        self.locked = False
        self.asked: list[str] = []
        self.presence = presence

    async def call(self, op: str, **fields: Any) -> Reply:
        self.asked.append(op)
        if op not in self.keeper["ops"]:
            raise KeeperError({"error": "unknown_op", "message": "No."})
        if op == "lock":
            self.locked = True
        moment = [0.0, self.presence]
        return Reply(
            {
                "locked": self.locked, "since": [5.0, 1.0] if self.locked else None, "reason": "idle",
                "generation": int(self.locked), "sessions": [], "next": None, "presence": moment,
                "connected": moment, "started": moment, "is_connected": False,
            }
        )  # fmt: skip


def linked(keeper: Keeper) -> tuple[KeeperLink, list[Change]]:
    link = KeeperLink(Path("/nowhere/keeper.sock"))
    link._client = keeper  # type: ignore[assignment]
    link._ready.set()
    told: list[Change] = []
    link.on_change(told.append)
    return link, told


async def test_an_older_keeper_is_served_and_refuses_with_a_sentence() -> None:
    keeper = Keeper(["list"])
    link, told = linked(keeper)
    assert link.lock is None
    await link._learn_lock(keeper)  # type: ignore[arg-type]
    assert link.lock is not None and not link.lock.locked and not link.knows_rules
    assert [change.kind for change in told] == ["lock"]
    for work in (
        link.lock_now("x"),
        link.unlock("a", 1.0),
        link.present(),
        link.rules_clock(),
        link.watch_pid("a", 1, 1.0),
        link.count_connected(1),
    ):  # fmt: skip
        with pytest.raises(KeeperError, match="older than its server"):
            await work
    link.present_soon(1.0)  # nothing happens
    assert keeper.asked == []


async def test_events_move_the_mirror_and_are_told_once() -> None:
    keeper = Keeper(NEW)
    link, told = linked(keeper)
    await link._learn_lock(keeper)  # type: ignore[arg-type]
    event = {"event": "lock", "locked": True, "since": [9.0, 1.0], "reason": "now", "generation": 3}
    link._on_event(event)
    link._on_event(event)
    assert link.lock is not None and link.lock.locked and link.lock.since == 9.0
    assert [change.kind for change in told] == ["lock", "lock"]


@pytest.mark.parametrize(("ago", "locked"), [(10.0, False), (100.0, True)])
async def test_the_clock_is_asked_before_the_lock_is_known(
    ago: float, locked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = asyncio.get_running_loop().time()
    monkeypatch.setattr(rules_clock.time, "monotonic", lambda: now)
    keeper = Keeper(NEW, presence=now - ago)
    link, _ = linked(keeper)
    environ = {"PTH_WORKSPACE_ID": "a/", "PTH_RULES": json.dumps({"idle_lock": 60})}
    clock = WorkspaceClock(link, Presence(link), tmp_path, environ=environ)
    states: list[bool] = []
    link.on_change(lambda _change: states.append(bool(link.lock and link.lock.locked)))
    await link._learn_lock(keeper)  # type: ignore[arg-type]
    assert states == [locked]  # nobody ever saw it open
    assert [event["kind"] for event in clock.events] == (["locked"] if locked else [])


async def test_a_clock_that_cannot_decide_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> list[object]:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(rules_clock.policy, "decide", broken)
    keeper = Keeper(NEW)
    link, _ = linked(keeper)
    environ = {"PTH_RULES": "{}"}
    WorkspaceClock(link, Presence(link), tmp_path, environ=environ)
    await link._learn_lock(keeper)  # type: ignore[arg-type]
    assert link.lock is not None and link.lock.locked


async def test_presence_is_told_at_most_once_a_second_and_never_lost(tmp_path: Path) -> None:
    link, _ = linked(Keeper(NEW))
    sent: list[float] = []
    link.present_soon = sent.append  # type: ignore[method-assign]
    presence = Presence(link)
    for _ in range(50):
        presence.typed(b"x")
        presence.typed(b"\x1b[0n")
    last = presence.last
    assert len(sent) == 1
    await asyncio.sleep(1.1)
    assert sent[1:] == [last]
    link._tell(Change("connected", None))
    assert sent[2:] == [last]


async def test_who_attaches_late_is_told_what_still_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(rules_clock.time, "monotonic", lambda: now[0])
    keeper = Keeper(NEW, presence=1000.0)
    link, _ = linked(keeper)
    rules = {"ttl": 100, "warn_before": 30, "workspace_max_age": 200, "idle_lock": 0}
    clock = WorkspaceClock(link, Presence(link), tmp_path, environ={"PTH_RULES": json.dumps(rules)})
    link._sessions["s"] = info = Info(
        id="s", name="run", pid=1, argv=[], cwd=None, created=0.0, created_monotonic=1000.0, epoch=1,
        capacity=1, cols=80, rows=24,
    )  # fmt: skip
    await clock.facts()
    assert clock.greeting("s") == []
    now[0] = 1075.0
    info.meta["warned"] = {"ttl": 1071.0}
    (notice,) = clock.greeting("s")
    assert (notice.code, notice.seconds) == ("ttl", 25.0)
    assert notice.message == "Session run ends in 25 s, because its owner was not there."
    assert clock.session_model(info)["expiresIn"] == 25.0
    clock.presence.last = 1074.0
    assert clock.greeting("s") == []
    clock.warned["workspace_max_age"] = 1071.0
    now[0] = 1180.0
    clock.presence.last = 1180.0
    (notice,) = clock.greeting("s")
    assert (notice.code, notice.seconds) == ("workspace_max_age", 20.0)
    info.exit = {"code": 0}
    assert clock.greeting("s") == []
