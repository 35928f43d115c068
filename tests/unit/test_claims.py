"""What a request with an Idempotency-Key gets, as a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.control.claims import (
    KEPT_SECONDS,
    LEASE_SECONDS,
    OPERATION,
    RENEW_SECONDS,
    UNKNOWN,
    Request,
    Verdict,
    is_old,
    judge,
    stays,
)

NOW = 1e9
WORKED_ON = Request("a", created=NOW - 5, lease_until=NOW + 5)
CUT_OFF = replace(WORKED_ON, lease_until=NOW)
MADE = replace(CUT_OFF, noted={OPERATION: "x"})
BEGUN = replace(CUT_OFF, noted={"session": "y"})
MAYBE = replace(CUT_OFF, noted={UNKNOWN: True})
DONE = replace(CUT_OFF, answered=True, lease_until=0.0)


@pytest.mark.parametrize(
    ("known", "same", "other"),
    [
        (None, Verdict.NEW, Verdict.NEW),
        (WORKED_ON, Verdict.BUSY, Verdict.OTHER),
        (replace(WORKED_ON, noted={UNKNOWN: True}), Verdict.BUSY, Verdict.OTHER),
        (replace(WORKED_ON, noted={OPERATION: "x"}), Verdict.BUSY, Verdict.OTHER),
        (CUT_OFF, Verdict.GO_ON, Verdict.OTHER),
        (MADE, Verdict.GO_ON, Verdict.OTHER),
        (BEGUN, Verdict.GO_ON, Verdict.OTHER),
        (MAYBE, Verdict.UNKNOWN, Verdict.OTHER),
        (DONE, Verdict.ANSWERED, Verdict.OTHER),
        (replace(DONE, noted={UNKNOWN: True}), Verdict.ANSWERED, Verdict.OTHER),
        # A day later the key is free, but for what is still being worked on.
        (replace(DONE, created=NOW - KEPT_SECONDS), Verdict.NEW, Verdict.NEW),
        (replace(MAYBE, created=NOW - KEPT_SECONDS), Verdict.NEW, Verdict.NEW),
        (replace(WORKED_ON, created=NOW - KEPT_SECONDS), Verdict.BUSY, Verdict.OTHER),
        # Of the version before, which knew no leases.
        (Request("a", created=NOW - 5, lease_until=0.0), Verdict.GO_ON, Verdict.OTHER),
    ],
)
def test_judge(known: Request | None, same: Verdict, other: Verdict) -> None:
    assert judge(known, "a", NOW) is same
    assert judge(known, "b", NOW) is other


@pytest.mark.parametrize(
    ("noted", "refused", "kept"),
    [
        ({}, True, False),
        ({}, False, False),
        ({"session": "y"}, True, False),
        ({"session": "y"}, False, True),
        ({UNKNOWN: True}, True, False),  # the workspace said no before it ran anything
        ({UNKNOWN: True}, False, True),
        ({OPERATION: "x"}, True, True),
        ({OPERATION: "x"}, False, True),
    ],
)
def test_stays(noted: dict[str, Any], refused: bool, kept: bool) -> None:
    assert stays(noted, refused=refused) is kept


@given(
    st.builds(
        Request,
        request=st.sampled_from("ab"),
        created=st.floats(NOW - 3 * KEPT_SECONDS, NOW),
        lease_until=st.floats(0, NOW + LEASE_SECONDS),
        answered=st.booleans(),
        noted=st.sampled_from([{}, {UNKNOWN: True}, {OPERATION: "x"}]),
    ),
    st.sampled_from("ab"),
)
def test_nothing_is_done_twice(known: Request, request: str) -> None:
    verdict = judge(known, request, NOW)
    if verdict is Verdict.NEW:
        assert is_old(known, NOW)
    if verdict is Verdict.GO_ON:
        assert not known.answered and known.lease_until <= NOW and not known.noted.get(UNKNOWN)
    if verdict in (Verdict.GO_ON, Verdict.ANSWERED):
        assert known.request == request


def test_a_lease_outlives_some_renewals() -> None:
    assert RENEW_SECONDS * 3 < LEASE_SECONDS
