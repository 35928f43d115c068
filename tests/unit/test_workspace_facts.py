"""What a workspace says of itself: read whole, or refused with a sentence, whatever arrives."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.policy import SessionFacts, WorkspaceFacts
from persistent_terminal_hub.workspace_facts import BadFacts, facts_of

FACTS = WorkspaceFacts(
    taken=7.0,
    state="running",
    age=1000.0,
    since_presence=20.0,
    since_connected=0.0,
    busy=True,
    busy_for=3.0,
    since_busy=0.0,
    sessions=(SessionFacts("a1", "build", 900.0, True, True, 12.5, 600.0, None, 30.0, {"ttl": 4.0}),),
    warned={"idle_stop": 3.0},
)


def camel(model: Any) -> Any:
    if isinstance(model, list | tuple):
        return [camel(each) for each in model]
    if not isinstance(model, dict):
        return model
    return {
        key.split("_")[0] + "".join(part.capitalize() for part in key.split("_")[1:])
        if key != "idle_stop"
        else key: camel(value)
        for key, value in model.items()
    }


def test_facts_come_back_as_they_were() -> None:
    model = json.loads(json.dumps({**asdict(FACTS), "rulesHash": "abc", "events": [], "novelty": {}}))
    assert facts_of(model, 7.0) == (FACTS, "abc")
    assert facts_of(camel(model), 7.0) == (FACTS, "abc")


def test_state_and_time_are_the_askers() -> None:
    model = json.loads(json.dumps(asdict(replace(FACTS, taken=99.0, state="stopped"))))
    facts, rules_hash = facts_of(model, 7.0)
    assert (facts.taken, facts.state, rules_hash) == (7.0, "running", "")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"since_presence": None}, "since_presence must be a number"),
        ({"since_presence": -1}, "not negative"),
        ({"since_presence": float("nan")}, "not negative"),
        ({"age": True}, "age must be a number"),
        ({"age": 10**400}, "not negative"),
        ({"busy": 0}, "busy must be true or false"),
        ({"sessions": {}}, "sessions must be a list"),
        ({"sessions": [3]}, "a session must be an object"),
        ({"sessions": [{"id": "a", "name": "x", "age": 1}] * 2}, "the same id"),
        ({"sessions": [{"name": "x", "age": 1}]}, "no id"),
        ({"warned": {"ttl": "soon"}}, "ttl must be a number"),
    ],
)
def test_nonsense_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadFacts, match=sentence):
        facts_of({**asdict(FACTS), "sessions": [], **change}, 0.0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
KEYS = st.sampled_from([*asdict(FACTS), "rulesHash", "sessions", "warned"])


@given(st.dictionaries(KEYS, JSON, max_size=4), JSON)
def test_whatever_arrives(change: dict[str, Any], other: Any) -> None:
    for model in ({**asdict(FACTS), "sessions": [], **change}, other):
        try:
            facts, rules_hash = facts_of(model, 1.0)
        except BadFacts:
            continue
        assert facts.state == "running" and facts.since_presence >= 0 and isinstance(rules_hash, str)
