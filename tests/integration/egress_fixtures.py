"""A site whose engine and hub are its own (`outage_fixtures`), and a little Internet around it.

The Internet is one more namespace with documentation addresses, a metadata service, a private service and
a name server. Nothing here touches the machine's own filter: each engine has its own in its namespace.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from persistent_terminal_hub.hub import networks
from persistent_terminal_hub.hub.egress_link import socket_path
from persistent_terminal_hub.settings import Settings
from tests.integration.docker_fixtures import TINY_IMAGE, settings_for
from tests.integration.outage_fixtures import Site, end, wait_for

POOL = "10.232.0.0/24"
HUB = "10.232.0.1"
PUBLIC, OTHER_PUBLIC, METADATA, PRIVATE, RESOLVER = (
    "198.51.100.7", "203.0.113.9", "169.254.169.254", "10.66.0.5", "10.66.0.53",
)  # fmt: skip
#: The site's own address on the way out, on which its services listen too.
SITE = "192.0.2.1"
INTERVAL = 0.5
SERVER = """
import asyncio, sys
class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport): self.transport = transport
    def datagram_received(self, data, address): self.transport.sendto(data, address)
async def serve(reader, writer):
    what = await reader.readline()
    if what.startswith(b"send"):
        writer.write(bytes(int(what.split()[1])))
        await writer.drain()
    elif what.startswith(b"take"):
        await reader.readexactly(int(what.split()[1]))
        writer.write(b"taken")
    else:
        writer.write(b"hello")
    writer.close()
async def main():
    loop = asyncio.get_running_loop()
    for port in map(int, sys.argv[1].split(",")):
        await asyncio.start_server(serve, "0.0.0.0", port)
        for address in sys.argv[2].split(","):  # each by itself, or answers come from another address
            await loop.create_datagram_endpoint(Echo, (address, port))
    print("listening", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
#: Runs inside a workspace: which of these answer.
# All at once: what is refused without a word takes its whole time.
PROBE = """
import concurrent.futures, json, socket, sys
def answers(target):
    host, port, protocol = target
    try:
        if protocol == "tcp":
            s = socket.create_connection((host, port), 1.5)
        else:
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.settimeout(1.5)
            s.connect((host, port))
            s.send(b"x")
            s.recv(10)
        s.close()
        return True
    except OSError:
        return False
targets = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(len(targets)) as pool:
    print(json.dumps(list(pool.map(answers, targets))))
"""


class FilteredSite(Site):
    """A site with an Internet, and a helper to start and kill."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.hub_bind = "http://0.0.0.0:8081"
        self.out = f"{self.netns}-out"
        self.workspace: dict[str, Any] = {}
        self.helper: subprocess.Popen[bytes] | None = None
        self.servers: list[subprocess.Popen[bytes]] = []

    def settings(self) -> Settings:
        base = settings_for(
            self.root / "hub", TINY_IMAGE, host=self.socket, subnet_pool=POOL, subnet_prefix=29
        )
        data = base.model_dump(mode="json", exclude={"auth"})
        data["workspace"] |= {
            "memory": "128M", "max_memory": "192M", "max_cpu": 1, "max_pids": 96, "open_files": 300,
            "egress_allow": [f"{PRIVATE}:443", f"{OTHER_PUBLIC}/32"], "egress_resolvers": [RESOLVER],
            **self.workspace,
        }  # fmt: skip
        return Settings.model_validate(data)

    def open(self) -> None:
        super().open()
        here = f"ip -n {self.netns}"
        there = f"ip -n {self.out}"
        commands = [
            f"ip netns add {self.out}",
            f"ip link add out0 netns {self.netns} type veth peer name in0 netns {self.out}",
            f"{here} addr add {SITE}/24 dev out0", f"{here} link set out0 up",
            f"{there} addr add 192.0.2.2/24 dev in0", f"{there} link set in0 up", f"{there} link set lo up",
            f"{there} route add default via {SITE}",
        ]  # fmt: skip
        for address in (PUBLIC, OTHER_PUBLIC, METADATA, PRIVATE, RESOLVER):
            commands += [
                f"{there} addr add {address}/32 dev lo",
                f"{here} route add {address}/32 via 192.0.2.2",
            ]
        for command in commands:
            subprocess.run(command.split(), check=True)
        self.serve(self.out, "53,80,443,5432", ",".join((PUBLIC, OTHER_PUBLIC, METADATA, PRIVATE, RESOLVER)))
        self.serve(self.netns, "22,5432,9000", SITE)

    def serve(self, netns: str, ports: str, addresses: str) -> None:
        command = ["nsenter", f"--net=/run/netns/{netns}", sys.executable, "-c", SERVER, ports, addresses]
        server = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.servers.append(server)
        assert server.stdout is not None and server.stdout.readline() == b"listening\n"

    def close(self) -> None:
        self.kill_helper()
        for server in self.servers:
            end(server, signal.SIGKILL)
        super().close()
        subprocess.run(["ip", "netns", "del", self.out], check=False, capture_output=True)
        for path in (socket_path(self.hub_id), socket_path(self.hub_id).with_suffix(".json")):
            path.unlink(missing_ok=True)

    # -- helper
    def helper_command(self, *arguments: str) -> list[str]:
        data = self.root / "hub"
        (data / "hub-id").write_text(self.hub_id)
        config = self.root / "helper.yaml"
        settings = self.settings()
        keys = {"egress", "egress_allow", "egress_resolvers", "network_bandwidth"}
        workspace = settings.workspace.model_dump(mode="json", by_alias=True, include=keys)
        docker_group = {"subnetPool": POOL, "subnetPrefix": 29}
        config.write_text(json.dumps({"dataDir": str(data), "workspace": workspace, "docker": docker_group}))
        code = "from persistent_terminal_hub.cli import main; main()"
        return self.enter(sys.executable, "-c", code, "egress-helper", "--config", str(config), *arguments)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def start_helper(self) -> None:
        with (self.root / "helper.log").open("ab") as log:
            self.helper = subprocess.Popen(
                self.helper_command("--interval", str(INTERVAL)), stdout=log, stderr=log, env=self.environment
            )
        text = self.root / "helper.log"
        count = text.read_text().count("Filtering")
        wait_for("the helper", lambda: text.read_text().count("Filtering") > count or self.helper_ended())
        assert self.helper.poll() is None, text.read_text()

    def helper_ended(self) -> bool:
        return self.helper is not None and self.helper.poll() is not None

    def kill_helper(self) -> None:
        end(self.helper, signal.SIGKILL)
        self.helper = None

    def remove_rules(self) -> str:
        command = self.helper_command("--remove")
        return subprocess.run(
            command, capture_output=True, text=True, check=True, env=self.environment
        ).stdout

    def filter(self, *arguments: str) -> str:
        """iptables in the site's namespace."""
        command = self.enter("iptables", "--wait", "5", *arguments)
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    # -- workspaces
    def execute(self, user: str, *command: str) -> tuple[int, str]:
        """Run a command in the user's container."""
        client = self.client()
        made = client.exec_create(self.container(user)["Id"], list(command))
        output = client.exec_start(made["Id"])
        return int(client.exec_inspect(made["Id"])["ExitCode"]), output.decode()

    def reaches(self, user: str, *targets: tuple[str, int] | tuple[str, int, str]) -> list[bool]:
        """Which targets answer inside the user's workspace."""
        full = [[*target, "tcp"][:3] for target in targets]
        code, output = self.execute(user, "python3", "-c", PROBE, json.dumps(full))
        assert code == 0, output
        found: list[bool] = json.loads(output)
        return found

    def address(self, user: str) -> str:
        return str(next(iter(self.container(user)["NetworkSettings"]["Networks"].values()))["IPAddress"])

    def restart_hub(self, **workspace: Any) -> None:
        self.workspace = workspace
        self.kill_hub()
        self.start_hub()


@pytest.fixture(scope="module")
def filtered_site(engine: docker.APIClient, tiny_image: str) -> Iterator[FilteredSite]:
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        pytest.skip("a dockerd of one's own needs root and the dockerd program")
    root = Path(tempfile.mkdtemp(prefix="pth-"))
    site = FilteredSite(root)
    try:
        site.open()
        site.start_containerd()
        site.live_restore(True)
        site.start_docker()
        site.client().load_image(b"".join(engine.get_image(tiny_image)))
        networks.ensure_hub_network(site.client(), site.settings(), site.hub_id)
        site.start_hub()
        yield site
    finally:
        site.close()
        with contextlib.suppress(OSError):
            subprocess.run(
                ["sh", "-c", f"umount {root}/data/*/*/merged {root}/exec/netns/* {root}/data 2>/dev/null"],
                check=False,
            )
        shutil.rmtree(root, ignore_errors=True)
