"""Keeps JupyterHub from ending a workspace because it did not answer for a while.

JupyterHub waits for a server with ``server.wait_up()``, at a start and for every recorded server when the
hub itself starts, and stops the server when that times out. For a container that this start did not
create, silence means "slow or frozen", and its sessions are alive. So the waiting itself is made
patient: it gives up as quietly as JupyterHub would, and the workspace stays recorded as running.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Protocol

import jupyterhub

DEFAULT_SECONDS = 10.0  # JupyterHub's
GRACE_SECONDS = 1.0
# What runs already answers soon or is stuck; until this is over its pages say "pending" at a hub's start.
RUNNING_SECONDS = 15.0


class Waiter(Protocol):
    """The part of the spawner that decides."""

    def holds_sessions(self) -> bool:
        """Whether the container may hold sessions, so that silence must not end it."""

    def note_answer(self, answers: bool) -> None:
        """Take note of whether the server answered."""


class _Silent:
    """Stands for the answer that did not come. JupyterHub reads this one header of it."""

    headers: ClassVar = {"X-JupyterHub-Version": jupyterhub.__version__}
    status = 200


def teach(server: Any, waiter: Waiter) -> None:
    """Make ``server.wait_up`` patient (once)."""
    if "wait_up" in vars(server):
        return
    original: Callable[..., Awaitable[Any]] = server.wait_up

    async def wait_up(*args: Any, **kwargs: Any) -> Any:
        # JupyterHub's own limit does not hold for a server that accepts and then says nothing.
        limit = float(kwargs.get("timeout", DEFAULT_SECONDS)) + GRACE_SECONDS
        if waiter.holds_sessions():
            limit = min(limit, RUNNING_SECONDS)
        try:
            answer = await asyncio.wait_for(original(*args, **kwargs), limit)
        except Exception:
            waiter.note_answer(False)
            if not waiter.holds_sessions():
                raise
            return _Silent()
        waiter.note_answer(True)
        return answer

    server.wait_up = wait_up
