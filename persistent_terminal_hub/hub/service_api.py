"""What our routes below /hub/persistent-terminals/api/ for services and administrators share."""

from __future__ import annotations

import json
from typing import Any

from jupyterhub.apihandlers.base import APIHandler
from tornado import web

from persistent_terminal_hub.hub.scopes import CULL_SCOPE


class ServiceApiHandler(APIHandler):
    """Answers JSON; open to whoever has `CULL_SCOPE`, and to administrators of all servers."""

    async def prepare(self) -> None:
        """Called before each request."""
        await super().prepare()
        if not self.current_user:
            raise web.HTTPError(403, "Missing or invalid credentials.")
        # By hand: `needs_scope` wants a scope to be defined before this module is imported.
        if not ({CULL_SCOPE, "admin:servers"} & set(self.expanded_scopes)):
            raise web.HTTPError(403, "This is for the culler and for administrators.")

    def answer(self, model: Any, status: int = 200) -> None:
        """Finish with JSON."""
        self.set_status(status)
        self.finish(json.dumps(model))

    def named_workspace(self) -> tuple[str, str]:
        """User and server name that the request's body names."""
        body = self.get_json_body()
        user, workspace = (
            (body.get("user"), body.get("workspace", "")) if isinstance(body, dict) else (None, "")
        )
        if not isinstance(user, str) or not user or not isinstance(workspace, str):
            raise web.HTTPError(400, 'Name a workspace: {"user": "…", "workspace": "…"}.')
        return user, workspace
