"""What the buttons of the home page do, with the person's own workspaces: lock, stop, delete, make."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from jupyterhub.utils import maybe_future
from tornado.web import HTTPError

from persistent_terminal_hub.audit import Outbox
from persistent_terminal_hub.hub import new_workspace
from persistent_terminal_hub.hub.container_spec import parse_memory
from persistent_terminal_hub.hub.failures import WorkspaceProblem
from persistent_terminal_hub.hub.home_gather import HomeGather
from persistent_terminal_hub.hub.lock_push import SENTENCES, LockSender, Target
from persistent_terminal_hub.hub.making import MakingRefused, Makings
from persistent_terminal_hub.hub.new_workspace import Choices, Form
from persistent_terminal_hub.hub.workspace_options import Limits
from persistent_terminal_hub.settings import Settings
from persistent_terminal_hub.signing_keys import KeyStoreError

#: JupyterHub's scope that each action needs: a page's cookie has them all, a token may not.
SCOPES = {
    "new": "servers",
    "lock": "access:servers",
    "stop": "delete:servers",
    "delete": "delete:servers",
    "dismiss": "read:servers",
}


@dataclass(frozen=True, slots=True)
class HomeParts:
    """What the handlers of the home page work with; one per hub."""

    settings: Settings
    gather: HomeGather
    sender: LockSender
    outbox: Outbox
    makings: Makings


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an action ended. `status` from 400 on: it was not done."""

    message: str
    status: int = 200
    #: Where to go, below the hub; empty: stay.
    next: str = ""
    form: Form | None = field(default=None)


class HomeActions:
    """Of one request: `handler` is JupyterHub's, logged in as `user`."""

    def __init__(self, handler: Any, parts: HomeParts) -> None:
        self._handler = handler
        self._parts = parts
        self._user = handler.current_user

    async def do(self, action: str, fields: Mapping[str, str]) -> Outcome:
        """The action of a form."""
        scope = SCOPES.get(action)
        if scope is None:
            return Outcome("This page does not know that button; open it again.", 400)
        if not self._handler.has_scope(f"{scope}!user={self._user.name}"):
            return Outcome(f"This token may not do that: it needs the scope {scope}.", 403)
        if action == "new":
            return await self._new(fields)
        name = fields.get("workspace", "")
        if name and name not in self._user.orm_user.orm_spawners:
            if action == "dismiss":
                self._parts.makings.dismiss(self._user.name, name)
                return Outcome("")
            return Outcome("You have no workspace of that name any more.", 404)
        if action == "lock":
            return await self._lock(name)
        if action == "stop":
            return await self._stop(name)
        if action == "delete":
            return await self._delete(name, fields.get("confirm", ""))
        self._parts.makings.dismiss(self._user.name, name)
        return Outcome("")

    # -- of one workspace ----------------------------------------------------------------------------
    def target(self, name: str) -> Target:
        """The workspace as what asks it knows it."""

        def url() -> str | None:
            spawner = self._user.spawners.get(name)
            server = spawner.server if spawner is not None and spawner.ready else None
            return str(server.url) if server is not None else None

        return Target(self._user.name, name, url)

    async def _lock(self, name: str) -> Outcome:
        target = self.target(name)
        try:
            [result] = await self._parts.sender.lock([target], "user")
        except KeyStoreError as error:
            self._handler.log.error("Nothing was locked: %s", error)
            return Outcome("The hub cannot read its signing keys: its log says why. Nothing was locked.", 503)
        await self._record("lock", name, "ok" if result in ("locked", "already", "not_running") else result)
        self._parts.gather.forget(target)
        return Outcome(SENTENCES[result], 200 if result in ("locked", "already") else 503)

    async def _stop(self, name: str) -> Outcome:
        handler, user = self._handler, self._user
        spawner = user.spawners[name]
        if spawner.pending == "stop":
            return Outcome("It is being stopped already.")
        if not spawner.active:
            return Outcome("It does not run.")
        if spawner.pending == "spawn":
            # As JupyterHub's own API interrupts a start.
            if spawner._spawn_future:
                spawner._spawn_future.cancel()
            await asyncio.sleep(1)
        elif spawner.pending:
            return Outcome("It is being renamed; try again in a moment.", 409)
        elif await spawner.poll_and_notify() is not None:
            return Outcome("It has ended already.")
        try:
            await handler.stop_single_user(user, name)
        except WorkspaceProblem as problem:
            return Outcome(problem.jupyterhub_message, 503)
        finally:
            self._parts.gather.forget(self.target(name))
        await self._record("server.stop", name, "ok")
        done = not spawner.active
        return Outcome("It is stopped. Your files are kept." if done else "It is being stopped.")

    async def _delete(self, name: str, confirmed: str) -> Outcome:
        handler, user = self._handler, self._user
        if not name:
            return Outcome("The default workspace cannot be deleted; nothing was done.", 409)
        if confirmed.strip() != name:
            return Outcome("That is not its name. Nothing was deleted.", 422)
        spawner = user.spawners[name]
        if spawner.active:
            return Outcome("It runs. Stop it first; nothing was deleted.", 409)
        # As JupyterHub's own API deletes a server.
        await maybe_future(user._delete_spawner(spawner))
        handler.db.delete(spawner.orm_spawner)
        user.spawners.pop(name, None)
        handler.db.commit()
        await self._record("server.remove", name, "ok")
        return Outcome(f"The workspace {name} was deleted with its files.")

    # -- a new one -----------------------------------------------------------------------------------
    @property
    def limits(self) -> Limits | None:
        """What may be chosen; None: nothing."""
        return getattr(self._user.spawner, "limits", None)

    def choices(self) -> Choices:
        """For the form."""
        spawner, workspace = self._user.spawner, self._parts.settings.workspace
        return new_workspace.choices(
            self.limits,
            cpu=float(getattr(spawner, "cpu_limit", None) or workspace.cpu),
            memory=int(getattr(spawner, "mem_limit", None) or parse_memory(workspace.memory)),
            egress=workspace.egress,
            filtered=bool(getattr(spawner, "filtered", False)),
            clone=self._parts.makings.possible,
        )

    async def _new(self, fields: Mapping[str, str]) -> Outcome:
        handler, user = self._handler, self._user
        taken = set(user.orm_user.orm_spawners)
        wish = new_workspace.read(fields, taken, self.limits, self._parts.makings.possible)
        if isinstance(wish, Form):
            # All of them here, too: a field that this hub does not offer has no place in the form.
            return Outcome(f"Nothing was made. {' '.join(wish.errors.values())}", 422, form=wish)
        filled = Form({**fields, "name": wish.name})
        most = await handler.get_current_user_named_server_limit()
        if most > 0 and len(taken - {""}) >= most:
            return Outcome(
                f"You have {len(taken - {''})} workspaces besides the default one, which is as many as you "
                "may have. Nothing was made; delete one that you no longer need.",
                409,
                form=filled,
            )
        if wish.url:
            try:
                await self._parts.makings.begin(user, wish)
            except MakingRefused as refusal:
                return Outcome(str(refusal), refusal.status, form=filled)
            return Outcome(f"The workspace {wish.name} is being made.", next="home")
        try:
            await handler._check_named_server_request(user, wish.name, wish.title)
            user.get_or_create_spawner(wish.name, wish.title, replace_failed=True)
            await handler.spawn_single_user(user, wish.name, wish.title, options=dict(wish.options))
        except HTTPError as error:  # a WorkspaceProblem is one, too
            problem = (
                getattr(error, "jupyterhub_message", "") or error.log_message or "It could not be started."
            )
            message = f"The workspace {wish.name} was made, but did not start. {problem}"
            return Outcome(message, error.status_code, form=None)
        path = f"spawn-pending/{user.escaped_name}/{quote(wish.name)}"
        return Outcome(f"The workspace {wish.name} is starting.", next=path)

    async def _record(self, what: str, name: str, result: str) -> None:
        await asyncio.to_thread(
            self._parts.outbox.record,
            who=self._user.name,
            what=what,
            on=f"{self._user.name}/{name}",
            origin=str(self._handler.request.remote_ip or ""),
            result=result,
            reason="user",
        )
