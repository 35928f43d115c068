"""What holds of every decision, whatever the facts and the rules are."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

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
    most_ttl,
)

#: Few values, near each other and near the rules', so that limits are met and missed by little.
NUMBERS = (0.0, 1.0, 5.0, 9.0, 10.0, 11.0, 20.0, 40.0, 60.0, 61.0, 100.0, 500.0, 1e6)
SECONDS = st.sampled_from(NUMBERS) | st.floats(0, 200)
WILD = SECONDS | st.sampled_from([-1.0, math.nan, math.inf])
CODES = st.sampled_from(["ttl", "max_age", "idle_stop", "workspace_max_age"])
WARNED = st.dictionaries(CODES, WILD, max_size=4)

RULES = st.builds(
    Rules, idle_lock=SECONDS, reauth_on_reconnect=SECONDS, ttl=SECONDS, max_ttl=SECONDS, max_age=SECONDS,
    idle_stop=SECONDS, workspace_max_age=SECONDS, remove_after=SECONDS, warn_before=SECONDS,
    keep_alive_max=SECONDS, fresh=st.just(120.0),
)  # fmt: skip
SESSIONS = st.builds(
    SessionFacts, id=st.sampled_from("abc"), name=st.just("n"), age=SECONDS, attached=st.booleans(),
    busy=st.booleans(), busy_for=SECONDS, ttl=st.none() | WILD, max_age=st.none() | WILD, extended=WILD,
    warned=WARNED,
)  # fmt: skip
WORKSPACES = st.builds(
    WorkspaceFacts, taken=st.just(0.0),
    state=st.sampled_from(["running", "running", "stopped", "pending", "unreachable", "orphan"]),
    age=SECONDS, since_presence=SECONDS, since_connected=SECONDS, busy=st.booleans(), busy_for=SECONDS,
    since_busy=st.none() | SECONDS, locked=st.booleans(),
    sessions=st.lists(SESSIONS, max_size=3, unique_by=lambda session: session.id).map(tuple), warned=WARNED,
)  # fmt: skip
ELSEWHERE = st.tuples(WORKSPACES, st.sampled_from(["stopped", "pending", "unreachable", "orphan"])).map(
    lambda two: replace(two[0], state=two[1])
)
RUNNING = WORKSPACES.map(lambda facts: replace(facts, state="running"))

many = hypothesis_settings(max_examples=70, deadline=None)
few = hypothesis_settings(max_examples=20, deadline=None)


def harm(actions: list[Action]) -> set[tuple[type, str]]:
    """What is done to a workspace beyond telling its owner."""
    return {
        (type(action), action.session if isinstance(action, EndSession) else "")
        for action in actions
        if not isinstance(action, Warn)
    }


def of(actions: list[Action], kind: type) -> bool:
    return any(isinstance(action, kind) for action in actions)


def every_warning(facts: WorkspaceFacts, rules: Rules, shown: float) -> WorkspaceFacts:
    """The same with each warning shown so long ago."""
    codes = ("ttl", "max_age", "idle_stop", "workspace_max_age")
    sessions = tuple(replace(session, warned=dict.fromkeys(codes, shown)) for session in facts.sessions)
    return replace(facts, sessions=sessions, warned=dict.fromkeys(codes, shown))


@given(WORKSPACES, RULES, st.floats(0.001, 1e9) | st.sampled_from([math.inf, math.nan]))
@many
def test_never_acts_on_facts_that_are_old_or_from_the_future(
    facts: WorkspaceFacts, rules: Rules, more: float
) -> None:
    assert decide(facts, rules, rules.fresh + more) == []
    assert decide(facts, rules, -more) == []


@given(ELSEWHERE, RULES)
@many
def test_what_does_not_run_is_left_alone_but_for_the_removal_of_what_stopped(
    facts: WorkspaceFacts, rules: Rules
) -> None:
    actions = decide(facts, rules, 0.0)
    assert all(isinstance(action, Remove) for action in actions)
    if facts.state != "stopped":
        assert actions == []


@given(RUNNING, RULES)
@many
def test_never_stops_a_busy_workspace_before_its_age_or_the_maximum_of_its_jobs(
    facts: WorkspaceFacts, rules: Rules
) -> None:
    jobs = [session.busy_for for session in facts.sessions if session.busy] + [facts.busy_for] * facts.busy
    if not jobs:
        facts, jobs = replace(facts, busy=True), [facts.busy_for]
    if of(decide(facts, rules, 0.0), Stop):
        old = 0 < rules.workspace_max_age <= facts.age
        unattended = [min(busy_for, facts.since_presence, facts.age) for busy_for in jobs]
        assert old or all(0 < rules.keep_alive_max <= seconds for seconds in unattended)


@given(RUNNING, RULES, st.booleans())
@many
def test_ttl_and_age_hold_whatever_a_user_does(facts: WorkspaceFacts, rules: Rules, tab: bool) -> None:
    """No wish, extension, job, attached client or open page outlives the administrator's limits."""
    shown = lead(1e9, rules)
    facts = replace(
        every_warning(facts, rules, shown), since_connected=0.0 if tab else facts.since_connected, busy=True
    )
    actions = decide(facts, rules, 0.0)
    ended = {action.session for action in actions if isinstance(action, EndSession)}
    for session in facts.sessions:
        absent = min(facts.since_presence, session.age)
        # The longest that the administrator allows, plus the notice a late warning needs.
        if absent >= most_ttl(rules) + shown or session.age >= max_age_of(0, rules) + shown:
            assert session.id in ended
    if 0 < rules.workspace_max_age <= facts.age - shown:
        assert of(actions, Stop)


@given(RUNNING, RULES)
@many
def test_a_job_defers_neither_lock_nor_ttl_nor_age(facts: WorkspaceFacts, rules: Rules) -> None:
    def with_jobs(busy: bool) -> WorkspaceFacts:
        sessions = tuple(replace(session, busy=busy, busy_for=1.0) for session in facts.sessions)
        return replace(facts, busy=busy, busy_for=1.0, sessions=sessions, since_busy=None)

    def others(actions: list[Action]) -> list[Action]:
        """All but the workspace's warnings and stops."""
        return [
            action
            for action in actions
            if isinstance(action, Lock | EndSession) or (isinstance(action, Warn) and action.session)
        ]

    assert others(decide(with_jobs(True), rules, 0.0)) == others(decide(with_jobs(False), rules, 0.0))


@given(RUNNING, RULES)
@many
def test_nothing_ends_or_stops_whose_warning_was_not_shown_long_enough_ago(
    facts: WorkspaceFacts, rules: Rules
) -> None:
    actions = decide(facts, rules, 0.0)
    for action in actions:
        if isinstance(action, EndSession):
            session = next(session for session in facts.sessions if session.id == action.session)
            limit = most_ttl(rules) if action.code == "ttl" else max_age_of(session.max_age, rules)
            if action.code == "ttl" and session.ttl is not None and 0 < session.ttl < limit:
                limit = min(limit, session.ttl)
            assert session.warned[action.code] >= min(lead(limit, rules), lead(most_ttl(rules), rules))
        elif isinstance(action, Stop):
            notices = {"idle_stop": rules.idle_stop, "workspace_max_age": rules.workspace_max_age}
            assert any(
                facts.warned.get(code, -1.0) >= lead(limit, rules)
                for code, limit in notices.items()
                if limit > 0
            )
    bare = replace(every_warning(facts, rules, 0.0), warned={})
    bare = replace(bare, sessions=tuple(replace(session, warned={}) for session in bare.sessions))
    unwarned = decide(bare, rules, 0.0)
    assert not of(unwarned, EndSession)
    assert not of(unwarned, Stop)


@given(RUNNING, RULES)
@few
def test_each_cause_is_warned_of_once_and_then_it_happens(facts: WorkspaceFacts, rules: Rules) -> None:
    """Played forward with nobody there: one warning per cause, then the end, no sooner than was said."""
    # A session that ends takes its client and its job along, which moves the idle stop.
    sessions = tuple(replace(session, warned={}, attached=False, busy=False) for session in facts.sessions)
    facts = replace(facts, warned={}, sessions=sessions, locked=True)
    promised: dict[tuple[str | None, str], float] = {}
    shown: dict[tuple[str | None, str], float] = {}
    now, step = 0.0, 5.0
    gone: set[str] = set()
    for _ in range(40):
        current = replace(
            facts, age=facts.age + now, since_presence=facts.since_presence + now,
            since_connected=facts.since_connected + now if facts.since_connected else 0.0,
            since_busy=None if facts.since_busy is None else facts.since_busy + now,
            busy_for=facts.busy_for + now,
            warned={code: now - at for (who, code), at in shown.items() if who is None},
            sessions=tuple(
                replace(
                    session, age=session.age + now, busy_for=session.busy_for + now,
                    warned={code: now - at for (who, code), at in shown.items() if who == session.id},
                )
                for session in facts.sessions if session.id not in gone
            ),
        )  # fmt: skip
        for action in decide(current, rules, 0.0):
            if isinstance(action, Warn):
                assert (action.session, action.code) not in shown
                shown[action.session, action.code] = now
                promised[action.session, action.code] = now + action.seconds
            elif isinstance(action, EndSession):
                assert now >= promised[action.session, action.code] - 1e-6
                gone.add(action.session)
            elif isinstance(action, Stop):
                first = min(at for (who, _), at in promised.items() if who is None)
                assert now >= first - 1e-6
                return
        now += step
    late = [key for key, at in promised.items() if at < now - 2 * step and key[0] not in gone]
    assert not late


@given(RUNNING, RULES, st.floats(0, 1))
@many
def test_presence_never_adds_a_lock_an_end_or_a_stop(
    facts: WorkspaceFacts, rules: Rules, share: float
) -> None:
    nearer = replace(facts, since_presence=facts.since_presence * share)
    assert harm(decide(nearer, rules, 0.0)) <= harm(decide(facts, rules, 0.0))


@given(RUNNING, RULES)
@many
def test_presence_never_causes_more_actions(facts: WorkspaceFacts, rules: Rules) -> None:
    before = decide(facts, rules, 0.0)
    after = decide(replace(facts, since_presence=0.0), rules, 0.0)
    assert len(after) <= len(before)
    idle = [action for action in after if isinstance(action, Lock)]
    assert not any("keyboard" in action.reason for action in idle) or rules.idle_lock == 0


@given(RUNNING, RULES, WORKSPACES)
@many
def test_the_lock_is_decided_from_presence_and_connections_alone(
    facts: WorkspaceFacts, rules: Rules, other: WorkspaceFacts
) -> None:
    clocks = replace(
        other, state="running", since_presence=facts.since_presence, since_connected=facts.since_connected,
        locked=facts.locked,
    )  # fmt: skip
    locks = [action for action in decide(facts, rules, 0.0) if isinstance(action, Lock)]
    assert locks == [action for action in decide(clocks, rules, 0.0) if isinstance(action, Lock)]
    due = (
        0 < rules.idle_lock <= facts.since_presence or 0 < rules.reauth_on_reconnect <= facts.since_connected
    )
    assert bool(locks) == (due and not facts.locked)


@given(RUNNING, RULES)
@many
def test_a_locked_workspace_is_ended_and_stopped_like_any_other(facts: WorkspaceFacts, rules: Rules) -> None:
    def rest(locked: bool) -> list[Action]:
        actions = decide(replace(facts, locked=locked), rules, 0.0)
        return [action for action in actions if not isinstance(action, Lock)]

    assert rest(True) == rest(False)


@given(RUNNING, RULES)
@many
def test_every_action_says_why_in_a_sentence_with_numbers(facts: WorkspaceFacts, rules: Rules) -> None:
    for action in decide(facts, rules, 0.0):
        assert action.reason[0].isupper()
        assert action.reason.endswith(".")
        assert any(letter.isdigit() for letter in action.reason)
        if isinstance(action, Warn):
            assert action.seconds >= 0
