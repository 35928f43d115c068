"""JupyterHub's record of a running workspace, made to last as long as the workspace does.

JupyterHub forgets a server whenever stopping it was tried, and stops it whenever it did not answer in
time. Both are wrong for a container that holds sessions. This mixin stands between the two: it makes the
waiting patient, and it keeps the record when `stop` could not or would not stop the container.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

from dockerspawner import DockerSpawner
from jupyterhub.spawner import Spawner

from persistent_terminal_hub.hub.patience import teach

# JupyterHub drops the spawner shortly after `stop` raised; then its successor takes over the polling.
SUCCESSION_SECONDS = 1.0


@dataclass
class Attempt:
    """One call of `start`."""

    adopted: bool = False
    container: str | None = None  # created by this attempt
    network: str | None = None  # created by this attempt
    finished: bool = False
    failed: bool = False


class DurableRecord(DockerSpawner):
    """A spawner whose record is given up only when its container is known to be stopped."""

    _attempt: Attempt | None = None
    _answers = True
    _started_at = ""  # the run of the container that has our secrets, as Docker names it
    _delivered = ""  # the mark of their delivery
    _keep_record = False
    _kept_started: Any = None
    stop_failure: Exception | None = None  # of the last stop; the routes that stop raise it (`honest_stop`)
    _callbacks: list[Any]  # made by JupyterHub's Spawner

    @property
    def answering(self) -> bool:
        """Whether the server answered when it was last asked; the home page says it when it did not."""
        return self._answers

    # -- the answer that does not come -----------------------------------------------------------------
    def holds_sessions(self) -> bool:
        """Whether silence must not end the container: it was there before this start, or before this hub."""
        return self._attempt is None or self._attempt.adopted

    def note_answer(self, answers: bool) -> None:
        """Take note of whether the server answers, for the state that administrators see."""
        if self._answers and not answers and self.holds_sessions():
            self.log.warning("%s does not answer. It is left alone and recorded as running.", self._log_name)
        self._answers = answers

    @property
    def server(self) -> Any:
        """The address of the server, waiting for which is patient (see `patience`)."""
        server = Spawner.server.fget(self)
        if server is not None:
            teach(server, self)
        return server

    @server.setter
    def server(self, server: Any) -> None:
        if server is None and self._keep_record:
            return  # `stop` failed or refused: it still runs, and JupyterHub must not forget it
        Spawner.server.fset(self, server)

    def _keep(self, failure: Exception) -> Exception:
        """Make JupyterHub's bookkeeping after `stop` leave this workspace recorded as running."""
        self._keep_record = True
        self.stop_failure = failure
        self._kept_started = self.orm_spawner.started
        return failure

    def clear_state(self) -> None:
        """Forget the container, unless it is still there."""
        if self._keep_record:
            self._keep_record = False
            self.orm_spawner.started = self._kept_started
            asyncio.get_running_loop().create_task(self._hand_over())
            return
        super().clear_state()
        self._started_at = self._delivered = ""
        self._answers = True

    async def _hand_over(self) -> None:
        """JupyterHub has dropped this spawner: let the one that follows watch the container."""
        await asyncio.sleep(SUCCESSION_SECONDS)
        successor = self.user.spawners[self.name]
        if successor is not self:
            successor._callbacks, self._callbacks = self._callbacks, []
            successor._attempt = None
        if successor.server is not None and not successor._poll_callback:
            successor.start_polling()
        if not successor.ready:
            return
        # The stop began by taking the route away; by itself the hub would miss it only minutes later.
        # With the proxy away as well, whoever starts it anew has all routes given back.
        with contextlib.suppress(Exception):
            await self.user.settings["proxy"].add_user(self.user, self.name)
