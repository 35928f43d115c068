"""A whole installation of its own for a test: `persistent-terminal-hub serve` as a real process."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import requests

from tests.support.device import Line
from tests.support.localhost import resolve_names_below_localhost
from tests.support.waiting import free_ports, wait_for

PASSWORD = "correct horse battery staple 7"  # every test user's

SERVER_PIDS = (
    "import glob\n"
    "for p in glob.glob('/proc/[0-9]*/cmdline'):\n"
    "  try: c=open(p,'rb').read()\n"
    "  except OSError: continue\n"
    "  if b'server.singleuser' in c and b'keeper' not in c: print(p.split('/')[2])"
)


def children(pid: int) -> dict[int, str]:
    """Direct children of a process: pid to command line."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
            ppid = int(text.rsplit(")", 1)[1].split()[1])
            if ppid == pid:
                found[int(stat.parent.name)] = (
                    (stat.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
        except (OSError, ValueError):
            continue
    return found


class Stack:
    """Proxy, hub and their supervisor on free ports, with a data folder of its own."""

    def __init__(
        self,
        folder: Path,
        *,
        backend: str = "docker",
        settings: dict[str, Any] | None = None,
        prefix: tuple[str, ...] = (),
        environ: dict[str, str] | None = None,
        subnet_pool: str | None = None,
        base_url: str = "/",
        subdomains: bool = False,
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "serve.log"
        self.backend = backend
        self.prefix = prefix
        self.environ = {**os.environ, **(environ or {})}
        port, hub, api, control = free_ports(4)
        self.port = port
        #: Of everything, without a slash at its end.
        self.base = base_url.rstrip("/")
        self.url = f"http://127.0.0.1:{port}{self.base}"
        public: dict[str, Any] = {}
        if subdomains:
            resolve_names_below_localhost()
            self.url = f"http://hub.localhost:{port}{self.base}"
            public = {"publicUrl": f"http://hub.localhost:{port}", "subdomains": True}
        octet = secrets.randbelow(200) + 20
        config: dict[str, Any] = {
            "dataDir": str(self.data),
            "server": {"port": port, "hubPort": hub, "proxyApiPort": api, "baseUrl": base_url, **public},
            "control": {"port": control},
            "workspace": {"backend": backend, "startTimeoutSeconds": 90, "stopTimeoutSeconds": 5},
            "docker": {"subnetPool": subnet_pool or f"10.214.{octet}.0/24"},
        }
        for section, values in (settings or {}).items():
            if isinstance(values, dict):
                config.setdefault(section, {}).update(values)
            else:  # a list: `rules`
                config[section] = values
        self.config = folder / "config.yaml"
        self.config.write_text(json.dumps(config))
        self.process: subprocess.Popen[bytes] | None = None
        self.line: Line | None = None  # the cable of the browser that looks at us, if one does
        self.admin_password = ""
        self.tokens: dict[str, str] = {}  # API tokens of the test's people

    def start(self, ready: bool = True) -> None:
        """Start and wait until the login page answers."""
        command = [*self.prefix, str(Path(sys.executable).parent / "persistent-terminal-hub"), "serve"]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [*command, "--config", str(self.config)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                cwd=self.folder, env=self.environ, start_new_session=True,
            )  # fmt: skip
        if ready:
            self.wait_ready()

    def wait_ready(self, seconds: float = 90) -> None:
        """Wait for the supervisor's closing block; remembers the first password."""

        def check() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended with {self.process.returncode}:\n{self.output()[-4000:]}")
            found = re.search(r"[Pp]assword:\s*(\S+)", self.output())
            if found:
                self.admin_password = found[1]
            return self.healthy() and (bool(self.admin_password) or self.provider() != "local")

        wait_for(check, seconds, "the hub is ready")

    def provider(self) -> str:
        """The configured authentication provider."""
        return str(json.loads(self.config.read_text()).get("auth", {}).get("provider", "local"))

    def healthy(self) -> bool:
        """Does the hub answer through the proxy?"""
        try:
            return requests.get(f"{self.url}/hub/health", timeout=3).ok
        except requests.RequestException:
            return False

    def output(self) -> str:
        """Everything that `serve` has printed."""
        return self.log.read_text(errors="replace")

    def pid_of(self, word: str) -> int:
        """The supervised process whose command line contains `word`."""
        assert self.process is not None
        for pid, command in children(self.process.pid).items():
            if word in command:
                return pid
        raise AssertionError(f"no child of serve with {word!r}: {children(self.process.pid)}")

    def kill_hub(self) -> int:
        """SIGKILL the hub; the pid that was killed."""
        pid = self.pid_of("jupyterhub")
        os.kill(pid, signal.SIGKILL)
        return pid

    def take_hub_away(self) -> None:
        """Kill the hub and hold the supervisor still, so that nobody starts another."""
        assert self.process is not None
        hub = self.pid_of("jupyterhub")
        os.kill(self.process.pid, signal.SIGSTOP)
        os.kill(hub, signal.SIGKILL)

    def bring_hub_back(self, seconds: float = 60) -> None:
        """Let the supervisor start another hub, and wait for it."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)
        wait_for(self.healthy, seconds, "the hub is back")

    def wait_new_hub(self, old: int, seconds: float = 60) -> None:
        """Wait until the supervisor has started another hub and it answers."""

        def back() -> bool:
            try:
                return self.pid_of("jupyterhub") != old and self.healthy()
            except AssertionError:
                return False

        wait_for(back, seconds, "the hub is back")

    def stop(self) -> None:
        """End supervisor, hub and proxy; workspaces stay."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    @property
    def hub_id(self) -> str:
        """The id in the labels of everything this installation made."""
        return (self.data / "hub-id").read_text().strip()

    def docker(self, *args: str, check: bool = True, stdin: str | None = None, timeout: float = 60) -> str:
        """Run the docker client where this installation's engine is; its standard output."""
        done = subprocess.run(
            [*self.prefix, "docker", *args],
            capture_output=True, text=True, env=self.environ, input=stdin, timeout=timeout, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"docker {' '.join(args)}: {done.stderr}")
        return done.stdout

    def container(self, user: str, workspace: str = "") -> str:
        """Id of the workspace's container, running or not; empty if there is none."""
        labels = {"pth.hub": self.hub_id, "pth.user": user, "pth.workspace": workspace}
        filters = [part for k, v in labels.items() for part in ("--filter", f"label={k}={v}")]
        found = self.docker("ps", "-aq", "--no-trunc", *filters).split()
        assert len(found) <= 1, found
        return found[0] if found else ""

    def kill_server(self, user: str, workspace: str = "") -> None:
        """SIGKILL the Jupyter server in the user's container, if one runs just now; not the keeper, whose
        command line names it."""
        container = self.container(user, workspace)
        pids = self.docker("exec", container, "python3", "-c", SERVER_PIDS).split()
        if pids:
            self.docker("exec", container, "kill", "-9", *pids, check=False)

    def remove_everything(self) -> None:
        """Remove all containers, networks and volumes with this installation's label."""
        if not (self.data / "hub-id").exists():
            return
        label = f"label=pth.hub={self.hub_id}"
        for kind, remove in (("ps", "rm -f -v"), ("network ls", "network rm"), ("volume ls", "volume rm")):
            flag = "-aq" if kind == "ps" else "-q"
            ids = self.docker(*kind.split(), flag, "--filter", label, check=False).split()
            if ids:
                self.docker(*remove.split(), *ids, check=False)
        if self.backend == "process":
            self.end_processes()
        elif os.geteuid() == 0:  # a root hub's filter outlives it on purpose
            command = [
                str(Path(sys.executable).parent / "persistent-terminal-hub"),
                "egress-helper",
                "--remove",
            ]
            subprocess.run(
                [*self.prefix, *command, "--config", str(self.config)],
                env=self.environ, capture_output=True, check=False,
            )  # fmt: skip

    def end_processes(self) -> None:
        """End the local processes of the embedded backend: those whose environment names our data folder."""
        mark = str(self.data).encode()
        for environ in Path("/proc").glob("[0-9]*/environ"):
            pid = int(environ.parent.name)
            try:
                if mark in environ.read_bytes() and pid != os.getpid():
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                continue

    # -- people

    def session(self) -> requests.Session:
        """A browser-like session without an account."""
        session = requests.Session()
        session.get(f"{self.url}/hub/login", timeout=10)
        return session

    def post(self, session: requests.Session, path: str, data: dict[str, str]) -> requests.Response:
        """Post a form under /hub, with the XSRF token that its page set."""
        page = session.get(f"{self.url}{path}", timeout=10)
        xsrf = re.search(r'name="_xsrf" value="([^"]+)"', page.text)
        token = xsrf[1] if xsrf else next((c.value or "" for c in session.cookies if c.name == "_xsrf"), "")
        return session.post(f"{self.url}{path}", data={"_xsrf": token, **data}, timeout=30)

    def login(self, user: str, password: str = PASSWORD) -> requests.Session:
        """A session that is logged in as `user`."""
        session = self.session()
        answer = self.post(session, "/hub/login", {"username": user, "password": password})
        assert answer.ok and "/hub/login" not in answer.url, (
            f"login of {user}: {answer.status_code} {answer.url}"
        )
        return session

    def add_user(self, user: str) -> None:
        """Sign up and approve a local account, as a person and an administrator would."""
        fields = {"username": user, "signup_password": PASSWORD, "signup_password_confirmation": PASSWORD}
        self.post(self.session(), "/hub/signup", fields)
        admin = self.login("admin", self.admin_password)
        self.approve(admin, user)

    def approve(self, admin: requests.Session, user: str) -> None:
        """Approve an account by the page's own button."""
        answer = self.post(admin, "/hub/authorize", {"username": user, "action": "approve"})
        assert answer.ok, f"approve {user}: {answer.status_code}"

    def api(self, session: requests.Session, method: str, path: str, **kwargs: Any) -> requests.Response:
        """Call JupyterHub's REST API as the logged-in person."""
        xsrf = [c.value or "" for c in session.cookies if c.name == "_xsrf" and c.path == f"{self.base}/hub/"]
        headers = {"X-XSRFToken": xsrf[0] if xsrf else "", "Referer": f"{self.url}/hub/home"}
        return session.request(method, f"{self.url}/hub/api{path}", headers=headers, timeout=60, **kwargs)

    def token(self, session: requests.Session, user: str) -> str:
        """An API token of the person, as the token page makes one."""
        answer = self.api(session, "POST", f"/users/{user}/tokens", json={"note": "test"})
        assert answer.ok, answer.text
        return str(answer.json()["token"])

    def start_meanwhile(self, user: str) -> None:
        """Have somebody's default workspace start while a test waits for something else."""

        def start() -> None:
            with self.login(user) as session:
                self.api(session, "POST", f"/users/{user}/server")

        threading.Thread(target=start, daemon=True).start()

    def start_workspace(
        self, session: requests.Session, user: str, name: str = "", seconds: float = 90
    ) -> None:
        """Start a workspace and wait until it is ready."""
        path = f"/users/{user}/servers/{name}" if name else f"/users/{user}/server"
        answer = self.api(session, "POST", path)
        assert answer.status_code in (201, 202), f"{answer.status_code} {answer.text}"

        def ready() -> bool:
            servers = self.api(session, "GET", f"/users/{user}").json()["servers"]
            return bool(servers.get(name, {}).get("ready"))

        wait_for(ready, seconds, f"workspace {user}/{name} is ready")
