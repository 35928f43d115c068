"""One cycle of the culler over many FAKE workspaces: seconds on one core, memory, requests.

    python -m tests.benchmarks.culler_cycle                 250, 500 and 1,000 workspaces of 10 sessions
    python -m tests.benchmarks.culler_cycle --proxy         the same through configurable-http-proxy
    python -m tests.benchmarks.culler_cycle --push          what receiving signed pushes would cost instead

The culler is the real one (tokens signed, facts parsed and judged, nothing to do), in a process of its own on
one core. Only hub and workspaces are fakes (`fake_fleet`), in another process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from . import procstat

REPOSITORY = Path(__file__).resolve().parents[2]
SIZES = (250, 500, 1000)
SESSIONS = 10
CYCLES = 3
HUB_ID = "0123456789ab"
COMMAND = (sys.executable, "-m", "tests.benchmarks.culler_cycle")


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one number of workspaces."""

    workspaces: int
    seconds: float  # of the median cycle, by the wall
    cpu: float  # processor seconds of the same cycle
    memory: float  # MiB of the process after all cycles
    requests: float  # of one cycle
    reached: int


@contextlib.contextmanager
def fleet(count: int, rules_hash: str, origin: str = "") -> Iterator[int]:
    """The fake; its port."""
    command = [sys.executable, "-m", "tests.benchmarks.fake_fleet", str(count), str(SESSIONS), rules_hash]
    process = subprocess.Popen(
        [*command, *(["--origin", origin] if origin else [])],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def measure(count: int, *, proxy: str = "", cycles: int = CYCLES) -> Figures:
    """Figures of `count` workspaces, each measured in a fresh process."""
    with tempfile.TemporaryDirectory(prefix="pth-culler-") as folder, contextlib.ExitStack() as stack:
        origin = ""
        if proxy:
            origin, target = stack.enter_context(through_proxy(proxy))
        port = stack.enter_context(fleet(count, _hash(folder), origin))
        if proxy:
            target(port)
        done = subprocess.run(
            [*COMMAND, "--measure", str(port), folder, str(cycles)],
            cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"the culler's process failed: {done.stderr.strip()[-300:]}")
        return Figures(count, **json.loads(done.stdout.splitlines()[-1]))


def _settings(folder: str):  # type: ignore[no-untyped-def]
    from persistent_terminal_hub.settings import Settings

    # An idle stop, so that there is something to judge; nobody here is idle.
    return Settings.model_validate({"dataDir": folder, "culler": {"idleStopMinutes": 60}})


def _hash(folder: str) -> str:
    from persistent_terminal_hub.config.rules import rules_in_workspace
    from persistent_terminal_hub.rules_file import rules_hash

    return rules_hash(rules_in_workspace(_settings(folder), "user-0", frozenset(), ""))


async def _measured(port: int, folder: str, cycles: int) -> dict[str, float]:
    from persistent_terminal_hub.culler.app import build
    from persistent_terminal_hub.culler.http import Http
    from persistent_terminal_hub.culler.log import DecisionLog
    from persistent_terminal_hub.services import Place

    settings = _settings(folder)
    lines: list[str] = []
    http = Http(settings.culler.concurrency)
    place = Place(HUB_ID, f"http://127.0.0.1:{port}/hub/api", "fake")
    culler = build(settings, place, http, DecisionLog(False, lines.append))
    culler.spread = 0.0  # the time of the work, not of the pauses
    samples = []
    for _ in range(cycles):
        before, cpu = http.requests, time.process_time()
        tally = await culler.run_once()
        samples.append((tally.seconds, time.process_time() - cpu, http.requests - before, tally.reached))
    if lines:
        raise RuntimeError(f"something was decided: {lines[0]}")
    seconds, cpu, requests, reached = sorted(samples)[len(samples) // 2]
    memory = procstat.memory([os.getpid()])
    return {"seconds": seconds, "cpu": cpu, "memory": memory, "requests": requests, "reached": reached}


# -- the ways that were not taken -----------------------------------------------------------------------


@contextlib.contextmanager
def through_proxy(binary: str):  # type: ignore[no-untyped-def]
    """A configurable-http-proxy; its origin, and a function that points it at a port."""
    from tests.support.stack import free_ports

    port, api = free_ports(2)
    process: list[subprocess.Popen[bytes]] = []

    def point(target: int) -> None:
        argv = ["--ip", "127.0.0.1", "--port", str(port), "--api-ip", "127.0.0.1", "--api-port", str(api)]
        process.append(
            subprocess.Popen(
                [binary, *argv, "--default-target", f"http://127.0.0.1:{target}", "--log-level", "error"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.1)
        raise RuntimeError("the proxy did not start")

    try:
        yield f"http://127.0.0.1:{port}", point
    finally:
        for each in process:
            each.kill()
            each.wait()


async def _push(count: int) -> dict[str, float]:
    """Processor seconds to receive, verify and read the facts of `count` workspaces that push them."""
    from tornado import httpserver, web
    from tornado.httpclient import AsyncHTTPClient

    from persistent_terminal_hub.tokens import Purpose, SigningKey, issue, verify
    from persistent_terminal_hub.workspace_facts import facts_of
    from tests.benchmarks import fake_fleet

    keys = {number: SigningKey.generate() for number in range(count)}
    seen: dict[int, object] = {}
    spent = 0.0

    class Receive(web.RequestHandler):
        def post(self, number: str) -> None:
            key = keys[int(number)]
            verify(
                self.request.headers["Authorization"][7:], {key.kid: key.public}, Purpose.STEER,
                issuer=f"workspace:{number}", audience="hub", max_lifetime=60,
            )  # fmt: skip
            seen[int(number)] = facts_of(json.loads(self.request.body), time.monotonic())

    server = httpserver.HTTPServer(
        web.Application([(r"/facts/([0-9]+)", Receive)], log_function=lambda _: None)
    )
    server.listen(0, "127.0.0.1")
    port = next(iter(server._sockets.values())).getsockname()[1]
    posts = [
        (
            f"http://127.0.0.1:{port}/facts/{number}",
            issue(key, Purpose.STEER, issuer=f"workspace:{number}", audience="hub", subject="x", lifetime=60),
            fake_fleet.facts(number, SESSIONS),
        )
        for number, key in keys.items()
    ]
    # The senders are workspaces elsewhere: a thread's processor time is not counted below.
    loop = asyncio.get_running_loop()

    def send() -> None:
        async def all_() -> None:
            client = AsyncHTTPClient(force_instance=True, max_clients=20)
            await asyncio.gather(
                *(
                    client.fetch(url, method="POST", body=body, headers={"Authorization": f"Bearer {token}"},
                                 request_timeout=60, connect_timeout=60)
                    for url, token, body in posts
                )
            )  # fmt: skip

        asyncio.run(all_())

    began, cpu = time.monotonic(), time.thread_time()
    await loop.run_in_executor(None, send)
    spent = time.thread_time() - cpu
    assert len(seen) == count
    return {"seconds": time.monotonic() - began, "cpu": spent}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--proxy", action="store_true", help="ask through configurable-http-proxy")
    parser.add_argument("--push", action="store_true", help="measure receiving signed pushes")
    parser.add_argument("--measure", nargs=3, metavar=("PORT", "FOLDER", "CYCLES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        port, folder, cycles = options.measure
        print(json.dumps(asyncio.run(_measured(int(port), folder, int(cycles)))))
        return 0
    if options.push:
        for count in SIZES:
            print(count, json.dumps(asyncio.run(_push(count))))
        return 0
    proxy = os.environ.get("PTH_TEST_PROXY_BIN", "configurable-http-proxy") if options.proxy else ""
    for count in SIZES:
        print(json.dumps(asdict(measure(count, proxy=proxy))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
