"""What the owner of a session may wish for, within the administrator's maximum. Pure."""

from __future__ import annotations

import math
from typing import Final

from persistent_terminal_hub import policy
from persistent_terminal_hub.policy import Rules, SessionFacts

from .errors import SessionError
from .rules_facts import MAX_AGE, TTL

#: The longest time anybody may name, in seconds: some thirty years.
MOST: Final = 1e9


def check_wishes(rules: Rules, ttl: float | None, max_age: float | None) -> dict[str, float]:
    """The wishes of who creates a session, as its meta at the keeper; 0 means never. Raises SessionError."""
    most, oldest = policy.most_ttl(rules), policy.max_age_of(None, rules)
    if ttl is not None and (ttl or math.inf) > most:
        raise SessionError(
            422,
            f"ttlSeconds: a session may live {policy.span(most)} without its owner at most.",
            f"Ask for {most:g} or less.",
        )
    if max_age is not None and (max_age or math.inf) > oldest:
        raise SessionError(
            422,
            f"maxAgeSeconds: a session may live {policy.span(oldest)} at most.",
            f"Ask for {oldest:g} or less.",
        )
    wishes = {TTL: ttl, MAX_AGE: max_age}
    return {name: value for name, value in wishes.items() if value is not None}


def keep_alive_seconds(rules: Rules, wish: float | None) -> float:
    """For how long a process is watched: what was wished for (0, None: for ever), within the maximum."""
    return max(1.0, min(rules.keep_alive_max or MOST, wish or MOST))


def room_to_extend(session: SessionFacts, rules: Rules) -> float:
    """By how many seconds a session's TTL may still be extended; nothing when it has no end."""
    now = policy.ttl_of(session.ttl, session.extended, rules)
    return 0.0 if math.isinf(now) else max(0.0, policy.most_ttl(rules) - now)
