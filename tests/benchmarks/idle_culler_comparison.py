"""What becomes of a detached silent job: stock JupyterHub with jupyterhub-idle-culler, and this project.

    python -m venv /tmp/stock
    /tmp/stock/bin/pip install jupyterhub jupyterhub-idle-culler==2.0.0 jupyterlab jupyter-server-terminals
    python -m tests.benchmarks.idle_culler_comparison --stock-python /tmp/stock/bin/python

Both stop after the same idle time. In each, a person opens a terminal, types `sleep` for ten times that long,
and closes the browser. Durations are scaled down from the usual hour; the stock hub is told to report and to
check activity as often as the scale asks for (it does both every five minutes otherwise).
docs/explanation/culler.md has the result of one run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import requests
import websockets.sync.client

from tests.integration.hub_fixtures import Browser, Serve, proxy_folder, workspace_processes
from tests.support import enabled_extension
from tests.support.stack import free_ports

IDLE_SECONDS = 6.0
JOB_SECONDS = 10 * IDLE_SECONDS

STOCK_CONFIG = """
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {hub}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api}"
c.ConfigurableHTTPProxy.command = ["{proxy}"]
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{home}"
c.Spawner.args = ["--allow-root"]
c.Spawner.environment = {{"JUPYTERHUB_ACTIVITY_INTERVAL": "1"}}
c.JupyterHub.last_activity_interval = 1
c.JupyterHub.services = [
    {{"name": "test", "api_token": "{token}", "admin": True}},
    {{
        "name": "idle-culler",
        "command": ["{python}", "-m", "jupyterhub_idle_culler", "--timeout={idle}", "--cull-every=1"],
    }},
]
c.JupyterHub.load_roles = [
    {{
        "name": "idle-culler",
        "services": ["idle-culler"],
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
    }},
    {{"name": "test", "services": ["test"], "scopes": ["admin:servers", "access:servers", "admin:users"]}},
]
"""


@dataclass
class Result:
    """What was seen; seconds since the browser was closed, None: it did not happen while we looked."""

    who: str
    job_ended_after: float | None = None
    job_finished: bool = False
    workspace_stopped_after: float | None = None


def wait_for(check: Callable[[], Any], seconds: float) -> Any:
    """The first true answer, or the last one."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(requests.RequestException):
            if answer := check():
                return answer
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.1)


def type_and_leave(base: str, token: str, command: str) -> None:
    """Open a terminal at a workspace, type a command, wait for its echo, hang up."""
    headers = {"Authorization": f"token {token}"}
    made = requests.post(f"{base}api/terminals", headers=headers, timeout=30)
    made.raise_for_status()
    url = f"{base}terminals/websocket/{made.json()['name']}".replace("http", "ws", 1)
    with websockets.sync.client.connect(url, additional_headers=headers) as socket:
        socket.send(json.dumps(["stdin", command + "\r"]))
        seen = ""
        while "started" not in seen.replace(command, ""):
            kind, *rest = json.loads(socket.recv(timeout=15))
            seen += str(rest[0]) if kind == "stdout" else ""


def watch(who: str, pid_file: Path, done_file: Path, stopped: Callable[[], bool]) -> Result:
    """Look at job and workspace until both have ended."""
    result, began = Result(who), time.monotonic()
    pid = int(wait_for(lambda: pid_file.exists() and pid_file.read_text().strip(), 10))
    while time.monotonic() - began < JOB_SECONDS + 10 * IDLE_SECONDS:
        now = round(time.monotonic() - began, 1)
        if result.job_ended_after is None and not _alive(pid):
            result.job_ended_after = now
            result.job_finished = done_file.exists()
        if result.workspace_stopped_after is None:
            with contextlib.suppress(requests.RequestException):
                if stopped():
                    result.workspace_stopped_after = now
        if result.job_ended_after is not None and result.workspace_stopped_after is not None:
            break
        time.sleep(0.2)
    return result


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def job(folder: Path) -> tuple[str, Path, Path]:
    """The command, and the files in which it says that it has begun and finished. It writes nothing else."""
    pid, done = folder / "job.pid", folder / "job.done"
    command = f"sh -c 'echo $$ >{pid}; echo started; sleep {JOB_SECONDS:g}; echo done >{done}'"
    return command, pid, done


@contextlib.contextmanager
def stock_hub(python: str, folder: Path) -> Iterator[tuple[str, str]]:
    """A stock hub; its address and a token for everything."""
    port, hub, api = free_ports(3)
    token = "stock-token-of-the-comparison"
    config = folder / "jupyterhub_config.py"
    config.write_text(
        STOCK_CONFIG.format(
            port=port, hub=hub, api=api, token=token, home=folder / "home", python=python,
            idle=int(IDLE_SECONDS),
            proxy=os.environ.get("PTH_TEST_PROXY_BIN", "configurable-http-proxy"),
        )
    )  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["PATH"] = f"{Path(python).parent}:{proxy_folder()}/bin:{os.environ['PATH']}"
    with (folder / "stock.log").open("wb") as log:
        process = subprocess.Popen(
            [python, "-m", "jupyterhub", "-f", str(config)],
            cwd=folder, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}/"
            if not wait_for(lambda: requests.get(f"{url}hub/health", timeout=3).ok, 60):
                raise RuntimeError((folder / "stock.log").read_text()[-2000:])
            yield url, token
        finally:
            process.terminate()
            process.wait(30)


def stock(python: str, folder: Path) -> Result:
    """The comparison's first half."""
    with stock_hub(python, folder) as (url, token):
        headers = {"Authorization": f"token {token}"}
        requests.post(f"{url}hub/api/users/ada", headers=headers, timeout=10)
        requests.post(f"{url}hub/api/users/ada/server", headers=headers, timeout=60).raise_for_status()

        def server() -> dict[str, Any]:
            model = requests.get(f"{url}hub/api/users/ada", headers=headers, timeout=10).json()
            return dict(model["servers"].get("", {}))

        if not wait_for(lambda: server().get("ready"), 60):
            raise RuntimeError("the stock server did not start")
        command, pid, done = job(folder)
        type_and_leave(f"{url}user/ada/", token, command)
        return watch("JupyterHub + idle-culler 2.0", pid, done, lambda: not server())


def ours(folder: Path) -> Result:
    """The other half."""
    culler = f"{{intervalSeconds: 1, idleStopMinutes: {IDLE_SECONDS / 60}}}"
    serve = Serve(
        folder / "data",
        "workspace: {backend: process, stopTimeoutSeconds: 5}\n"
        f"session: {{warnSeconds: 2}}\nculler: {culler}\n",
        environment=enabled_extension.environment(folder / "site"),
    )
    serve.start().wait_ready()
    try:
        browser = Browser(serve)
        browser.log_in("admin", serve.password)
        browser.api("POST", "users/admin/server").raise_for_status()

        def server() -> dict[str, Any]:
            return dict(browser.api("GET", "users/admin").json()["servers"].get("", {}))

        if not wait_for(lambda: server().get("ready"), 60):
            raise RuntimeError(serve.log[-2000:])
        token = browser.api("POST", "users/admin/tokens", json={"note": "comparison"}).json()["token"]
        command, pid, done = job(folder)
        type_and_leave(f"{serve.url}user/admin/", token, command)
        result = watch("Persistent Terminal Hub", pid, done, lambda: not server())
        print("\n".join(line for line in serve.log.splitlines() if line.startswith("[culler]")))
        return result
    finally:
        serve.stop()
        for process in workspace_processes(serve):
            os.kill(process, 9)


def main() -> int:
    """Both, one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stock-python", required=True, help="the Python of a venv with the stock packages")
    options = parser.parse_args()
    for run in (lambda folder: stock(options.stock_python, folder), ours):
        with tempfile.TemporaryDirectory(prefix="pth-compare-") as folder:
            result = run(Path(folder))
        print(json.dumps({**asdict(result), "idle_seconds": IDLE_SECONDS, "job_seconds": JOB_SECONDS}))
        killed = result.job_ended_after is not None and not result.job_finished
        print(f"{result.who}: the job {'was killed' if killed else 'finished'}.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
