"""Who may do what, by scopes alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.control.rights import OPERATE, Action, Caller, may

SELF = {"read:servers!user=a", "delete:servers!user=a", "servers!user=a", "access:servers!user=a"}
ALL = set(Action)


def caller(scopes: set[str], name: str = "a") -> Caller:
    return Caller(name, "user", False, frozenset(), frozenset(scopes), "127.0.0.1", "secret-token")


def allowed(scopes: set[str], owner: str, server: str | None = "w") -> set[Action]:
    return {action for action in Action if may(caller(scopes), action, owner, server)}


@pytest.mark.parametrize(
    ("scopes", "own", "others"),
    [
        (set(), set(), set()),
        (SELF, ALL, set()),
        ({"admin:servers", "access:servers"}, ALL, ALL),
        ({"admin:servers"}, ALL - {Action.OPEN}, ALL - {Action.OPEN}),
        ({OPERATE}, {Action.VIEW, Action.STEER}, {Action.VIEW, Action.STEER}),
        (SELF | {OPERATE}, ALL, {Action.VIEW, Action.STEER}),
        ({"read:servers"}, {Action.VIEW}, {Action.VIEW}),
        ({"access:servers!server=a/w"}, {Action.OPEN}, set()),
        ({"access:servers!server=a/other"}, set(), set()),
        ({"access:servers!user=aa", "servers!user=A"}, set(), set()),
        ({"read:servers!group=a", "self"}, set(), set()),
    ],
)
def test_table(scopes: set[str], own: set[Action], others: set[Action]) -> None:
    assert allowed(scopes, "a") == own
    assert allowed(scopes, "b") == others


def test_a_right_for_one_workspace_is_none_for_all() -> None:
    assert Action.OPEN not in allowed({"access:servers!server=a/w"}, "a", None)


@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_names_do_not_leak_into_each_other(owner: str, other: str, server: str) -> None:
    scopes = {f"access:servers!server={owner}/{server}", f"servers!user={owner}"}
    if other != owner and f"{other}/{server}" != f"{owner}/{server}":
        assert allowed(scopes, other, server) == set()


def test_the_token_is_not_shown() -> None:
    assert "secret-token" not in repr(caller(SELF))
