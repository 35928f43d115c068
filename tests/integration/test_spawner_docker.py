"""The spawner against a real Docker Engine, driven by a real (in-process) JupyterHub."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from jupyterhub import orm
from jupyterhub.proxy import Proxy
from jupyterhub.tests.utils import add_user, auth_header
from jupyterhub.utils import AnyTimeoutError

from persistent_terminal_hub.hub import networks
from persistent_terminal_hub.hub.container_spec import violations
from persistent_terminal_hub.hub.failures import WorkspaceProblem
from persistent_terminal_hub.hub.object_names import object_labels
from persistent_terminal_hub.hub.spawner import PersistentTerminalSpawner
from tests.integration.docker_fixtures import settings_for, sweep

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.integration.docker_fixtures"]
APIClient = docker.APIClient


class NoProxy(Proxy):  # type: ignore[misc]
    """These tests ask containers directly."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def add_route(self, routespec: str, target: str, data: Any) -> None: ...
    async def delete_route(self, routespec: str) -> None: ...
    async def get_all_routes(self) -> dict[str, Any]:
        return {}


class Hub:
    """A running MockHub and shortcuts."""

    def __init__(self, app: Any, client: APIClient, hub_id: str) -> None:
        self.app, self.client, self.hub_id = app, client, hub_id

    def user(self, name: str) -> Any:
        return add_user(self.app.db, self.app, name=name)

    def container(self, user: Any, workspace: str = "") -> dict[str, Any] | None:
        labels = object_labels(self.hub_id, user.name, workspace)
        found = self.client.containers(all=True, filters={"label": [f"{k}={v}" for k, v in labels.items()]})
        assert len(found) <= 1
        return dict(self.client.inspect_container(found[0]["Id"])) if found else None

    def exec(self, container: str, *command: str) -> tuple[int, str]:
        made = self.client.exec_create(container, list(command))
        output = self.client.exec_start(made["Id"])
        return self.client.exec_inspect(made["Id"])["ExitCode"], output.decode()

    def forget(self, user: Any, name: str = "") -> None:
        """What a hub that lost its database knows of a workspace: nothing."""
        spawner = user.spawners[name]
        spawner.stop_polling()
        spawner.server = None
        spawner.clear_state()
        spawner.orm_spawner.state = {}
        user.spawners.pop(name)
        self.app.db.commit()


Boot = Callable[..., Awaitable[Hub]]


@pytest.fixture
def boot(hub_app: Any, engine: APIClient, tiny_image: str, hub_id: str, tmp_path: Path) -> Boot:
    async def start(workspace: dict[str, Any] | None = None, **spawner: Any) -> Hub:
        settings = settings_for(tmp_path, tiny_image)
        if workspace:
            settings = settings.model_copy(
                update={"workspace": settings.workspace.model_copy(update=workspace)}
            )
        app = await hub_app(
            config={
                "JupyterHub": {
                    "spawner_class": PersistentTerminalSpawner,
                    "proxy_class": NoProxy,
                    "allow_named_servers": True,
                },
                "PersistentTerminalSpawner": {
                    "settings": settings,
                    "hub_id": hub_id,
                    "http_timeout": 10,
                    "poll_interval": 0,
                    "environment": {"SITE_SECRET": "a-secret-of-the-site"},
                    **spawner,
                },
            }
        )
        return Hub(app, engine, hub_id)

    return start


def answer(user: Any, name: str = "") -> dict[str, Any]:
    server = user.spawners[name].server
    return dict(requests.get(f"http://{server.ip}:{server.port}/", timeout=5).json())


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def newer(user: Any, taken: int) -> dict[str, Any]:
    """Ask until the container has taken its n-th secrets."""
    deadline = time.monotonic() + 5
    while True:
        with contextlib.suppress(requests.ConnectionError):
            got = answer(user)
            if got["taken"] >= taken:
                return got
        assert time.monotonic() < deadline, "the secrets were not taken"
        time.sleep(0.05)


async def test_a_workspace_is_confined_and_knows_its_secrets_alone(boot: Boot) -> None:
    hub = await boot()
    ann, bob = hub.user("Ann@x.org"), hub.user("bob")
    await asyncio.gather(ann.spawn("gpu-1"), bob.spawn())
    spawner = ann.spawners["gpu-1"]
    inspected = hub.container(ann, "gpu-1")
    assert inspected is not None
    assert violations(inspected["HostConfig"], inspected["Config"]["User"]) == []

    # The environment reached the server, and Docker knows nothing of it.
    env = spawner.get_env()
    got = answer(ann, "gpu-1")
    assert got["names"] == sorted(env)
    assert got["token"] == sha256(spawner.api_token)
    everything = json.dumps(inspected)
    assert "JUPYTERHUB" not in everything
    for name, value in env.items():
        if len(value) > 12 and name != "JUPYTER_IMAGE_SPEC":
            assert value not in everything, name
    assert spawner.api_token not in everything
    assert "a-secret-of-the-site" not in everything

    assert (env["PTH_HUB_ID"], env["PTH_WORKSPACE_ID"]) == (spawner.hub_id, f"{ann.name}/gpu-1")
    assert "PTH_STATE_DIR=/workspace/.persistent-terminal-hub" in inspected["Config"]["Env"]  # for the keeper

    # From inside.
    name = inspected["Name"].lstrip("/")
    _, status = hub.exec(name, "cat", "/proc/self/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split()[0] == "1000"
    assert int(fields["CapEff"], 16) == 0
    assert int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    assert hub.exec(name, "touch", "/etc/x")[0] != 0
    assert hub.exec(name, "stat", "-c", "%a %u %g", "/run/pth")[1].split() == ["700", "1000", "1000"]
    assert hub.exec(name, "ls", "-A", "/run/pth")[1] == ""  # the file was taken away
    assert hub.exec(name, "sh", "-c", 'echo 1 >~/file && echo "$HOME"') == (0, "/workspace\n")
    assert hub.exec(name, "sh", "-c", "echo x >/run/pth/x && chmod +x /run/pth/x && /run/pth/x")[0] != 0

    # From the neighbour.
    target = spawner.server.ip
    assert requests.get(f"http://{target}:8888/", timeout=5).ok
    script = f"import socket; socket.create_connection(({target!r}, 8888), 2)"
    other = hub.container(bob)
    assert other is not None
    own = "import socket; socket.create_connection(('127.0.0.1', 8888), 2)"
    assert hub.exec(other["Id"], "python3", "-c", own)[0] == 0
    code, output = await asyncio.to_thread(hub.exec, other["Id"], "python3", "-c", script)
    assert code != 0
    assert "timed out" in output or "unreachable" in output


async def test_a_fork_bomb_and_a_memory_hog_are_contained(boot: Boot) -> None:
    hub = await boot()
    ann = hub.user("ann")
    await ann.spawn()
    inspected = hub.container(ann)
    assert inspected is not None
    bomb = (
        "import os,time\nn=0\ntry:\n  while True:\n    if os.fork()==0:\n      time.sleep(5); os._exit(0)\n"
        "    n+=1\nexcept OSError:\n  print('stopped at',n)"
    )
    code, output = await asyncio.to_thread(hub.exec, inspected["Id"], "python3", "-c", bomb)
    assert code == 0
    assert int(output.split()[-1]) < 64
    hog = "x=[]\nwhile True: x.append(bytearray(1<<20))"
    code, _ = await asyncio.to_thread(hub.exec, inspected["Id"], "python3", "-c", hog)
    assert code == 137
    assert await asyncio.to_thread(answer, ann)  # the server itself lives on


async def test_stop_keeps_the_files_and_deletion_removes_them(boot: Boot) -> None:
    hub = await boot()
    ann = hub.user("ann")
    await ann.spawn()
    first = hub.container(ann)
    names = ann.spawners[""].names
    assert first is not None
    hub.exec(first["Id"], "sh", "-c", "echo kept >/workspace/file")
    await ann.stop()
    assert hub.container(ann) is None
    assert networks.find_network(hub.client, names.network) is None
    await ann.spawn()
    second = hub.container(ann)
    assert second is not None and second["Id"] != first["Id"]
    assert hub.exec(second["Id"], "cat", "/workspace/file") == (0, "kept\n")
    with pytest.raises(RuntimeError, match="active"):
        await ann.delete_spawners()
    await ann.stop()
    # Only stopped by its own doing: the container is still there, and is replaced at the next start.
    await ann.spawn()
    third = hub.container(ann)
    assert third is not None
    await asyncio.to_thread(hub.client.stop, third["Id"], timeout=1)
    status = await ann.spawners[""].poll()
    assert "exit status" in status
    await ann.stop()
    await ann.spawn()
    fourth = hub.container(ann)
    assert fourth is not None and fourth["Id"] != third["Id"]
    assert hub.exec(fourth["Id"], "cat", "/workspace/file") == (0, "kept\n")
    await ann.stop()
    await ann.delete_spawners()
    with pytest.raises(docker.errors.NotFound):
        hub.client.inspect_volume(names.volume)


async def test_deleting_a_user_leaves_nothing_for_the_next_of_that_name(boot: Boot) -> None:
    hub = await boot()
    ann = hub.user("ann")
    await asyncio.gather(ann.spawn(), ann.spawn("gpu"))
    kept = [ann.spawners[name].names for name in ("", "gpu")]
    for name in ("", "gpu"):
        container = hub.container(ann, name)
        assert container is not None
        hub.exec(container["Id"], "sh", "-c", "echo secret >/workspace/diary")
    await ann.stop("gpu")
    # The default workspace runs: the API stops it first.
    url, rights = hub.app.hub.url + "api/users/ann", auth_header(hub.app.db, "admin")
    deleted = await asyncio.to_thread(requests.delete, url, headers=rights, timeout=30)
    assert deleted.status_code == 204, deleted.text
    assert hub.container(ann) is None
    for names in kept:
        assert networks.find_network(hub.client, names.network) is None
        with pytest.raises(docker.errors.NotFound):
            hub.client.inspect_volume(names.volume)
    ann = hub.user("ann")
    await ann.spawn()
    container = hub.container(ann)
    assert container is not None
    assert "diary" not in hub.exec(container["Id"], "ls", "-A", "/workspace")[1]


async def test_a_running_container_is_adopted(boot: Boot) -> None:
    hub = await boot()
    ann = hub.user("ann")
    await ann.spawn()
    first = hub.container(ann)
    assert first is not None
    born = answer(ann)["born"]
    hub.forget(ann)
    hub.client.pause(first["Id"])
    hub.app.config.PersistentTerminalSpawner.mem_limit = "96M"  # settings changed meanwhile
    await ann.spawn()
    spawner = ann.spawners[""]
    again = hub.container(ann)
    assert again is not None and again["Id"] == first["Id"]
    got = await asyncio.to_thread(newer, ann, 2)
    assert got["born"] == born
    assert got["token"] == sha256(spawner.api_token)
    texts = " ".join(spawner._progress.texts)
    assert "paused" in texts and "earlier settings" in texts
    # A proxy that did not take the route is no reason to end it either.
    spawner._proxy_pending = True
    with pytest.raises(WorkspaceProblem, match="left alone"):
        await ann.stop()
    assert spawner.server is not None
    assert hub.container(ann)["State"]["Running"]  # type: ignore[index]
    await asyncio.sleep(1.2)  # the successor takes over
    ann.spawners[""]._proxy_pending = False
    await ann.stop()
    assert hub.container(ann) is None


async def test_a_frozen_container_is_left_alone_but_a_new_one_that_never_answers_is_removed(
    boot: Boot,
) -> None:
    hub = await boot(http_timeout=2, listen_seconds=1)
    ann, bob = hub.user("ann"), hub.user("bob")
    await ann.spawn()
    first = hub.container(ann)
    assert first is not None
    hub.forget(ann)
    processes = [int(row[1]) for row in hub.client.top(first["Id"])["Processes"]]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        await ann.spawn()
        spawner = ann.spawners[""]
        assert spawner.server is not None and not spawner._answers
        assert spawner.get_state()["answering"] is False
        assert hub.container(ann)["Id"] == first["Id"]  # type: ignore[index]
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)
    bob.spawner.cmd = ["sleep", "60"]
    with pytest.raises(AnyTimeoutError):
        await bob.spawn()
    assert hub.container(bob) is None
    assert networks.find_network(hub.client, bob.spawner.names.network) is None


async def test_a_container_restarted_behind_our_back_gets_its_secrets_again(boot: Boot) -> None:
    hub = await boot()
    ann = hub.user("ann")
    await ann.spawn()
    spawner = ann.spawners[""]
    inspected = hub.container(ann)
    assert inspected is not None
    await asyncio.to_thread(hub.client.restart, inspected["Id"], timeout=1)
    assert await spawner.poll() is None
    got = await asyncio.to_thread(newer, ann, 1)
    assert got["token"] == sha256(spawner.api_token)

    # Once more after the hub forgot the token, as it does when it is restarted.
    old = spawner.api_token
    spawner.api_token = ""
    await asyncio.to_thread(hub.client.restart, inspected["Id"], timeout=1)
    assert await spawner.poll() is None
    got = await asyncio.to_thread(newer, ann, 1)
    assert spawner.api_token not in ("", old)
    assert got["token"] == sha256(spawner.api_token)
    assert orm.APIToken.find(hub.app.db, old) is None
    token = orm.APIToken.find(hub.app.db, spawner.api_token)
    assert token is not None and token.user is ann.orm_user
    assert any(scope.startswith("access:servers!server=ann/") for scope in token.scopes)
    client = hub.app.db.query(orm.OAuthClient).filter_by(identifier=spawner.oauth_client_id).one()
    assert orm.compare_token(client.secret, spawner.api_token)
    assert spawner.orm_spawner.state["started_at"] == hub.container(ann)["State"]["StartedAt"]  # type: ignore[index]


async def test_refusals_are_sentences_and_leave_nothing_behind(boot: Boot) -> None:
    hub = await boot(workspace={"max_running": 1})
    ann, bob = hub.user("ann"), hub.user("bob")
    ann.spawner.image = "pth-test/nowhere:1"
    with pytest.raises(WorkspaceProblem) as missing:
        await ann.spawn()
    assert "make image" in missing.value.jupyterhub_message
    ann.spawner.image = hub.app.config.PersistentTerminalSpawner.settings.workspace.image
    ann.spawner.cmd = ["false"]
    with pytest.raises(WorkspaceProblem, match="ended right after its start"):
        await ann.spawn()
    ann.spawner.extra_host_config = {"privileged": True}
    with pytest.raises(WorkspaceProblem, match="privileged"):
        await ann.spawn()
    ann.spawner.extra_host_config = {}
    ann.spawner.cmd = ["python3", "-u", "/server.py"]
    assert hub.container(ann) is None
    assert networks.find_network(hub.client, ann.spawner.names.network) is None

    results = await asyncio.gather(ann.spawn(), bob.spawn(), return_exceptions=True)
    refused = [result for result in results if isinstance(result, WorkspaceProblem)]
    assert len(refused) == 1
    assert "places for running workspaces" in refused[0].jupyterhub_message


def test_forty_networks_at_once_and_the_hubs_own(engine: APIClient, hub_id: str, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "x", subnet_pool="10.232.0.0/23")
    pool = IPv4Network(settings.docker.subnet_pool)
    gateway = networks.ensure_hub_network(engine, settings, hub_id)
    assert str(gateway) == "10.232.0.1"
    assert networks.ensure_hub_network(engine, settings, hub_id) == gateway
    assert "10.232.0.1" in subprocess.run(["ip", "-br", "addr"], capture_output=True, text=True).stdout

    def make(number: int) -> IPv4Network:
        client = docker.APIClient(version="auto")
        labels = object_labels(hub_id, f"u{number}", "")
        return networks.ensure_network(client, f"pth-{hub_id}-u{number}--default-net", labels, pool, 29)[0]

    with ThreadPoolExecutor(4) as threads:
        subnets = list(threads.map(make, range(40)))
    assert len(set(subnets)) == 40
    assert all(subnet.subnet_of(pool) and str(gateway) not in map(str, subnet) for subnet in subnets)
    sweep(engine, hub_id)
    assert not engine.networks(filters={"label": [f"pth.hub={hub_id}"]})
