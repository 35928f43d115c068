"""What is measured with a client that reads: bulk, echo, resume, attach, Ctrl-C."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .codecs import PthCodec
from .collect import Bench, attached, ready, session
from .peers import REPOSITORY, Kernel, Peer
from .terminal import Terminal, WebTerminal
from .work import LINES, PROMPT, BenchError

KEY_PAUSE: Final = 0.001  # seconds between an echo and the next key
LINK: Final = 1_000_000  # bytes a second of the slow link
YES_SECONDS: Final = 2.0
PATIENCE: Final = 10.0  # seconds for a prompt after Ctrl-C

RAW = "stty raw -echo; {marker}; exec cat"


def left_out(terminal: Terminal) -> int:
    """Bytes that a client was told it will not get by themselves."""
    codec = getattr(terminal, "codec", None)
    return sum(stop - start for start, stop in codec.skipped) if isinstance(codec, PthCodec) else 0


def bulk(bench: Bench) -> None:
    """MB/s of `cat` of a text file, from the command to the marker after it."""
    metrics = ("bulk",)
    size = bench.work.bulk_bytes

    def once(peer: Peer) -> None:
        command, marker = bench.work.marker()
        command = f"cat {bench.work.bulk}; {command}"
        if isinstance(peer, Kernel):
            (seconds,) = peer.run("bulk", PROMPT.decode(), command, marker.decode())
        else:
            with session(peer) as name, attached(peer, name) as terminal:
                start = time.monotonic()
                terminal.command(command)
                terminal.read_until(marker, 30)
                seconds = time.monotonic() - start
                if (missed := left_out(terminal)) > 0:
                    bench.results.note(f"bulk: {peer.name} left out {missed / size:.0%} in a round")
                    seconds *= size / max(size - missed, 1)  # only what arrived counts
        bench.results.add("bulk", peer.name, size / seconds / 1e6)

    peers = bench.peers(metrics)
    bench.rounds(peers, metrics, bench.plan.bulk_rounds, 45, once)
    bench.results.note(
        "bulk: tmux shows a client only the last screens, so its figure is how fast it parses."
    )


def echo(bench: Bench) -> None:
    """Milliseconds from a key to its echo, by a program that returns each byte (`cat`, raw)."""
    metrics = ("echo_p50", "echo_p99")
    keys = bench.plan.keys

    def once(peer: Peer) -> None:
        command, marker = bench.work.marker()
        command = RAW.format(marker=command)
        if isinstance(peer, Kernel):
            pause = str(int(KEY_PAUSE * 1e6))
            times = [
                us / 1e3
                for us in peer.run("echo", PROMPT.decode(), command, marker.decode(), str(keys), pause)
            ]
        else:
            with session(peer) as name, attached(peer, name) as terminal:
                terminal.command(command)
                terminal.read_until(marker, 10)
                terminal.drain(0.2, 2)
                times = [_key(terminal) * 1e3 for _ in range(keys)]
        bench.results.add("echo_p50", peer.name, statistics.median(times))
        bench.results.add("echo_p99", peer.name, sorted(times)[int(0.99 * (len(times) - 1))])

    peers = bench.peers(metrics)
    bench.rounds(peers, metrics, bench.plan.echo_rounds, 30, once)


def _key(terminal: Terminal) -> float:
    time.sleep(KEY_PAUSE)
    start = time.monotonic()
    terminal.type(b"x")
    terminal.read(start + 5)
    return time.monotonic() - start


def resume(bench: Bench) -> None:
    """Bytes for the emulator beyond the missed ones, when a client comes back after a TCP reset."""
    metrics = ("resume_bytes",)
    work = bench.work
    without = {
        "kernel": "nothing to come back to",
        "ttyd": "its program ends with the connection",
        "tmux": "it redraws one screen; the missed bytes never come",
    }

    def once(peer: Peer) -> None:
        done = work.folder / work.fresh("done")
        with session(peer) as name:
            terminal = peer.attach(name)
            ready(peer, terminal)
            # A past that a resume must not send again.
            command, marker = work.marker()
            terminal.command(f"cat {work.lines}; {command}")
            terminal.read_until(marker, 20)
            terminal.read_until(PROMPT, 5)
            terminal.drain(0.1, 2)
            command, marker = work.marker()
            terminal.command(f"sleep 0.6; cat {work.missed}; {command}; touch {done}; sleep 9")
            terminal.drain(0.3, 2)
            terminal.drop()
            _wait_for_file(done)
            text = work.missed.read_bytes()
            missed = len(text) + text.count(b"\n") + len(marker) + 2
            back = peer.attach(name, again=terminal)
            try:
                back.read_until(marker, 20)
                back.drain(0.3, 3)
                bench.results.add("resume_bytes", peer.name, back.received - missed)
                if isinstance(back, WebTerminal):
                    bench.results.add("resume_wire", peer.name, back.socket.wire - missed)
            finally:
                back.close()

    peers = bench.peers(metrics, without)
    bench.rounds(peers, metrics, bench.plan.resume_rounds, 45, once)
    for peer in peers:
        wire = bench.results.median("resume_wire", peer.name)
        if wire is not None:
            bench.results.note(
                f"resume_bytes: on the wire, with every frame header and control message, {peer.name} "
                f"sent {wire:.0f} bytes beyond the missed ones."
            )


def _wait_for_file(path: Path, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > deadline:
            raise BenchError("the job in the cut session did not end")
        time.sleep(0.02)


def attach(bench: Bench) -> None:
    """Milliseconds from connecting to having the newest line, in a session of 10,000 lines; of 12 MiB."""
    without = {"kernel": "nothing to attach to", "ttyd": "it has no session to attach to"}
    metrics = ("attach_10k", "attach_full")
    peers = bench.peers(metrics, without)
    for metric, text in (("attach_10k", bench.work.lines), ("attach_full", bench.work.journal)):
        prepared: dict[str, tuple[str, bytes]] = {}

        def prepare(
            peer: Peer, text: object = text, prepared: dict[str, tuple[str, bytes]] = prepared
        ) -> None:
            command, marker = bench.work.marker()
            name = peer.new_session()
            with attached(peer, name) as terminal:
                terminal.command(f"cat {text}; {command}")
                terminal.read_until(marker, 30)
                terminal.drain(0.3, 5)
            prepared[peer.name] = (name, marker)

        def once(peer: Peer, metric: str = metric, prepared: dict[str, tuple[str, bytes]] = prepared) -> None:
            name, marker = prepared[peer.name]
            start = time.monotonic()
            terminal = peer.attach(name)
            try:
                terminal.read_until(marker, 20)
                bench.results.add(metric, peer.name, (time.monotonic() - start) * 1e3)
                terminal.drain(0.1, 2)
                bench.results.add(metric + "_bytes", peer.name, terminal.received)
                # Something new, so that the next attach finds nothing that was made for this one.
                command, newer = bench.work.marker()
                terminal.command(command)
                terminal.read_until(newer, 10)
                prepared[peer.name] = (name, newer)
            finally:
                terminal.close()

        bench.rounds(peers, (metric,), 1, 60, prepare)
        peers = [peer for peer in peers if bench.running(peer)]
        able = [peer for peer in peers if peer.name in prepared]
        bench.rounds(able, (metric,), bench.plan.attach_rounds, 30, once)
        peers = [peer for peer in peers if bench.running(peer)]
    sizes = {peer: bench.results.median("attach_10k_bytes", peer) for peer in ("ours", "stock", "tmux")}
    told = ", ".join(f"{peer} {size / 1e3:.0f} KB" for peer, size in sizes.items() if size)
    if told:
        bench.results.note(f"attach_10k: {LINES:,} lines are 690 KB of file; a fresh client received {told}.")


@contextlib.contextmanager
def throttled(host: str, port: int, rate: int = LINK) -> Iterator[int]:
    """A relay to `host:port` with `rate` bytes a second; its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.relay", host, str(port), str(rate)],
        stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def ctrl_c(bench: Bench) -> None:
    """Milliseconds from Ctrl-C to a new prompt, under `yes` and through a link of 1 MB/s."""
    metrics = ("ctrl_c",)
    without = {"kernel": "no link can be put before it"}

    def once(peer: Peer) -> None:
        address = getattr(peer, "address", None)
        with contextlib.ExitStack() as stack:
            name = stack.enter_context(session(peer))
            relay = stack.enter_context(throttled(*address)) if address else 1
            terminal = stack.enter_context(attached(peer, name, relay=relay))
            prompt = bench.work.fresh("stopped")
            # Quoted apart, so that the echo of the command is not taken for the prompt.
            terminal.command(f"PS1='{prompt[0]}''{prompt[1:]}> '; yes")
            terminal.drain(1.0, YES_SECONDS)
            start = time.monotonic()
            terminal.type(b"\x03")
            try:
                terminal.read_until(f"{prompt}> ".encode(), PATIENCE)
            except TimeoutError:
                raise BenchError(f"no prompt within {PATIENCE:g} s of Ctrl-C") from None
            bench.results.add("ctrl_c", peer.name, (time.monotonic() - start) * 1e3)

    peers = bench.peers(metrics, without)
    bench.rounds(peers, metrics, bench.plan.ctrl_c_rounds, 30, once)
    bench.results.note("ctrl_c: tmux has no TCP; its client's PTY is read at 1 MB/s instead.")
