"""The control service of a hub as one object: workspaces, sessions, operations, secrets, usage, audit log."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import Self

import httpx

from . import errors
from .control_http import PATIENCE, ControlHttp
from .hub_sessions import HubSessions
from .operations import Operations
from .place import Place, find_place
from .shapes import AuditPage, AuditRecord, Me, Resolution, Usage
from .user_secrets import UserSecrets
from .workspaces import Workspaces


class ControlService:
    """Every method raises ClientError with a sentence."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        tls: ssl.SSLContext | None = None,
        patience: float = PATIENCE,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        place = Place(url if url.endswith("/") else url + "/", token, is_hub=True)
        self._http = ControlHttp(place, tls, patience=patience, transport=transport, sleep=sleep)
        self.place = place
        self.workspaces = Workspaces(self._http)
        self.operations = Operations(self._http)
        self.sessions = HubSessions(self._http, self.workspaces)
        self.secrets = UserSecrets(self._http, self.workspaces)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def me(self) -> Me:
        """Whose token it is, and what it may see."""
        return await self._http.ask_for(Me, "GET", "me")

    async def usage(
        self, *, start: int | None = None, end: int | None = None, user: str | None = None,
        everybody: bool = False, resolution: Resolution | None = None, sessions: bool = False,
    ) -> Usage:  # fmt: skip
        """What was used between two moments (seconds since 1970; by default the last day)."""
        query: dict[str, str | int | None] = {
            "from": start, "to": end, "user": user, "all": "true" if everybody else None,
            "resolution": resolution, "sessions": "true" if sessions else None,
        }  # fmt: skip
        return await self._http.ask_for(Usage, "GET", "usage", query=query)

    async def audit(
        self, *, who: str = "", what: str = "", on: str = "", result: str = "", since: str = "",
        until: str = "", before: int | None = None, limit: int = 100,
    ) -> AuditPage:  # fmt: skip
        """A page of the audit log, the newest first (administrators and operators)."""
        query = _audit_query(who, what, on, result, since, until) | {"before": before, "limit": limit}
        return await self._http.ask_for(AuditPage, "GET", "audit", query=query)

    async def export_audit(
        self, *, who: str = "", what: str = "", on: str = "", result: str = "", since: str = "",
        until: str = "",
    ) -> AsyncGenerator[AuditRecord, None]:  # fmt: skip
        """Every record that matches, the newest first. A cut raises Unreachable."""
        query = _audit_query(who, what, on, result, since, until) | {"format": "jsonl"}
        async with self._http.stream("GET", "audit", query=query) as response:
            async for line in response.aiter_lines():
                try:
                    value = json.loads(line)
                except ValueError:
                    raise errors.Unreachable("The export was cut off.", "Ask for it again.") from None
                yield self._http.parse(AuditRecord, value)


def find_control_service(hub: str | None = None, *, tls: ssl.SSLContext | None = None) -> ControlService:
    """That of the hub which the argument or PTH_HUB_URL names; see `place.find_place` for the token."""
    place = find_place(hub=hub)
    if not place.is_hub:
        raise errors.NotConfigured("Which hub?", "Name it with --hub or in PTH_HUB_URL.")
    return ControlService(place.url, place.token, tls=tls)


def _audit_query(
    who: str, what: str, on: str, result: str, since: str, until: str
) -> dict[str, str | int | None]:
    return {"who": who, "what": what, "on": on, "result": result, "since": since, "until": until}
