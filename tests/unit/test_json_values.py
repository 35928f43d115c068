"""Numbers out of somebody else's JSON."""

from __future__ import annotations

import pytest

from persistent_terminal_hub.json_values import amount, finite


@pytest.mark.parametrize(
    ("value", "number", "not_negative"),
    [
        (0, 0.0, 0.0), (1.5, 1.5, 1.5), (-1, -1.0, None), (True, None, None), ("1", None, None),
        (None, None, None), ([1], None, None), (float("nan"), None, None), (float("inf"), None, None),
        (-float("inf"), None, None), (10**400, None, None),
    ],
)  # fmt: skip
def test_numbers(value: object, number: float | None, not_negative: float | None) -> None:
    assert finite(value) == number
    assert amount(value) == not_negative
