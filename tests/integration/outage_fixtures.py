"""A Docker Engine and a JupyterHub of one's own, to stop, kill and start in any order.

The engine lives in a network namespace, because a second one beside the machine's own would take its
bridge. The hub lives there too, so that it reaches the containers; a veth pair lets the test reach the hub.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from docker.errors import DockerException

from persistent_terminal_hub.settings import Settings
from tests.integration.docker_fixtures import TINY_IMAGE, settings_for, sweep
from tests.support import waiting

TOKEN = "test-token-of-the-outage-tests"
CONFIG = """
import json
from pathlib import Path
from jupyterhub.auth import DummyAuthenticator
from jupyterhub.proxy import Proxy
from persistent_terminal_hub.shared_files import share_dir
from persistent_terminal_hub.hub.honest_stop import stop_handlers
from persistent_terminal_hub.hub.scopes import CUSTOM_SCOPES
from persistent_terminal_hub.hub.service_routes import service_handlers
from persistent_terminal_hub.hub.spawner import PersistentTerminalSpawner
from persistent_terminal_hub.settings import Settings

class NoProxy(Proxy):
    async def start(self): ...
    async def stop(self): ...
    async def add_route(self, routespec, target, data): ...
    async def delete_route(self, routespec): ...
    async def get_all_routes(self):
        return {}

c = get_config()
given = json.loads(Path(GIVEN).read_text())
if given["proxy_api"]:
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.auth_token = given["token"]
    c.ConfigurableHTTPProxy.api_url = given["proxy_api"]
else:
    c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.bind_url = given["bind_url"]

class Authenticator(DummyAuthenticator):
    def get_handlers(self, app):
        return [*super().get_handlers(app), *service_handlers(), *stop_handlers()]

c.JupyterHub.authenticator_class = Authenticator
c.JupyterHub.custom_scopes = CUSTOM_SCOPES
c.JupyterHub.template_paths = [str(share_dir() / "templates")]
c.Authenticator.allow_all = True
c.DummyAuthenticator.password = given["token"]
c.JupyterHub.spawner_class = PersistentTerminalSpawner
c.JupyterHub.hub_bind_url = given["hub_url"]
c.JupyterHub.db_url = "sqlite:///" + given["dir"] + "/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = given["dir"] + "/cookie_secret"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.cleanup_proxy = False
c.JupyterHub.services = [{"name": "test", "api_token": given["token"], "admin": True}]
scopes = ["admin:users", "admin:servers", "admin:server_state", "proxy"]
c.JupyterHub.load_roles = [{"name": "tests", "scopes": scopes, "services": ["test"]}]
c.JupyterHub.init_spawners_timeout = 20
c.PersistentTerminalSpawner.settings = Settings.model_validate(given["settings"])
c.PersistentTerminalSpawner.hub_id = given["hub_id"]
c.PersistentTerminalSpawner.poll_interval = 1
c.PersistentTerminalSpawner.poll_jitter = 0
c.PersistentTerminalSpawner.http_timeout = 3
c.PersistentTerminalSpawner.docker_timeout = given["docker_timeout"]
"""


def wait_for(what: str, condition: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait until the condition is true, whatever is down meanwhile; its value."""
    passing = (requests.ConnectionError, DockerException)
    return waiting.wait_for(condition, seconds, what, passing=passing)


def end(process: subprocess.Popen[bytes] | None, signum: int, seconds: float = 20) -> None:
    if process is not None and process.poll() is None:
        process.send_signal(signum)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


class Site:
    """One namespace with an engine and a hub."""

    proxy_api = ""  # a subclass that has a proxy says where its API is
    docker_timeout = 10

    def __init__(self, root: Path, image: str = TINY_IMAGE) -> None:
        self.root = root
        self.image = image
        tag = uuid.uuid4().hex[:6]
        self.netns, self.link = f"pth-{tag}", f"pth{tag}"
        third = int(tag, 16) % 250 + 1
        self.outside, self.inside = f"10.239.{third}.1", f"10.239.{third}.2"
        self.hub_id = uuid.uuid4().hex[:12]
        self.socket = f"unix://{root}/d.sock"
        self.hub_url = self.hub_bind = f"http://{self.inside}:8081"
        self.public_url = f"http://{self.inside}:8000"
        self.containerd: subprocess.Popen[bytes] | None = None
        self.dockerd: subprocess.Popen[bytes] | None = None
        self.hub: subprocess.Popen[bytes] | None = None
        self.frozen: list[int] = []

    # -- namespace
    def open(self) -> None:
        for command in (
            f"ip netns add {self.netns}",
            f"ip link add {self.link} type veth peer name up0 netns {self.netns}",
            f"ip addr add {self.outside}/30 dev {self.link}",
            f"ip link set {self.link} up",
            f"ip -n {self.netns} addr add {self.inside}/30 dev up0",
            f"ip -n {self.netns} link set up0 up",
            f"ip -n {self.netns} link set lo up",
        ):
            subprocess.run(command.split(), check=True)

    def enter(self, *command: str) -> list[str]:
        # Not `ip netns exec`: it remounts /sys and breaks the devices cgroup.
        return ["nsenter", f"--net=/run/netns/{self.netns}", *command]

    def close(self) -> None:
        self.thaw()
        end(self.hub, signal.SIGKILL)
        if self.dockerd is not None:
            with contextlib.suppress(Exception):
                if self.dockerd.poll() is not None:
                    self.start_docker()
                sweep(self.client(), self.hub_id)
            end(self.dockerd, signal.SIGTERM)
        end(self.containerd, signal.SIGTERM)
        for command in (f"ip netns del {self.netns}", f"ip link del {self.link}"):
            subprocess.run(command.split(), check=False, capture_output=True)

    # -- engine
    def start_containerd(self) -> None:
        """A process of its own, as systemd runs it: it is what lives on when dockerd is killed."""
        config = self.root / "containerd.toml"
        config.write_text(
            f'version = 2\nroot = "{self.root}/containerd"\nstate = "{self.root}/c"\n'
            f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{self.root}/c.sock"\n'
        )
        with (self.root / "containerd.log").open("ab") as log:
            self.containerd = subprocess.Popen(
                self.enter("containerd", "--config", str(config)),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for("the test's containerd", (self.root / "c.sock").exists)

    def live_restore(self, on: bool) -> None:
        """Write the engine's configuration; an engine that runs is told to read it."""
        (self.root / "daemon.json").write_text(json.dumps({"live-restore": on}))
        if self.dockerd is not None:
            self.dockerd.send_signal(signal.SIGHUP)
            wait_for("the reload", lambda: self.client().info()["LiveRestoreEnabled"] is on)

    def start_docker(self) -> None:
        (self.root / "d.pid").unlink(missing_ok=True)
        with (self.root / "dockerd.log").open("ab") as log:
            self.dockerd = subprocess.Popen(
                self.enter(
                    "dockerd",
                    f"--config-file={self.root}/daemon.json",
                    f"--host={self.socket}",
                    f"--data-root={self.root}/data",
                    f"--exec-root={self.root}/exec",
                    f"--pidfile={self.root}/d.pid",
                    f"--containerd={self.root}/c.sock",
                ),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_for("the test's dockerd", lambda: self.client().ping())
        except AssertionError as error:
            raise AssertionError(f"{error}\n{(self.root / 'dockerd.log').read_text()[-3000:]}") from None

    def stop_docker(self, signum: int = signal.SIGTERM) -> None:
        end(self.dockerd, signum)

    def client(self) -> docker.APIClient:
        return docker.APIClient(self.socket, version="auto", timeout=60)

    # -- hub
    def settings(self) -> Settings:
        return settings_for(self.root / "hub", self.image, host=self.socket)

    def start_hub(self) -> None:
        self.launch_hub()
        self.await_hub()

    def launch_hub(self) -> None:
        settings = self.settings()
        given = {
            "dir": str(self.root / "hub"),
            "hub_url": self.hub_bind,
            "bind_url": self.public_url,
            "proxy_api": self.proxy_api,
            "docker_timeout": self.docker_timeout,
            "token": TOKEN,
            "hub_id": self.hub_id,
            "settings": settings.model_dump(mode="json", exclude={"auth"}),
        }
        (self.root / "hub").mkdir(exist_ok=True)
        (self.root / "given.json").write_text(json.dumps(given))
        (self.root / "config.py").write_text(f"GIVEN = {str(self.root / 'given.json')!r}\n{CONFIG}")
        with (self.root / "hub.log").open("ab") as log:
            self.hub = subprocess.Popen(
                self.enter(
                    sys.executable,
                    *("-m", "persistent_terminal_hub.hub.run_jupyterhub"),
                    *("-f", str(self.root / "config.py")),
                ),
                stdout=log,
                stderr=log,
                cwd=self.root,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
            )

    def await_hub(self) -> None:
        try:
            wait_for("the test's hub", lambda: self.api("GET", "/info").ok)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-3000:]}") from None

    def kill_hub(self) -> None:
        end(self.hub, signal.SIGKILL)

    def api(self, method: str, path: str, **body: Any) -> requests.Response:
        return requests.request(
            method,
            f"{self.hub_url}/hub/api{path}",
            headers={"Authorization": f"token {TOKEN}"},
            timeout=60,
            **({"json": body} if body else {}),
        )

    def server(self, user: str) -> dict[str, Any]:
        """The hub's record of the user's default workspace; empty if it is not running."""
        servers = self.api("GET", f"/users/{user}").json().get("servers", {})
        return dict(servers.get("", {}))

    def ready(self, user: str) -> bool:
        return bool(self.server(user).get("ready"))

    def spawn(self, user: str) -> None:
        self.api("POST", f"/users/{user}")
        self.api("POST", f"/users/{user}/server")
        wait_for(f"{user}'s workspace", lambda: self.ready(user))

    def log(self) -> str:
        return (self.root / "hub.log").read_text()

    # -- containers
    def container(self, user: str) -> dict[str, Any]:
        filters = {"label": [f"pth.hub={self.hub_id}", f"pth.user={user}"]}
        found = self.client().containers(all=True, filters=filters)
        assert len(found) <= 1
        return dict(self.client().inspect_container(found[0]["Id"])) if found else {}

    def ask(self, address: str) -> dict[str, Any]:
        """Ask the workspace's server itself, without Docker or the hub."""
        script = (
            "import urllib.request as u;"
            f"print(u.urlopen('http://{address}:8888/', timeout=5).read().decode())"
        )
        done = subprocess.run(
            self.enter(sys.executable, "-c", script), capture_output=True, text=True, check=True
        )
        return dict(json.loads(done.stdout))

    def freeze(self, user: str) -> None:
        top = self.client().top(self.container(user)["Id"])
        self.frozen = [int(row[1]) for row in top["Processes"]]
        for pid in self.frozen:
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self.frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.frozen = []


@contextlib.contextmanager
def running(site: Site, engine: docker.APIClient) -> Iterator[Site]:
    """The site with its engine, its image and its hub; all of it is gone afterwards."""
    root = site.root
    try:
        site.open()
        site.start_containerd()
        site.live_restore(True)
        site.start_docker()
        image = b"".join(engine.get_image(site.image))
        site.client().load_image(image)
        site.start_hub()
        yield site
    finally:
        site.close()
        subprocess.run(
            ["sh", "-c", f"umount {root}/data/*/*/merged {root}/exec/netns/* {root}/data 2>/dev/null"],
            check=False,
        )
        shutil.rmtree(root, ignore_errors=True)


def short_root() -> Path:
    """A folder of one's own with a short path: a unix socket's name has at most 107 characters."""
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        pytest.skip("a dockerd of one's own needs root and the dockerd program")
    return Path(tempfile.mkdtemp(prefix="pth-"))


@pytest.fixture(scope="module")
def site(engine: docker.APIClient, tiny_image: str) -> Iterator[Site]:
    with running(Site(short_root()), engine) as site:
        yield site
