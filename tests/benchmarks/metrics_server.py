"""What is measured at the server and the job: a stalled client, a blocked event loop, idle sessions."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Final

from . import procstat
from .collect import Bench, attached, session
from .peers import Peer
from .procstat import Peak
from .terminal import Terminal
from .work import BenchError, Job

SMALL_BUFFER: Final = 64 * 1024  # the stalled client's receive buffer
WARM_MB: Final = 12  # printed before: a full 8 MiB journal, all buffers touched
BASE_SECONDS: Final = 4.0


def _start(terminal: Terminal, job: Job) -> None:
    # The pause lets the client go, or stop reading, before the first byte.
    terminal.command(f"sleep 0.3; {job.command}")


def _warm(bench: Bench, terminal: Terminal) -> None:
    """Print 12 MiB, so that a journal is full and its pages do not count as growth."""
    command, marker = bench.work.marker()
    terminal.command(f"cat {bench.work.journal}; {command}")
    terminal.read_until(marker, 30)
    terminal.drain(0.3, 5)


def stalled(bench: Bench) -> None:
    """A client stops reading while 200 MB are printed: the server's growth, and the job's time."""
    metrics = ("stalled_rss", "stalled_job")
    without = {
        "kernel": "nobody reads for a client that does not",
        "ttyd": "its program ends with the connection",
    }
    size = bench.plan.job_bytes
    patience = 60.0

    def alone(peer: Peer) -> None:
        with session(peer) as name:
            with attached(peer, name) as terminal:
                _warm(bench, terminal)
                job = bench.work.job(size)
                _start(terminal, job)
                time.sleep(0.1)
            with Peak(peer.pids):  # looking costs processor time: in both arms, or it counts as the client's
                seconds = job.seconds(patience)
            bench.results.add("job_alone", peer.name, seconds)

    def with_client(peer: Peer) -> None:
        with session(peer) as name, attached(peer, name, receive_buffer=SMALL_BUFFER) as terminal:
            _warm(bench, terminal)
            pids = peer.pids()
            procstat.settled(pids)
            before = procstat.memory(pids)
            job = bench.work.job(size)
            with Peak(peer.pids) as peak:
                _start(terminal, job)
                seconds = job.seconds(patience)
                time.sleep(0.5)
            bench.results.add("stalled_rss", peer.name, peak.value - before)
            bench.results.add("job_stalled", peer.name, seconds)
            terminal.drop()

    peers = bench.peers(metrics, without, fresh=True)
    for number in range(bench.plan.stalled_rounds):
        if number and not bench.in_time:
            break
        bench.rounds(peers, metrics, 1, patience + 10, alone)
        peers = [peer for peer in peers if bench.running(peer)]
        bench.rounds(peers, metrics, 1, patience + 10, with_client)
        peers = [peer for peer in peers if bench.running(peer)]
    for peer in peers:
        stalled_, alone_ = (bench.results.median(m, peer.name) for m in ("job_stalled", "job_alone"))
        if stalled_ and alone_:
            bench.results.add("stalled_job", peer.name, stalled_ / alone_)
    bench.results.note(
        f"stalled_*: {size / 1e6:.0f} MB after a warm-up of {WARM_MB} MiB; peak of anonymous and "
        "shared memory (PSS), stalled_job is the job's time over its time with no client."
    )


def blocked(bench: Bench) -> None:
    """The job's speed while the server's process is stopped, over its speed with no client at all."""
    metrics = ("blocked_job",)
    without = {
        "kernel": "it has no event loop",
        "tmux": "it has no Jupyter server; its one process owns the PTY",
        "ttyd": "it has no Jupyter server; its one process owns the PTY",
    }
    seconds = bench.plan.blocked_seconds

    def once(peer: Peer) -> None:
        with session(peer) as name:
            with attached(peer, name) as terminal:
                _warm(bench, terminal)
                job = bench.work.job(0)
                _start(terminal, job)
                time.sleep(0.1)
            job.wait_started()
            time.sleep(0.3)
            free = job.speed(min(BASE_SECONDS, seconds))
            # The job goes on; a client is there again when the loop stops.
            terminal = peer.attach(name)
            pid = peer.loop_pid
            try:
                os.kill(pid, signal.SIGSTOP)
                bench.results.add("blocked_job", peer.name, job.speed(seconds) / free)
            finally:
                os.kill(pid, signal.SIGCONT)
                terminal.drop()

    peers = bench.peers(metrics, without)
    bench.rounds(peers, metrics, 1, seconds + 40, once)
    bench.results.note(f"blocked_job: the Jupyter server was stopped (SIGSTOP) for {seconds:g} s.")


def idle(bench: Bench) -> None:
    """Memory and processor time of many sessions that printed a little and wait."""
    metrics = ("idle_rss", "idle_cpu")
    without = {"kernel": "it has no server", "ttyd": "without a client it has no session"}
    count = bench.plan.idle_sessions

    peers = bench.peers(metrics, without, shell=bench.work.idle)
    ready: list[Peer] = []

    def fill(peer: Peer) -> None:
        peer.new_session()
        procstat.settled(peer.pids())
        before = procstat.memory(peer.pids())
        for _ in range(count):
            peer.new_session()
        procstat.settled(peer.pids(), 20)
        bench.results.add("idle_rss", peer.name, (procstat.memory(peer.pids()) - before) / count)
        ready.append(peer)

    bench.rounds(peers, metrics, 1, 60, fill)
    # All at once: ten seconds of doing nothing need not be spent one after the other.
    pids = {peer.name: _pids(peer) for peer in ready}
    before = {name: procstat.cpu_seconds(found) for name, found in pids.items()}
    start = time.monotonic()
    time.sleep(bench.plan.idle_seconds)
    for name, found in pids.items():
        used = procstat.cpu_seconds(found) - before[name]
        bench.results.add("idle_cpu", name, 100 * used / (time.monotonic() - start))
    bench.results.note(
        f"idle_*: {count} sessions that printed 32 KiB, no client; idle_rss is anonymous and shared memory "
        "(PSS) of the server (and keeper) per session, shells not counted."
    )


def _pids(peer: Peer) -> list[int]:
    with contextlib.suppress(OSError, BenchError):
        return peer.pids()
    return []
