"""The steps of operations on workspaces. Each may be done again: a service may be killed in any of them.

They act on the hub with the token of whoever asked, sealed in the operation's row until it has ended. Should
the token be revoked meanwhile, the hub refuses: the operation fails, and what stands at the hub by then stays
there as a stopped workspace that its owner sees, starts or deletes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import update

from persistent_terminal_hub.control.clone_credentials import credentials_of
from persistent_terminal_hub.control.database import Database
from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.hub import Hub, Server
from persistent_terminal_hub.control.leftovers import Gone, Removal
from persistent_terminal_hub.control.models import Workspace
from persistent_terminal_hub.control.operation_runner import Step, Work
from persistent_terminal_hub.control.secret_delivery import SecretDelivery
from persistent_terminal_hub.control.secrets import SecretStore
from persistent_terminal_hub.control.workspace_link import WorkspaceLink
from persistent_terminal_hub.sealing import SealingError, Tampered, UnknownKey

#: Seconds between two questions.
LOOK = 0.4
#: Seconds on top of what the settings allow for a start or a stop.
MARGIN = 60.0
#: Seconds after which a stop is asked for again.
AGAIN = 30.0

Call = Callable[..., Awaitable[Any]]


class WorkspaceSteps:
    """What the steps need, and the steps."""

    def __init__(
        self, hub: Hub, link: WorkspaceLink, database: Database, call: Call,
        *, secrets: SecretStore, delivery: SecretDelivery, removal: Removal,
        start_seconds: float, stop_seconds: float,
    ) -> None:  # fmt: skip
        self._hub = hub
        self._link = link
        self._database = database
        self._call = call
        self._secrets = secrets
        self._delivery = delivery
        self._removal = removal
        self._start_seconds = start_seconds + MARGIN
        self._stop_seconds = stop_seconds + MARGIN

    def table(self) -> dict[str, Step]:
        """By the names that `operations.py` knows."""
        return {
            "register": self.register,
            "start": self.start,
            "stop": self.stop,
            "clone": self.clone,
            "finish": self.finish,
            "remove": self.remove,
            "forget": self.forget,
        }

    # -- forward -------------------------------------------------------------------------------------------
    async def register(self, work: Work) -> None:
        """Make the hub's record of it."""
        owner, name = _target(work)
        if not name:
            return  # the default workspace needs none
        if not work.notes.get("registering"):
            if await self._server(work) is not None:
                raise _taken(owner, name)
            # From here on a record of that name at the hub is ours, also for whoever goes on after a kill.
            await work.note(registering=True)
        elif await self._server(work) is not None:
            return
        try:
            request = work.task.request
            display = str(request.get("displayName") or name)
            await self._hub.put(owner, name, request.get("options") or {}, work.token, display)
        except ApiError as error:
            # 503: no answer is no refusal, it may have been done.
            if error.status != 503:
                await work.note(registering=False)
            if error.status == 409:
                raise _taken(owner, name) from None
            raise

    async def start(self, work: Work) -> None:
        """Start it and wait until it answers."""
        owner, name = _target(work)
        request = work.task.request
        asked = False
        until = _now() + self._start_seconds
        while True:
            server = await self._server(work)
            status = server.status if server is not None else "stopped"
            if status == "running":
                break
            if status == "stopping":
                asked = False
            if status == "stopped":
                if asked:
                    raise ApiError(409, "The workspace did not start.", "Its logs say why.")
                asked = True
                display = str(request.get("displayName") or "")
                await self._hub.start(owner, name, request.get("options") or {}, work.token, display)
                continue
            if _now() > until:
                raise ApiError(409, f"The workspace did not start within {self._start_seconds:.0f} seconds.")
            await asyncio.sleep(LOOK)
        self._link.forget(owner, name)
        try:
            place = await self._link.ask(owner, name, "GET", "execute", "execute", actor=work.task.actor)
        except ApiError as error:
            if error.status == 423:  # it was locked when it stopped, and is: it runs all the same
                return
            raise
        await self._update(work, root_path=str(place.get("rootPath", ""))[:4096])
        # Whoever waited for this may create a session at once, and a clone's `setup` is one.
        await self._delivery.ensure(owner, name)

    async def stop(self, work: Work) -> None:
        """Stop it and wait until it has."""
        owner, name = _target(work)
        asked_at = float("-inf")
        until = _now() + self._stop_seconds
        while True:
            server = await self._server(work)
            if server is None or server.status == "stopped":
                break
            if server.status != "stopping" and _now() - asked_at > AGAIN:
                asked_at = _now()
                self._link.forget(owner, name)
                await self._hub.stop(owner, name, work.token)
                continue
            if _now() > until:
                raise ApiError(409, f"The workspace did not stop within {self._stop_seconds:.0f} seconds.")
            await asyncio.sleep(LOOK)
        self._link.forget(owner, name)

    async def clone(self, work: Work) -> None:
        """Have the workspace clone the repository, and tell how far it is."""
        owner, name = _target(work)
        body = {"id": work.task.id, **work.task.request["source"], **await self._credentials(work)}
        body.pop("credentialsSecret", None)
        actor = work.task.actor
        said = ""
        try:
            job = await self._link.ask(owner, name, "POST", "clone", "clone", actor=actor, body=body)
            while job["state"] == "running":
                await asyncio.sleep(LOOK)
                path = f"clone/{work.task.id}"
                job = await self._link.ask(owner, name, "GET", path, "clone", actor=actor)
                if job.get("message") and job["message"] != said:
                    said = job["message"]
                    await work.say(said, float(job.get("percent") or 0) / 100)
        except ApiError as error:
            # A server that was restarted knows nothing of it: begin again.
            if error.status == 404:
                raise ApiError(503, "The workspace began anew.") from None
            raise
        if job["state"] != "done":
            raise ApiError(422, str(job.get("message") or "The repository could not be cloned."))
        await work.note(path=job.get("path"), setupSession=job.get("setupSession"))

    async def _credentials(self, work: Work) -> dict[str, Any]:
        """What opens the repository: given with the request, or a secret as it is now."""
        given, source = work.private.get("credentials"), work.task.request["source"]
        name = source.get("credentialsSecret")
        if name is None:
            return {"credentials": given} if given else {}
        try:
            value = await self._call(self._secrets.value, *_target(work), name)
            if value is None:
                raise ApiError(422, f"The secret {name} is not there any more.")
            return credentials_of(name, value, source["url"])
        except ValueError as error:
            raise ApiError(422, str(error)) from None
        except (Tampered, UnknownKey) as error:
            raise ApiError(422, f"The secret {name} cannot be opened: {error}", "Set it anew.") from None
        except SealingError as error:
            raise ApiError(503, str(error)) from None  # its keys are away: tried again

    async def finish(self, work: Work) -> None:
        """It is a workspace like any other from now on."""
        await self._update(work, state="ready")

    # -- back ----------------------------------------------------------------------------------------------
    async def remove(self, work: Work) -> None:
        """Stop it and have the hub forget it, with its files."""
        owner, name = _target(work)
        creating = work.task.kind == "create"
        if creating and name and not work.notes.get("registering"):
            return  # whatever bears its name at the hub is not ours
        if not name:
            await self.stop(work)
            return
        asked_at = float("-inf")
        until = _now() + self._stop_seconds
        try:
            while (server := await self._server(work)) is not None:
                if server.status != "stopping" and _now() - asked_at > 5:
                    asked_at = _now()
                    self._link.forget(owner, name)
                    await self._hub.remove(owner, name, work.token)
                    continue
                if _now() > until:
                    raise ApiError(
                        409, "The hub did not remove the workspace in time.", "Delete it again later."
                    )
                await asyncio.sleep(LOOK)
        except ApiError as error:
            if error.status != 503:
                # It stays, whole and visible, rather than hidden.
                await self._update(work, state="ready")
            raise
        self._link.forget(owner, name)

    async def forget(self, work: Work) -> None:
        """Remove our own records of it."""
        task = work.task
        reason = "The workspace was deleted." if task.kind == "delete" else "It was not created after all."
        origin = str(task.request.get("origin", ""))
        await self._call(
            self._removal.remove, Gone(*_target(work)), reason,
            row=task.workspace, who=task.actor, origin=origin,
        )  # fmt: skip

    # -- inside --------------------------------------------------------------------------------------------
    async def _server(self, work: Work) -> Server | None:
        owner, name = _target(work)
        # With the service's own eyes: a person's token may see less, and that would look like "not there".
        return await self._hub.server(owner, name)

    async def _update(self, work: Work, **values: Any) -> None:
        identity = work.task.workspace
        await self._call(
            self._database.run,
            lambda session: session.execute(
                update(Workspace).where(Workspace.id == identity).values(**values)
            ),
        )


def _target(work: Work) -> tuple[str, str]:
    return work.task.owner, str(work.task.request["name"])


def _taken(owner: str, name: str) -> ApiError:
    return ApiError(409, f"There is a workspace {owner}/{name} already.", "Choose another name.")


def _now() -> float:
    return asyncio.get_running_loop().time()
