"""Names of workspaces and what addresses name."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.control.names import (
    ById,
    ByName,
    check_name,
    parse_key,
    parse_session_key,
)

ID = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize("name", ["", "a", "a1", "a-b", "gpu-2", "a" * 30])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "A",
        "1a",
        "-a",
        "a-",
        "a--b",
        "a_b",
        "a.b",
        "a b",
        "a\n",
        "а",
        "ａ",
        "ﬁ",
        "a" * 31,
        "a/b",
        "a%62",
        "a~b",
        "é",
        "ı",
    ],
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        check_name(name)


@given(st.text(max_size=40))
def test_what_passes_has_one_spelling(name: str) -> None:
    try:
        check_name(name)
    except ValueError:
        return
    assert name.isascii() and name == name.lower() and re.fullmatch(r"[a-z0-9-]*", name)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        (ID, ById(ID)),
        (ID.upper(), None),
        ("alice~lab", ByName("alice", "lab")),
        ("alice~", ByName("alice", "")),
        ("a~b~lab", ByName("a~b", "lab")),
        ("~lab", None),
        ("alice", None),
        ("", None),
        ("a" * 300 + "~x", None),
    ],
)
def test_keys(key: str, meant: ById | ByName | None) -> None:
    assert parse_key(key) == meant


def test_keys_of_sessions() -> None:
    assert parse_session_key(f"{ID}.s1") == (ID, "s1")
    assert parse_session_key("al.ice~lab.s1") == ("al.ice~lab", "s1")
    for key in ("", ".", f"{ID}.", f"{ID}.a/b", "x.y", f"{ID}.{'s' * 65}"):
        assert parse_session_key(key) is None
