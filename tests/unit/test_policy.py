"""What is decided about a workspace: a table of cases, each a sentence of the rules."""

# ruff: noqa: E501 - the tables of cases read best one case a line

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from persistent_terminal_hub.policy import (
    Action,
    EndSession,
    Lock,
    Remove,
    Rules,
    SessionFacts,
    Stop,
    Warn,
    WorkspaceFacts,
    decide,
    lead,
    max_age_of,
    span,
    ttl_of,
)

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
#: One cause at a time: the others are off.
NEVER = Rules(idle_lock=0, ttl=0)


def session(**facts: object) -> SessionFacts:
    return SessionFacts(**{"id": "s", "name": "build", "age": 10 * DAY, **facts})  # type: ignore[arg-type]


def workspace(*sessions: SessionFacts, **facts: object) -> WorkspaceFacts:
    return WorkspaceFacts(
        **{"taken": 0.0, "state": "running", "age": 10 * DAY, "sessions": sessions, **facts}  # type: ignore[arg-type]
    )


def rules(**changes: float) -> Rules:
    return Rules(**{"idle_lock": 0.0, "ttl": 0.0, **changes})


def kinds(actions: list[Action]) -> list[str]:
    """The actions as words: `warn ttl`, `end max_age`, `lock`, `stop`."""
    words = []
    for action in actions:
        word = {Warn: "warn", EndSession: "end"}.get(type(action), type(action).__name__.lower())
        words.append(f"{word} {action.code}" if isinstance(action, Warn | EndSession) else word)
    return words


TTL = rules(ttl=DAY)
IDLE = rules(idle_stop=HOUR)
AWAY = {"since_presence": 2 * HOUR, "since_connected": 2 * HOUR}


@pytest.mark.parametrize(
    ("facts", "rule", "expected"),
    [
        # lock: presence alone
        (workspace(since_presence=29 * MINUTE), Rules(), []),
        (workspace(since_presence=30 * MINUTE), Rules(), ["lock"]),
        (workspace(since_presence=30 * MINUTE, since_connected=0), Rules(), ["lock"]),
        (workspace(session(busy=True, attached=True), since_presence=31 * MINUTE, busy=True), Rules(), ["lock"]),
        (workspace(since_presence=9 * HOUR, locked=True), Rules(), []),
        (workspace(since_presence=9 * HOUR), rules(), []),
        (workspace(age=5, since_presence=31 * MINUTE), Rules(), ["lock"]),
        # lock after a reconnect: absence of connections alone
        (workspace(since_presence=0, since_connected=60), rules(reauth_on_reconnect=60), ["lock"]),
        (workspace(since_presence=9 * HOUR, since_connected=59), rules(reauth_on_reconnect=60), []),
        (workspace(since_connected=60, locked=True), rules(reauth_on_reconnect=60), []),
        # TTL
        (workspace(session(), since_presence=DAY - 901), TTL, []),
        (workspace(session(), since_presence=DAY - 900), TTL, ["warn ttl"]),
        (workspace(session(warned={"ttl": 899}), since_presence=DAY - 1), TTL, []),
        (workspace(session(warned={"ttl": 900}), since_presence=DAY), TTL, ["end ttl"]),
        (workspace(session(warned={"ttl": 600}), since_presence=DAY), TTL, []),
        (workspace(session(warned={"ttl": 900.5}), since_presence=DAY - 0.4), TTL, []),
        (workspace(session(), since_presence=5 * DAY), TTL, ["warn ttl"]),
        (workspace(session(warned={"ttl": 900}), since_presence=5 * DAY), TTL, ["end ttl"]),
        (workspace(session(warned={"ttl": 2 * DAY}), since_presence=DAY), TTL, ["warn ttl"]),
        (workspace(session(warned={"ttl": -5}), since_presence=DAY), TTL, ["warn ttl"]),
        (workspace(session(busy=True, attached=True, warned={"ttl": 900}), since_presence=DAY, since_connected=0), TTL, ["end ttl"]),
        (workspace(session(warned={"ttl": 900}), since_presence=DAY, locked=True), TTL, ["end ttl"]),
        (workspace(session(age=HOUR, warned={"ttl": 900}), since_presence=DAY), TTL, []),
        # the session's own wish, and what the owner added: never beyond the administrator's maximum
        (workspace(session(ttl=HOUR, warned={"ttl": 900}), since_presence=HOUR), TTL, ["end ttl"]),
        (workspace(session(ttl=9 * DAY, warned={"ttl": 900}), since_presence=DAY), TTL, ["end ttl"]),
        (workspace(session(ttl=0, extended=1e9, warned={"ttl": 900}), since_presence=DAY), TTL, ["end ttl"]),
        (workspace(session(extended=HOUR), since_presence=DAY), rules(ttl=DAY, max_ttl=2 * DAY), []),
        (workspace(session(extended=HOUR, warned={"ttl": HOUR}), since_presence=DAY + HOUR), rules(ttl=DAY, max_ttl=2 * DAY), ["warn ttl"]),
        (workspace(session(ttl=9 * DAY, warned={"ttl": 900}), since_presence=2 * DAY), rules(ttl=DAY, max_ttl=2 * DAY), ["end ttl"]),
        # age
        (workspace(session(age=DAY - 900), since_presence=0), rules(max_age=DAY), ["warn max_age"]),
        (workspace(session(age=DAY, attached=True, busy=True, warned={"max_age": 900})), rules(max_age=DAY), ["end max_age"]),
        (workspace(session(age=HOUR, max_age=HOUR, warned={"max_age": 900})), rules(max_age=DAY), ["end max_age"]),
        (workspace(session(age=DAY, max_age=9 * DAY, warned={"max_age": 900})), rules(max_age=DAY), ["end max_age"]),
        (workspace(session(age=DAY, warned={"max_age": 900}), since_presence=DAY), rules(max_age=DAY, ttl=DAY), ["end max_age"]),
        # idle stop
        (workspace(**AWAY), IDLE, ["warn idle_stop"]),
        (workspace(**AWAY, warned={"idle_stop": 900}), IDLE, ["stop"]),
        (workspace(**AWAY, warned={"idle_stop": 900}, locked=True), IDLE, ["stop"]),
        (workspace(**AWAY, warned={"idle_stop": 900}, busy=True), IDLE, []),
        (workspace(session(busy=True), **AWAY, warned={"idle_stop": 900}), IDLE, []),
        (workspace(since_presence=2 * HOUR, since_connected=0, warned={"idle_stop": 900}), IDLE, []),
        (workspace(session(attached=True), **AWAY, warned={"idle_stop": 900}), IDLE, []),
        (workspace(since_presence=2 * HOUR, since_connected=44 * MINUTE), IDLE, []),
        (workspace(since_presence=2 * HOUR, since_connected=45 * MINUTE), IDLE, ["warn idle_stop"]),
        (workspace(**AWAY, since_busy=44 * MINUTE, warned={"idle_stop": 70 * MINUTE}), IDLE, []),
        (workspace(**AWAY, since_busy=HOUR, warned={"idle_stop": 70 * MINUTE}), IDLE, ["warn idle_stop"]),
        (workspace(**AWAY, age=10 * MINUTE), IDLE, []),
        (workspace(**AWAY), rules(), []),
        # a job, or a page that nobody touches, holds the stop off for so long only
        (workspace(session(busy=True, busy_for=2 * DAY), since_presence=DAY - 901, since_connected=DAY), IDLE, []),
        (workspace(session(busy=True, busy_for=2 * DAY), since_presence=DAY - 900, since_connected=DAY), IDLE, ["warn idle_stop"]),
        (workspace(session(busy=True, busy_for=DAY), since_presence=2 * DAY, since_connected=DAY, warned={"idle_stop": 900}), IDLE, ["stop"]),
        (workspace(session(busy=True, busy_for=DAY), session(id="t", busy=True, busy_for=9), since_presence=2 * DAY, since_connected=DAY), IDLE, []),
        (workspace(session(busy=True, busy_for=DAY), since_presence=DAY, since_connected=DAY, since_busy=0, warned={"idle_stop": 900}), IDLE, ["stop"]),
        (workspace(busy=True, busy_for=DAY, since_presence=DAY, since_connected=DAY, warned={"idle_stop": 900}), IDLE, ["stop"]),
        (workspace(since_presence=DAY, since_connected=0, warned={"idle_stop": 900}), IDLE, ["stop"]),
        (workspace(session(busy=True, busy_for=9 * DAY), since_presence=9 * DAY, since_connected=0), rules(idle_stop=HOUR, keep_alive_max=0), []),
        # age of the workspace
        (workspace(session(busy=True, attached=True), warned={"workspace_max_age": 900}), rules(workspace_max_age=10 * DAY), ["stop"]),
        (workspace(), rules(workspace_max_age=10 * DAY), ["warn workspace_max_age"]),
        # a workspace that does not run
        (workspace(state="stopped", age=DAY), rules(remove_after=DAY), ["remove"]),
        (workspace(state="stopped", age=DAY - 1), rules(remove_after=DAY), []),
        (workspace(session(), state="stopped", since_presence=9 * DAY), Rules(), []),
        # several at once: the lock first, what takes the whole workspace last
        (workspace(session(age=DAY - 900), session(id="t", warned={"ttl": 900}), since_presence=DAY, since_connected=DAY, warned={"idle_stop": 900}),
         Rules(max_age=DAY, idle_stop=HOUR), ["lock", "warn max_age", "warn ttl", "end ttl", "stop"]),
        (workspace(session(age=DAY, warned={"ttl": 900}), since_presence=DAY), rules(ttl=DAY, max_age=DAY + 60), ["end ttl"]),
    ],
)  # fmt: skip
def test_what_is_decided(facts: WorkspaceFacts, rule: Rules, expected: list[str]) -> None:
    assert kinds(decide(facts, rule, 0.0)) == expected


@pytest.mark.parametrize("state", ["pending", "unreachable", "orphan"])
def test_what_cannot_be_reached_is_never_idle(state: str) -> None:
    facts = workspace(session(warned={"ttl": 900}), state=state, since_presence=9 * DAY, since_connected=9 * DAY,
                      warned={"idle_stop": 900, "workspace_max_age": 900})  # fmt: skip
    assert decide(facts, Rules(idle_stop=60, workspace_max_age=60, remove_after=60), 0.0) == []


@pytest.mark.parametrize(
    ("now", "acts"), [(0.0, True), (120.0, True), (120.1, False), (-0.1, False), (math.nan, False)]
)
def test_only_fresh_facts_are_acted_on(now: float, acts: bool) -> None:
    assert bool(decide(workspace(since_presence=HOUR), Rules(), now)) is acts


def test_a_culler_that_was_away_for_a_day_warns_before_it_stops() -> None:
    away = {"since_presence": 30 * HOUR, "since_connected": 30 * HOUR}
    first = decide(workspace(**away), IDLE, 0.0)
    assert kinds(first) == ["warn idle_stop"]
    assert isinstance(first[0], Warn)
    assert first[0].seconds == 900  # so long the owner really has
    later = {"since_presence": 30 * HOUR + 899, "since_connected": 30 * HOUR + 899}
    assert decide(workspace(**later, warned={"idle_stop": 899.0}), IDLE, 0.0) == []
    latest = {"since_presence": 30 * HOUR + 900, "since_connected": 30 * HOUR + 900}
    assert kinds(decide(workspace(**latest, warned={"idle_stop": 900.0}), IDLE, 0.0)) == ["stop"]


def test_presence_makes_a_warning_void_and_it_is_given_again() -> None:
    def at(since_presence: float, warned: float) -> list[str]:
        return kinds(
            decide(workspace(session(warned={"ttl": warned}), since_presence=since_presence), TTL, 0.0)
        )

    assert at(DAY - 800, 100) == []  # warned in time
    assert at(0, 120) == []  # somebody came, 20 s after it was shown
    assert at(DAY - 900, DAY) == ["warn ttl"]  # and went again


def test_a_warning_of_a_longer_limit_does_not_count_for_a_shorter_one() -> None:
    warned = workspace(session(warned={"ttl": 2 * HOUR}), since_presence=DAY)
    assert kinds(decide(warned, TTL, 0.0)) == ["warn ttl"]
    assert kinds(decide(warned, rules(ttl=12 * HOUR), 0.0)) == ["end ttl"]


def test_rounded_figures_do_not_repeat_a_warning() -> None:
    # Shown at exactly the notice, figures cut to whole seconds on the way.
    assert decide(workspace(session(warned={"ttl": 61}), since_presence=DAY - 840), TTL, 0.0) == []


@pytest.mark.parametrize(("limit", "notice"), [(DAY, 900), (1800, 900), (1000, 500), (4, 2), (math.inf, 900)])
def test_a_short_limit_has_a_short_notice(limit: float, notice: float) -> None:
    assert lead(limit, Rules()) == notice


def test_limits() -> None:
    capped = Rules(ttl=100, max_ttl=50)
    assert (ttl_of(None, 0, capped), ttl_of(70, 0, capped), ttl_of(20, 10, capped)) == (50, 50, 30)
    assert (ttl_of(None, 0, NEVER), ttl_of(0, 0, NEVER), ttl_of(60, 5, NEVER)) == (math.inf, math.inf, 65)
    assert ttl_of(math.nan, math.nan, Rules(ttl=100)) == 100
    assert ttl_of(20, -10, Rules(ttl=100)) == 20
    assert (max_age_of(None, NEVER), max_age_of(5, NEVER), max_age_of(0, Rules(max_age=9))) == (
        math.inf,
        5,
        9,
    )


def test_each_reason_has_its_numbers() -> None:
    facts = workspace(session(age=DAY - 60), session(id="t", name="train", warned={"ttl": 1200}),
                      since_presence=26 * HOUR, since_connected=25 * HOUR, since_busy=2 * HOUR)  # fmt: skip
    reasons = [action.reason for action in decide(facts, Rules(max_age=DAY, idle_stop=HOUR), 0.0)]
    assert reasons == [
        "No keyboard, pointer or touch for 26 h; the limit is 30 min.",
        "The workspace stops in 15 min: nobody was there and nothing ran or was connected for 2 h, the limit is 1 h.",
        "Session build ends in 15 min: it was created 23 h 59 min ago, the limit is 24 h.",
        "Session build ends in 15 min: its owner was last present 23 h 59 min ago, the limit is 24 h.",
        "Session train ends: its owner was last present 26 h ago, the limit is 24 h, the warning was shown 20 min ago.",
    ]
    assert decide(workspace(state="stopped", age=8 * DAY), rules(remove_after=7 * DAY), 0.0) == [
        Remove("The workspace stopped 8 d ago, the limit is 7 d; its files stay.")
    ]
    held = workspace(session(busy=True, busy_for=25 * HOUR), since_presence=DAY + HOUR, since_connected=DAY + HOUR,
                     warned={"idle_stop": 900})  # fmt: skip
    assert decide(held, IDLE, 0.0) == [
        Stop("The workspace stops: nobody was there for 25 h, and a job may defer this for 24 h only, "
             "the limit is 1 h, the warning was shown 15 min ago.")
    ]  # fmt: skip
    assert decide(workspace(since_connected=90), rules(reauth_on_reconnect=60), 0.0) == [
        Lock("No page or client was connected for 1 min 30 s; the limit is 1 min.")
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (0.25, "0.25 s"), (59.6, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (86400, "24 h"), (90061, "25 h 1 min"),
     (172800, "2 d"), (176461, "2 d 1 h"), (math.inf, "ever")],
)  # fmt: skip
def test_durations_as_people_say_them(seconds: float, words: str) -> None:
    assert span(seconds) == words


GREEDY = Rules(max_cpu=100.0, max_memory=512.0)


def uses(**fields: float) -> SessionFacts:
    return SessionFacts("s", "run", 10.0, cpu=fields.get("cpu", 0.0), memory=fields.get("memory", 0.0))


@pytest.mark.parametrize(
    ("cpu", "memory", "warned", "what"),
    [
        (100.0, 512.0, {}, []),
        (101.0, 0.0, {}, ["warn cpu"]),
        (101.0, 0.0, {"cpu": 0.0}, []),
        (101.0, 0.0, {"cpu": 59.0}, []),
        (101.0, 0.0, {"cpu": 60.0}, ["end cpu"]),
        (101.0, 0.0, {"cpu": 181.0}, ["warn cpu"]),  # of another time
        (101.0, 0.0, {"cpu": -1.0}, ["warn cpu"]),
        (101.0, 0.0, {"cpu": math.nan}, ["warn cpu"]),
        (0.0, 513.0, {"cpu": 60.0}, ["warn memory"]),
        (101.0, 513.0, {"memory": 70.0}, ["end memory"]),
        (0.0, 100.0, {"memory": 70.0}, []),  # it fell again
        (math.nan, math.nan, {"cpu": 60.0, "memory": 60.0}, []),
    ],
)
def test_a_session_that_uses_too_much(
    cpu: float, memory: float, warned: dict[str, float], what: list[str]
) -> None:
    session = replace(uses(cpu=cpu, memory=memory), warned=warned)
    facts = WorkspaceFacts(0.0, "running", age=20.0, sessions=(session,))
    found = decide(facts, GREEDY, 0.0)
    shown = [f"{'warn' if isinstance(action, Warn) else 'end'} {action.code}" for action in found]  # type: ignore[union-attr]
    assert shown == what
    assert decide(facts, Rules(), 0.0) == []  # without a rule nobody looks


def test_a_short_warning_is_a_short_grace() -> None:
    rules = replace(GREEDY, warn_before=3.0)
    session = replace(uses(cpu=200.0), warned={"cpu": 3.0})
    facts = WorkspaceFacts(0.0, "running", age=20.0, sessions=(session,))
    (end,) = decide(facts, rules, 0.0)
    assert (
        isinstance(end, EndSession) and "3 min 20 s of CPU time" in end.reason and "1 min 40 s" in end.reason
    )
