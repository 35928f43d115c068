"""What panels are sent: everything once, then what changed; and who is asked how often."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.control import board_gathering
from persistent_terminal_hub.control.board import CHUNK, Board, coarse, resumed, steady
from persistent_terminal_hub.control.board_gathering import Gathering
from persistent_terminal_hub.control.board_rows import SILENT, answered, orphan_row, silent, user_row
from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.hub import Server
from persistent_terminal_hub.control.workspaces import Row


def apply(seen: dict[str, Any], events: list[Any]) -> None:
    """What a panel does."""
    for event in events:
        if event.whole:
            seen.clear()
        for row in event.rows:
            seen[row["key"]] = {name: value for name, value in row.items() if name != "key"}
        for key in event.gone:
            seen.pop(key, None)


STEP = st.tuples(st.sampled_from("abcdef"), st.one_of(st.none(), st.integers(0, 2)), st.booleans())


@given(st.lists(STEP, max_size=60), st.integers(0, 3))
def test_whoever_looks_now_and_then_sees_what_is_there(steps: list[Any], most_gone: int) -> None:
    board, seen, at = Board(most_gone), {}, None
    for key, value, look in steps:
        if value is None:
            board.drop(key)
        else:
            board.put(key, {"value": value})
        if look:
            apply(seen, board.after(at))
            at = board.version
            assert seen == {k: dict(board.get(k) or {}) for k in board.keys("")}


def test_only_news_is_sent_and_in_parts() -> None:
    board = Board()
    for number in range(2 * CHUNK + 1):
        board.put(f"w:{number}", {"n": number})
    first = board.after(None)
    assert [len(event.rows) for event in first] == [CHUNK, CHUNK, 1]
    assert [(event.whole, event.more) for event in first] == [(True, True), (False, True), (False, False)]
    assert board.after(board.version) == []
    assert not board.put("w:5", {"n": 5})
    assert board.put("w:5", {"n": 6})
    assert [event.rows for event in board.after(first[-1].version)] == [[{"key": "w:5", "n": 6}]]
    assert Board().after(None)[0].whole, "an empty board is an answer, too"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("{life}.7", 7),
        ("other000.7", None),
        ("", None),
        ("{life}", None),
        ("{life}.x", None),
        ("{life}.٧", None),
    ],
)
def test_resumed(text: str, version: int | None) -> None:
    board = Board()
    assert resumed(board, text.format(life=board.life)) == version


def test_a_version_of_the_future_gets_everything() -> None:
    board = Board()
    board.put("a", {})
    assert board.after(99)[0].whole


@given(st.floats(0, 1e9))
def test_jitter_is_no_news(moment: float) -> None:
    told = steady(None, moment)
    assert abs(told - moment) <= 0.5 and steady(told, moment + 1) == told
    assert steady(told, moment + 100) != told
    assert 0 <= coarse(moment) <= moment and coarse(moment) >= moment * 0.87 - 1


def test_rows() -> None:
    row = {**SILENT, "status": "running"}
    facts = {
        "locked": False, "since_presence": 60.0, "busy": True,
        "sessions": [
            {"id": "a", "name": "x" * 999, "age": 10.0, "attached": True, "busy": True, "busy_for": 5.0,
             "memory": 100.0},
            "nonsense",
        ],
    }  # fmt: skip
    said = answered(row, facts, 1000.0)
    (session,) = said["sessions"]
    assert session == {
        "id": "a", "name": "x" * 255, "state": "active", "created": 990.0, "busySince": 995.0, "memory": 96,
    }  # fmt: skip
    assert (said["presence"], said["kernelBusy"], said["answers"]) == (940.0, True, True)
    later = {
        **facts,
        "since_presence": 62.0,
        "sessions": [{**facts["sessions"][0], "age": 12.1, "busy_for": 7}],
    }  # type: ignore[index,dict-item]
    assert answered(said, later, 1002.0) == said, "time that passed is no news"
    quiet = silent(said, 1010.4)
    assert (quiet["answers"], quiet["silentSince"]) == (False, 1010.0) and quiet["sessions"] == [session]
    assert silent(quiet, 2000.0) == quiet
    for nonsense in (None, [], {"sessions": 5, "since_presence": "x", "locked": "yes"}):
        assert answered(row, nonsense, 1.0)["sessions"] == []
    assert user_row({"name": "a", "groups": None})["groups"] == []
    assert orphan_row({})["owner"] == ""


# -- gathering ---------------------------------------------------------------------------------------------
class FakeHub:
    """Two workspaces; counts what it is asked."""

    def __init__(self) -> None:
        self.away = False
        self.lists = 0
        self.places = [("ann", ""), ("bob", "lab")]

    async def running(self) -> list[dict[str, Any]]:
        if self.away:
            raise ApiError(503, "away")
        return [
            {"user": user, "workspace": name, "ready": True, "pending": None, "address": "http://x"}
            for user, name in self.places
        ]

    async def users(self) -> list[dict[str, Any]]:
        self.lists += 1
        return [
            {"name": user, "servers": {name: {"name": name, "ready": True}}} for user, name in self.places
        ]

    async def ours(self, method: str, path: str, token: str | None) -> dict[str, Any]:
        return {"orphans": [{"user": "old", "workspace": "", "container": "abc"}]}


class FakeLink:
    """`bob` never answers."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.most = self.now = 0

    async def ask(self, owner: str, name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        self.asked.append(owner)
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.01)
        self.now -= 1
        if owner.startswith("bob"):
            raise ApiError(503, "silent")
        return {"sessions": [{"id": "s", "name": "main"}]}


class FakeTable:
    """Every server has a row."""

    def rows(self, owners: None, servers: list[Server]) -> list[Row]:
        return [Row(s.name, s.owner, s.name, "", {}, None, "", {}, "ready", 0.0) for s in servers]


async def blocking(function: Any, *args: Any) -> Any:
    return function(*args)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_gathering, "ROUND", 0.02)


@pytest.mark.usefixtures("quick")
async def test_gathered_once_for_all_and_only_while_somebody_looks() -> None:
    hub, link = FakeHub(), FakeLink()
    gathering = Gathering(hub, link, FakeTable(), blocking)  # type: ignore[arg-type]
    board = gathering.board
    await asyncio.sleep(0.1)
    assert not link.asked
    async with gathering.listening(), gathering.listening():
        await until(lambda: (board.get("w:bob/lab") or {}).get("answers") is False)
        await until(lambda: link.asked.count("ann") >= 4)
        ann = board.get("w:ann/")
        assert ann is not None and ann["sessions"][0]["name"] == "main" and ann["status"] == "running"
        assert link.asked.count("bob") <= 2, "who is silent is left alone for a while"
        assert hub.lists == 1
        assert board.get("o:old/") and board.get("u:ann") and (board.get("hub") or {})["answers"]
        # The hub goes away: what was seen stays, and is marked.
        hub.away = True
        await until(lambda: not (board.get("hub") or {})["answers"])
        assert board.get("w:ann/") == ann
        hub.away = False
        # One workspace stops, one begins.
        hub.places = [("bob", "lab"), ("cid", "new")]
        await until(lambda: board.get("w:cid/new") is not None and board.get("u:ann") is None)
        assert board.get("w:ann/") is None
    count = len(link.asked)
    await asyncio.sleep(0.1)
    assert len(link.asked) == count, "nobody looks"


@pytest.mark.usefixtures("quick")
async def test_not_all_at_the_same_time() -> None:
    hub, link = FakeHub(), FakeLink()
    hub.places = [(f"u{number}", "") for number in range(200)]
    gathering = Gathering(hub, link, FakeTable(), blocking)  # type: ignore[arg-type]
    async with gathering.listening():
        await until(lambda: len(link.asked) >= 200)
    assert link.most == board_gathering.AT_ONCE


async def until(check: Any) -> None:
    async with asyncio.timeout(5):
        while not check():
            await asyncio.sleep(0.01)
