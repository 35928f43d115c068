"""How a workspace gets its container: the running one is adopted, otherwise one is created.

A start that fails takes away what it made, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from ipaddress import IPv4Network
from typing import Any, ClassVar

from jupyterhub.utils import maybe_future

from persistent_terminal_hub.hub import containers, failures, secret_delivery, site_options
from persistent_terminal_hub.hub.container_spec import (
    SERVER_PORT,
    ContainerSpec,
    SpecRequest,
    build,
    parse_memory,
)
from persistent_terminal_hub.hub.docker_client import EngineError, Kind
from persistent_terminal_hub.hub.durable_record import Attempt
from persistent_terminal_hub.hub.failures import WorkspaceProblem
from persistent_terminal_hub.hub.listening import until_listening
from persistent_terminal_hub.hub.object_names import LABEL_CONFIG, LABEL_IMAGE
from persistent_terminal_hub.hub.progress import Progress
from persistent_terminal_hub.hub.spawner_options import WorkspaceChoices
from persistent_terminal_hub.hub.subnets import SubnetsExhausted, workspace_address
from persistent_terminal_hub.hub.workspace_rules import rules_environment


class WorkspaceStart(WorkspaceChoices):
    """The part of the spawner that starts and adopts."""

    # Names of workspaces that `start` let in and that Docker does not list as running yet.
    _admitted: ClassVar[set[str]] = set()
    _admission: ClassVar[asyncio.Lock | None] = None

    async def start(self) -> tuple[str, int]:
        """Adopt the running container of this workspace, or create one; return its address."""
        self._attempt = attempt = Attempt()
        self._progress = Progress()
        self._keep_record = False
        try:
            address = await self._start(attempt)
        except (EngineError, SubnetsExhausted) as error:
            await self._undo(attempt)
            problem = error if isinstance(error, EngineError) else EngineError(Kind.OVERLAP, str(error))
            raise failures.start_problem(problem, self.chosen_image) from None
        except BaseException:
            # Cancelled by start_timeout, or refused with a sentence of its own.
            await asyncio.shield(self._undo(attempt))
            raise
        finally:
            self._admitted.discard(self.names.container)
        attempt.finished = True
        return address

    async def _start(self, attempt: Attempt) -> tuple[str, int]:
        self._say(5, "Looking for your workspace…")
        self.object_name = self.names.container
        for note in self.take_options():
            self._say(6, note)
        await self._bury()
        found = await self.engine.run(lambda client: containers.find(client, self.labels))
        if found and containers.is_running(found[0]):
            attempt.adopted = True
            return await self._adopt(found[0])
        await self._admit()
        for inspected in found:
            self._say(15, "Clearing away the stopped container; your files are kept.")
            await self.engine.run(partial(containers.remove_stopped, container=inspected["Id"]))
        inspected = await self._create(attempt)
        self.object_id = inspected["Id"]
        self._say(60, "Handing over its keys…")
        await self._deliver(inspected)
        self._say(80, "Waiting for JupyterLab to answer…")
        address = containers.address_of(inspected, self.names.network)
        await until_listening(address, SERVER_PORT, self.listen_seconds, lambda: True)
        return address, SERVER_PORT

    async def _create(self, attempt: Attempt) -> dict[str, Any]:
        names = self.names
        wish = self.wish()
        self.refuse_unfiltered(wish)
        await self._check_runtime()
        image_id = await self._image_id()
        self._say(30, "Preparing a network of its own…")
        pool = IPv4Network(self.settings.docker.subnet_pool)
        prefix = self.settings.docker.subnet_prefix
        subnet, made = await self.engine.run(
            lambda client: containers.make_network(
                client, names.network, {**self.labels, **wish.labels}, pool, prefix
            )
        )
        if made:
            attempt.network = names.network
        await self.apply_filter(wish)
        spec = await self._spec(image_id, subnet)
        self._say(40, "Creating the container…")
        attempt.container = await self.engine.run(lambda client: containers.create(client, spec, self.labels))
        self._say(50, "Starting it…")
        await self.docker("start", attempt.container)
        self.log.info("Started container %s for %s", names.container, self._log_name)
        if wish.bandwidth:
            await self.apply_filter(wish)  # only now is there a cable to limit
        return dict(await self.docker("inspect_container", attempt.container))

    async def _spec(self, image_id: str, subnet: IPv4Network | None) -> ContainerSpec:
        host, create = [
            self._render_templates(await maybe_future(self._eval_if_callable(option)))
            for option in (self.extra_host_config, self.extra_create_kwargs)
        ]
        try:
            site = site_options.check(host, create)
        except site_options.SiteOptionError as error:
            raise WorkspaceProblem(
                f"The hub's configuration does not allow any workspace to start. {error}",
                reason="config",
                status_code=500,
            ) from None
        options, workspace = self._options, self.settings.workspace
        memory = parse_memory(options.memory) if options.memory else self.mem_limit
        return build(
            SpecRequest(
                hub_id=self.hub_id,
                user=self.user.name,
                workspace=self.name,
                image=self.chosen_image,
                image_id=image_id,
                memory_bytes=int(memory or parse_memory(workspace.memory)),
                cpus=float(options.cpu or self.cpu_limit or workspace.cpu),
                pids=options.pids or workspace.pids,
                open_files=workspace.open_files,
                runtime=workspace.runtime,
                history_bytes=self.settings.session.history_bytes,
                egress=self.wish().policy.value,
                stop_timeout_seconds=workspace.stop_timeout_seconds,
                address=workspace_address(subnet) if subnet else None,
                command=tuple(self.cmd or ()),
                site=site,
            )
        )

    async def _image_id(self) -> str:
        try:
            inspected = await self.docker("inspect_image", self.chosen_image)
        except EngineError as error:
            if error.kind is Kind.NOT_FOUND:
                raise failures.image_missing(self.chosen_image) from None
            raise
        return str(inspected["Id"])

    async def _check_runtime(self) -> None:
        """Refuse a runtime that the engine does not know, in words better than Docker's."""
        runtime = self.settings.workspace.runtime
        if runtime and runtime not in (known := (await self.docker("info")).get("Runtimes") or {}):
            raise failures.runtime_missing(runtime, sorted(known))

    async def _admit(self) -> None:
        """Refuse when the limit of running workspaces is reached; starts under way count."""
        limit = self.settings.workspace.max_running
        if not limit:
            return
        cls = WorkspaceStart
        if cls._admission is None:
            cls._admission = asyncio.Lock()
        async with cls._admission:
            running = await self.engine.run(lambda client: containers.running_names(client, self.hub_id))
            if len((running | self._admitted) - {self.names.container}) >= limit:
                raise failures.too_many_running(limit)
            self._admitted.add(self.names.container)

    async def _bury(self) -> None:
        """Remove a deleted workspace of the same name, if Docker did not answer when it was deleted."""
        if self._tombstones.has(self.names.volume):
            await self._delete()

    async def _delete(self) -> None:
        names, labels, grace = self.names, self.labels, self.settings.workspace.stop_timeout_seconds
        await self.engine.run(
            lambda client: containers.delete_for_good(client, labels, names.network, names.volume, grace)
        )
        self._tombstones.clear(names.volume)

    async def _adopt(self, inspected: dict[str, Any]) -> tuple[str, int]:
        """Take over a running container: it may hold sessions, so it is never removed."""
        self.object_id = inspected["Id"]
        self.object_name = inspected["Name"].lstrip("/")
        self.log.warning("Adopting the running container %s of %s", self.object_name, self._log_name)
        if inspected["State"].get("Paused"):
            self._say(20, "Your workspace was paused; waking it up…")
            await self.docker("unpause", self.object_id)
        self._say(30, "Your workspace is running already; your sessions are kept.")
        await self._say_if_outdated(inspected)
        try:
            await self._deliver(inspected)
            # The keeper restarts its Jupyter server, which so gets the new token. Terminals go on.
            await self.docker("kill", self.object_id, signal="HUP")
        except EngineError as error:
            if error.kind is Kind.UNREACHABLE:
                raise
            # Without memory or processes to spare it cannot take the secrets now; `poll` tries again.
            self._started_at = ""
            self.log.warning("%s did not take its new token yet: %s", self._log_name, error)
            self._say(50, "It is too busy to take its new key; this is tried again every half minute.")
        self._say(80, "Waiting for JupyterLab to answer…")
        return containers.address_of(inspected, self.names.network), SERVER_PORT

    async def _say_if_outdated(self, inspected: dict[str, Any]) -> None:
        labels = inspected["Config"]["Labels"]
        with contextlib.suppress(WorkspaceProblem):
            try:
                spec = await self._spec(await self._image_id(), None)
            except EngineError:
                return
            if labels.get(LABEL_CONFIG) != spec.labels[LABEL_CONFIG]:
                self._say(
                    40,
                    "It still runs with earlier settings or an earlier image "
                    f"({labels.get(LABEL_IMAGE, 'unknown')}); stop and start it to get the present ones.",
                )

    async def _deliver(self, inspected: dict[str, Any]) -> None:
        """Hand over the environment, tokens included, and remember which run of the container has it."""
        content = secret_delivery.payload(self.get_env())
        container = inspected["Id"]
        mark = secret_delivery.new_mark()
        try:
            await self.engine.run(
                lambda client: secret_delivery.deliver(client, container, content, self.docker_timeout, mark)
            )
        except EngineError as error:
            # It may also end between two steps of this, for which Docker has other words.
            if error.kind is Kind.CONFLICT or (error.kind is Kind.FAILED and not await self._runs(container)):
                words = await self.engine.run(lambda client: containers.last_words(client, container))
                self.log.error(
                    "The container of %s ended at once. Its last output:\n%s", self._log_name, words
                )
                raise EngineError(Kind.FAILED, "the container ended right after its start") from None
            raise
        self._started_at, self._delivered = inspected["State"]["StartedAt"], mark

    async def _runs(self, container: str) -> bool:
        state = await self.engine.run(lambda client: client.inspect_container(container)["State"])
        return bool(state["Running"])

    async def _undo(self, attempt: Attempt) -> None:
        """Remove what a failed start made. What was there before is left alone."""
        attempt.finished = attempt.failed = True
        if attempt.adopted or not (attempt.container or attempt.network):
            return
        with contextlib.suppress(EngineError):
            await self.engine.run(
                partial(containers.discard_fresh, container=attempt.container, network=attempt.network)
            )
            self.object_id = ""

    def get_env(self) -> dict[str, str]:
        """The environment of the Jupyter server. All of it travels as a secret."""
        env: dict[str, str] = super().get_env()
        session, pty = self.settings.session, self.settings.pty
        env.update(
            PTH_SCROLLBACK_BYTES=str(session.scrollback_bytes),
            PTH_MAX_SESSIONS=str(session.max_per_workspace),
            PTH_PTY_COLS=str(pty.cols),
            PTH_PTY_ROWS=str(pty.rows),
            JUPYTER_IMAGE_SPEC=self.chosen_image,
            PTH_HUB_ID=self.hub_id,
            PTH_WORKSPACE_ID=f"{self.user.name}/{self.name}",
            **rules_environment(self.settings, self),
        )
        return {name: str(value) for name, value in env.items()}
