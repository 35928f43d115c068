"""A stop that failed is answered as one.

JupyterHub swallows what a spawner's `stop` raises: its API answers 204, "stopped", although the Docker Engine
did not answer and the workspace runs on; with `remove` it then tries to delete the workspace, and deleting a
user goes on to delete the password first. Our routes come before JupyterHub's own of the same address and
differ in one point: after the stop they look whether it was one.
"""

from __future__ import annotations

from typing import Any

from jupyterhub.apihandlers.users import UserAPIHandler, UserServerAPIHandler
from jupyterhub.handlers.base import BaseHandler


class HonestStop(BaseHandler):
    """Mixin of a JupyterHub handler that stops workspaces."""

    async def stop_single_user(self, user: Any, server_name: str = "") -> Any:
        """Called by JupyterHub's handlers; raises the spawner's own `WorkspaceProblem`.

        A stop that takes longer than JupyterHub waits (`slow_stop_timeout`, 10 s) is answered with 202;
        whoever wants to know how it ended asks whether the workspace is still there.
        """
        spawner = user.spawners[server_name]
        future = await super().stop_single_user(user, server_name)
        problem = getattr(spawner, "stop_failure", None)
        if future.done() and problem is not None:
            raise problem
        return future


class ServerHandler(HonestStop, UserServerAPIHandler):
    """`/hub/api/users/USER/server` and `…/servers/NAME`."""


class UserHandler(HonestStop, UserAPIHandler):
    """`/hub/api/users/USER`: who cannot be stopped is not deleted."""


def stop_handlers() -> list[tuple[str, type]]:
    """Called by `get_handlers` at the hub's start."""
    return [
        (r"/api/users/([^/]+)/server", ServerHandler),
        (r"/api/users/([^/]+)/servers/([^/]*)", ServerHandler),
        (r"/api/users/([^/]+)", UserHandler),
    ]
