"""The hub's REST API, asked with the caller's own token or with the service's.

A refusal of the hub becomes an `ApiError` with a sentence of ours; "does not answer" is never "is not there".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from persistent_terminal_hub.control.errors import ApiError, hub_away

SECONDS = 30.0
#: Users in one page of a listing.
PAGE = 200


@dataclass(frozen=True, slots=True)
class Server:
    """A server as the hub knows it."""

    owner: str
    name: str
    display_name: str = ""
    #: running, starting, stopping, stopped
    status: str = "stopped"
    url: str = ""
    started: str | None = None
    last_activity: str | None = None
    #: Only for those who may see the spawner's state.
    state: Mapping[str, Any] | None = None


class Hub:
    """The hub's API. One for the whole service."""

    def __init__(self, api_url: str, token: str) -> None:
        self._api = api_url.rstrip("/")
        self._ours = self._api.removesuffix("/api") + "/persistent-terminals/api"
        self._token = token
        self._client = httpx.AsyncClient(
            timeout=SECONDS, limits=httpx.Limits(max_connections=50, max_keepalive_connections=10)
        )

    async def close(self) -> None:
        """Let go of all connections."""
        await self._client.aclose()

    # -- users and servers -----------------------------------------------------------------------------
    async def user(self, name: str, token: str | None = None) -> dict[str, Any] | None:
        """The model of a user, stopped servers included; None if there is none."""
        path = f"/users/{_q(name)}?include_stopped_servers"
        answer = await self._send("GET", path, token, fine=(200, 404))
        return None if answer.status_code == 404 else _object(answer)

    async def servers(self, owner: str, token: str | None = None) -> list[Server]:
        """All servers of a user, the stopped named ones too; empty if there is no such user."""
        model = await self.user(owner, token)
        return [] if model is None else servers_of(model)

    async def users(self, token: str | None = None) -> list[Mapping[str, Any]]:
        """The models of all users, page by page."""
        found: list[Mapping[str, Any]] = []
        while True:
            path = f"/users?include_stopped_servers&limit={PAGE}&offset={len(found)}"
            page = _list(await self._send("GET", path, token))
            found += page
            if len(page) < PAGE:
                return found

    async def all_servers(self, token: str | None = None) -> list[Server]:
        """Everybody's."""
        return [server for model in await self.users(token) for server in servers_of(model)]

    async def server(self, owner: str, name: str, token: str | None = None) -> Server | None:
        """One server, None when the hub has no record of it (a default one has one only while it runs)."""
        return next((s for s in await self.servers(owner, token) if s.name == name), None)

    async def start(
        self, owner: str, name: str, options: Mapping[str, Any], token: str, display_name: str = ""
    ) -> bool:
        """Start it; True when it runs already or at once, False while it is starting."""
        body: dict[str, Any] = {"user_options": dict(options)}
        if display_name and name:
            body["display_name"] = display_name
        answer = await self._send("POST", _server(owner, name), token, body, fine=(201, 202, 400, 500))
        if answer.status_code == 500:
            why = _message(answer) or "the hub's log says why."
            raise ApiError(409, f"The workspace did not start: {why}", reason="Start failed")
        if answer.status_code == 400:
            # "already running" and "pending" are no failures; other refusals say why.
            message = _message(answer)
            if "is already running" in message:
                return True
            if "pending" in message:
                return False
            raise ApiError(409, f"The hub did not start the workspace: {message}")
        return answer.status_code == 201

    async def stop(self, owner: str, name: str, token: str) -> bool:
        """Stop it; True when it has stopped, False while it is stopping."""
        answer = await self._send("DELETE", _server(owner, name), token, fine=(202, 204, 404, 400))
        if answer.status_code == 400:
            raise ApiError(409, f"The hub did not stop the workspace: {_message(answer)}")
        return answer.status_code != 202

    async def remove(self, owner: str, name: str, token: str) -> bool:
        """Stop and forget a named server, container, files and all; True when that is done."""
        body = {"remove": True}
        answer = await self._send("DELETE", _server(owner, name), token, body, fine=(202, 204, 404, 400))
        if answer.status_code == 400:
            raise ApiError(409, f"The hub did not delete the workspace: {_message(answer)}")
        return answer.status_code != 202

    async def rename(self, owner: str, name: str, display_name: str, token: str) -> None:
        """Change what people read."""
        await self._send("PATCH", _server(owner, name), token, {"display_name": display_name})

    async def put(self, owner: str, name: str, options: Mapping[str, Any], token: str, display: str) -> None:
        """Make the hub's record of a named server, but do not start it. ApiError 409 if there is one."""
        body = {"display_name": display, "user_options": dict(options)}
        await self._send("PUT", _server(owner, name), token, body, fine=(200, 201, 204))

    # -- what the hub offers to services ---------------------------------------------------------------
    async def running(self) -> list[dict[str, Any]]:
        """Every workspace that runs, with its internal address; answered from the hub's memory."""
        try:
            answer = await self._client.get(self._ours + "/running", headers=self._auth(None))
        except httpx.HTTPError:
            raise hub_away() from None
        if answer.status_code != 200:
            raise hub_away()
        entries = _object(answer).get("workspaces")
        return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []

    async def logs(self, owner: str, name: str, lines: int) -> list[str]:
        """The last lines that a workspace printed, running or not. The caller's rights were looked at."""
        query = f"user={_q(owner)}&workspace={_q(name)}&lines={lines}"
        answer = await self._request("GET", f"{self._ours}/logs?{query}", None, None, (200,))
        found = _object(answer).get("lines")
        return [str(line) for line in found] if isinstance(found, list) else []

    async def ours(self, method: str, path: str, token: str | None, body: Any = None) -> Any:
        """One of our own routes below /hub/persistent-terminals/api; the answer's JSON."""
        return _object(await self._request(method, self._ours + path, token, body, (200, 202)))

    # -- sending ---------------------------------------------------------------------------------------
    def _auth(self, token: str | None) -> dict[str, str]:
        return {"Authorization": f"token {token or self._token}"}

    async def _send(
        self, method: str, path: str, token: str | None, body: Any = None, fine: tuple[int, ...] = (200,)
    ) -> httpx.Response:
        return await self._request(method, self._api + path, token, body, fine)

    async def _request(
        self, method: str, url: str, token: str | None, body: Any, fine: tuple[int, ...]
    ) -> httpx.Response:
        try:
            answer = await self._client.request(method, url, headers=self._auth(token), json=body)
        except httpx.HTTPError:
            raise hub_away() from None
        status = answer.status_code
        if status in fine:
            return answer
        if status in (401, 403):
            raise ApiError(403, "The hub does not allow this for you or for this token.", _message(answer))
        if status == 404:
            raise ApiError(404, "The hub knows no such user or workspace.")
        if status in (409, 429):
            raise ApiError(status, _message(answer) or "The hub is busy with it.", "Try again later.")
        if 400 <= status < 500:
            raise ApiError(422, f"The hub refused: {_message(answer) or status}")
        raise hub_away()


def servers_of(model: Mapping[str, Any]) -> list[Server]:
    """The servers in a user's model."""
    owner = str(model.get("name", ""))
    servers = model.get("servers")
    if not isinstance(servers, Mapping):
        return []
    return [_of(owner, entry) for entry in servers.values() if isinstance(entry, Mapping)]


def _of(owner: str, entry: Mapping[str, Any]) -> Server:
    pending = entry.get("pending")
    if pending == "stop":
        status = "stopping"
    elif pending:
        status = "starting"
    else:
        status = "running" if entry.get("ready") else "stopped"
    state = entry.get("state")
    return Server(
        owner=owner,
        name=str(entry.get("name", "")),
        display_name=str(entry.get("display_name") or ""),
        status=status,
        url=str(entry.get("url") or ""),
        started=entry.get("started") if status != "stopped" else None,
        last_activity=entry.get("last_activity"),
        state=state if isinstance(state, Mapping) else None,
    )


def _q(text: str) -> str:
    return quote(text, safe="")


def _server(owner: str, name: str) -> str:
    return f"/users/{_q(owner)}/servers/{_q(name)}" if name else f"/users/{_q(owner)}/server"


def _message(answer: httpx.Response) -> str:
    try:
        model = answer.json()
    except ValueError:
        return ""
    return str(model.get("message", ""))[:500] if isinstance(model, dict) else ""


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        model = answer.json()
    except ValueError:
        raise hub_away() from None
    if not isinstance(model, dict):
        raise hub_away()
    return model


def _list(answer: httpx.Response) -> list[Any]:
    try:
        model = answer.json()
    except ValueError:
        raise hub_away() from None
    if not isinstance(model, list):
        raise hub_away()
    return model
