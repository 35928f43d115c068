"""What people may choose for a workspace: the administrator's limits, and what lasts."""
# ruff: noqa: E501 - the tables of cases read best one case a line

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.hub.egress import Ground, Policy
from persistent_terminal_hub.hub.workspace_options import Limits, OptionsRefused, accept, excesses, parse

GIB = 1 << 30
GROUND = Ground("0123456789ab", IPv4Network("10.213.0.0/16"), 29, IPv4Address("10.213.0.1"), 8081)
LIMITS = Limits("site/default", frozenset({"site/gpu"}), 2.0, 2 * GIB, 512, GROUND)


@pytest.mark.parametrize(
    "given",
    [
        {}, {"image": "site/gpu"}, {"image": "site/default"}, {"cpu": 2}, {"cpu": 0.05}, {"memory": "2G"},
        {"memory": "64M"}, {"pids": 512}, {"egress": "none"}, {"egress": "list"}, {"egress": "internet"},
        {"cpu": None},
    ],
)  # fmt: skip
def test_within_the_limits(given: dict[str, Any]) -> None:
    options, notes = accept({}, given, LIMITS)
    assert options.chosen() == {key: value for key, value in given.items() if value is not None}
    assert notes == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"image": "debian"}, "not one that may be chosen here; these are: site/default, site/gpu"),
        ({"image": ""}, "image must be"), ({"image": "x" * 257}, "image must be"), ({"image": 1}, "image must be"),
        ({"cpu": 2.01}, "At most 2 CPUs"), ({"cpu": 0}, "cpu must be"), ({"cpu": -1}, "cpu must be"),
        ({"cpu": float("nan")}, "cpu must be"), ({"cpu": float("inf")}, "cpu must be"), ({"cpu": True}, "cpu must be"),
        ({"cpu": "1"}, "cpu must be"), ({"cpu": ["1"]}, "cpu must be"), ({"memory": "2049M"}, "At most 2048M"),
        ({"memory": "63M"}, "at least 64M"), ({"memory": "2G\n"}, "memory must be"), ({"memory": "-1"}, "memory must be"),
        ({"memory": 1024}, "memory must be"), ({"pids": 513}, "At most 512"), ({"pids": 31}, "pids must be"),
        ({"pids": 100.0}, "pids must be"), ({"egress": "all"}, "egress must be"), ({"privileged": True}, "no option"),
        ({"cpu": 9, "pids": 9999}, "At most 512"), ({1: 2}, "no option"), ([], "must be an object"), ("x", "must be an object"),
    ],
)  # fmt: skip
def test_refused_with_a_sentence(given: Any, words: str) -> None:
    with pytest.raises(OptionsRefused) as refusal:
        accept({"cpu": 1}, given or [[]], LIMITS)
    assert words in str(refusal.value) and str(refusal.value).endswith(".")


@pytest.mark.parametrize(("most", "permitted"), [("none", ["none"]), ("list", ["none", "list"])])
def test_egress_is_at_most_the_settings(most: str, permitted: list[str]) -> None:
    limits = replace(LIMITS, ground=replace(GROUND, most=Policy(most)))
    for policy in Policy:
        assert bool(excesses(parse({"egress": policy.value}), limits)) == (policy.value not in permitted)


def test_what_was_chosen_lasts_until_something_else_is() -> None:
    kept = {"cpu": 1.5, "memory": "1G", "image": "site/gpu"}
    for nothing in ({}, None, dict(kept)):
        assert accept(kept, nothing, LIMITS)[0].chosen() == kept
    assert accept(kept, {"cpu": 1}, LIMITS)[0].chosen() == {**kept, "cpu": 1}
    assert accept(kept, {"image": None}, LIMITS)[0].chosen() == {"cpu": 1.5, "memory": "1G"}


def test_a_choice_that_no_longer_holds_falls_back_with_a_note() -> None:
    kept = {"cpu": 1.5, "memory": "1G", "image": "site/gpu"}
    tight = replace(LIMITS, cpu=1.0, images=frozenset())
    options, notes = accept(kept, {}, tight)
    assert options.chosen() == {"memory": "1G"}
    assert len(notes) == 2 and "earlier choice of cpu" in notes[0] and "earlier choice of image" in notes[1]
    options, notes = accept(kept, {"cpu": 0.5}, tight)
    assert options.chosen() == {"memory": "1G", "cpu": 0.5} and len(notes) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(["image", "cpu", "memory", "pids", "egress", "runtime"]), JSON, max_size=4
    )
)
def test_whatever_is_accepted_is_within_the_limits(given: dict[str, Any]) -> None:
    try:
        options, _ = accept({}, given, LIMITS)
    except OptionsRefused:
        return
    assert options.image in (None, "site/gpu", "site/default")
    assert options.cpu is None or 0.05 <= options.cpu <= 2
    assert options.pids is None or 32 <= options.pids <= 512
