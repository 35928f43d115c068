"""Who answers and whose size counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.protocol.arbiter import REMEMBERED, Arbiter, Decision


def two(policy: str = "latest") -> Arbiter:
    arbiter = Arbiter(policy)  # type: ignore[arg-type]
    arbiter.join("a", rows=24, cols=100, writes=True, visible=True)
    arbiter.join("b", rows=50, cols=80, writes=True, visible=True)
    return arbiter


def test_nobody() -> None:
    assert Arbiter().decide() == Decision(None, None)


def test_latest_follows_typing_and_focus() -> None:
    arbiter = two()
    assert arbiter.decide() == Decision("b", (50, 80))
    arbiter.active("a")
    assert arbiter.decide() == Decision("a", (24, 100))
    arbiter.resize("a", 25, 101)
    arbiter.resize("b", 60, 90)
    assert arbiter.decide() == Decision("a", (25, 101))
    arbiter.leave("a")
    assert arbiter.decide() == Decision("b", (60, 90))


def test_smallest() -> None:
    arbiter = two("smallest")
    assert arbiter.decide().size == (24, 80)
    arbiter.visible("a", False)
    assert arbiter.decide().size == (50, 80)


def test_watchers_and_hidden_clients() -> None:
    arbiter = two()
    arbiter.join("w", rows=10, cols=10, writes=False, visible=True)
    arbiter.active("w")
    assert arbiter.decide() == Decision("b", (50, 80))
    arbiter.visible("b", False)
    assert arbiter.decide() == Decision("a", (24, 100))
    arbiter.visible("a", False)
    assert arbiter.decide() == Decision("b", None)  # nobody looks: the size stays, somebody answers


def test_coming_back_takes_nothing_from_anybody() -> None:
    arbiter = two()
    arbiter.active("a")
    arbiter.join("b", rows=50, cols=80, writes=True, visible=True, resumed=True)
    assert arbiter.decide() == Decision("a", (24, 100))
    arbiter.leave("b")
    arbiter.join("b", rows=50, cols=80, writes=True, visible=True, resumed=True)
    assert arbiter.decide() == Decision("a", (24, 100))
    # The one to follow is it again after a cut, unless somebody was active meanwhile.
    arbiter.leave("a")
    assert arbiter.decide() == Decision("b", (50, 80))
    arbiter.join("a", rows=25, cols=100, writes=True, visible=True, resumed=True)
    assert arbiter.decide() == Decision("a", (25, 100))
    arbiter.leave("a")
    arbiter.active("b")
    arbiter.join("a", rows=25, cols=100, writes=True, visible=True, resumed=True)
    assert arbiter.decide() == Decision("b", (50, 80))
    for number in range(REMEMBERED + 1):  # what is kept of those who left has a bound
        arbiter.join(f"c{number}", rows=9, cols=9, writes=True, visible=True)
        arbiter.leave(f"c{number}")
    assert len(arbiter._left) == REMEMBERED


@given(
    st.lists(st.tuples(st.sampled_from("jlavw"), st.integers(0, 3), st.booleans()), max_size=30),
    st.booleans(),
)
def test_the_decision_is_always_one_of_the_attached(ops: list[tuple[str, int, bool]], smallest: bool) -> None:
    arbiter = Arbiter("smallest" if smallest else "latest")
    writers: dict[str, bool] = {}
    for op, number, flag in ops:
        name = f"c{number}"
        if op in "jw":
            writers[name] = op == "j"
            arbiter.join(name, rows=number + 1, cols=9 - number, writes=op == "j", visible=flag)
        elif op == "l":
            writers.pop(name, None)
            arbiter.leave(name)
        elif op == "a":
            arbiter.active(name)
        else:
            arbiter.visible(name, flag)
        decision = arbiter.decide()
        assert (decision.responder is None) == (not any(writers.values()))
        assert decision.responder is None or writers[decision.responder]
        assert len(arbiter) == len(writers)
