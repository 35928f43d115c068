"""A real `persistent-terminal-hub serve` as a process of its own, and a browser made of requests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from persistent_terminal_hub.hub import proc
from tests.support.waiting import free_ports

ROOT = Path(__file__).resolve().parents[2]


def proxy_folder() -> Path:
    """Where the proxy is installed, the folder that holds its node_modules."""
    named = os.environ.get("PTH_TEST_PROXY_BIN")
    found = (
        Path(named) if named else Path(sys.prefix, "lib/pth-node/node_modules/.bin/configurable-http-proxy")
    )
    assert found.exists(), f"{found} is missing: `make test` installs the proxy"
    return found.parents[2]


def node_modules() -> Path:
    """What tests need of npm's packages."""
    named = os.environ.get("PTH_TEST_NODE_MODULES")
    found = Path(named) if named else Path(sys.prefix, "lib/pth-node-test/node_modules")
    assert (found / "oidc-provider").is_dir(), f"{found}/oidc-provider is missing: `make test` installs it"
    return found


@dataclass
class Serve:
    """One running `serve`."""

    data: Path
    settings: str = ""
    base_url: str = "/"
    scheme: str = "http"
    ports: list[int] = field(default_factory=lambda: free_ports(3))
    control_port: int = field(default_factory=lambda: free_ports(1)[0])
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    _readied: int = 0  # how often an earlier one was ready

    def __post_init__(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        self.log_path = self.data.with_suffix(".log")
        self.config = self.data.with_suffix(".yaml")

    @property
    def origin(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.ports[0]}"

    @property
    def url(self) -> str:
        return self.origin + self.base_url

    def start(self, *arguments: str) -> Serve:
        """Start without waiting."""
        names = ("PORT", "HUB_PORT", "PROXY_API_PORT")
        self.config.write_text(self.settings or "{}\n")
        env = {key: value for key, value in os.environ.items() if not key.startswith(("PTH_", "JUPYTERHUB_"))}
        env |= {f"PTH_SERVER__{name}": str(port) for name, port in zip(names, self.ports, strict=True)}
        env |= {
            "PTH_CONTROL__PORT": str(self.control_port),
            # It would drain the audit outbox, which these tests read.
            "PTH_CONTROL__ENABLED": "false",
            "PTH_DATA_DIR": str(self.data),
            "PTH_NODE_DIR": str(proxy_folder()),
            "PTH_SERVER__BASE_URL": self.base_url,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        env |= self.environment
        command = [sys.executable, "-c", "from persistent_terminal_hub.cli import main; main()", "serve"]
        self._readied = self.log.count("is ready:")
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--config", str(self.config), *arguments], env=env, stdout=log, stderr=log
            )
        return self

    @property
    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def wait_ready(self) -> Serve:
        """Until the one last started says that it is."""

        def ready() -> bool:
            return self.log.count("is ready:") > self._readied

        wait_for(lambda: ready() or not self.running, 40)
        assert ready(), self.log
        return self

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def password(self) -> str:
        found = re.findall(r"password:  (\S+)", self.log)
        assert found, self.log
        return str(found[-1])

    def child_pid(self, marker: str) -> int:
        """The supervisor's child whose command line contains the marker; 0 when there is none."""
        assert self.process is not None
        listing = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        for pid in listing.split():
            try:
                if marker in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "):
                    return int(pid)
            except OSError:
                continue
        return 0

    def stop(self) -> int:
        if self.process is None:
            return 0
        if self.running:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


class Browser(requests.Session):
    """Cookies, redirects and the XSRF field, as a browser has them."""

    def __init__(self, serve: Serve) -> None:
        super().__init__()
        self.serve = serve
        self.trust_env = False  # REQUESTS_CA_BUNDLE would win over `verify`
        self.headers["Sec-Fetch-Mode"] = "navigate"

    def open(self, path: str, **options: Any) -> requests.Response:
        return self.get(self.serve.url + path, timeout=30, **options)

    def submit(self, path: str, /, **fields: str) -> requests.Response:
        """Open the page, then post its form with these fields."""
        page = self.open(path)
        found = re.search(r'name="_xsrf"\s+value="([^"]*)"', page.text)
        assert found, page.text
        return self.post(self.serve.url + path, data={"_xsrf": found[1], **fields}, timeout=30)

    def log_in(self, username: str, password: str) -> requests.Response:
        return self.submit(
            "hub/login?next=" + self.serve.base_url + "hub/home", username=username, password=password
        )

    def api(self, method: str, path: str, **options: Any) -> requests.Response:
        """The hub's REST API with the cookie, as its pages call it."""
        headers = {
            "X-XSRFToken": self.cookies.get("_xsrf", path=self.serve.base_url + "hub/") or "",
            "Sec-Fetch-Mode": "cors",
            "Referer": self.serve.url + "hub/home",
        }
        return self.request(
            method, self.serve.url + "hub/api/" + path, headers=headers, timeout=60, **options
        )


def wait_for(condition: Any, seconds: float, pause: float = 0.1) -> bool:
    """Ask until true or too late; returns the last answer."""
    deadline = time.monotonic() + seconds
    while not (answer := bool(condition())) and time.monotonic() < deadline:
        time.sleep(pause)
    return answer


def page_text(response: requests.Response) -> str:
    """What a person reads on the page."""
    body = re.sub(r"(?s)<(script|style).*?</\1>", " ", response.text)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def workspace_processes(hub: Serve, of: str = "") -> list[int]:
    """Every process with the mark of a workspace of this hub, or of those whose key begins with `of`."""
    hub_id = (hub.data / "hub-id").read_text().strip()
    found = []
    for path in Path("/proc").iterdir():
        try:
            if (
                path.name.isdigit()
                and f"PTH_WORKSPACE_KEY={hub_id}/{of}".encode() in (path / "environ").read_bytes()
            ):
                found.append(int(path.name))
        except OSError:
            continue
    return [pid for pid in found if proc.is_alive(pid)]


@contextmanager
def local_serve(folder: Path) -> Iterator[Serve]:
    """A hub with local accounts and local processes below a prefix."""
    serve = Serve(
        folder / "data", "workspace: {backend: process, stopTimeoutSeconds: 5}\n", base_url="/pre-fix/"
    )
    try:
        yield serve.start().wait_ready()
    finally:
        serve.stop()
        for pid in workspace_processes(serve):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def local_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """One for several files: its start takes seconds. None of them may touch another's users."""
    with local_serve(tmp_path_factory.mktemp("local")) as serve:
        yield serve
