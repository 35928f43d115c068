"""The states of a session: a table of the facts, and a life lived at random."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.lifecycle import State, state_of


@pytest.mark.parametrize(
    ("running", "attached", "locked", "state"),
    [
        (True, False, False, State.DORMANT),
        (True, 0, False, State.DORMANT),
        (True, True, False, State.ACTIVE),
        (True, 3, False, State.ACTIVE),
        (True, False, True, State.LOCKED),
        (True, 1, True, State.LOCKED),
        (False, False, False, State.ENDED),
        (False, 1, False, State.ENDED),
        (False, False, True, State.ENDED),
        (False, 2, True, State.ENDED),
    ],
)
def test_the_state_follows_from_the_facts(running: bool, attached: int, locked: bool, state: State) -> None:
    assert state_of(running=running, attached=attached, locked=locked) is state


#: What may come after what, by one change of the facts.
NEXT = {
    State.DORMANT: {State.DORMANT, State.ACTIVE, State.LOCKED, State.ENDED},
    State.ACTIVE: {State.DORMANT, State.ACTIVE, State.LOCKED, State.ENDED},
    State.LOCKED: {State.DORMANT, State.LOCKED, State.ENDED},
    State.ENDED: {State.ENDED},
}


@given(st.lists(st.sampled_from(["attach", "detach", "lock", "unlock", "end"])))
def test_a_life(events: list[str]) -> None:
    running, clients, locked = True, 0, False
    before = state_of(running=running, attached=clients, locked=locked)
    for event in events:
        if event == "attach" and not locked and running:  # the gate lets nobody in
            clients += 1
        elif event == "detach":
            clients = max(0, clients - 1)
        elif event == "lock":
            locked, clients = True, 0
        elif event == "unlock":
            locked = False
        elif event == "end":
            running = False
        state = state_of(running=running, attached=clients, locked=locked)
        assert state in NEXT[before], event
        before = state
