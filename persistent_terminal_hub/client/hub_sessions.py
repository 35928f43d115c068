"""Sessions of all workspaces at once, by the control service; also those of workspaces that do not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

from .control_http import ControlHttp
from .shapes import CreatedSession, SessionDetails
from .workspaces import Workspaces

SessionState = Literal["active", "dormant", "locked", "ended"]


class HubSessions:
    """Those that the token may see. `session` is an id as `list` gives it: `<workspace id>.<session id>`."""

    def __init__(self, http: ControlHttp, workspaces: Workspaces) -> None:
        self._http = http
        self._workspaces = workspaces

    async def list(
        self, *, workspace: str | None = None, owner: str | None = None, state: SessionState | None = None
    ) -> list[SessionDetails]:
        """All, or those of one workspace or owner."""
        key = None if workspace is None else await self._workspaces.key(workspace)
        query = {"workspace": key, "owner": owner, "state": state}
        answer = await self._http.ask("GET", "sessions", query=query)
        found = answer.get("sessions") if isinstance(answer, dict) else None
        return [self._http.parse(SessionDetails, item) for item in found or ()]

    async def get(self, session: str) -> SessionDetails:
        """One of them."""
        return await self._http.ask_for(SessionDetails, "GET", _item(session))

    async def create(
        self, workspace: str, name: str | None = None, *, argv: Sequence[str] | None = None,
        cwd: str | None = None, env: Mapping[str, str] | None = None, cols: int | None = None,
        rows: int | None = None,
    ) -> CreatedSession:  # fmt: skip
        """Start one in a workspace that runs; without `argv` it is a shell."""
        wishes: dict[str, Any] = {
            "workspace": await self._workspaces.key(workspace), "name": name,
            "argv": list(argv) if argv else None, "cwd": cwd, "env": dict(env) if env else None,
            "cols": cols, "rows": rows,
        }  # fmt: skip
        body = {name: value for name, value in wishes.items() if value is not None}
        return await self._http.ask_for(CreatedSession, "POST", "sessions", body)

    async def rename(self, session: str, name: str) -> SessionDetails:
        """Give it another name; attached clients stay."""
        return await self._http.ask_for(SessionDetails, "PATCH", _item(session), {"name": name})

    async def end(self, session: str) -> None:
        """End it; forget it, if it has ended."""
        await self._http.ask("DELETE", _item(session))


def _item(session: str) -> str:
    return f"sessions/{quote(session, safe='')}"
