"""How long a workspace may take to end, and how much of that is the keeper's (pure)."""

from __future__ import annotations

#: From the keeper's last KILL to the end of the first process: it waits two seconds for what it killed.
KEEPER_MARGIN_SECONDS = 3


def keeper_grace(stop_timeout_seconds: int) -> int:
    """Seconds that the keeper gives sessions and server before it kills them.

    Less than the whole: were it killed itself at the end of the stop's timeout, exit codes and the last
    output would be lost.
    """
    return max(1, stop_timeout_seconds - KEEPER_MARGIN_SECONDS)
