"""Puts the lock in front of a server: where it is held, who may open it, where its page leads."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from .hub_keys import SETTING as HUB_KEYS
from .hub_keys import HubKeys
from .hub_reach import HubReach, hub_of
from .keeper_link import Change, KeeperGone, KeeperLink
from .lock import Gate
from .lock_answers import REACH, LockedSocket, Refused
from .lock_page import Place
from .lock_routes import TOKENS, LockRoutes
from .lock_rules import ROOT, LockState, clean_reason
from .lock_tokens import HubTokens
from .revalidate import revalidate
from .unlock_request import UnlockRequest


class LinkedKeeper:
    """The keeper's lock over the server's connection to it."""

    def __init__(self, link: KeeperLink) -> None:
        self._link = link
        self._request = UnlockRequest(Path(link.path).parent)

    def follow(self, changed: Callable[[LockState | None], None]) -> None:
        """See `lock.LockKeeper`."""

        def on_change(change: Change) -> None:
            if change.kind == "disconnected":
                changed(None)
            elif change.kind in ("lock", "connected"):
                changed(self._state())

        self._link.on_change(on_change)
        if self._link.connected:
            changed(self._state())

    async def lock(self, reason: str) -> LockState:
        """See `lock.LockKeeper`."""
        await self._link.lock_now(reason)
        return self._state() or LockState(True)

    async def ask(self, text: str) -> LockState:
        """See `lock.LockKeeper`."""
        view = self._link.lock
        if view is None:
            raise KeeperGone("Whether the workspace is locked is not known.")
        if view.locked:
            self._request.make(view.generation, text)
        return self._state() or LockState(True)

    async def unlock(self, token_id: str, expires: float) -> LockState:
        """See `lock.LockKeeper`."""
        await self._link.unlock(token_id, expires)
        return self._state() or LockState(True)

    def _state(self) -> LockState | None:
        view = self._link.lock
        if view is None:
            return None
        asked = self._request.of(view.generation) if view.locked else ""
        return LockState(view.locked, view.since, clean_reason(view.reason), view.generation, asked)


def place_of(base_url: str, environment: Mapping[str, str]) -> Place:
    """Whose page, and the hub's path for its links."""
    hub = environment.get("PTH_HUB_PUBLIC_PATH", "")
    if not hub and environment.get("JUPYTERHUB_BASE_URL"):
        hub = environment["JUPYTERHUB_BASE_URL"].rstrip("/") + "/hub/"
    # With a domain for each user the hub has one of its own.
    host = environment.get("JUPYTERHUB_HOST", "").rstrip("/") if hub.startswith("/") else ""
    base = "/" + base_url.strip("/") + "/" if base_url.strip("/") else "/"
    return Place(environment.get("PTH_WORKSPACE_ID", ""), base, host + hub)


class NoKeeper:
    """There is a lock, but no way to ask for it: the server stays shut."""

    def follow(self, changed: Callable[[LockState | None], None]) -> None:
        """Nothing will ever be known."""

    async def lock(self, reason: str) -> LockState:
        """No."""
        raise KeeperGone("There is no connection to the keeper.")

    async def ask(self, text: str) -> LockState:
        """No."""
        raise KeeperGone("There is no connection to the keeper.")

    async def unlock(self, token_id: str, expires: float) -> LockState:
        """No."""
        raise KeeperGone("There is no connection to the keeper.")


def set_up(serverapp: Any, link: KeeperLink | None) -> Gate:
    """Install the gate; where there is no workspace of a hub it is always open. Before the server listens."""
    settings = serverapp.web_app.settings
    place = place_of(settings["base_url"], os.environ)
    tokens: HubTokens | None = None

    async def steered(request: HTTPServerRequest, handler: type[RequestHandler]) -> bool:
        action = getattr(handler, "steer_action", None)
        return tokens is not None and isinstance(action, str) and await tokens.steers(request, action)

    keeper = None if not place.workspace else NoKeeper() if link is None else LinkedKeeper(link)
    routes = LockRoutes(place.base_url)
    gate = routes.gate = Gate(
        serverapp.web_app,
        place,
        keeper,
        refuse=Refused,
        shut_socket=(place.base_url + ROOT + "ws/", LockedSocket),
        routes=routes,
        steered=steered,
    )
    # First of all: should anything below fail, Jupyter would go on without it.
    gate.install()
    serverapp.io_loop.add_callback(gate.start)
    revalidate(serverapp.web_app, place.base_url)
    if place.workspace:
        owner = os.environ.get("JUPYTERHUB_USER") or place.workspace.rpartition("/")[0]
        keys = settings.get(HUB_KEYS)
        if isinstance(keys, HubKeys):
            tokens = settings[TOKENS] = HubTokens(keys, owner)
        settings[REACH] = _reach(os.environ.get("JUPYTERHUB_API_URL", ""))
    return gate


def _reach(api: str) -> HubReach | None:
    return HubReach(hub_of(api)) if api else None
