"""One cycle of the culler. Hub and workspaces are FAKES here: they answer what a test tells them and note
what they were asked to do. The real ones are in tests/integration/test_culler.py."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persistent_terminal_hub import policy
from persistent_terminal_hub.culler.cycle import Culler, Decide, why_kept
from persistent_terminal_hub.culler.http import Answer, NoAnswer
from persistent_terminal_hub.culler.hub_api import HubApi, HubAway, Leftovers, Orphan, Stopped, Workspace
from persistent_terminal_hub.culler.leftovers import ADOPT_AGAIN_SECONDS, LeftoverWatch
from persistent_terminal_hub.culler.log import DecisionLog
from persistent_terminal_hub.culler.workspaces import Look, Said, Why, Workspaces
from persistent_terminal_hub.policy import (
    EndSession,
    Lock,
    Remove,
    Rules,
    SessionFacts,
    Stop,
    Warn,
    WorkspaceFacts,
)

RULES = Rules(idle_lock=0, idle_stop=100, ttl=1e6, warn_before=20)
ADA = Workspace("ada", "", frozenset({"analysts"}), "http://fake/")


@dataclass
class FakeHub:
    workspaces: list[Workspace] = field(default_factory=list)
    found: Leftovers = field(default_factory=Leftovers)
    away: str = ""
    stop_answers: list[Answer | NoAnswer] = field(default_factory=list)
    adopt_answer: Answer = field(default_factory=lambda: Answer(200, b'{"state": "running"}'))
    done: list[tuple[str, str]] = field(default_factory=list)

    async def running(self) -> list[Workspace]:
        if self.away:
            raise HubAway(self.away)
        return list(self.workspaces)

    async def leftovers(self) -> Leftovers:
        return self.found

    async def stop(self, user: str, name: str) -> Answer:
        self.done.append(("stop", f"{user}/{name}"))
        answer = self.stop_answers.pop(0) if self.stop_answers else Answer(204, b"")
        if isinstance(answer, NoAnswer):
            raise answer
        return answer

    async def adopt(self, user: str, name: str) -> Answer:
        self.done.append(("adopt", f"{user}/{name}"))
        return self.adopt_answer

    async def remove_stopped(self, user: str, name: str) -> Answer:
        self.done.append(("remove", f"{user}/{name}"))
        return Answer(204, b"")


@dataclass
class FakeWorkspaces:
    facts: dict[str, list[Look]] = field(default_factory=dict)
    said: Said = field(default_factory=lambda: Said(True))
    done: list[tuple[str, str]] = field(default_factory=list)
    asked: int = 0
    at_once: int = 0
    most_at_once: int = 0

    async def look(self, workspace: Workspace) -> Look:
        self.asked += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        looks = self.facts[workspace.id]
        return looks.pop(0) if len(looks) > 1 else looks[0]

    async def note(self, what: str, workspace: Workspace) -> Said:
        self.done.append((what, workspace.id))
        return self.said

    async def warn(self, workspace: Workspace, code: str, seconds: float, reason: str) -> Said:
        return await self.note(f"warn {code}", workspace)

    async def lock(self, workspace: Workspace, reason: str) -> Said:
        return await self.note("lock", workspace)

    async def end_session(self, workspace: Workspace, session: str, code: str) -> Said:
        return await self.note(f"end {session}", workspace)

    async def put_rules(self, workspace: Workspace, rules: Rules) -> Said:
        return await self.note("rules", workspace)


class Site:
    """A culler between fakes; its clock stands at 1000."""

    def __init__(
        self, decide: Decide = policy.decide, rules: Rules = RULES, dry_run: bool = False, **options: Any
    ) -> None:
        self.hub, self.workspaces = FakeHub(), FakeWorkspaces()
        self.lines: list[dict[str, Any]] = []
        self.audited: list[dict[str, Any]] = []
        self.now = 1000.0
        log = DecisionLog(
            dry_run,
            lambda line: self.lines.append(json.loads(line)),
            lambda **event: self.audited.append(event),
        )
        hub = cast(HubApi, self.hub)
        clock = lambda: self.now  # noqa: E731
        rules_for = lambda user, groups, name: rules  # noqa: E731
        self.culler = Culler(
            hub,
            cast(Workspaces, self.workspaces),
            LeftoverWatch(hub, rules_for, decide, log, dry_run, clock),
            rules_for,
            rules_for,
            lambda _: "ours",
            decide,
            log,
            dry_run=dry_run,
            clock=clock,
            **options,
        )

    def has(self, *looks: Look, workspace: Workspace = ADA) -> Site:
        self.hub.workspaces.append(workspace)
        self.workspaces.facts[workspace.id] = list(looks)
        return self

    def actions(self) -> list[str]:
        return [line["action"] for line in self.lines]


def running(**facts: Any) -> Look:
    made = WorkspaceFacts(1000.0, "running", age=5000.0, since_presence=500.0, since_connected=500.0)
    return Look(replace(made, **facts), "ours")


def silent(why: Why = "timeout") -> Look:
    return Look(WorkspaceFacts(1000.0, "unreachable"), why=why, detail="no answer within 5 s")


def fixed(*actions: policy.Action) -> Decide:
    return lambda facts, rules, now: list(actions)


async def test_warns_first_and_stops_when_the_warning_was_shown() -> None:
    warned = running(warned={"idle_stop": 30.0})
    site = Site().has(running(), warned)
    await site.culler.run_once()
    assert site.workspaces.done == [("warn idle_stop", "ada/")]
    assert site.hub.done == []
    await site.culler.run_once()
    assert site.hub.done == [("stop", "ada/")]
    assert site.actions() == ["warn", "stop"]
    assert site.lines[1]["user"] == "ada" and site.lines[1]["result"] == "done"
    assert "nobody was there" in site.lines[1]["reason"]
    assert [event["what"] for event in site.audited] == ["workspace.stop"]


async def test_a_culler_that_was_away_for_a_day_warns_first() -> None:
    # Everything is overdue by a day and nobody was told.
    day = 86400.0
    site = Site(rules=replace(RULES, workspace_max_age=1000)).has(
        running(age=day, since_presence=day, since_connected=day, warned={})
    )
    for _ in range(3):
        await site.culler.run_once()
    assert site.hub.done == []
    assert {what for what, _ in site.workspaces.done} == {"warn idle_stop", "warn workspace_max_age"}


async def test_somebody_comes_back_between_the_question_and_the_stop() -> None:
    site = Site().has(running(warned={"idle_stop": 30.0}), running(since_presence=0.5))
    await site.culler.run_once()
    assert site.hub.done == []
    assert site.lines[-1]["result"].startswith("withdrawn")


async def test_a_job_defers_the_stop_and_the_log_says_why_once() -> None:
    job = SessionFacts("s1", "train", 400.0, busy=True, busy_for=300.0)
    site = Site().has(running(sessions=(job,)))
    for _ in range(3):
        await site.culler.run_once()
    assert site.hub.done == site.workspaces.done == []
    assert [line["reason"] for line in site.lines] == ["A job runs in the session train."]


def test_reasons_to_keep() -> None:
    job = SessionFacts("s1", "", 1.0, busy=True)
    facts = running().facts
    assert why_kept(replace(facts, sessions=(job, job))) == "A job runs in the session s1 and 1 more."
    assert why_kept(replace(facts, busy=True)) == "A notebook's kernel is computing."
    assert why_kept(replace(facts, since_connected=0.0)) == "A page or client is connected."
    assert why_kept(facts) == ""


ACTIONS = st.sampled_from(
    [
        Warn("idle_stop", 5.0, None, "w"),
        Warn("ttl", 5.0, "s1", "w"),
        Lock("l"),
        EndSession("s1", "ttl", "e"),
        Stop("s"),
        Remove("r"),
    ]
)
SILENCES = st.sampled_from(
    ["pending", "no address", "timeout", "refused", "broken", "locked", "busy", "denied", "unreadable"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTIONS, max_size=4), SILENCES, st.sampled_from(["pending", "unreachable"]))
def test_who_does_not_answer_is_left_alone(actions: list[policy.Action], why: Why, state: Any) -> None:
    """Even with a policy that wants everything done."""
    site = Site(fixed(*actions)).has(Look(WorkspaceFacts(1000.0, state), why=why, detail="x"))
    asyncio.run(site.culler.run_once())
    assert site.hub.done == site.workspaces.done == []
    assert set(site.actions()) <= {"keep"}


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTIONS, max_size=4))
def test_a_dry_run_does_nothing(actions: list[policy.Action]) -> None:
    site = Site(fixed(*actions), dry_run=True).has(Look(running().facts, "other"))
    site.hub.found = Leftovers(
        (Orphan("eve", "", "c0ffee", True, ""),), (Stopped("bob", "", frozenset(), 9e9),)
    )
    for _ in range(2):
        asyncio.run(site.culler.run_once())
    assert site.hub.done == site.workspaces.done == site.audited == []
    assert all(line["dryRun"] for line in site.lines)
    said = {line["action"] for line in site.lines if line.get("result") == "not done"}
    assert ("stop" in said) == any(isinstance(action, Stop) for action in actions)
    assert "adopt" in said


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(409, b'{"message": "it is being renamed"}'), "HTTP 409: it is being renamed"),
        (Answer(503, b"<html>"), "HTTP 503"),
        (NoAnswer("timeout", "no answer within 30 s"), "no answer within 30 s"),
    ],
)
async def test_a_stop_that_failed_is_tried_again(answer: Answer | NoAnswer, words: str) -> None:
    site = Site().has(running(warned={"idle_stop": 30.0}))
    site.hub.stop_answers = [answer, Answer(202, b"")]
    await site.culler.run_once()
    assert words in site.lines[-1]["result"] and "tried again" in site.lines[-1]["result"]
    await site.culler.run_once()
    assert site.lines[-1]["result"] == "under way"
    assert site.hub.done == [("stop", "ada/")] * 2


async def test_lock_and_end_are_asked_for_but_sessions_are_not_warned() -> None:
    actions = fixed(Lock("l"), Warn("ttl", 9, "s1", "w"), EndSession("s2", "ttl", "e"))
    site = Site(actions).has(running())
    await site.culler.run_once()
    assert site.workspaces.done == [("lock", "ada/"), ("end s2", "ada/")]
    assert [event["what"] for event in site.audited] == ["workspace.lock", "workspace.end_session"]


async def test_rules_are_sent_when_they_differ_and_not_again_and_again() -> None:
    site = Site(fixed()).has(
        Look(running().facts, "theirs"),
        Look(running().facts, "theirs"),  # took them and calls them otherwise
        Look(running().facts, "ours"),
        Look(running().facts, "theirs"),
    )
    for _ in range(4):
        await site.culler.run_once()
    assert site.workspaces.done == [("rules", "ada/")]
    site.workspaces.facts["ada/"] = [Look(running().facts, "older")]
    site.workspaces.said = Said(False, "HTTP 503")
    for _ in range(2):
        await site.culler.run_once()
    assert site.workspaces.done == [("rules", "ada/")] * 3  # a failure is tried again


async def test_a_lock_that_came_or_went_is_written_down() -> None:
    site = Site(fixed()).has(*(running(locked=locked) for locked in (False, True, True, False)))
    for _ in range(4):
        await site.culler.run_once()
    assert [(event["what"], event["on"]) for event in site.audited] == [
        ("workspace.locked", ADA.id), ("workspace.unlocked", ADA.id),
    ]  # fmt: skip


async def test_silence_is_logged_when_it_begins_and_when_it_ends() -> None:
    site = Site().has(silent(), silent(), silent("refused"), running(since_presence=1.0))
    for _ in range(4):
        await site.culler.run_once()
    assert [line["state"] for line in site.lines] == ["timeout", "refused", "running"]


async def test_without_the_hub_nothing_is_asked() -> None:
    site = Site(fixed(Stop("s"))).has(running())
    site.hub.away = "The hub does not answer."
    for _ in range(3):
        await site.culler.run_once()
    assert site.workspaces.asked == 0 and site.actions() == ["wait"]
    site.hub.away = ""
    await site.culler.run_once()
    assert site.actions() == ["wait", "go on", "stop"]


async def test_many_are_asked_a_few_at_a_time_and_one_error_stops_nobody() -> None:
    site = Site(concurrency=7)
    for number in range(50):
        site.has(running(since_presence=1.0), workspace=replace(ADA, user=f"u{number}"))
    site.workspaces.facts["u3/"] = []  # the fake raises
    tally = await site.culler.run_once()
    assert (tally.workspaces, tally.reached, site.workspaces.asked) == (50, 49, 50)
    assert site.workspaces.most_at_once == 7
    assert [(line["action"], line["user"]) for line in site.lines] == [("error", "u3")]


async def test_stops_are_few_at_a_time_too() -> None:
    site = Site(fixed(Stop("s")), concurrency=30)
    for number in range(12):
        site.has(running(), workspace=replace(ADA, user=f"u{number}"))
    running_now = most = 0

    async def slow_stop(user: str, name: str) -> Answer:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        await asyncio.sleep(0.001)
        running_now -= 1
        return Answer(204, b"")

    site.hub.stop = slow_stop  # type: ignore[method-assign]
    await site.culler.run_once()
    assert most == 4 and site.actions().count("stop") == 12


# -- what the hub does not know --------------------------------------------------------------------------


async def test_an_orphan_is_reported_then_adopted_and_never_stopped() -> None:
    site = Site(fixed(Stop("s"), Remove("r")))
    site.hub.found = Leftovers((Orphan("eve", "gpu", "c0ffee", True, ""),))
    site.hub.adopt_answer = Answer(202, b'{"state": "recorded", "reason": "her login has expired"}')
    await site.culler.run_once()
    assert site.hub.done == [] and site.actions() == ["orphan"]
    await site.culler.run_once()
    assert site.hub.done == [("adopt", "eve/gpu")]
    assert "her login has expired" in site.lines[-1]["result"]
    await site.culler.run_once()
    assert len(site.hub.done) == 1  # not every minute
    site.now += ADOPT_AGAIN_SECONDS
    await site.culler.run_once()
    assert site.hub.done == [("adopt", "eve/gpu")] * 2


async def test_after_a_lost_database_orphans_are_adopted_a_few_at_a_time() -> None:
    site = Site()
    site.hub.found = Leftovers(tuple(Orphan(f"u{number}", "", "c", True, "") for number in range(10)))
    adopted = []
    for _ in range(5):
        await site.culler.run_once()
        adopted.append(len(site.hub.done))
    assert adopted == [0, 4, 8, 10, 10]
    assert len(set(site.hub.done)) == 10


async def test_an_orphan_nobody_may_adopt_is_reported_once() -> None:
    site = Site(fixed(Stop("s")))
    site.hub.found = Leftovers((Orphan("gone", "", "c0ffee", False, "the hub has no such user"),))
    for _ in range(3):
        await site.culler.run_once()
    assert site.hub.done == []
    assert [line["result"] for line in site.lines] == ["left alone: the hub has no such user"]


async def test_a_start_under_way_is_no_orphan() -> None:
    site = Site()
    for found in (Leftovers((Orphan("eve", "", "c0ffee", True, ""),)), Leftovers(), Leftovers()):
        site.hub.found = found
        await site.culler.run_once()
    assert site.hub.done == []


async def test_stopped_containers_are_removed_by_the_rules_only() -> None:
    stopped = (Stopped("old", "", frozenset(), 1001.0), Stopped("new", "", frozenset(), 999.0))
    site = Site(rules=replace(RULES, remove_after=1000.0))
    site.hub.found = Leftovers((), stopped)
    await site.culler.run_once()
    assert site.hub.done == [("remove", "old/")]
    assert Site(rules=RULES).culler.rules_for("old", frozenset(), "").remove_after == 0


def test_nothing_sensitive_is_written() -> None:
    lines: list[str] = []
    DecisionLog(False, lines.append).line("stop", user="ada", workspace="x\n\x1b[31m", reason="r")
    assert "\n" not in lines[0] and "\x1b" not in lines[0]
    assert json.loads(lines[0])["workspace"] == "x\n\x1b[31m"
