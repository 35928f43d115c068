"""The words of the home page's cards: what the hub knows, what a workspace told, what is not known."""

from __future__ import annotations

import math
from typing import Any

import pytest

from persistent_terminal_hub.hub.home_gather import usage_of
from persistent_terminal_hub.hub.home_words import (
    BadFacts,
    Card,
    Known,
    Told,
    Usage,
    about,
    card,
    expiry,
    meters,
    size,
    told_of,
)
from persistent_terminal_hub.policy import Rules, SessionFacts, WorkspaceFacts, ends

RULES = Rules(ttl=86400.0)
KNOWN = Known("lab", "Lab", "running", "/user/ada/lab/", idle=7200.0)


def workspace(*sessions: SessionFacts, **more: Any) -> WorkspaceFacts:
    return WorkspaceFacts(taken=0.0, state="running", age=9000.0, sessions=sessions, **more)


def session(name: str, **more: Any) -> SessionFacts:
    return SessionFacts(id=f"id-{name}", name=name, age=5000.0, **more)


def made(known: Known = KNOWN, told: Told | None = None, **more: Any) -> Card:
    return card(known, told, RULES, 1_000_000.0, **more)


@pytest.mark.parametrize(
    ("known", "told", "asked", "badge", "told_as", "actions"),
    [
        (KNOWN, Told(workspace()), True, "Running", "told", {"open", "lock", "stop"}),
        (KNOWN, None, False, "Running", "asking", {"open", "lock", "stop"}),
        (KNOWN, None, True, "Running", "silent", {"open", "lock", "stop"}),
        (Known("lab", "", "running", "/", answering=False), None, True, "Not answering", "silent",
         {"open", "lock", "stop"}),
        (KNOWN, Told(workspace(locked=True), locked_since=1_000_000.0 - 720), True, "Locked for 12 min",
         "hidden", {"open", "stop"}),
        (KNOWN, Told(workspace(locked=True)), True, "Locked", "hidden", {"open", "stop"}),
        (Known("lab", "", "starting", "/"), None, True, "Starting", "none", {"follow", "stop"}),
        (Known("lab", "", "stopping", "/"), None, True, "Stopping", "none", set()),
        (Known("lab", "", "stopped", "/", idle=60.0), None, True, "Stopped", "none", {"start", "delete"}),
        (Known("", "", "new", "/"), None, True, "Not started yet", "none", {"start"}),
        (Known("lab", "", "running", "/", making="Cloning."), None, True, "Being made", "none", set()),
    ],
)  # fmt: skip
def test_state_badge_and_buttons(
    known: Known, told: Told | None, asked: bool, badge: str, told_as: str, actions: set[str]
) -> None:
    found = made(known, told, asked=asked)
    assert (found.badge, found.known, set(found.actions)) == (badge, told_as, actions)


def test_a_locked_workspace_shows_how_many_and_not_what() -> None:
    facts = workspace(session("secret-job", busy=True, busy_for=90.0), locked=True)
    found = made(told=Told(facts, {"id-secret-job": "python"}))
    assert found.summary == "1 session: 1 busy."
    assert found.sessions == () and found.expiry is None
    assert "secret" not in repr(found) and "python" not in repr(found)


def test_sessions_at_work_come_first_and_are_what_a_stop_would_end() -> None:
    facts = workspace(
        session("zeta"),
        session("shell", attached=True),
        session("short", busy=True, busy_for=59.0),
        session("train", busy=True, busy_for=3 * 3600 + 120.0),
        session("serve"),
    )
    programs = {"id-train": "python", "id-serve": "vllm", "id-zeta": "-bash"}
    found = made(told=Told(facts, programs))
    assert [(line.name, line.text) for line in found.sessions] == [
        ("train", "busy with python for 3 h 2 min"),
        ("short", "busy with a program for less than a minute"),
        ("serve", "dormant, runs vllm"),
        ("shell", "active"),
        ("zeta", "dormant"),
    ]
    assert found.summary == "5 sessions: 2 busy, 1 active, 2 dormant."
    assert [line.name for line in found.ends] == ["train", "short", "serve"]


def test_two_hundred_sessions_are_all_there() -> None:
    found = made(told=Told(workspace(*(session(f"run-{number}") for number in range(200)))))
    assert len(found.sessions) == 200 and found.summary == "200 sessions: 200 dormant."


@pytest.mark.parametrize(
    ("facts", "rules", "text", "soon"),
    [
        (workspace(session("a"), since_presence=3600.0), Rules(ttl=7200.0),
         "If you stay away, session a ends in 1 h.", False),
        (workspace(session("a"), session("b"), since_presence=3600.0), Rules(ttl=7200.0),
         "If you stay away, 2 sessions end in 1 h.", False),
        (workspace(session("a", max_age=5600.0)), Rules(ttl=0.0),
         "Session a ends in 10 min, because of its age.", True),
        (workspace(session("a"), since_presence=3600.0),
         Rules(ttl=0.0, idle_stop=3600.0, keep_alive_max=60.0),
         "If nobody uses it, the workspace stops any moment now.", True),
        (workspace(), Rules(workspace_max_age=9000.0 + 7200.0),
         "The workspace stops in 2 h, because of its age.", False),
        (workspace(session("a")), Rules(ttl=0.0), "Nothing here ends by itself.", False),
        (workspace(session("a", busy=True), since_presence=99.0),
         Rules(ttl=0.0, idle_stop=60.0, keep_alive_max=0.0), "Nothing here ends by itself.", False),
    ],
)  # fmt: skip
def test_what_ends_next(facts: WorkspaceFacts, rules: Rules, text: str, soon: bool) -> None:
    found = expiry(facts, rules)
    assert (found.text, found.soon) == (text, soon)


def test_ends_are_in_order_and_never_negative() -> None:
    facts = workspace(session("a"), session("b", ttl=60.0), since_presence=3600.0)
    found = ends(facts, Rules(ttl=7200.0, workspace_max_age=9500.0))
    assert found == [(0.0, "ttl", "id-b"), (500.0, "workspace_max_age", None), (3600.0, "ttl", "id-a")]


@pytest.mark.parametrize(
    ("known", "told", "text"),
    [
        (KNOWN, None, "Last used 2 h ago."),
        (KNOWN, Told(workspace(since_presence=10.0)), "You are there now."),
        (KNOWN, Told(workspace(since_presence=10.0, locked=True)), ""),
        (KNOWN, Told(workspace(since_presence=200.0)), "You were last there 3 min ago."),
        (Known("", "", "new", "/"), None, ""),
    ],
)
def test_last_activity(known: Known, told: Told | None, text: str) -> None:
    assert made(known, told).activity == text


def test_a_failed_start_says_why_and_nothing_else_does() -> None:
    failed = Known("lab", "", "stopped", "/", message="No image. Try again.", failed=True)
    assert made(failed).failed == "No image. Try again."
    assert made(Known("lab", "", "starting", "/", message="Creating…")).sentence == "Creating…"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "less than a minute"), (61, "1 min"), (3599, "59 min"), (86399, "23 h 59 min"), (90061, "25 h"),
     (3 * 86400 + 4000, "3 d 1 h")],
)  # fmt: skip
def test_about(seconds: float, text: str) -> None:
    assert about(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (20 * 2**20, "20 MiB"), (2.5 * 2**30, "2.5 GiB"),
     (5000 * 2**40, "5000 TiB")],
)  # fmt: skip
def test_size(number: float, text: str) -> None:
    assert size(number) == text


def test_meters_show_what_is_known() -> None:
    assert meters(Usage()) == ()
    found = meters(Usage(0.756, 2**30, 2 * 2**30, 3 * 2**30, 2 * 2**30))
    assert [(each.label, each.text, each.percent) for each in found] == [
        ("CPU", "0.76 CPUs", None),
        ("Memory", "1.0 GiB of 2.0 GiB", 50),
        ("Files", "3.0 GiB of 2.0 GiB", 100),
    ]  # fmt: skip


def test_cpu_is_a_rate_between_two_looks_at_the_same_start() -> None:
    figures = {"cpuSeconds": 100.0, "memoryBytes": 5, "life": 7}
    first, sample = usage_of(figures, None, 10.0)
    assert first == Usage(memory=5.0) and sample == (10.0, 100.0, 7.0)
    later, _ = usage_of({**figures, "cpuSeconds": 105.0}, sample, 20.0)
    assert later.cpus == 0.5
    again, kept = usage_of({**figures, "cpuSeconds": 105.0}, sample, 10.2)
    assert again.cpus is None and kept == sample  # too soon: measured from the earlier look
    other, _ = usage_of({**figures, "life": 8}, sample, 20.0)
    assert other.cpus is None
    with pytest.raises(BadFacts):
        usage_of([], None, 0.0)


FACTS = {
    "age": 5.0, "since_presence": 1.0, "since_connected": 0.0, "busy": False, "locked": False, "sessions": [],
}  # fmt: skip


@pytest.mark.parametrize("bad", [None, [], {**FACTS, "locked": "no"}, {**FACTS, "age": math.inf}])
def test_nonsense_of_a_workspace_is_refused(bad: object) -> None:
    with pytest.raises(BadFacts):
        told_of(bad, 0.0)


def test_what_an_older_workspace_does_not_tell_is_left_out() -> None:
    entry = {"id": "x", "name": "a", "age": 1.0, "program": ["no", "text"]}
    told = told_of({**FACTS, "sessions": [entry], "locked_since": "yesterday"}, 0.0)
    assert told.programs == {} and told.locked_since is None and told.facts.sessions[0].name == "a"
