"""Containers that the hub does not know, with a real Docker Engine and a real (in-process) JupyterHub."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from jupyterhub.tests.utils import add_user
from tornado.httpclient import AsyncHTTPClient

from persistent_terminal_hub.hub.object_names import object_labels, object_names
from persistent_terminal_hub.hub.orphans import since, survey
from persistent_terminal_hub.hub.scopes import CULL_SCOPE, CUSTOM_SCOPES
from persistent_terminal_hub.hub.service_routes import service_handlers
from persistent_terminal_hub.hub.spawner import PersistentTerminalSpawner
from persistent_terminal_hub.hub.tombstones import Tombstones
from tests.integration.docker_fixtures import settings_for
from tests.integration.test_spawner_docker import APIClient, Hub, NoProxy

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.integration.docker_fixtures"]

TOKEN = "a" * 64


class Site(Hub):
    """A hub with our routes and a service that may use them."""

    async def ask(self, method: str, path: str, body: Any = None, token: str = TOKEN) -> tuple[int, Any]:
        hub = self.app.hub
        url = f"http://127.0.0.1:{hub.port}{hub.base_url}persistent-terminals/api/{path}"
        answer = await AsyncHTTPClient().fetch(
            url, method=method, raise_error=False, request_timeout=60, allow_nonstandard_methods=True,
            headers={"Authorization": f"token {token}"}, body=json.dumps(body) if body is not None else None,
        )  # fmt: skip
        return answer.code, json.loads(answer.body) if answer.body else None

    async def orphans(self) -> list[tuple[str, str]]:
        status, model = await self.ask("GET", "orphans")
        assert status == 200, model
        return [(each["user"], each["workspace"]) for each in model["orphans"]]


Boot = Callable[[], Awaitable[Site]]


async def newer(server: Any, taken: int) -> int:
    """How many secrets the container has taken, asked until there are `taken` of them."""
    for _ in range(50):
        answer = await AsyncHTTPClient().fetch(f"http://{server.ip}:{server.port}/")
        if json.loads(answer.body)["taken"] >= taken:
            break
        await asyncio.sleep(0.1)
    return int(json.loads(answer.body)["taken"])


@pytest.fixture
def boot(hub_app: Any, engine: APIClient, tiny_image: str, hub_id: str, tmp_path: Path) -> Boot:
    async def start() -> Site:
        app = await hub_app(
            config={
                "JupyterHub": {
                    "spawner_class": PersistentTerminalSpawner,
                    "proxy_class": NoProxy,
                    "allow_named_servers": True,
                    "extra_handlers": service_handlers(),
                    "custom_scopes": CUSTOM_SCOPES,
                    "services": [{"name": "culler", "api_token": TOKEN}],
                    "load_roles": [{"name": "culler", "scopes": [CULL_SCOPE], "services": ["culler"]}],
                },
                "PersistentTerminalSpawner": {
                    "settings": settings_for(tmp_path, tiny_image),
                    "hub_id": hub_id,
                    "http_timeout": 10,
                    "poll_interval": 0,
                },
            }
        )
        return Site(app, engine, hub_id)

    return start


async def test_an_orphan_is_adopted_as_it_runs(boot: Boot) -> None:
    site = await boot()
    ann = site.user("ann")
    await ann.spawn("gpu")
    assert await site.orphans() == []
    running = (await site.ask("GET", "running"))[1]["workspaces"]
    assert [(each["user"], each["workspace"], each["ready"]) for each in running] == [("ann", "gpu", True)]
    assert running[0]["address"].startswith(f"http://{ann.spawners['gpu'].server.ip}:8888/")
    container = site.container(ann, "gpu")
    assert container is not None
    site.forget(ann, "gpu")
    assert (await site.ask("GET", "running"))[1] == {"workspaces": []}
    assert await site.orphans() == [("ann", "gpu")]

    status, said = await site.ask("POST", "orphans/adopt", {"user": "ann", "workspace": "gpu"})
    assert (status, said["state"]) == (200, "running")
    assert ann.spawners["gpu"].ready
    now = site.container(ann, "gpu")
    assert now is not None and (now["Id"], now["State"]["StartedAt"]) == (
        container["Id"],
        container["State"]["StartedAt"],
    )
    server = ann.spawners["gpu"].server
    assert await newer(server, 2) == 2  # it was given its new token
    assert await site.orphans() == []
    assert (await site.ask("POST", "orphans/adopt", {"user": "ann", "workspace": "gpu"}))[0] == 200
    await ann.stop("gpu")
    assert site.container(ann, "gpu") is None
    # Nothing runs any more: adopting must not start anything.
    assert (await site.ask("POST", "orphans/adopt", {"user": "ann", "workspace": "gpu"}))[0] == 404
    assert site.container(ann, "gpu") is None


async def test_what_is_left_alone(boot: Boot, tmp_path: Path) -> None:
    site = await boot()
    ann, bob = site.user("ann"), site.user("bob")
    await asyncio.gather(ann.spawn(), bob.spawn())
    site.forget(ann)
    site.forget(bob)
    # Bob is gone from the database altogether; Ann's workspace was deleted while Docker was away.
    orm = bob.orm_user
    site.app.users.pop(orm.id)
    site.app.db.delete(orm)
    site.app.db.commit()
    volume = object_names(site.hub_id, "ann", "").volume
    Tombstones(tmp_path).add(volume)
    status, model = await site.ask("GET", "orphans")
    found = {each["user"]: (each["userKnown"], each["deleted"]) for each in model["orphans"]}
    assert found == {"ann": (True, True), "bob": (False, False)}
    status, said = await site.ask("POST", "orphans/adopt", {"user": "ann"})
    assert status == 409 and "was deleted" in said["message"]
    status, said = await site.ask("POST", "orphans/adopt", {"user": "bob"})
    assert status == 409 and "no user bob" in said["message"]
    # A paused one waits for whoever paused it.
    Tombstones(tmp_path).clear(volume)
    container = site.container(ann)
    assert container is not None
    site.client.pause(container["Id"])
    try:
        status, said = await site.ask("POST", "orphans/adopt", {"user": "ann"})
        assert status == 409 and "paused" in said["message"]
        status, said = await site.ask("POST", "stopped/remove", {"user": "ann"})
        assert status == 409 and "left alone" in said["message"]
    finally:
        site.client.unpause(container["Id"])
    for labels in (object_labels(site.hub_id, name, "") for name in ("ann", "bob")):
        filters = [f"{key}={value}" for key, value in labels.items()]
        assert len(site.client.containers(filters={"label": filters, "status": "running"})) == 1


async def test_a_stopped_container_goes_and_its_files_stay(boot: Boot) -> None:
    site = await boot()
    ann = site.user("ann")
    await ann.spawn()
    assert (await site.ask("POST", "stopped/remove", {"user": "ann"}))[0] == 409  # it runs
    site.forget(ann)
    container = site.container(ann)
    assert container is not None
    site.client.kill(container["Id"])
    await asyncio.to_thread(site.client.wait, container["Id"])
    _, model = await site.ask("GET", "orphans")
    assert model["orphans"] == []
    (stopped,) = model["stopped"]
    assert (stopped["user"], stopped["groups"]) == ("ann", []) and 0 <= stopped["stoppedFor"] < 60
    (found,) = survey(site.client, site.hub_id, now=time.time() + 1000)
    assert found.stopped_for is not None and 999 < found.stopped_for < 1100
    assert (await site.ask("POST", "stopped/remove", {"user": "ann"}))[0] == 204
    assert site.container(ann) is None
    volume = object_names(site.hub_id, "ann", "").volume
    assert site.client.inspect_volume(volume)["Name"] == volume


async def test_who_may_not_ask(boot: Boot) -> None:
    site = await boot()
    eve = add_user(site.app.db, site.app, name="eve")
    chief = add_user(site.app.db, site.app, name="chief", admin=True)
    for path in ("running", "orphans"):
        assert (await site.ask("GET", path, token=eve.new_api_token()))[0] == 403
        assert (await site.ask("GET", path, token="nonsense"))[0] == 403
        assert (await site.ask("GET", path, token=chief.new_api_token()))[0] == 200
    for path in ("orphans/adopt", "stopped/remove"):
        assert (await site.ask("POST", path, {"user": "eve"}, token=eve.new_api_token()))[0] == 403
        for body in ({}, [], {"user": 3}, {"user": "eve", "workspace": None}, "x"):
            assert (await site.ask("POST", path, body))[0] == 400


def test_times_of_docker() -> None:
    assert since("0001-01-01T00:00:00Z", 5.0) is None
    assert since("", 5.0) is None and since("soon", 5.0) is None
    assert since("1970-01-01T00:01:40.123456789Z", 160.0) == 60.0
    assert since("1970-01-01T00:01:40Z", 50.0) == 0.0  # a clock that was set back
