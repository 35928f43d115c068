"""How near the keeper with one reader comes to a bare C (or Python) reader of a PTY.

    python tests/benchmarks/keeper_bulk.py [--megabytes 30] [--rounds 7] [--json]

Bulk: `cat` of a file, until its last byte is at the reader. Echo: one character to `cat` in raw mode and
back. All variants take turns in each round, and the ratio is of the medians. Idle: 200 sessions.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from persistent_terminal_hub.keeper.blocking_client import BlockingClient

ROOT = Path(__file__).resolve().parents[2]
C_READER = r"""
#define _GNU_SOURCE
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static double now(void) {
    struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9;
}
int main(int argc, char **argv) {
    static char buffer[65536];
    int master; long total = 0; ssize_t n; double begin = now();
    pid_t pid = forkpty(&master, NULL, NULL, NULL);
    if (pid == 0) { execlp("sh", "sh", "-c", argv[1], (char *)NULL); _exit(127); }
    while ((n = read(master, buffer, sizeof buffer)) > 0) total += n;
    double seconds = now() - begin;
    waitpid(pid, NULL, 0);
    printf("%ld %f\n", total, seconds);
    return 0;
}
"""


def build_c_reader(directory: Path) -> Path | None:
    """Compile the reader, if there is a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    source, program = directory / "reader.c", directory / "reader"
    source.write_text(C_READER)
    subprocess.run([compiler, "-O2", "-o", program, source, "-lutil"], check=True)
    return program


@contextmanager
def keeper(directory: Path) -> Iterator[tuple[BlockingClient, int]]:
    """A keeper process and a client of it."""
    env = {**os.environ, "PTH_RUNTIME_DIR": str(directory), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "persistent_terminal_hub.keeper", "--grace", "2", "--", "sleep", "10000"]
    process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    try:
        while not (directory / "keeper.sock").exists():
            time.sleep(0.01)
        client = BlockingClient(directory / "keeper.sock", timeout=60)
        yield client, process.pid
        client.close()
    finally:
        process.terminate()
        process.wait()


def bulk_c(program: Path, command: str) -> float:
    total, seconds = subprocess.run([program, command], capture_output=True, check=True).stdout.split()
    return int(total) / float(seconds) / 1e6


def bulk_python(command: str) -> float:
    begin = time.monotonic()
    pid, master = pty.fork()
    if pid == 0:
        os.execlp("sh", "sh", "-c", command)  # noqa: S606
    total = 0
    buffer = bytearray(65536)
    while True:
        try:
            total += os.readv(master, (buffer,))
        except OSError:
            break
    seconds = time.monotonic() - begin
    os.waitpid(pid, 0)
    os.close(master)
    return total / seconds / 1e6


def bulk_keeper(client: BlockingClient, command: str) -> float:
    begin = time.monotonic()
    session = client.call("create", argv=["sh", "-c", command]).header["session"]["id"]
    subscription = client.subscribe(session)
    reader = subscription.reader
    at = total = 0
    while True:
        ended = reader.ended
        chunk = reader.read(at, 256 * 1024)
        at = chunk.end
        total += len(chunk.data)
        if not chunk.data:
            if ended:
                break
            subscription.wait(10)
    seconds = time.monotonic() - begin
    if total != at:
        print(f"  (the reader lost {at - total} of {at} bytes)")
    subscription.close()
    client.call("remove", session=session)
    return at / seconds / 1e6


def echo_direct(count: int) -> list[float]:
    pid, master = pty.fork()
    if pid == 0:
        os.execlp("sh", "sh", "-c", "stty raw -echo; printf R; exec cat")  # noqa: S606
    while os.read(master, 100)[-1:] != b"R":
        pass
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        os.write(master, b"x")
        os.read(master, 100)
        times.append(time.perf_counter() - begin)
        time.sleep(0.0005)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.close(master)
    return times


def echo_keeper(client: BlockingClient, count: int) -> list[float]:
    command = "stty raw -echo; printf R; exec cat"
    session = client.call("create", argv=["sh", "-c", command]).header["session"]["id"]
    subscription = client.subscribe(session)
    reader = subscription.reader
    while not reader.read(0).data.endswith(b"R"):
        subscription.wait(5)
    times = []
    at = reader.head
    channel = client._channel
    for number in range(count):
        begin = time.perf_counter()
        # As the server does it: not waiting for the answer before looking for the echo.
        _, data = channel.request("input", b"x", {"session": session, "client": "bench", "seq": number + 1})
        channel.sock.sendall(data)
        while not (chunk := reader.read(at)).data:
            subscription.wait(5)
        times.append(time.perf_counter() - begin)
        at = chunk.end
        channel.receive()
        time.sleep(0.0005)
    subscription.close()
    client.call("end", session=session, grace=0)
    client.wait_event("exited", session)
    client.call("remove", session=session)
    return times


def memory_kib(pid: int) -> int:
    """Proportional resident memory, ring pages included."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise ValueError("no Pss in smaps_rollup")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle(client: BlockingClient, pid: int, sessions: int) -> dict[str, float]:
    before = memory_kib(pid)
    client.call("watch", on=False)
    subscriptions = []
    for _ in range(sessions):
        created = client.call("create", argv=["sh", "-c", "head -c 60000 /dev/zero | tr '\\0' x; exec cat"])
        subscriptions.append(client.subscribe(created.header["session"]["id"]))
    for subscription in subscriptions:
        while subscription.reader.head < 60000:
            subscription.wait(5)
        subscription.reader.read(0)
    own = memory_kib(pid)
    cpu = cpu_seconds(pid)
    time.sleep(5)
    return {
        "idle_kib_per_session": (own - before) / sessions,
        "idle_cpu_percent": (cpu_seconds(pid) - cpu) / 5 * 100,
        "keeper_base_kib": before,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--echoes", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="pth-bench-"))
    rows: dict[str, float] = {}
    try:
        file = directory / "file"
        line = b"".join(
            b"%06d the quick brown fox jumps over the lazy dog, and on it goes\n" % n for n in range(1000)
        )
        file.write_bytes(
            (line * (options.megabytes * 1_000_000 // len(line) + 1))[: options.megabytes * 1_000_000]
        )
        command = f"stty -opost; cat {file}"
        program = build_c_reader(directory)
        with keeper(directory) as (client, pid):
            client.call("watch")
            variants: dict[str, Callable[[], float]] = {
                "bulk_keeper": lambda: bulk_keeper(client, command),
                "bulk_python": lambda: bulk_python(command),
            }
            if program is not None:
                variants["bulk_c"] = lambda: bulk_c(program, command)
            speeds: dict[str, list[float]] = {name: [] for name in variants}
            for _ in range(options.rounds):
                for name, run in variants.items():
                    speeds[name].append(run())
            rows |= {name: statistics.median(values) for name, values in speeds.items()}
            # What other work on the machine took away is least in the best round.
            rows |= {f"best_{name}": max(values) for name, values in speeds.items()}
            direct, ours = sorted(echo_direct(options.echoes)), sorted(echo_keeper(client, options.echoes))
            for name, times in (("direct", direct), ("keeper", ours)):
                rows[f"echo_{name}_p50_ms"] = times[len(times) // 2] * 1000
                rows[f"echo_{name}_p99_ms"] = times[len(times) * 99 // 100] * 1000
            rows |= idle(client, pid, options.sessions)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    for reference in ("bulk_c", "bulk_python"):
        if reference in rows:
            rows[f"ratio_{reference}"] = rows["bulk_keeper"] / rows[reference]
            rows[f"ratio_best_{reference}"] = rows["best_bulk_keeper"] / rows[f"best_{reference}"]
    if options.json:
        print(json.dumps(rows))
    else:
        for name, value in rows.items():
            print(f"{name:24s} {value:10.3f}")


if __name__ == "__main__":
    main()
