"""What a real hub's spawners put into a workspace's environment, for users in real groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm
from jupyterhub.proxy import Proxy
from jupyterhub.tests.utils import add_user

from persistent_terminal_hub.hub.process_spawner import PersistentProcessSpawner
from persistent_terminal_hub.hub.spawner import PersistentTerminalSpawner
from persistent_terminal_hub.rules_file import read_rules
from persistent_terminal_hub.settings import Settings


class NoProxy(Proxy):  # type: ignore[misc]
    """Nothing is asked through it."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def add_route(self, routespec: str, target: str, data: Any) -> None: ...
    async def delete_route(self, routespec: str) -> None: ...
    async def get_all_routes(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize("spawner_class", [PersistentProcessSpawner, PersistentTerminalSpawner])
async def test_a_workspace_starts_with_the_rules_of_its_groups(
    hub_app: Any, tmp_path: Path, spawner_class: type
) -> None:
    settings = Settings.model_validate(
        {
            "rules": [
                {"groups": ["data-team"], "ttlSeconds": 600},
                {"workspaces": ["*/gpu"], "idleLockMinutes": 1},
            ]
        }
    )
    options: dict[str, Any] = {"settings": settings, "hub_id": "0123456789ab"}
    if spawner_class is PersistentProcessSpawner:
        options["data_dir"] = str(tmp_path)
    app = await hub_app(
        config={
            "JupyterHub": {
                "spawner_class": spawner_class,
                "proxy_class": NoProxy,
                "allow_named_servers": True,
            },
            spawner_class.__name__: options,
        }
    )
    ada, bob = (add_user(app.db, app, name=name) for name in ("ada", "bob"))
    group = orm.Group(name="data-team", users=[ada.orm_user])
    app.db.add(group)
    app.db.commit()
    for user, server, expected in ((ada, "gpu", (600, 60)), (ada, "", (600, 1800)), (bob, "", (86400, 1800))):
        spawner = user.get_or_create_spawner(server, server)
        assert isinstance(spawner, spawner_class)
        rules, problem = read_rules(Path("/nonexistent"), spawner.get_env())
        assert problem == ""
        assert (rules.ttl, rules.idle_lock) == expected, (user.name, server)
