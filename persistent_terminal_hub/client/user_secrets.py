"""A person's secrets, by the control service. Values go there and never come back."""

from __future__ import annotations

import base64
from urllib.parse import quote

from .control_http import ControlHttp
from .shapes import SecretInfo
from .workspaces import Workspaces


class UserSecrets:
    """Those of the token's owner. `workspace`: for that one only; None: for all of them."""

    def __init__(self, http: ControlHttp, workspaces: Workspaces) -> None:
        self._http = http
        self._workspaces = workspaces

    async def list(self, *, workspace: str | None = None) -> list[SecretInfo]:
        """Names and dates."""
        answer = await self._http.ask("GET", "secrets", query=await self._scope(workspace))
        found = answer.get("secrets") if isinstance(answer, dict) else None
        return [self._http.parse(SecretInfo, item) for item in found or ()]

    async def set(self, name: str, value: str | bytes, *, workspace: str | None = None) -> None:
        """Set it, for sessions that are created from now on."""
        body = {"value": value}
        if isinstance(value, bytes):
            try:
                body = {"value": value.decode()}
            except UnicodeDecodeError:
                body = {"value": base64.b64encode(value).decode(), "encoding": "base64"}
        await self._http.ask("PUT", _item(name), body, query=await self._scope(workspace))

    async def delete(self, name: str, *, workspace: str | None = None) -> None:
        """Forget it; running sessions keep what they were started with. Raises NotFound."""
        await self._http.ask("DELETE", _item(name), query=await self._scope(workspace))

    async def _scope(self, workspace: str | None) -> dict[str, str | int | None]:
        return {"workspace": None if workspace is None else await self._workspaces.key(workspace)}


def _item(name: str) -> str:
    return f"secrets/{quote(name, safe='')}"
