"""How often somebody may fail to prove a login, and the counter of how it went."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import Counter

from persistent_terminal_hub.hub.login_throttle import LoginThrottle

#: On the hub's own /hub/metrics. Results are a closed list of words in the code, `ok` among them.
REAUTH_TOTAL = Counter(
    "pth_reauth_total",
    "Answers to a challenge for a fresh login, by method and result.",
    ["method", "result"],
)


class ReauthLimits:
    """Failures per user and origin, and per user over all origins; all methods count together."""

    def __init__(self, throttle: LoginThrottle, clock: Callable[[], float] = time.monotonic) -> None:
        self._throttle = throttle
        self._clock = clock

    def sentence(self, user: str, origin: str) -> str:
        """Why this user must wait now; empty when not."""
        wait = self._throttle.seconds_to_wait(user, origin, self._clock())
        if not wait:
            return ""
        minutes = max(1, round(wait / 60))
        return (
            f"Too many failed tries. Wait {minutes} minute{'s' if minutes > 1 else ''}, then try again. "
            "Your workspace stays locked, and what runs in it goes on."
        )

    def failed(self, user: str, origin: str) -> None:
        """One more failure."""
        self._throttle.failed(user, origin, self._clock())

    def succeeded(self, user: str, origin: str) -> None:
        """Forget the failures from this origin."""
        self._throttle.succeeded(user, origin)
