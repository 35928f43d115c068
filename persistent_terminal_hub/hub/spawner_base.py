"""What the parts of the spawner share: its settings, the names of its Docker objects, the engine."""

from __future__ import annotations

import asyncio
from typing import Any

from traitlets import Float, Instance, Integer, Unicode, default

from persistent_terminal_hub.hub.container_spec import HOME
from persistent_terminal_hub.hub.docker_client import (
    DEFAULT_THREADS,
    DEFAULT_TIMEOUT,
    DockerEngine,
    shared_engine,
)
from persistent_terminal_hub.hub.durable_record import DurableRecord
from persistent_terminal_hub.hub.object_names import ObjectNames, object_labels, object_names
from persistent_terminal_hub.hub.progress import Progress
from persistent_terminal_hub.hub.tombstones import Tombstones
from persistent_terminal_hub.settings import Settings


class WorkspaceObjects(DurableRecord):
    """Knows what belongs to a workspace and how Docker is asked; does nothing by itself."""

    settings = Instance(Settings, (), help="The settings of the hub.").tag(config=True)
    hub_id = Unicode(help="This hub's id, 12 hex digits: what its containers are labelled with.").tag(
        config=True
    )
    docker_timeout = Float(
        DEFAULT_TIMEOUT, help="Seconds until a call to Docker counts as not answered."
    ).tag(config=True)
    docker_threads = Integer(DEFAULT_THREADS, help="Calls to Docker that run at the same time.").tag(
        config=True
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._progress = Progress()
        self._delivery = asyncio.Lock()
        super().__init__(*args, **kwargs)

    # -- traits of the parents -----------------------------------------------------------------------
    @default("image")
    def _default_image(self) -> str:
        return self.settings.workspace.image

    @default("mem_limit")
    def _default_mem_limit(self) -> str:
        return self.settings.workspace.memory

    @default("cpu_limit")
    def _default_cpu_limit(self) -> float:
        return self.settings.workspace.cpu

    @default("start_timeout")
    def _default_start_timeout(self) -> int:
        return self.settings.workspace.start_timeout_seconds

    @default("notebook_dir")
    def _default_notebook_dir(self) -> str:
        return HOME

    @default("object_name")
    def _object_name_default(self) -> str:
        return self.names.container if self.hub_id else ""

    @default("network_name")
    def _default_network_name(self) -> str:
        return self.names.network

    @default("use_internal_ip")
    def _default_use_ip(self) -> bool:
        return True

    # -- what this workspace is called ---------------------------------------------------------------
    @property
    def names(self) -> ObjectNames:
        """The names of this workspace's Docker objects."""
        return object_names(self.hub_id, self.user.name, self.name)

    @property
    def labels(self) -> dict[str, str]:
        """The labels by which this workspace's objects are found."""
        return object_labels(self.hub_id, self.user.name, self.name)

    @property
    def engine(self) -> DockerEngine:
        """The Docker Engine, shared by all spawners of this process."""
        return shared_engine(self.settings.docker.host, self.docker_timeout, self.docker_threads, self.log)

    async def docker(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call Docker in a worker thread (also for the inherited methods)."""
        return await self.engine.call(method, *args, **kwargs)

    @property
    def _tombstones(self) -> Tombstones:
        return Tombstones(self.settings.data_dir)

    # -- what the page that waits shows --------------------------------------------------------------
    def _say(self, percent: int, message: str) -> None:
        self._progress.say(percent, message)
