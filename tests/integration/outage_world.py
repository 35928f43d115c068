"""The site of `outage_fixtures` with a real proxy and with workspaces whose keeper is the real one.

Whatever dies here dies as it does in life: by SIGKILL, in any order, and the whole machine at once, too.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import requests

from persistent_terminal_hub.hub import preflight
from tests.integration.outage_fixtures import TOKEN, Site, end, wait_for


def status_fields(pid: int) -> list[str]:
    """The fields of `/proc/PID/stat` from the state on; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def born(pid: int) -> str:
    """When a process was started, in ticks; empty when it is dead."""
    fields = status_fields(pid)
    return fields[19] if fields and fields[0] != "Z" else ""


def neighbours(pid: int) -> list[int]:
    """All processes in the pid namespace of this one."""
    space = Path(f"/proc/{pid}/ns/pid").readlink()
    found = []
    for entry in Path("/proc").glob("[0-9]*/ns/pid"):
        with contextlib.suppress(OSError):
            if entry.readlink() == space:
                found.append(int(entry.parts[2]))
    return found


def outer_pid(inner: int, inside: int) -> int:
    """The pid on this machine of the process that has pid `inner` beside our process `inside`."""
    for pid in neighbours(inside):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("NSpid:") and int(line.split()[-1]) == inner:
                    return pid
    raise AssertionError(f"no process {inner} in the container")


class World(Site):
    """Hub, proxy, engine and containers, each of which can be killed."""

    def __init__(self, root: Path, image: str) -> None:
        super().__init__(root, image)
        self.proxy: subprocess.Popen[bytes] | None = None
        self.proxy_api = "http://127.0.0.1:8001"
        self.docker_timeout = 5

    def start_hub(self) -> None:
        if self.proxy is None:
            self.start_proxy()
        super().start_hub()

    def close(self) -> None:
        end(self.proxy, signal.SIGKILL)
        self.release_docker()
        super().close()

    # -- engine
    def hold_docker(self) -> None:
        """It takes connections and says nothing."""
        assert self.dockerd is not None
        self.dockerd.send_signal(signal.SIGSTOP)

    def release_docker(self) -> None:
        if self.dockerd is not None and self.dockerd.poll() is None:
            self.dockerd.send_signal(signal.SIGCONT)

    # -- proxy
    def start_proxy(self) -> None:
        command, problem = preflight.find_proxy()
        assert not problem, problem
        environ = {**os.environ, "PATH": preflight.node_path(), "CONFIGPROXY_AUTH_TOKEN": TOKEN}
        with (self.root / "proxy.log").open("ab") as log:
            self.proxy = subprocess.Popen(
                self.enter(
                    *command,
                    *("--ip", self.inside, "--port", "8000", "--api-ip", "127.0.0.1", "--api-port", "8001"),
                    *("--default-target", self.hub_url, "--log-level", "warn"),
                ),
                stdout=log, stderr=log, env=environ, start_new_session=True,
            )  # fmt: skip
        wait_for("the test's proxy", lambda: requests.get(f"{self.public_url}/x", timeout=5).status_code)

    def kill_proxy(self) -> None:
        end(self.proxy, signal.SIGKILL)

    def give_routes_back(self) -> None:
        """What the supervisor of `serve` does after it has started a proxy anew."""
        assert self.api("POST", "/proxy").ok

    # -- hub
    def stop_hub(self) -> None:
        end(self.hub, signal.SIGTERM)

    @property
    def database(self) -> Path:
        return self.root / "hub" / "jupyterhub.sqlite"

    def keep_database(self, name: str) -> None:
        """Copy the database, as a backup does; the hub must be down."""
        shutil.copy(self.database, self.root / name)

    def restore_database(self, name: str) -> None:
        shutil.copy(self.root / name, self.database)

    def adopt(self, user: str) -> None:
        """What the culler does with an orphan."""
        requests.post(
            f"{self.hub_url}/hub/persistent-terminals/api/orphans/adopt",
            headers={"Authorization": f"token {TOKEN}"}, json={"user": user}, timeout=60,
        )  # fmt: skip

    # -- workspaces
    def visit(self, user: str, page: str) -> dict[str, Any]:
        """What the workspace says to its user, through the proxy; empty when it cannot be reached."""
        try:
            answer = requests.get(f"{self.public_url}/user/{user}/{page}", timeout=4, allow_redirects=False)
            return dict(answer.json()) if answer.ok else {}
        except (requests.RequestException, json.JSONDecodeError, TypeError):
            return {}

    def stop_processes(self, pid: int) -> None:
        """Freeze the container of this process, without Docker's knowledge."""
        self.frozen += neighbours(pid)
        for each in self.frozen:
            os.kill(each, signal.SIGSTOP)

    # -- the machine
    def lose_machine(self) -> None:
        """Power off: every process is dead at once, and what lived in memory is gone."""
        shims = [
            int(entry.parent.name)
            for entry in Path("/proc").glob("[0-9]*/cmdline")
            if f"{self.root}/c.sock".encode() in (self.text(entry)) and b"shim" in self.text(entry)
        ]
        for process in (self.hub, self.proxy, self.dockerd, self.containerd):
            end(process, signal.SIGKILL)
        for pid in self.children(shims):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in shims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        root = self.root
        script = (
            f"umount -l {root}/data/overlay2/*/merged {root}/c/*/*/*/rootfs {root}/exec/netns/* 2>/dev/null;"
            f"for i in $(ip -n {self.netns} -o link show type bridge | cut -d: -f2); do "
            f"ip -n {self.netns} link del $i; done; rm -rf {root}/c/* {root}/c.sock* {root}/exec"
        )
        subprocess.run(["sh", "-c", script], check=False, capture_output=True)

    @staticmethod
    def text(entry: Path) -> bytes:
        try:
            return entry.read_bytes()
        except OSError:
            return b""

    @staticmethod
    def children(parents: list[int]) -> list[int]:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            fields = status_fields(int(entry.name))
            if fields and int(fields[1]) in parents:
                found.append(int(entry.name))
        return found
