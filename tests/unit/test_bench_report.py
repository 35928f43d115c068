"""The benchmark's report: rows, targets and tables, without a benchmark."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks import report
from tests.benchmarks.report import Target, Verdict

VALUES = {
    ("bulk", "ours"): 61.23456,
    ("bulk", "kernel"): 68.0,
    ("echo_p50", "ours"): 0.7,
    ("echo_p50", "stock"): 1.4,
    ("resume_bytes", "ours"): 0.0,
    ("attach_10k", "stock"): 20.0,
    ("attach_full", "ours"): 10.5,
    ("idle_cpu", "ours"): 0.25,
    ("resume_wire", "ours"): 300.0,
}


def verdict(metric: str, peer: str | None = None) -> Verdict:
    """The verdict of the first target of this metric and peer."""
    found = report.judge(report.rows(VALUES))
    return next(v for v in found if v.target.metric == metric and v.target.peer == peer)


def test_every_metric_has_one_row_with_every_peer() -> None:
    rows = report.rows(VALUES)
    assert [row["metric"] for row in rows] == list(report.METRICS)
    assert all(set(row) == {"metric", "unit", *report.PEERS} for row in rows)
    assert rows[0] == {
        "metric": "bulk", "unit": "MB/s", "ours": 61.23, "stock": None, "kernel": 68.0,
        "ttyd": None, "tmux": None,
    }  # fmt: skip


def test_missing_figures_are_null_in_json() -> None:
    text = json.dumps(report.rows({}))
    assert text.count("null") == len(report.METRICS) * len(report.PEERS)


def test_every_target_names_a_known_metric_and_peer() -> None:
    for target in report.TARGETS:
        assert target.metric in report.METRICS
        assert target.peer is None or target.peer in report.PEERS
        assert target.peer_metric is None or target.peer_metric in report.METRICS
    assert {target.metric for target in report.TARGETS} == set(report.METRICS)


@pytest.mark.parametrize(
    ("metric", "peer", "value", "met"),
    [
        ("bulk", "kernel", 0.9004, True),  # a ratio that must be at least
        ("echo_p50", "stock", 0.5, True),  # a ratio that may be at most
        ("resume_bytes", None, 0.0, True),  # nothing too much is a figure, not a missing one
        ("attach_full", "stock", 0.525, False),  # against another metric of the peer
        ("bulk", "ttyd", None, None),  # the peer is missing
        ("ctrl_c", None, None, None),  # ours is missing
        ("idle_cpu", None, 0.25, True),
    ],
)
def test_targets(metric: str, peer: str | None, value: float | None, met: bool | None) -> None:
    found = verdict(metric, peer)
    assert found.value == (None if value is None else pytest.approx(value, rel=1e-3))
    assert found.met is met


def test_a_target_is_met_at_its_bound() -> None:
    assert Verdict(Target("ctrl_c", 300, at_most=True), 300).met
    assert Verdict(Target("bulk", 0.9, at_most=False), 0.9).met
    assert Verdict(Target("ctrl_c", 300, at_most=True), 300.1).met is False


def test_a_peer_with_zero_gives_no_ratio() -> None:
    rows = report.rows({("bulk", "ours"): 5.0, ("bulk", "kernel"): 0.0})
    assert report.judge(rows, [Target("bulk", 0.9, at_most=False, peer="kernel")])[0].value is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (0.0, "0"), (0.0283, "0.028"), (0.684, "0.68"), (1.0, "1"), (12.34, "12.3"),
        (690400.0, "690,400"), (-5.0, "-5"), (123.6, "124"),
    ],
)  # fmt: skip
def test_numbers_for_people(value: float | None, text: str) -> None:
    assert report.number(value) == text


def test_tables_are_markdown_with_straight_columns() -> None:
    rows = report.rows(VALUES)
    for text in (report.table(rows), report.targets_table(report.judge(rows))):
        lines = text.splitlines()
        assert len({len(line) for line in lines}) == 1
        bars = [[at for at, sign in enumerate(line) if sign == "|"] for line in lines]
        assert all(found == bars[0] for found in bars)
        assert set(lines[1]) <= set("|-:")


def test_targets_table_says_met_missed_and_not_measured() -> None:
    text = report.targets_table(report.judge(report.rows(VALUES)))
    assert "attach_full / stock attach_10k" in text
    for word in ("met", "MISSED", "not measured", "(stretch)"):
        assert word in text


def test_reasons_are_grouped_by_peer_and_reason() -> None:
    text = report.reasons_text(
        {
            ("echo_p50", "ttyd"): "not on PATH",
            ("echo_p99", "ttyd"): "not on PATH",
            ("bulk", "ours"): "it hung",
        }
    )
    assert text.splitlines() == ["  ttyd: echo_p50, echo_p99: not on PATH", "  ours: bulk: it hung"]
