"""`persistent-terminals/api/elsewhere`: the owner's other workspaces, as the hub tells of them.

A page of a workspace may ask neither the hub nor another workspace. Its server asks the hub, with the token
that it has anyway, for names and states; that opens nothing.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

import aiohttp
from jupyter_server.auth.decorator import authorized
from jupyter_server.utils import url_path_join
from tornado import web

from .api import SessionsHandler
from .errors import SessionError
from .hub_http import Lately, ask_hub, hub_url
from .presence import is_owner

SETTING: Final = "persistent_terminals_elsewhere"
#: Seconds that the hub has; it waits for workspaces itself.
HUB_SECONDS: Final = 6.0
#: Seconds that an answer counts, for however many pages.
FRESH_SECONDS: Final = 3.0
#: Bytes of an answer: ten thousand sessions fit.
MOST_BYTES: Final = 8 * 1024 * 1024
_TEXTS: Final = ("name", "title", "url", "state", "badge", "summary")
_SESSION_TEXTS: Final = ("id", "name", "state", "text")

Workspaces = list[dict[str, Any]]


def others_in(answer: bytes, own: str) -> Workspaces:
    """All workspaces of the hub's answer but the one named `own`. Raises ValueError."""
    model = json.loads(answer)
    found = model.get("workspaces") if isinstance(model, dict) else None
    if not isinstance(found, list):
        raise ValueError("no list of workspaces")  # noqa: TRY004 - not the caller's mistake
    return [
        _texts(each, _TEXTS) | {"sessions": [_texts(one, _SESSION_TEXTS) for one in _list(each, "sessions")]}
        for each in found
        if isinstance(each, Mapping) and each.get("name") != own
    ]


def _texts(model: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: str(model.get(name) or "") for name in names}


def _list(model: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = model.get(name)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


class Elsewhere:
    """Asks the hub at most once in FRESH_SECONDS."""

    def __init__(self, ask: Callable[[], Awaitable[tuple[int, bytes]]], own: str) -> None:
        """`ask` gives status and body; it may raise OSError, TimeoutError, aiohttp.ClientError."""
        self._ask = ask
        self._own = own
        #: The others. Raises SessionError.
        self.workspaces = Lately(self._look, FRESH_SECONDS).get

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Elsewhere | None:
        """What the spawner told; None for a server without a hub."""
        names = ("JUPYTERHUB_API_URL", "PTH_WORKSPACE_ID", "JUPYTERHUB_API_TOKEN")
        api, workspace, token = (environ.get(name, "") for name in names)
        if not (api and workspace and token):
            return None
        url = hub_url(api, "api/workspaces")
        ask = partial(ask_hub, url, seconds=HUB_SECONDS, most=MOST_BYTES, token=token)
        return cls(ask, workspace.partition("/")[2])

    async def _look(self) -> Workspaces:
        try:
            status, body = await self._ask()
            if status in (403, 404):
                raise SessionError(
                    503,
                    "The hub does not tell of your other workspaces.",
                    "It may be older than this workspace; its home page shows them.",
                )
            if status != 200:
                raise ValueError(f"status {status}")
            return others_in(body, self._own)
        except (OSError, aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
            raise SessionError(
                503,
                "The hub does not answer, so your other workspaces are not known at the moment.",
                "What runs in them goes on.",
            ) from error


class ElsewhereHandler(SessionsHandler):
    """For the owner only: whom the workspace is shared with has no business in the others."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The list."""
        if not is_owner(self.current_user):
            raise SessionError(403, "The other workspaces are their owner's business.")
        elsewhere: Elsewhere | None = self.settings.get(SETTING)
        if elsewhere is None:
            raise SessionError(404, "This server belongs to no hub, so there are no other workspaces.")
        self.set_header("Cache-Control", "no-store")
        self.finish({"workspaces": await elsewhere.workspaces()})


def handlers(base_url: str) -> list[tuple[str, type[ElsewhereHandler]]]:
    """The route under the server's base URL."""
    return [(url_path_join(base_url, "/persistent-terminals/api/elsewhere"), ElsewhereHandler)]
