"""The life of a session: a table of refusals, its clock, and a model that lives through anything."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from persistent_terminal_hub import policy
from persistent_terminal_hub.lifecycle import (
    Attach,
    Detach,
    End,
    EndReason,
    Event,
    Expiry,
    Extend,
    Impossible,
    Lock,
    Presence,
    Session,
    State,
    Unlock,
    Warned,
    apply,
    create,
    expiry,
    facts_of,
    most_extension,
)
from persistent_terminal_hub.policy import Rules, WorkspaceFacts

RULES = Rules(ttl=100, max_ttl=300, max_age=1000, warn_before=10)


def after(*events: Event, rules: Rules = RULES, **wishes: float) -> Session:
    session = create("s", "build", 0.0, **wishes)  # type: ignore[arg-type]
    for event in events:
        session = apply(session, event, rules)
    return session


def test_a_life() -> None:
    session = after()
    assert session.state is State.DORMANT
    session = apply(session, Attach("a", 1), RULES)
    session = apply(session, Attach("b", 2), RULES)
    session = apply(session, Attach("a", 3), RULES)  # a reconnect
    assert (session.state, session.clients) == (State.ACTIVE, {"a", "b"})
    session = apply(session, Detach("b", 4), RULES)
    assert session.state is State.ACTIVE
    session = apply(session, Lock(5), RULES)
    assert (session.state, session.locked) == (State.DORMANT, True)
    session = apply(session, Unlock(50), RULES)
    assert (session.presence, session.locked) == (50, False)
    session = apply(session, End(EndReason.EXIT, 60, exit_code=3), RULES)
    assert session.state is State.ENDED
    assert session.end == End(EndReason.EXIT, 60, exit_code=3)


@pytest.mark.parametrize(
    ("history", "event", "why"),
    [
        ((), Detach("a", 1), "not_attached"),
        ((Attach("a", 1), Lock(2)), Detach("a", 3), "not_attached"),
        ((Lock(1),), Attach("a", 2), "locked"),
        ((Lock(1),), Lock(2), "locked"),
        ((Lock(1),), Presence(2), "locked"),
        ((Lock(1),), Extend(5, 2), "locked"),
        ((), Unlock(1), "not_locked"),
        ((), Attach("a", -1), "time"),
        ((), Attach("a", math.nan), "time"),
        ((), Extend(0, 1), "not_allowed"),
        ((), Extend(-5, 1), "not_allowed"),
        ((), Extend(math.nan, 1), "not_allowed"),
        ((), Extend(math.inf, 1), "not_allowed"),
        ((), Extend(201, 1), "too_far"),
        ((Extend(200, 1),), Extend(1, 1), "not_allowed"),
        *(
            ((End(EndReason.TTL, 9),), event, "ended")
            for event in (Attach("a", 10), Detach("a", 10), Lock(10), Unlock(10), Warned("ttl", 10),
                          Extend(1, 10), Presence(10), End(EndReason.EXIT, 10))
        ),
    ],
)  # fmt: skip
def test_what_cannot_happen_is_refused_in_a_sentence(
    history: tuple[Event, ...], event: Event, why: str
) -> None:
    before = after(*history)
    with pytest.raises(Impossible) as caught:
        apply(before, event, RULES)
    assert caught.value.why == why
    assert str(caught.value).endswith(".")
    assert before == after(*history)


def test_an_administrator_may_extend_and_end_what_is_locked() -> None:
    session = after(Lock(1), Extend(50, 2, steered=True))
    assert session.extended == 50
    assert apply(session, End(EndReason.TERMINATED, 3), RULES).state is State.ENDED


def test_a_refused_extension_says_what_is_allowed() -> None:
    with pytest.raises(Impossible, match="by 3 min 20 s at most, not by 8 min 20 s") as caught:
        after(Extend(500, 1))
    assert caught.value.allowed == 200


@pytest.mark.parametrize(
    ("session", "rules", "now", "expected", "room"),
    [
        (after(), RULES, 40, Expiry(60, "ttl"), 200),
        (after(), RULES, 400, Expiry(0, "ttl"), 200),
        (after(Presence(950)), RULES, 950, Expiry(50, "max_age"), 0),
        (after(Presence(850)), RULES, 850, Expiry(100, "ttl"), 50),
        (after(Presence(50)), RULES, 60, Expiry(90, "ttl"), 200),
        (after(Extend(150, 1), Presence(50)), RULES, 60, Expiry(240, "ttl"), 50),
        (after(ttl=30), RULES, 0, Expiry(30, "ttl"), 270),
        (after(ttl=900), RULES, 0, Expiry(300, "ttl"), 0),
        (after(max_age=60), RULES, 0, Expiry(60, "max_age"), 0),
        (after(), Rules(ttl=100), 0, Expiry(100, "ttl"), 0),
        (after(), Rules(ttl=0), 0, None, 0),
        (after(ttl=50), Rules(ttl=0), 0, Expiry(50, "ttl"), math.inf),
        (after(End(EndReason.EXIT, 1)), RULES, 2, None, 0),
    ],
)
def test_when_it_ends_and_how_far_that_may_be_moved(
    session: Session, rules: Rules, now: float, expected: Expiry | None, room: float
) -> None:
    assert (expiry(session, rules, now), most_extension(session, rules)) == (expected, room)


def test_warnings_stand_until_presence_or_an_extension_makes_them_void() -> None:
    warned = after(Warned("ttl", 90), Warned("max_age", 91))
    assert facts_of(warned, 95).warned == {"ttl": 5, "max_age": 4}
    assert dict(apply(warned, Presence(92), RULES).warned) == {"max_age": 91}
    assert dict(apply(warned, Extend(5, 92), RULES).warned) == {"max_age": 91}
    late = apply(warned, Presence(80), RULES)  # told late: the warning was shown after it
    assert (late.presence, late.warned["ttl"]) == (80, 90)
    assert apply(late, Presence(70), RULES) == late


def test_facts_for_the_policy() -> None:
    session = after(Attach("a", 1), Extend(20, 2), ttl=40)
    facts = facts_of(session, 30, busy=True, busy_for=7)
    assert (facts.age, facts.attached, facts.busy, facts.busy_for) == (30, True, True, 7)
    assert (facts.ttl, facts.extended) == (40, 20)
    assert facts_of(session, 30, busy_for=7).busy_for == 0


def on_its_own(session: Session, now: float) -> WorkspaceFacts:
    """The facts of a workspace that holds nothing but this session, for asking about it alone."""
    sessions = () if session.end else (facts_of(session, now),)
    return WorkspaceFacts(
        taken=now, state="running", since_presence=now - session.presence, locked=session.locked,
        sessions=sessions,
    )  # fmt: skip


class Life(RuleBasedStateMachine):
    """Whatever happens in whatever order: a model of plain variables agrees, and the limits hold."""

    @initialize(
        ttl=st.none() | st.integers(0, 400),
        max_age=st.none() | st.integers(0, 400),
        rules=st.builds(
            Rules, ttl=st.integers(0, 200), max_ttl=st.integers(0, 400), max_age=st.integers(0, 600),
            warn_before=st.integers(1, 20), idle_lock=st.just(0.0),
        ),
    )  # fmt: skip
    def begin(self, ttl: float | None, max_age: float | None, rules: Rules) -> None:
        self.now = 1000.0
        self.rules = rules
        self.session = create("s", "n", self.now, ttl=ttl, max_age=max_age)
        self.clients: set[str] = set()
        self.locked = self.ended = False
        self.presence = self.now
        self.last_shown: dict[str, float] = {}

    def happens(self, event: Event, *, possible: bool) -> bool:
        before = self.session
        try:
            self.session = apply(before, event, self.rules)
        except Impossible as refusal:
            assert not possible, refusal
            assert self.session is before
            return False
        assert possible
        return True

    @rule(seconds=st.sampled_from([0.5, 3.0, 20.0, 90.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(client=st.sampled_from("ab"))
    def attach(self, client: str) -> None:
        if self.happens(Attach(client, self.now), possible=not self.ended and not self.locked):
            self.clients.add(client)

    @rule(client=st.sampled_from("ab"))
    def detach(self, client: str) -> None:
        if self.happens(Detach(client, self.now), possible=client in self.clients):
            self.clients.discard(client)

    @rule()
    def lock(self) -> None:
        if self.happens(Lock(self.now), possible=not self.ended and not self.locked):
            self.locked = True
            self.clients.clear()

    @rule()
    def unlock(self) -> None:
        if self.happens(Unlock(self.now), possible=not self.ended and self.locked):
            self.locked = False
            self.presence = self.now

    @rule(late=st.sampled_from([0.0, 0.0, 5.0]))
    def presence_is_told(self, late: float) -> None:
        at = max(self.now - late, self.session.created)
        if self.happens(Presence(at), possible=not self.ended and not self.locked):
            self.presence = max(self.presence, at)

    @rule(seconds=st.sampled_from([-1.0, 1.0, 50.0, 1000.0]), steered=st.booleans())
    def extend(self, seconds: float, steered: bool) -> None:
        room = most_extension(self.session, self.rules)
        before = self.session.extended
        possible = not self.ended and (steered or not self.locked) and 0 < seconds <= room
        if self.happens(Extend(seconds, self.now, steered), possible=possible):
            assert self.session.extended == before + seconds

    @rule(reason=st.sampled_from(EndReason))
    @precondition(lambda self: self.now > 1300)
    def end(self, reason: EndReason) -> None:
        if self.happens(End(reason, self.now), possible=not self.ended):
            self.ended = True
            self.clients.clear()

    @rule()
    def the_clock_asks(self) -> None:
        for action in policy.decide(on_its_own(self.session, self.now), self.rules, self.now):
            if isinstance(action, policy.Warn):
                assert action.code in ("ttl", "max_age")
                assert self.happens(Warned(action.code, self.now), possible=True)  # type: ignore[arg-type]
                self.last_shown[action.code] = self.now
            elif isinstance(action, policy.EndSession):
                assert self.last_shown[action.code] < self.now
                due = expiry(self.session, self.rules, self.now)
                assert due is not None
                assert due.seconds == 0
                assert self.happens(End(EndReason(action.code), self.now), possible=True)
                self.ended = True
                self.clients.clear()

    @invariant()
    def agrees_with_the_model(self) -> None:
        if not hasattr(self, "session"):
            return
        session = self.session
        expected = State.ENDED if self.ended else State.ACTIVE if self.clients else State.DORMANT
        assert session.state is expected
        assert session.clients == self.clients
        assert session.presence == self.presence
        if not self.ended:
            assert session.locked is self.locked
            assert not (session.locked and session.clients)

    @invariant()
    def never_outlives_the_administrators_limits(self) -> None:
        if not hasattr(self, "session"):
            return
        due = expiry(self.session, self.rules, self.now)
        most, oldest = policy.most_ttl(self.rules), policy.max_age_of(None, self.rules)
        if due is None:
            assert self.ended or (math.isinf(most) and math.isinf(oldest))
            return
        last = min(self.presence + most, self.session.created + oldest)
        assert due.seconds <= max(0.0, last - self.now) + 1e-6


Life.TestCase.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase
