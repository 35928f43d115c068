"""Running measurements: rounds that alternate between peers, bounded in time; failures become reasons."""

from __future__ import annotations

import contextlib
import signal
import statistics
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType

from .peers import Peer
from .terminal import Terminal
from .work import PROMPT, Work


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured; `quick` looks whether everything works, its numbers are rough."""

    bulk_bytes: int = 64_000_000
    bulk_rounds: int = 5
    keys: int = 500
    echo_rounds: int = 5
    attach_rounds: int = 7
    resume_rounds: int = 3
    job_bytes: int = 200_000_000
    stalled_rounds: int = 2
    blocked_seconds: float = 10.0
    idle_sessions: int = 200
    idle_seconds: float = 10.0
    ctrl_c_rounds: int = 3
    deadline: float = 345.0

    @classmethod
    def quick(cls) -> Plan:
        """About a minute."""
        return cls(
            bulk_bytes=16_000_000, bulk_rounds=1, echo_rounds=1, attach_rounds=3, resume_rounds=1,
            job_bytes=40_000_000, stalled_rounds=1, blocked_seconds=3.0, idle_sessions=40,
            idle_seconds=3.0, ctrl_c_rounds=1, deadline=150.0,
        )  # fmt: skip


@dataclass
class Results:
    """Samples and reasons by (metric, peer)."""

    samples: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, metric: str, peer: str, value: float) -> None:
        """One sample."""
        self.samples[metric, peer].append(value)

    def fail(self, metric: str, peer: str, reason: str) -> None:
        """Why there is no (further) sample."""
        self.reasons.setdefault((metric, peer), reason)

    def note(self, text: str) -> None:
        """Something to print beside the table, once."""
        if text not in self.notes:
            self.notes.append(text)

    def medians(self) -> dict[tuple[str, str], float]:
        """The medians; of growth the largest: a heap that has grown once grows less the next time."""
        return {
            key: max(samples) if key[0] == "stalled_rss" else statistics.median(samples)
            for key, samples in self.samples.items()
            if samples
        }

    def median(self, metric: str, peer: str) -> float | None:
        """The median of the samples; None without any."""
        samples = self.samples.get((metric, peer))
        return statistics.median(samples) if samples else None


class OutOfTime(Exception):
    """The hard limit of one step."""


@contextlib.contextmanager
def limit(seconds: float) -> Iterator[None]:
    """The backstop: whatever hangs in here is interrupted."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise OutOfTime(f"stopped after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.1))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Bench:
    """One run: which peers, how much, until when."""

    def __init__(self, work: Work, plan: Plan, kinds: list[type[Peer]]) -> None:
        self.work = work
        self.plan = plan
        self.results = Results()
        self._kinds = kinds
        self._running: dict[str, Peer] = {}
        self._hopeless: dict[str, str] = {}
        self._shell = work.shell
        self._end = self._share_end = time.monotonic() + plan.deadline
        self.verbose = False

    @property
    def kinds(self) -> list[type[Peer]]:
        """Every peer of this run, running or not."""
        return list(self._kinds)

    @property
    def left(self) -> float:
        """Seconds until the whole run must be over."""
        return self._end - time.monotonic()

    def share(self, part: float) -> None:
        """The step that begins now may take this part of the time that is left."""
        self._share_end = time.monotonic() + self.left * part

    @property
    def in_time(self) -> bool:
        """Whether the step has time for one more round."""
        return time.monotonic() < self._share_end

    def try_(self, peer: str, metrics: tuple[str, ...], seconds: float, step: Callable[[], None]) -> bool:
        """Run a step; a failure is noted as the reason for these metrics."""
        seconds = min(seconds, self.left)
        if seconds <= 1:
            for metric in metrics:
                self.results.fail(metric, peer, "no time was left")
            return False
        try:
            with limit(seconds):
                step()
            return True
        except (Exception, OutOfTime) as error:
            if self.verbose:
                traceback.print_exc(file=sys.stderr)
            for metric in metrics:
                self.results.fail(metric, peer, str(error) or type(error).__name__)
            return False

    def peers(
        self,
        metrics: tuple[str, ...],
        without: dict[str, str] | None = None,
        *,
        shell: Path | None = None,
        fresh: bool = False,
    ) -> list[Peer]:
        """The running peers, without those that cannot have these metrics for a known reason.

        They stay from step to step; `fresh`, another shell or a failure means a new start.
        """
        shell = shell or self.work.shell
        if fresh or shell != self._shell:
            self.stop()
        self._shell = shell
        able: list[type[Peer]] = []
        for kind in self._kinds:
            reason = (without or {}).get(kind.name) or self._hopeless.get(kind.name)
            if reason:
                for metric in metrics:
                    self.results.fail(metric, kind.name, reason)
            else:
                able.append(kind)
        self._start([kind for kind in able if kind.name not in self._running], metrics, shell)
        return [self._running[kind.name] for kind in able if kind.name in self._running]

    def _start(self, kinds: list[type[Peer]], metrics: tuple[str, ...], shell: Path) -> None:
        """Start some peers, side by side: every one of them bounds its own start."""
        if not kinds:
            return
        begin = time.monotonic()
        peers = [kind(self.work) for kind in kinds]
        with ThreadPoolExecutor(len(peers)) as pool:
            starts = [(peer, pool.submit(peer.start, shell)) for peer in peers]
        for peer, start in starts:
            error = start.exception()
            if error is None:
                self._running[peer.name] = peer
                continue
            # It will not start a minute later either, and waiting for it costs the others their time.
            self._hopeless[peer.name] = str(error) or type(error).__name__
            for metric in metrics:
                self.results.fail(metric, peer.name, self._hopeless[peer.name])
            with contextlib.suppress(Exception):
                peer.stop()
        if self.verbose:
            names = ", ".join(peer.name for peer in peers)
            print(f"  started {names} in {time.monotonic() - begin:.1f} s", file=sys.stderr)

    def running(self, peer: Peer) -> bool:
        """Whether it has not been stopped since."""
        return self._running.get(peer.name) is peer

    def stop(self, name: str | None = None) -> None:
        """Stop one peer, or all of them."""
        for found in [name] if name else list(self._running):
            peer = self._running.pop(found, None)
            if peer is not None:
                with contextlib.suppress(Exception):
                    peer.stop()

    def rounds(
        self,
        peers: list[Peer],
        metrics: tuple[str, ...],
        count: int,
        seconds: float,
        step: Callable[[Peer], None],
    ) -> None:
        """`step` for each peer, `count` times in turn; a peer that failed is not asked again.

        On a busy machine there are fewer rounds, so that every metric gets its share of the time.
        """
        alive = list(peers)
        for number in range(count):
            if number and not self.in_time:
                self.results.note(
                    f"{'/'.join(metrics)}: {number} rounds instead of {count}, for want of time."
                )
                return
            for peer in list(alive):
                if not self.try_(peer.name, metrics, seconds, partial(step, peer)):
                    alive.remove(peer)
                    self.stop(peer.name)  # it may be busy with what it failed at
            if self.verbose:
                print(f"  {'/'.join(metrics)}: round {number + 1} of {count}", file=sys.stderr)


@contextlib.contextmanager
def session(peer: Peer) -> Iterator[str]:
    """A session that is ended afterwards."""
    name = peer.new_session()
    try:
        yield name
    finally:
        with contextlib.suppress(Exception):
            peer.end_session(name)


@contextlib.contextmanager
def attached(
    peer: Peer, name: str, relay: int | None = None, receive_buffer: int | None = None
) -> Iterator[Terminal]:
    """A client at a prompt that is the newest one."""
    terminal = peer.attach(name, relay=relay, receive_buffer=receive_buffer)
    try:
        ready(peer, terminal)
        yield terminal
    finally:
        with contextlib.suppress(Exception):
            terminal.close()


def ready(peer: Peer, terminal: Terminal) -> None:
    """Wait until the shell answers, and nothing else is on its way."""
    command, marker = peer.work.marker()
    terminal.command(command)
    terminal.read_until(marker, 15)
    terminal.read_until(PROMPT, 5)
    terminal.drain(0.05, 2)
