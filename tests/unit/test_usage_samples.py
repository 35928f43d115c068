"""How samples are made and become fewer."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.control.usage_samples import (
    DAY,
    HOUR,
    LEVELS,
    Figures,
    Sample,
    compacted,
    due,
    grown,
    reading_of,
)

figures = st.builds(
    Figures, st.floats(0, 1e9), st.integers(0, 1 << 50), st.integers(0, 1 << 50), st.none(),
    st.integers(0, 1 << 62), st.integers(0, 1 << 62),
)  # fmt: skip
samples = st.lists(
    st.builds(
        Sample, st.sampled_from("ab"), st.sampled_from(["", "gpu"]), st.sampled_from(["", "s1"]), st.just(60),
        st.integers(0, 200).map(lambda n: n * 60), st.integers(0, 1000).map(lambda n: n / 8),
        st.integers(0, 1 << 40), st.integers(0, 1 << 40), st.integers(0, 1 << 40), st.integers(0, 1 << 50),
        st.integers(0, 1 << 50),
    ), max_size=40, unique_by=lambda s: (s.owner, s.workspace, s.session, s.at),
)  # fmt: skip


@given(samples)
def test_sums_are_kept_whatever_the_steps(rows: list[Sample]) -> None:
    once = compacted(rows, HOUR)
    twice = compacted(compacted(rows, 600), HOUR)
    for coarse in (once, twice):
        for owner in "ab":
            for name in ("cpu_seconds", "received_bytes", "sent_bytes"):
                before = math.fsum(getattr(row, name) for row in rows if row.owner == owner)
                assert math.fsum(getattr(row, name) for row in coarse if row.owner == owner) == before
        assert {row.at % HOUR for row in coarse} <= {0}
        assert len({(r.owner, r.workspace, r.session, r.at) for r in coarse}) == len(coarse)
        if rows:
            assert max(r.memory_peak for r in coarse) == max(r.memory_peak for r in rows)
            low, high = min(r.memory_bytes for r in rows), max(r.memory_bytes for r in rows)
            assert all(low - 2 <= r.memory_bytes <= high for r in coarse)
    assert [r.disk_bytes for r in once] == [r.disk_bytes for r in twice]


@given(figures, figures)
def test_growth_is_never_negative(now: Figures, before: Figures) -> None:
    used = grown(now, before)
    assert used.cpu_seconds >= 0 and used.received_bytes >= 0 and used.sent_bytes >= 0
    assert grown(now, now).cpu_seconds == 0
    assert used.memory_bytes == now.memory_bytes


@given(st.integers(10 * DAY, 1 << 40), st.sampled_from([0, 1]))
def test_only_whole_wide_rows_are_due(now: int, level: int) -> None:
    before = due(now, level)
    assert before % LEVELS[level + 1][0] == 0
    assert 0 <= now - LEVELS[level][1] - before < LEVELS[level + 1][0]


def test_a_reading() -> None:
    answer = {
        "life": 5, "cpuSeconds": 2.5, "memoryBytes": 10, "memoryPeakBytes": 7, "diskBytes": None,
        "receivedBytes": None, "sentBytes": 3, "more": 1,
        "sessions": [{"id": "ab", "cpuSeconds": 1, "memoryBytes": 4}, {"id": "../x"}, 7, {"id": "a" * 65}],
    }  # fmt: skip
    reading = reading_of(answer)
    assert reading is not None and reading.life == 5
    assert reading.whole == Figures(2.5, 10, 10, None, 0, 3)
    assert reading.sessions == {"ab": Figures(1.0, 4, 4)}


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@pytest.mark.parametrize(
    "name", ["cpuSeconds", "memoryBytes", "diskBytes", "receivedBytes", "sessions", "life"]
)
@given(value=json)
def test_forged_answers_do_no_harm(name: str, value: Any) -> None:
    reading_of(value)
    reading = reading_of({"life": 1, name: value})
    if reading is not None:
        whole = reading.whole
        assert 0 <= whole.cpu_seconds < 1e12 and 0 <= whole.memory_bytes <= 1 << 50
        assert whole.disk_bytes is None or 0 <= whole.disk_bytes <= 1 << 50
