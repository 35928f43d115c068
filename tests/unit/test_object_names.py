from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.hub.object_names import (
    MAX_LENGTH,
    check_hub_id,
    escape,
    hub_network_name,
    label_filters,
    object_labels,
    object_names,
)

HUB = "0123456789ab"
SAFE = re.compile(r"pth-[0-9a-f]{12}-[a-z0-9-]+")
ANY_TEXT = st.text(min_size=1, max_size=80)


@pytest.mark.parametrize(
    ("user", "workspace", "name"),
    [
        ("ann", "", "ann--default"),
        ("ann", "default", "ann---64efault"),
        ("ann", "gpu-1", "ann--gpu-2d1"),
        ("ann-b", "", "ann-2db--default"),
        ("Ann@x.org", "", "-41nn-40x-2eorg--default"),
        ("jürgen", "", "j-c3-bcrgen--default"),
        ("a/../b", "", "a-2f-2e-2e-2fb--default"),
    ],
)
def test_names(user: str, workspace: str, name: str) -> None:
    names = object_names(HUB, user, workspace)
    assert names.container == f"pth-{HUB}-{name}"
    assert names.volume == f"pth-{HUB}-{name}-home"
    assert names.network == f"pth-{HUB}-{name}-net"


@given(ANY_TEXT, st.text(max_size=60))
def test_safe_and_bounded(user: str, workspace: str) -> None:
    name = object_names(HUB, user, workspace).container
    assert SAFE.fullmatch(name)
    assert len(name) <= MAX_LENGTH


@given(st.tuples(ANY_TEXT, st.text(max_size=60)), st.tuples(ANY_TEXT, st.text(max_size=60)))
def test_injective(one: tuple[str, str], two: tuple[str, str]) -> None:
    assert (object_names(HUB, *one) == object_names(HUB, *two)) == (one == two)


# What a person could try in order to share a name with somebody else.
CLOSE = [
    "a",
    "a-",
    "a--b",
    "-",
    "--",
    "default",
    "2d",
    "-2d",
    "a-2db",
    "A",
    "a" * 40,
    "a" * 41,
    "a" * 28,
    "a" * 29,
]


def test_close_names_stay_apart() -> None:
    pairs = [(user, workspace) for user in CLOSE for workspace in ["", *CLOSE]]
    assert len({object_names(HUB, *pair).container for pair in pairs}) == len(pairs)


def test_a_shortened_name_cannot_be_taken_by_a_full_one() -> None:
    long = object_names(HUB, "x" * 50, "").container
    assert len(long) == MAX_LENGTH
    assert object_names(HUB, "x" * 50, "").container == long
    copied = long.removeprefix(f"pth-{HUB}-").removesuffix("--default")
    assert object_names(HUB, copied, "").container != long


@given(st.text(max_size=30))
def test_escape_never_doubles_the_dash(text: str) -> None:
    assert "--" not in escape(text)


@pytest.mark.parametrize("bad", ["", "0123", "0123456789AB", "0123456789abc", "../../../../x"])
def test_hub_id_is_checked(bad: str) -> None:
    with pytest.raises(ValueError, match="12 hex digits"):
        check_hub_id(bad)


def test_a_user_is_needed() -> None:
    with pytest.raises(ValueError, match="user"):
        object_names(HUB, "", "")


def test_labels_and_the_hubs_network() -> None:
    labels = object_labels(HUB, "Ann", "w")
    assert labels == {"pth.hub": HUB, "pth.user": "Ann", "pth.workspace": "w"}
    assert label_filters(labels) == {"label": [f"pth.hub={HUB}", "pth.user=Ann", "pth.workspace=w"]}
    assert hub_network_name(HUB) == f"pth-{HUB}-hub"
