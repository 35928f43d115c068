"""Values out of somebody else's JSON (pure)."""

from __future__ import annotations

import math


def finite(value: object) -> float | None:
    """The number that it is, or None: a flag is none, nor is an infinity that some JSON has."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:  # JSON's integers have no limit
        return None
    return found if math.isfinite(found) else None


def amount(value: object) -> float | None:
    """The same of what is never negative: seconds, bytes."""
    found = finite(value)
    return found if found is not None and found >= 0 else None
