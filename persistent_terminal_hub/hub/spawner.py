"""One container per workspace, which outlives the hub, the proxy and Docker's own restarts.

Only I/O and its order stand here. What the container is like says `container_spec`, what Docker is asked
`containers` and `networks`, how its errors are told apart `docker_client`, what people read `failures`.

Three rules keep sessions alive. What cannot be reached is *unknown*, never gone. A running container of
this hub, user and workspace (by its labels) is adopted, never removed. And a container is removed only
by a deliberate stop, or by the very start that made it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from ipaddress import IPv4Network
from typing import Any, ClassVar

from jupyterhub.utils import maybe_future
from tornado.httpclient import AsyncHTTPClient
from traitlets import Float, Instance, Integer, Unicode, default

from persistent_terminal_hub.hub import containers, failures, secret_delivery, server_token, site_options
from persistent_terminal_hub.hub.container_spec import (
    HOME,
    SERVER_PORT,
    ContainerSpec,
    SpecRequest,
    build,
    parse_memory,
)
from persistent_terminal_hub.hub.docker_client import (
    DEFAULT_THREADS,
    DEFAULT_TIMEOUT,
    DockerEngine,
    EngineError,
    Kind,
    shared_engine,
)
from persistent_terminal_hub.hub.durable_record import Attempt, DurableRecord
from persistent_terminal_hub.hub.failures import WorkspaceProblem
from persistent_terminal_hub.hub.object_names import (
    LABEL_CONFIG,
    LABEL_IMAGE,
    ObjectNames,
    object_labels,
    object_names,
)
from persistent_terminal_hub.hub.progress import Progress
from persistent_terminal_hub.hub.subnets import SubnetsExhausted, workspace_address
from persistent_terminal_hub.hub.tombstones import Tombstones
from persistent_terminal_hub.settings import Settings

ASK_SECONDS = 2.0


class PersistentTerminalSpawner(DurableRecord):
    """Runs each workspace in a container of its own."""

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

    # Names of workspaces that `start` let in and that Docker does not list as running yet.
    _admitted: ClassVar[set[str]] = set()
    _admission: ClassVar[asyncio.Lock | None] = None

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

    # -- start ---------------------------------------------------------------------------------------
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
            raise failures.start_problem(problem, self.image) from None
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
        return containers.address_of(inspected, self.names.network), SERVER_PORT

    async def _create(self, attempt: Attempt) -> dict[str, Any]:
        names = self.names
        image_id = await self._image_id()
        self._say(30, "Preparing a network of its own…")
        pool = IPv4Network(self.settings.docker.subnet_pool)
        prefix = self.settings.docker.subnet_prefix
        subnet, made = await self.engine.run(
            lambda client: containers.make_network(client, names.network, self.labels, pool, prefix)
        )
        if made:
            attempt.network = names.network
        spec = await self._spec(image_id, subnet)
        self._say(40, "Creating the container…")
        attempt.container = await self.engine.run(lambda client: containers.create(client, spec, self.labels))
        self._say(50, "Starting it…")
        await self.docker("start", attempt.container)
        self.log.info("Started container %s for %s", names.container, self._log_name)
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
        memory = self.mem_limit
        return build(
            SpecRequest(
                hub_id=self.hub_id,
                user=self.user.name,
                workspace=self.name,
                image=self.image,
                image_id=image_id,
                memory_bytes=int(memory or parse_memory(self.settings.workspace.memory)),
                cpus=float(self.cpu_limit or self.settings.workspace.cpu),
                pids=self.settings.workspace.pids,
                stop_timeout_seconds=self.settings.workspace.stop_timeout_seconds,
                address=workspace_address(subnet) if subnet else None,
                command=tuple(self.cmd or ()),
                site=site,
            )
        )

    async def _image_id(self) -> str:
        try:
            inspected = await self.docker("inspect_image", self.image)
        except EngineError as error:
            if error.kind is Kind.NOT_FOUND:
                raise failures.image_missing(self.image) from None
            raise
        return str(inspected["Id"])

    async def _admit(self) -> None:
        """Refuse when the limit of running workspaces is reached; starts under way count."""
        limit = self.settings.workspace.max_running
        if not limit:
            return
        cls = PersistentTerminalSpawner
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
        try:
            await self.engine.run(
                lambda client: secret_delivery.deliver(client, container, content, self.docker_timeout)
            )
        except EngineError as error:
            if error.kind is Kind.CONFLICT:
                words = await self.engine.run(lambda client: containers.last_words(client, container))
                self.log.error(
                    "The container of %s ended at once. Its last output:\n%s", self._log_name, words
                )
                raise EngineError(Kind.FAILED, "the container ended right after its start") from None
            raise
        self._started_at = inspected["State"]["StartedAt"]

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
        )
        return {name: str(value) for name, value in env.items()}

    # -- poll ----------------------------------------------------------------------------------------
    async def poll(self) -> int | str | None:
        """None while it runs *or while that cannot be found out*; otherwise how it ended."""
        if self.engine.quiet:
            return None
        try:
            inspected = await self._inspect()
        except EngineError as error:
            if error.kind is not Kind.UNREACHABLE:
                self.log.warning("Docker did not say whether %s runs: %s", self._log_name, error)
            return None
        if inspected is None:
            return 0
        if not containers.is_running(inspected):
            return containers.status_of(inspected)
        self.object_id = inspected["Id"]
        await self._redeliver_if_due(inspected)
        if not self._answers:
            await self._ask_again()
        return None

    async def _ask_again(self) -> None:
        """See whether a workspace that did not answer does so now."""
        url = await self.get_url()
        with contextlib.suppress(Exception):
            client = AsyncHTTPClient()
            await client.fetch(
                f"{url}api", request_timeout=ASK_SECONDS, raise_error=False, follow_redirects=False
            )
            self._answers = True
            self.log.info("%s answers again", self._log_name)

    async def _inspect(self) -> dict[str, Any] | None:
        """The container as Docker describes it; None only when Docker says that there is none."""
        for reference in dict.fromkeys(filter(None, (self.object_id, self.object_name))):
            try:
                return dict(await self.docker("inspect_container", reference))
            except EngineError as error:
                if error.kind is not Kind.NOT_FOUND:
                    raise
        return None

    async def _redeliver_if_due(self, inspected: dict[str, Any]) -> None:
        """A container that was started without us waits for its secrets: bring them."""
        starting = self._attempt is not None and not self._attempt.finished
        paused = inspected["State"].get("Paused")
        if starting or paused or self._stop_pending or inspected["State"]["StartedAt"] == self._started_at:
            return
        async with self._delivery:
            if inspected["State"]["StartedAt"] == self._started_at:
                return
            try:
                minted = not self.api_token
                if minted:  # the hub was restarted, too: it knows only the old token's hash
                    await server_token.mint(self)
                await self._deliver(inspected)
                if minted:
                    server_token.revoke_others(self)
            except EngineError as error:
                self.log.warning(
                    "%s was started behind the hub's back and did not take its token: %s",
                    self._log_name,
                    error,
                )
                return
            self.log.warning(
                "%s was started behind the hub's back; its token was handed over again", self._log_name
            )
            self.orm_spawner.state = self.get_state()
            self.user.db.commit()

    # -- where it is ---------------------------------------------------------------------------------
    async def get_url(self) -> str:
        """Where the server is: what Docker says, or else what was recorded. Asked at the hub's start."""
        recorded = str(self.server.url) if self.server else ""
        try:
            inspected = await self._inspect()
            if inspected is None:
                return recorded
            address = containers.address_of(inspected, self.names.network)
        except EngineError:
            return recorded
        return f"http://{address}:{SERVER_PORT}{self.server.base_url if self.server else '/'}"

    # -- stop ----------------------------------------------------------------------------------------
    async def stop(self, now: bool = False) -> None:
        """Stop and remove the container and its network; the volume stays.

        When Docker does not confirm it, the workspace stays recorded as running.
        """
        attempt = self._attempt
        failed = attempt is not None and attempt.failed
        if attempt and attempt.adopted:
            if failed:
                self.log.warning("%s is left alone: it was running before this start failed", self._log_name)
                return
            if self._proxy_pending:
                # Not a person's wish: JupyterHub tidies up because the proxy did not take the route.
                self._keep()
                raise failures.left_alone()
        grace = 0 if now else self.settings.workspace.stop_timeout_seconds
        reference, network = self.object_id or self.object_name, self.names.network
        await self._log_if_failed(reference)
        try:
            await self.engine.run(lambda client: containers.end(client, reference, grace, network))
        except EngineError as error:
            problem = failures.stop_problem(error)
            self.log.error("%s: %s", self._log_name, problem.log_message)  # JupyterHub does not log it
            if failed:
                return  # there is no address to record; the next start clears away what is left
            self._keep()
            raise problem from None
        self.object_id = ""
        self._started_at = ""
        self._attempt = None
        self.log.info("Stopped %s", self._log_name)

    async def _log_if_failed(self, reference: str) -> None:
        """A container that never answered tells why in its output; nobody has typed anything into it yet."""
        if self._answers or self.holds_sessions():
            return
        with contextlib.suppress(EngineError):
            words = await self.engine.run(lambda client: containers.last_words(client, reference))
            self.log.error("%s never answered. Its last output:\n%s", self._log_name, words)

    # -- what stays recorded -----------------------------------------------------------------------------
    def get_state(self) -> dict[str, Any]:
        """What the next hub process has to know; administrators see it."""
        state: dict[str, Any] = super().get_state()
        if self._started_at:
            state["started_at"] = self._started_at
        if self.object_id:
            state["answering"] = self._answers
            state["image"] = self.image
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what the previous hub process recorded."""
        super().load_state(state)
        self._started_at = state.get("started_at", "")

    async def rename(self, old_name: str, new_name: str) -> None:
        """Refused: the files are in a volume that is called after the workspace."""
        raise WorkspaceProblem(
            "A workspace keeps its name, because its files are stored under it. "
            "Change its display name instead.",
            reason="rename",
            status_code=409,
        )

    async def delete_forever(self) -> None:
        """Remove the workspace with its files and its network."""
        # JupyterHub forgets the workspace even if this fails; the note makes up for that.
        self._tombstones.add(self.names.volume)
        await self._delete()

    # -- progress --------------------------------------------------------------------------------------
    def _say(self, percent: int, message: str) -> None:
        self._progress.say(percent, message)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What the spawn page shows."""
        async for message in self._progress.follow():
            yield message
