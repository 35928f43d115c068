"""The report: rows, targets and tables. Pure, so that it is tested without a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypedDict

PEERS: Final = ("ours", "stock", "kernel", "ttyd", "tmux")

#: Metric and unit, in the order of the table.
METRICS: Final[dict[str, str]] = {
    "bulk": "MB/s",
    "echo_p50": "ms",
    "echo_p99": "ms",
    "resume_bytes": "bytes",
    "attach_10k": "ms",
    "attach_full": "ms",
    "stalled_rss": "MiB",
    "stalled_job": "ratio",
    "blocked_job": "ratio",
    "idle_rss": "MiB",
    "idle_cpu": "%",
    "ctrl_c": "ms",
    "culler_cycle": "s",
    "culler_rss": "MiB",
    "culler_requests": "count",
}


class Row(TypedDict):
    """One line of `latest.json`; a peer without this figure is null."""

    metric: str
    unit: str
    ours: float | None
    stock: float | None
    kernel: float | None
    ttyd: float | None
    tmux: float | None


@dataclass(frozen=True, slots=True)
class Target:
    """What issue 3 asks for: our figure, or its ratio to a peer's, is at most or at least `bound`."""

    metric: str
    bound: float
    at_most: bool
    peer: str | None = None  # None: the figure itself is bounded
    peer_metric: str | None = None  # the peer's metric, if not the same
    stretch: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target in this run; `value` is the ratio or figure, None when something was not measured."""

    target: Target
    value: float | None

    @property
    def met(self) -> bool | None:
        """Whether it is met; None when it cannot be said."""
        if self.value is None:
            return None
        return self.value <= self.target.bound if self.target.at_most else self.value >= self.target.bound


TARGETS: Final = (
    Target("bulk", 0.9, at_most=False, peer="kernel"),
    Target("bulk", 1.0, at_most=False, peer="ttyd"),
    Target("echo_p50", 0.6, at_most=True, peer="stock"),
    Target("echo_p99", 0.6, at_most=True, peer="stock"),
    Target("echo_p50", 1.25, at_most=True, peer="ttyd", stretch=True),
    Target("resume_bytes", 256, at_most=True),
    Target("attach_10k", 0.5, at_most=True, peer="stock"),
    Target("attach_full", 0.5, at_most=True, peer="stock", peer_metric="attach_10k"),
    Target("stalled_rss", 2.0, at_most=True),
    Target("stalled_job", 1.1, at_most=True),
    Target("blocked_job", 0.95, at_most=False),
    Target("idle_rss", 0.5, at_most=True),
    Target("idle_cpu", 1.0, at_most=True),
    Target("ctrl_c", 300, at_most=True),
    Target("culler_cycle", 10, at_most=True),
    Target("culler_rss", 64, at_most=True),
    Target("culler_requests", 1010, at_most=True),
)


def rows(values: Mapping[tuple[str, str], float]) -> list[Row]:
    """One row for every metric, whatever was measured; figures rounded to four significant digits."""

    def value(metric: str, peer: str) -> float | None:
        found = values.get((metric, peer))
        return None if found is None else significant(found)

    return [
        Row(
            metric=metric,
            unit=unit,
            ours=value(metric, "ours"),
            stock=value(metric, "stock"),
            kernel=value(metric, "kernel"),
            ttyd=value(metric, "ttyd"),
            tmux=value(metric, "tmux"),
        )
        for metric, unit in METRICS.items()
    ]


def significant(value: float, digits: int = 4) -> float:
    """Rounded to so many significant digits."""
    return float(f"{value:.{digits}g}")


def judge(table: Sequence[Row], targets: Sequence[Target] = TARGETS) -> list[Verdict]:
    """Every target against the rows of one run."""
    by_metric = {row["metric"]: row for row in table}

    def figure(metric: str, peer: str) -> float | None:
        row = by_metric.get(metric)
        value = None if row is None else row[peer]  # type: ignore[literal-required]
        return None if value is None else float(value)

    verdicts = []
    for target in targets:
        value = figure(target.metric, "ours")
        if target.peer is not None:
            other = figure(target.peer_metric or target.metric, target.peer)
            value = value / other if value is not None and other else None
        verdicts.append(Verdict(target, value))
    return verdicts


def number(value: float | None) -> str:
    """A figure for people: three significant digits, never an exponent."""
    if value is None:
        return "–"
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.3f}"


def grid(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table in plain text that is a Markdown table too; all columns but the first are right-aligned."""
    widths = [max(len(line[column]) for line in (head, *body)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return "| " + " | ".join([first, *rest]) + " |"

    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([line(head), f"|{rule}|", *map(line, body)])


def table(found: Sequence[Row]) -> str:
    """The first table: every metric and peer."""
    body = [[row["metric"], row["unit"], *(number(row[peer]) for peer in PEERS)] for row in found]
    return grid(["metric", "unit", *PEERS], body)


def targets_table(verdicts: Sequence[Verdict]) -> str:
    """The targets, met or missed."""
    body = []
    for verdict in verdicts:
        target = verdict.target
        what = f"{target.metric} / {target.peer}" if target.peer else target.metric
        if target.peer_metric:
            what += f" {target.peer_metric}"
        sign = "≤" if target.at_most else "≥"
        said = {True: "met", False: "MISSED", None: "not measured"}[verdict.met]
        if target.stretch:
            said += " (stretch)"
        unit = "×" if target.peer or METRICS.get(target.metric) == "ratio" else METRICS.get(target.metric, "")
        body.append([what, f"{sign} {target.bound:g} {unit}".strip(), number(verdict.value), said])
    return grid(["ours", "target", "measured", "verdict"], body)


def reasons_text(reasons: Mapping[tuple[str, str], str]) -> str:
    """Why a figure is missing: one line for each peer and reason."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for (metric, peer), reason in reasons.items():
        grouped.setdefault((peer, reason), []).append(metric)
    return "\n".join(
        f"  {peer}: {', '.join(metrics)}: {reason}" for (peer, reason), metrics in grouped.items()
    )
