"""Whether an ID token proves that its owner logged in just now. Pure: the clock is an argument.

The signature is verified before (`oidc_keys`); what is judged here are the claims that it covers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from persistent_terminal_hub.json_values import finite

#: Clocks of hub and provider may differ by this much, in seconds; providers also round to whole seconds.
LEEWAY_SECONDS: Final = 5.0
#: A token or a login from further in the future than this is nonsense, in seconds.
FUTURE_SECONDS: Final = 60.0

Verdict = Literal[
    "ok",
    "issuer",
    "audience",
    "party",
    "nonce",
    "expired",
    "issued",
    "subject",
    "no_auth_time",
    "old_login",
    "future_login",
]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the hub remembers of the login that it asked for."""

    issuer: str
    client_id: str
    nonce: str
    #: When the browser was sent to the provider, wall clock in seconds.
    started: float
    #: The account's subject at this issuer as last seen; None when it was never seen.
    subject: str | None


def judge_id_token(claims: Mapping[str, object], expected: Expected, now: float) -> Verdict:
    """`ok`, or the first reason why not. A claim of a wrong type is a claim that does not hold."""
    if claims.get("iss") != expected.issuer:
        return "issuer"
    if problem := _audience(claims, expected.client_id):
        return problem
    if not expected.nonce or claims.get("nonce") != expected.nonce:
        return "nonce"
    expires, issued = finite(claims.get("exp")), finite(claims.get("iat"))
    if expires is None or expires <= now - LEEWAY_SECONDS:
        return "expired"
    if issued is None or not expected.started - LEEWAY_SECONDS <= issued <= now + FUTURE_SECONDS:
        return "issued"
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        return "subject"
    if expected.subject is not None and subject != expected.subject:
        return "subject"
    logged_in = finite(claims.get("auth_time"))
    if logged_in is None:
        return "no_auth_time"
    if logged_in < expected.started - LEEWAY_SECONDS:
        return "old_login"
    return "future_login" if logged_in > now + FUTURE_SECONDS else "ok"


def _audience(claims: Mapping[str, object], client_id: str) -> Literal["audience", "party", ""]:
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if not client_id or client_id not in audiences:
        return "audience"
    # Meant for several: then it must say that it was issued to us.
    if (len(audiences) > 1 or "azp" in claims) and claims.get("azp") != client_id:
        return "party"
    return ""
