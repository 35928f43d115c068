"""Containers of this hub that its records do not know: listed, adopted, never removed while they run.

A hub whose database was lost or restored from a backup finds such containers, and so does one whose engine
was away at the wrong moment. A container that has stopped is only listed apart: `remove` takes it away when
the rules say so; the workspace's files are in its volume and stay.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import docker
from tornado import web

from persistent_terminal_hub.hub import containers
from persistent_terminal_hub.hub.docker_client import (
    DEFAULT_THREADS,
    DEFAULT_TIMEOUT,
    DockerEngine,
    EngineError,
    Kind,
    shared_engine,
)
from persistent_terminal_hub.hub.object_names import (
    LABEL_HUB,
    LABEL_USER,
    LABEL_WORKSPACE,
    label_filters,
    object_labels,
    object_names,
)
from persistent_terminal_hub.hub.service_api import ServiceApiHandler
from persistent_terminal_hub.hub.tombstones import Tombstones
from persistent_terminal_hub.settings import Settings


@dataclass(frozen=True, slots=True)
class Found:
    """A container of a workspace of this hub, as Docker lists it."""

    user: str
    workspace: str
    container: str
    running: bool
    paused: bool = False
    stopped_for: float | None = None  # seconds by the wall clock; None: it runs, or never ran

    @property
    def key(self) -> tuple[str, str]:
        """Which workspace it is."""
        return self.user, self.workspace


def since(finished_at: str, now: float) -> float | None:
    """Seconds since Docker's `FinishedAt`, never negative; None for a container that never ended (pure)."""
    if not finished_at or finished_at.startswith("0001-"):
        return None
    try:
        # Docker writes nanoseconds; seconds are enough.
        ended = datetime.fromisoformat(finished_at[:19] + "+00:00").timestamp()
    except ValueError:
        return None
    return max(0.0, now - ended)


def survey(client: docker.APIClient, hub_id: str, now: float | None = None) -> list[Found]:
    """Every workspace container of this hub, running or not (blocking: call it in a worker thread)."""
    found = []
    for entry in client.containers(all=True, filters=label_filters({LABEL_HUB: hub_id})):
        labels: Mapping[str, str] = entry.get("Labels") or {}
        if not labels.get(LABEL_USER) or LABEL_WORKSPACE not in labels or labels.get(LABEL_HUB) != hub_id:
            continue
        state = str(entry.get("State", "")).lower()
        running = state in containers.RUNNING
        stopped_for = None
        if state in ("exited", "dead"):
            try:
                inspected = client.inspect_container(entry["Id"])
            except docker.errors.NotFound:
                continue
            finished = str(inspected["State"].get("FinishedAt", ""))
            stopped_for = since(finished, time.time() if now is None else now)
        found.append(
            Found(
                user=labels[LABEL_USER],
                workspace=labels[LABEL_WORKSPACE],
                container=entry["Id"][:12],
                running=running,
                paused=state == "paused",
                stopped_for=stopped_for,
            )
        )
    return found


class EngineHandler(ServiceApiHandler):
    """A route that asks the Docker Engine. With the process backend there is nothing to ask."""

    @property
    def _spawner_config(self) -> Any:
        return self.config.PersistentTerminalSpawner

    @property
    def hub_id(self) -> str:
        """The label of this hub's containers; empty with the process backend."""
        value = self._spawner_config.get("hub_id", "")
        return value if isinstance(value, str) else ""

    @property
    def hub_settings(self) -> Settings:
        """The settings that the spawners were given."""
        value = self._spawner_config.get("settings")
        return value if isinstance(value, Settings) else Settings()

    @property
    def engine(self) -> DockerEngine:
        """The engine with the threads that the spawners use."""
        return shared_engine(self.hub_settings.docker.host, DEFAULT_TIMEOUT, DEFAULT_THREADS, self.log)

    def known(self) -> set[tuple[str, str]]:
        """The workspaces that the hub holds to be running, starting or stopping."""
        return {
            (user.name, name)
            for user in self.users.values()
            for name, spawner in user.spawners.items()
            if spawner.active
        }

    async def surveyed(self) -> list[Found]:
        """All containers of workspaces; a 503 with a sentence when the engine does not answer."""
        if not self.hub_id:
            return []
        hub_id = self.hub_id
        try:
            return await self.engine.run(lambda client: survey(client, hub_id))
        except EngineError as error:
            self.log.warning("Docker did not list the containers: %s", error)
            raise web.HTTPError(
                503, "The Docker Engine does not answer: nothing is known about containers. Try again later."
            ) from None

    async def running_container(self, user: str, workspace: str) -> Found | None:
        """The container of this workspace, if one runs now."""
        for found in await self.surveyed():
            if found.key == (user, workspace) and found.running:
                return found
        return None

    def is_buried(self, user: str, workspace: str) -> bool:
        """Whether the workspace was deleted, and only an absent engine kept its container."""
        names = object_names(self.hub_id, user, workspace)
        return Tombstones(self.hub_settings.data_dir).has(names.volume)


class OrphansHandler(EngineHandler):
    """`GET …/orphans`: running containers that the hub does not know, and the stopped ones."""

    async def get(self) -> None:
        """Asked by the culler in each cycle; one call to the engine."""
        before = self.known()
        found = await self.surveyed()
        # Asked twice: a workspace may have been started or stopped while Docker was listing.
        known = before | self.known()
        orphans = [
            {
                "user": each.user,
                "workspace": each.workspace,
                "container": each.container,
                "paused": each.paused,
                "userKnown": self.find_user(each.user) is not None,
                "deleted": self.is_buried(each.user, each.workspace),
            }
            for each in found
            if each.running and each.key not in known
        ]
        stopped = [
            {
                "user": each.user,
                "workspace": each.workspace,
                "groups": self._groups(each.user),
                "container": each.container,
                "stoppedFor": each.stopped_for,
            }
            for each in found
            if each.stopped_for is not None and each.key not in known
        ]
        self.answer({"orphans": orphans, "stopped": stopped})

    def _groups(self, name: str) -> list[str]:
        user = self.find_user(name)
        return [group.name for group in user.orm_user.groups] if user else []


class AdoptHandler(EngineHandler):
    """`POST …/orphans/adopt`: gives an orphan its record back and takes it over."""

    async def post(self) -> None:
        """200 `{"state": "running"}`: the hub watches it again; 202 `recorded`: its owner must start it.

        Starting adopts the running container (see `spawner_start`), so sessions go on. When the hub may not
        start it now (the owner's login has expired, a limit is reached), the record is there and the owner's
        next start adopts.
        """
        name, workspace = self.named_workspace()
        found = await self.running_container(name, workspace)
        if found is None:
            raise web.HTTPError(404, "No running container of this hub belongs to that workspace.")
        if found.key in self.known():
            self.answer({"state": "running", "reason": "The hub knows it already."})
            return
        if self.is_buried(name, workspace):
            raise web.HTTPError(
                409, "The workspace was deleted while Docker did not answer; starting it anew clears it away."
            )
        user = self.find_user(name)
        if user is None:
            raise web.HTTPError(
                409,
                f"The hub has no user {name}. The container is left alone: let the person log in, "
                "or add the user; then it is adopted.",
            )
        if found.paused:
            raise web.HTTPError(409, "The container is paused: whoever paused it must let it go on first.")
        try:
            spawner = user.get_or_create_spawner(workspace, "", replace_failed=True)
        except ValueError as error:
            raise web.HTTPError(409, f"The hub cannot hold a workspace of that name: {error}") from None
        self.log.warning("Adopting the orphaned container %s of %s/%s", found.container, name, workspace)
        try:
            await self.spawn_single_user(user, workspace)
        except (web.HTTPError, RuntimeError) as error:
            reason = error.log_message if isinstance(error, web.HTTPError) else str(error)
            self.answer({"state": "recorded", "reason": str(reason or "the hub could not start it")}, 202)
            return
        self.answer({"state": "running" if spawner.ready else "starting", "reason": ""})


class RemoveStoppedHandler(EngineHandler):
    """`POST …/stopped/remove`: takes away the stopped container of a workspace. Its files stay."""

    async def post(self) -> None:
        """204 when there is none (any more); 409 when it runs."""
        name, workspace = self.named_workspace()
        if not self.hub_id:
            raise web.HTTPError(404, "Workspaces are processes here: there are no containers.")
        labels = object_labels(self.hub_id, name, workspace)
        names = object_names(self.hub_id, name, workspace)
        if (name, workspace) in self.known():
            raise web.HTTPError(409, "The workspace runs, starts or stops: nothing was removed.")
        try:
            for inspected in await self.engine.run(lambda client: containers.find(client, labels)):
                # Docker itself refuses when it was started in between.
                await self.engine.run(partial(containers.remove_stopped, container=inspected["Id"]))
            await self.engine.run(lambda client: containers.discard_network(client, names.network))
        except EngineError as error:
            if error.kind is Kind.UNREACHABLE:
                raise web.HTTPError(503, "The Docker Engine does not answer: try again later.") from None
            raise web.HTTPError(409, "The container runs or is being removed: it was left alone.") from None
        self.log.info("Removed the stopped container of %s/%s; its files stay", name, workspace)
        self.set_status(204)
        self.finish()
