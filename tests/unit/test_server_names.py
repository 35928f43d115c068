"""Names of sessions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.server import names


@pytest.mark.parametrize("name", ["1", "a", "my-run.1", "A_b-c.d", "0" * 64, "x.."])
def test_valid(name: str) -> None:
    assert names.is_valid(name)
    assert names.check(name) == name


@pytest.mark.parametrize(
    "name", ["", ".a", "-a", "_a", "a b", "a/b", "é", "a\n", "\n", "0" * 65, "a%", None, 1, b"a", "٣"]
)
def test_invalid_says_the_rule(name: object) -> None:
    assert not names.is_valid(name)
    with pytest.raises(names.InvalidName, match="1 to 64 characters"):
        names.check(name)


@given(st.text(max_size=70))
def test_only_safe_characters(name: str) -> None:
    if names.is_valid(name):
        assert name.isascii() and "/" not in name and not name.startswith(".") and len(name) <= 64


def test_next_free_fills_gaps() -> None:
    assert names.next_free(set()) == "1"
    assert names.next_free({"1", "2", "4", "x"}) == "3"
