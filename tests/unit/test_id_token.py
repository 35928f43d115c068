"""Which claims prove a fresh login: a table of single lies, and properties over all of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.hub.id_token import (
    FUTURE_SECONDS,
    LEEWAY_SECONDS,
    Expected,
    Verdict,
    judge_id_token,
)

STARTED = 1_800_000_000.0
NOW = STARTED + 20
EXPECTED = Expected("https://id.example", "pth", "the-nonce", STARTED, "sub-1")
GOOD: dict[str, Any] = {
    "iss": "https://id.example", "aud": "pth", "sub": "sub-1", "nonce": "the-nonce",
    "iat": NOW - 1, "exp": NOW + 300, "auth_time": NOW - 2,
}  # fmt: skip
MISSING = object()


def judged(expected: Expected = EXPECTED, now: float = NOW, **changes: Any) -> Verdict:
    claims = {name: value for name, value in (GOOD | changes).items() if value is not MISSING}
    return judge_id_token(claims, expected, now)


def test_an_honest_fresh_login_is_ok() -> None:
    assert judged() == "ok"
    assert judged(aud=["pth"]) == "ok"
    assert judged(aud=["pth", "other"], azp="pth") == "ok"
    assert judged(azp="pth") == "ok"
    assert judged(auth_time=STARTED - LEEWAY_SECONDS) == "ok"
    assert judged(auth_time=NOW + FUTURE_SECONDS) == "ok"
    assert judged(exp=NOW - LEEWAY_SECONDS + 0.1) == "ok"


@pytest.mark.parametrize(
    ("claim", "value", "verdict"),
    [
        ("iss", MISSING, "issuer"),
        ("iss", "https://id.example/", "issuer"),  # another one, by the letter
        ("iss", ["https://id.example"], "issuer"),
        ("aud", MISSING, "audience"),
        ("aud", "pth2", "audience"),
        ("aud", [], "audience"),
        ("aud", {"pth": 1}, "audience"),
        ("aud", ["pth", "other"], "party"),
        ("azp", "other", "party"),
        ("azp", None, "party"),
        ("nonce", MISSING, "nonce"),
        ("nonce", "", "nonce"),
        ("nonce", "The-Nonce", "nonce"),
        ("exp", MISSING, "expired"),
        ("exp", NOW - LEEWAY_SECONDS, "expired"),
        ("exp", "never", "expired"),
        ("exp", True, "expired"),
        ("exp", float("nan"), "expired"),
        ("exp", float("inf"), "expired"),
        ("exp", 10**400, "expired"),
        ("iat", MISSING, "issued"),
        ("iat", STARTED - LEEWAY_SECONDS - 1, "issued"),
        ("iat", NOW + FUTURE_SECONDS + 1, "issued"),
        ("sub", MISSING, "subject"),
        ("sub", "", "subject"),
        ("sub", 1, "subject"),
        ("sub", "sub-2", "subject"),
        ("auth_time", MISSING, "no_auth_time"),
        ("auth_time", None, "no_auth_time"),
        ("auth_time", str(NOW), "no_auth_time"),
        ("auth_time", True, "no_auth_time"),
        ("auth_time", float("nan"), "no_auth_time"),
        ("auth_time", 0, "old_login"),
        ("auth_time", STARTED - LEEWAY_SECONDS - 0.1, "old_login"),
        ("auth_time", NOW + FUTURE_SECONDS + 1, "future_login"),
    ],
)
def test_each_lie_has_its_reason(claim: str, value: Any, verdict: Verdict) -> None:
    assert judged(**{claim: value}) == verdict


def test_an_unknown_subject_is_taken_from_the_token_but_must_be_there() -> None:
    unknown = Expected("https://id.example", "pth", "the-nonce", STARTED, None)
    assert judged(unknown, sub="whoever") == "ok"
    assert judged(unknown, sub=MISSING) == "subject"


def test_a_hub_that_expects_nothing_accepts_nothing() -> None:
    assert judged(Expected("https://id.example", "pth", "", STARTED, None), nonce="") == "nonce"
    assert judged(Expected("https://id.example", "", "the-nonce", STARTED, None), aud="") == "audience"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted([*GOOD, "azp"])), JSON))
def test_whatever_a_token_says_there_is_an_answer_and_ok_means_fresh(changes: dict[str, Any]) -> None:
    verdict = judge_id_token(GOOD | changes, EXPECTED, NOW)
    if verdict == "ok":
        claims = GOOD | changes
        assert claims["nonce"] == "the-nonce"
        assert claims["sub"] == "sub-1"
        assert claims["iss"] == "https://id.example"
        assert "pth" in ([claims["aud"]] if isinstance(claims["aud"], str) else claims["aud"])
        assert STARTED - LEEWAY_SECONDS <= claims["auth_time"] <= NOW + FUTURE_SECONDS


@given(auth_time=st.floats(STARTED - 1000, STARTED + 1000), started=st.floats(STARTED - 1000, STARTED + 1000))
def test_a_login_before_the_challenge_never_counts(auth_time: float, started: float) -> None:
    expected = Expected("https://id.example", "pth", "the-nonce", started, "sub-1")
    now = max(started, auth_time) + 1
    verdict = judge_id_token(GOOD | {"auth_time": auth_time, "iat": now, "exp": now + 60}, expected, now)
    assert verdict == ("ok" if auth_time >= started - LEEWAY_SECONDS else "old_login")
