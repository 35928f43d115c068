"""One JSON line for each decision: what, about whom, why, and whether it was done.

The supervisor puts `[culler] ` before each line on the console. Nothing here may name a token or an address.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

#: What is also written to the audit outbox: what takes something from somebody, or gives it back.
AUDITED = frozenset({"stop", "remove", "adopt", "lock", "end_session", "locked", "unlocked"})


def to_console(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class DecisionLog:
    """Writes the lines."""

    def __init__(
        self,
        dry_run: bool,
        write: Callable[[str], None] = to_console,
        audit: Callable[..., object] | None = None,
    ) -> None:
        self._dry_run = dry_run
        self._write = write
        self._audit = audit

    def line(
        self, action: str, *, user: str = "", workspace: str = "", reason: str = "", **more: Any
    ) -> None:
        """Write one. `workspace` is the server name; `result` in `more` says what became of it."""
        entry: dict[str, Any] = {
            # For people who read it; nothing is computed from the wall clock.
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "action": action,
        }
        if user:
            entry |= {"user": user, "workspace": workspace}
        entry |= {"reason": reason, **more}
        if self._dry_run:
            entry["dryRun"] = True
        self._write(json.dumps(entry, ensure_ascii=False))
        if self._audit is not None and not self._dry_run and action in AUDITED:
            self._audit(
                who="service:culler",
                what=f"workspace.{action}",
                on=f"{user}/{workspace}",
                result=str(more.get("result", "")),
                reason=reason,
            )
