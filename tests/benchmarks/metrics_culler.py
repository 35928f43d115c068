"""The culler's row group: one cycle over many fake workspaces. No peer has such a thing to measure."""

from __future__ import annotations

from .collect import Bench
from .culler_cycle import SESSIONS, SIZES, Figures, measure

METRICS = ("culler_cycle", "culler_rss", "culler_requests")
NONE = "it has no culler that asks workspaces"


def culler(bench: Bench) -> None:
    """Seconds on one core, MiB and requests of one cycle over 1,000 workspaces; smaller ones as a note."""
    for kind in bench.kinds:
        if kind.name != "ours":
            for metric in METRICS:
                bench.results.fail(metric, kind.name, NONE)
    if not any(kind.name == "ours" for kind in bench.kinds):
        return
    found: list[Figures] = []

    def step() -> None:
        for count in SIZES:
            figures = measure(count)
            if figures.reached != count:
                raise RuntimeError(f"{figures.reached} of {count} fake workspaces answered")
            found.append(figures)

    if not bench.try_("ours", METRICS, 90, step):
        return
    largest = found[-1]
    for metric, value in zip(METRICS, (largest.seconds, largest.memory, largest.requests), strict=True):
        bench.results.add(metric, "ours", value)
    sizes = "; ".join(
        f"{each.workspaces}: {each.seconds:.2f} s ({each.cpu:.2f} s of processor), {each.memory:.1f} MiB"
        for each in found
    )
    bench.results.note(f"culler_*: fake workspaces of {SESSIONS} sessions, on one core. {sizes}.")
