"""One container per workspace, which outlives the hub, the proxy and Docker's own restarts.

This is the face that JupyterHub sees; starting is in `spawner_start`. Only I/O and its order stand in both.
What the container is like says `container_spec`, what Docker is asked `containers` and `networks`, how its
errors are told apart `docker_client`, what people read `failures`.

Three rules keep sessions alive. What cannot be reached is *unknown*, never gone. A running container of
this hub, user and workspace (by its labels) is adopted, never removed. And a container is removed only
by a deliberate stop, or by the very start that made it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tornado.httpclient import AsyncHTTPClient

from persistent_terminal_hub.hub import containers, failures, secret_delivery, server_token
from persistent_terminal_hub.hub.container_spec import SERVER_PORT
from persistent_terminal_hub.hub.docker_client import EngineError, Kind
from persistent_terminal_hub.hub.failures import WorkspaceProblem
from persistent_terminal_hub.hub.logs_api import text_of
from persistent_terminal_hub.hub.request_records import RecordedSpawns
from persistent_terminal_hub.hub.spawner_start import WorkspaceStart

ASK_SECONDS = 2.0

#: What administrators read in the record of a workspace that is silent; the home page has it for its owner.
NOT_ANSWERING = (
    "Not answering when it was last asked. Its container runs (or Docker is away, too), so it is left alone "
    "and its sessions go on; it is asked again every half minute."
)


class PersistentTerminalSpawner(RecordedSpawns, WorkspaceStart):
    """Runs each workspace in a container of its own."""

    _compared = False

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
        await self.resync_filter(inspected["Config"]["Labels"])
        await self._redeliver_if_due(inspected)
        await self._compare_marks(inspected)
        if inspected["State"].get("Paused"):
            self.note_answer(False)
        elif not self._answers:
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
        if not self._undisturbed(inspected) or inspected["State"]["StartedAt"] == self._started_at:
            return
        async with self._delivery:
            if inspected["State"]["StartedAt"] == self._started_at:
                return
            serves = not self._started_at  # with what is void by now; otherwise it waits for its secrets
            try:
                minted = not self.api_token
                if minted:  # the hub was restarted, too: it knows only the old token's hash
                    await server_token.mint(self)
                await self._deliver(inspected)
                if serves:
                    await self.docker("kill", self.object_id, signal="HUP")
                if minted:
                    server_token.revoke_others(self)
            except EngineError as error:
                self.log.warning("%s has not its token yet and did not take it: %s", self._log_name, error)
                return
            why = "still had another token" if serves else "was started behind the hub's back"
            self.log.warning("%s %s; its token was handed over again", self._log_name, why)
            self.orm_spawner.state = self.get_state()
            self.user.db.commit()

    def _undisturbed(self, inspected: dict[str, Any]) -> bool:
        """Whether nobody starts, stops or pauses it just now."""
        starting = self._attempt is not None and not self._attempt.finished
        return not (starting or self._stop_pending or inspected["State"].get("Paused"))

    async def _compare_marks(self, inspected: dict[str, Any]) -> None:
        """Once for each hub process: is what the container was given what our records say?

        A database that was restored from a backup knows the tokens of that day, and the hub may have died
        between a delivery and its record. The workspace would run on, and nobody could log in to it.
        """
        if self._compared or self.api_token or self._check_pending or not self._undisturbed(inspected):
            return
        with contextlib.suppress(EngineError):  # asked again at the next poll
            container = inspected["Id"]
            mark = await self.engine.run(lambda client: secret_delivery.mark_of(client, container))
            self._compared = True
            if mark and self._delivered and mark != self._delivered:
                self._started_at = ""
                await self._redeliver_if_due(inspected)

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
                raise self._keep(failures.left_alone())
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
            raise self._keep(problem) from None
        self.object_id = ""
        self._started_at = self._delivered = ""
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
        if self._delivered:
            state["delivery"] = self._delivered
        if self.object_id:
            state["answering"] = self._answers
            if not self._answers:
                state["note"] = NOT_ANSWERING
            state["image"] = self.chosen_image
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what the previous hub process recorded."""
        super().load_state(state)
        self._started_at = state.get("started_at", "")
        self._delivered = state.get("delivery", "")

    async def log_tail(self, lines: int) -> str:
        """The end of what the container's main process printed; empty when there is no container."""
        try:
            return text_of(await self.docker("logs", self.names.container, tail=lines))
        except EngineError as error:
            if error.kind is Kind.NOT_FOUND:
                return ""
            raise

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
    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What the spawn page shows."""
        async for message in self._progress.follow():
            yield message
