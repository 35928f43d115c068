"""`persistent-terminals/api/elsewhere`: the owner's other workspaces, as the hub tells of them.

A page of a workspace may ask neither the hub nor another workspace. Its server asks the hub, with the token
that it has anyway, for names and states; that opens nothing.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import aiohttp
from jupyter_server.auth.decorator import authorized
from jupyter_server.utils import url_path_join
from jupyterhub.httpclient import fetch
from tornado import web

from .api import SessionsHandler
from .errors import SessionError
from .hub_reach import tls_options
from .presence import is_owner

SETTING: Final = "persistent_terminals_elsewhere"
#: Seconds that the hub has; it waits for workspaces itself.
HUB_SECONDS: Final = 6.0
#: Seconds that an answer counts, for however many pages.
FRESH_SECONDS: Final = 3.0
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
        self._seen: tuple[float, Workspaces] | None = None
        self._asking: asyncio.Task[Workspaces] | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Elsewhere | None:
        """What the spawner told; None for a server without a hub."""
        api, workspace = environ.get("JUPYTERHUB_API_URL", ""), environ.get("PTH_WORKSPACE_ID", "")
        token = environ.get("JUPYTERHUB_API_TOKEN", "")
        if not (api and workspace and token):
            return None
        url = f"{api.rstrip('/').removesuffix('/api')}/persistent-terminals/api/workspaces"
        options = tls_options(
            *(environ.get(f"JUPYTERHUB_SSL_{name}", "") for name in ("CERTFILE", "KEYFILE", "CLIENT_CA"))
        )

        async def ask() -> tuple[int, bytes]:
            headers = {"Authorization": f"token {token}"}
            async with asyncio.timeout(HUB_SECONDS):
                answer = await fetch(url, raise_for_status=False, headers=headers, **options)
                return answer.status, await answer.read()

        return cls(ask, workspace.partition("/")[2])

    async def workspaces(self) -> Workspaces:
        """The others. Raises SessionError."""
        if self._seen is not None and time.monotonic() - self._seen[0] < FRESH_SECONDS:
            return self._seen[1]
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._look())
        return await asyncio.shield(self._asking)

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
            found = others_in(body, self._own)
        except (OSError, aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
            raise SessionError(
                503,
                "The hub does not answer, so your other workspaces are not known at the moment.",
                "What runs in them goes on.",
            ) from error
        finally:
            self._asking = None
        self._seen = (time.monotonic(), found)
        return found


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
