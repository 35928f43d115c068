"""POST /hub/persistent-terminals/api/lock: lock one's own workspace, or, as an administrator, anybody's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http.client import responses
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.user import User
from sqlalchemy.exc import SQLAlchemyError
from tornado.web import HTTPError

from persistent_terminal_hub.audit import Outbox
from persistent_terminal_hub.hub.lock_push import SENTENCES, LockSender, Target
from persistent_terminal_hub.signing_keys import KeyStoreError

ROUTE = r"/persistent-terminals/api/lock"

_FIELDS = {"user": str, "workspace": str, "all": bool}


class LockHandler(APIHandler):
    """Needs `access:servers` for one's own workspace and `admin:servers` for somebody else's."""

    def initialize(self, sender: LockSender, outbox: Outbox) -> None:
        """`sender`: the hub's one."""
        self._sender = sender
        self._outbox = outbox

    async def post(self) -> None:
        """Answers when each workspace has answered or its time is over."""
        if not self.current_user:
            raise HTTPError(403, "Log in, or show a token of the hub.")
        wish = self._wish()
        everybody = wish.get("all") is True and "user" not in wish and self.has_scope("admin:servers")
        own = self.current_user.name if isinstance(self.current_user, User) else ""
        user = str(wish.get("user", own))
        if not user and not everybody:
            raise HTTPError(422, "Say whose workspace: give `user`.")
        if everybody:
            targets = [target for account in self._accounts() for target in self._running(account)]
        else:
            targets = self._of(user, None if wish.get("all") is True else str(wish.get("workspace", "")))
        reason = "user" if user == own and not everybody else "administrator"
        try:
            results = await self._sender.lock(targets, reason)
        except KeyStoreError as error:
            self.log.error("Nothing was locked: %s", error)
            raise HTTPError(503, "The hub cannot read its signing keys: its log says why.") from None
        await asyncio.to_thread(
            self._outbox.record,
            who=self.current_user.name,
            what="lock",
            on="*" if everybody else f"{user}/*" if wish.get("all") is True else targets[0].id,
            origin=str(self.request.remote_ip or ""),
            result="not_answering" if {"not_answering", "refused"} & set(results) else "ok",
            reason=reason,
            count=sum(result == "locked" for result in results),
        )
        self.finish(
            {
                "workspaces": [
                    {
                        "user": target.user,
                        "workspace": target.workspace,
                        "result": result,
                        "message": SENTENCES[result],
                    }
                    for target, result in zip(targets, results, strict=True)
                ]
            }
        )

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Errors as all our APIs give them."""
        error = kwargs.get("exc_info", (None, None))[1]
        known = isinstance(error, HTTPError)
        self.set_header("Content-Type", "application/json")
        self.finish(
            {
                "status": status_code,
                "reason": responses.get(status_code, "Unknown"),
                "message": error.get_message() if known else "The hub made a mistake.",
                "hint": "" if known else "Its log says which; please report it.",
            }
        )

    def _wish(self) -> Mapping[str, Any]:
        body = self.get_json_body()
        wish = {} if body is None else body
        if not isinstance(wish, dict):
            raise HTTPError(400, "The body is not a JSON object.")
        for name, value in wish.items():
            kind = _FIELDS.get(name)
            if kind is None:
                raise HTTPError(400, "The body may have `user`, `workspace` and `all`, and nothing else.")
            if not isinstance(value, kind):
                raise HTTPError(400, f"`{name}` must be {'true or false' if kind is bool else 'a text'}.")
        if wish.get("all") is True and "workspace" in wish:
            raise HTTPError(400, "`all` and `workspace` exclude each other.")
        return wish

    def _accounts(self) -> list[Any]:
        """The users who have a running workspace; the others are not even loaded."""
        query = self.db.query(orm.User).join(orm.Spawner).filter(orm.Spawner.server_id.isnot(None)).distinct()
        return [self._user_from_orm(account) for account in query]

    def _of(self, user: str, workspace: str | None) -> list[Target]:
        """A user's workspace, or all that run; HTTPError if it may not be locked by whoever asks."""
        found = self.find_user(user)
        own = isinstance(self.current_user, User) and self.current_user.name == user
        names = [target.workspace for target in self._running(found)] if found is not None else []
        if workspace is not None:
            names = [workspace] if found is not None and self._exists(found, workspace) else []
        scope = "access:servers" if own else "admin:servers"
        # Somebody else's workspaces do not exist for who may not lock them.
        for name in names or [workspace or ""]:
            if not self.has_scope(f"{scope}!server={user}/{name}"):
                if own:
                    raise HTTPError(403, "This token may not lock it: it needs the scope access:servers.")
                raise HTTPError(404, f"There is no workspace {user}/{workspace or ''} that you may lock.")
        if found is None or (workspace is not None and not names):
            raise HTTPError(404, f"There is no workspace {user}/{workspace or ''} that you may lock.")
        return [self._target(found, name) for name in names]

    def _exists(self, user: Any, workspace: str) -> bool:
        return not workspace or workspace in user.orm_user.orm_spawners

    def _running(self, user: Any) -> list[Target]:
        return [
            self._target(user, name)
            for name, spawner in user.orm_user.orm_spawners.items()
            if spawner.server is not None
        ]

    def _target(self, user: Any, workspace: str) -> Target:
        def url() -> str | None:
            # Asked again each time: it may have stopped, or started elsewhere.
            try:
                spawner = user.spawners.get(workspace)
                server = spawner.server if spawner is not None else None
            except SQLAlchemyError:  # the user was deleted meanwhile
                return None
            return str(server.url) if server is not None else None

        return Target(user.name, workspace, url)
