"""For sites that run jupyterhub-idle-culler: an arbiter that asks the workspace itself.

In the configuration file of idle-culler (version 2.0 or newer):

    from persistent_terminal_hub.culler.arbiter import Arbiter

    c.IdleCuller.cull_arbiter_hook = Arbiter.from_environment()

It answers yes only for a workspace whose facts were had, that no job keeps busy, where nobody is connected,
and whose owner was absent for idle-culler's own time-out. The hook cannot veto `max_age`: idle-culler stops a
server of that age whatever an arbiter says, so leave its `max_age` at 0. Nor is anybody warned by this:
idle-culler has no such step. The service `culler` of this project does both; do not run the two together.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from persistent_terminal_hub.culler.http import Http
from persistent_terminal_hub.culler.hub_api import HubApi, HubAway, Workspace
from persistent_terminal_hub.culler.workspaces import Workspaces
from persistent_terminal_hub.policy import WorkspaceFacts

#: idle-culler asks about each server in turn; the hub's list is asked for once in this time.
LIST_SECONDS = 5.0


def may_stop(facts: WorkspaceFacts, limit: float) -> bool:
    """Whether these facts allow a stop after `limit` seconds without the owner (pure)."""
    if facts.state != "running" or facts.busy or any(session.busy for session in facts.sessions):
        return False
    if facts.since_busy is not None and facts.since_busy < limit:
        return False
    connected = facts.since_connected <= 0 or any(session.attached for session in facts.sessions)
    absent = min(facts.since_presence, facts.since_connected, facts.age)
    return not connected and absent >= limit


class Arbiter:
    """`cull_arbiter_hook` of jupyterhub-idle-culler, which awaits it once for each server."""

    def __init__(self, hub: HubApi, workspaces: Workspaces) -> None:
        self._hub = hub
        self._workspaces = workspaces
        self._listed: dict[str, Workspace] = {}
        self._listed_at = -LIST_SECONDS

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Arbiter:
        """With the settings (`PTH_CONFIG`), `PTH_HUB_ID` and the hub's address and token of this service.

        The service's role needs the scope `custom:persistent-terminals:cull` besides those of idle-culler.
        """
        from persistent_terminal_hub.culler.app import key_store, signer
        from persistent_terminal_hub.services import place_of
        from persistent_terminal_hub.settings import load_settings

        place = place_of(os.environ if environ is None else environ, "culler")
        settings = load_settings()
        http = Http(settings.culler.concurrency)
        sign = signer(key_store(settings), place.hub_id)
        seconds = float(settings.culler.timeout_seconds)
        return cls(HubApi(http, place.api_url, place.api_token), Workspaces(http, sign, seconds))

    async def __call__(
        self, *, inactive: timedelta | None, inactive_limit: float, server: Mapping[str, Any], **_: Any
    ) -> bool:
        """Whether idle-culler may stop this server. What is not known, it may not."""
        workspace = await self._find(str(server.get("full_name", "")))
        if workspace is None:
            return False
        return may_stop((await self._workspaces.look(workspace)).facts, float(inactive_limit))

    async def _find(self, full_name: str) -> Workspace | None:
        if time.monotonic() - self._listed_at >= LIST_SECONDS:
            try:
                self._listed = {workspace.id: workspace for workspace in await self._hub.running()}
            except HubAway:
                self._listed = {}
            self._listed_at = time.monotonic()
        return self._listed.get(full_name)
