"""`make bench` = `python -m tests.benchmarks.bench`: measure this project and its peers in one run.

Prints the table, the targets and the reasons for what is missing, and writes `results/latest.json`, a list of
rows `{metric, unit, ours, stock, kernel, ttyd, tmux}`. Beside it `latest-context.json` says when, where and
how. A peer that fails a metric has null there; the run itself fails only when nothing can be measured.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import layers, metrics, metrics_culler, metrics_server, report
from .collect import Bench, Plan, Results
from .peers import PEERS, Ours
from .work import BenchError, Work

RESULTS = Path(__file__).with_name("results")

#: Each step with the metrics that it brings (`--only` takes any of these names) and its share of the time.
STEPS: tuple[tuple[tuple[str, ...], float, Callable[[Bench], None]], ...] = (
    (("bulk",), 4, metrics.bulk),
    (("echo_p50", "echo_p99"), 3, metrics.echo),
    (("resume_bytes",), 2, metrics.resume),
    (("attach_10k", "attach_full"), 2, metrics.attach),
    (("blocked_job",), 3, metrics_server.blocked),
    (("ctrl_c",), 3, metrics.ctrl_c),
    (("stalled_rss", "stalled_job"), 8, metrics_server.stalled),
    (("idle_rss", "idle_cpu"), 4, metrics_server.idle),
    (metrics_culler.METRICS, 3, metrics_culler.culler),
)
LAYERS_SHARE = 6


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=report.METRICS, metavar="METRIC",
        help=f"measure only this; may be repeated: {', '.join(report.METRICS)}",
    )  # fmt: skip
    parser.add_argument("--peer", action="append", choices=PEERS, help="only this peer; may be repeated")
    parser.add_argument(
        "--quick", action="store_true", help="about a minute, rough figures, results not kept"
    )
    parser.add_argument("--no-layers", action="store_true", help="without the table of proxy and container")
    parser.add_argument(
        "--ours-protocol", choices=("pth.v1", "stock"), default="pth.v1",
        help="stock: our server through JupyterLab's own socket; results not kept",
    )  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="progress and tracebacks on standard error")
    return parser.parse_args(arguments)


def machine() -> str:
    """What the figures depend on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} × {model}, Linux {platform.release()}, Python {platform.python_version()}"


def context(arguments: Sequence[str], results: Results, seconds: float) -> dict[str, Any]:
    """Everything beside the rows."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "load": os.getloadavg()[0],
        "command": " ".join(["python -m tests.benchmarks.bench", *arguments]),
        "seconds": round(seconds, 1),
        "notes": results.notes,
        "missing": {f"{metric}/{peer}": reason for (metric, peer), reason in results.reasons.items()},
        "samples": {
            f"{metric}/{peer}": [report.significant(sample) for sample in samples]
            for (metric, peer), samples in results.samples.items()
        },
    }


def show(results: Results, head: dict[str, Any]) -> list[report.Row]:
    """Print everything; the rows."""
    rows = report.rows(results.medians())
    print(f"\n{head['date']} · {head['machine']} · {head['seconds']:.0f} s · {head['command']}\n")
    print(report.table(rows))
    print("\nTargets (docs/explanation/performance.md says what each means):\n")
    print(report.targets_table(report.judge(rows)))
    if results.notes:
        print("\n" + "\n".join(f"  {note}" for note in results.notes))
    if results.reasons:
        print("\nMissing, or with fewer rounds, because:\n" + report.reasons_text(results.reasons))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    options = parse(arguments)
    wanted = set(options.only or report.METRICS)
    chosen = [PEERS[name] for name in options.peer or PEERS]
    Ours.protocol = options.ours_protocol
    with_layers = not (options.no_layers or options.only or options.peer or options.quick)
    plan = Plan.quick() if options.quick else Plan()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pth-bench-") as folder:
        Path(folder).chmod(0o755)
        try:
            work = Work(Path(folder), plan.bulk_bytes)
        except BenchError as error:
            print(error, file=sys.stderr)
            return 1
        bench = Bench(work, plan, chosen)
        bench.verbose = options.verbose
        second = None
        try:
            steps = [entry for entry in STEPS if wanted & set(entry[0])]
            shares = [entry[1] for entry in steps] + [LAYERS_SHARE if with_layers else 0]
            for number, (names, _, step) in enumerate(steps):
                bench.share(shares[number] / sum(shares[number:]))
                print(f"measuring {', '.join(names)} …", file=sys.stderr, flush=True)
                step(bench)
            if with_layers:
                print("measuring with proxy and container …", file=sys.stderr, flush=True)
                bench.stop()
                second = layers.measure(bench) if bench.left > 10 else None
        except KeyboardInterrupt:
            print("Interrupted: what was measured so far follows.", file=sys.stderr)
        finally:
            bench.stop()
    head = context(
        arguments if arguments is not None else sys.argv[1:], bench.results, time.monotonic() - start
    )
    rows = show(bench.results, head)
    if second is not None:
        print("\nWith proxy and container:\n")
        print(second.text())
        head["layers"] = second.rows()
    if not bench.results.medians():
        print("Nothing could be measured.", file=sys.stderr)
        return 1
    if not (options.quick or options.only or options.peer or options.ours_protocol != "pth.v1"):
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "latest.json").write_text(json.dumps(rows, indent=1) + "\n")
        (RESULTS / "latest-context.json").write_text(json.dumps(head, indent=1) + "\n")
        print(f"\nWritten: {RESULTS / 'latest.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
