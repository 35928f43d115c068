"""Asking a running workspace, at its own address, with a token that the hub's key signed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from persistent_terminal_hub.control.errors import ApiError, not_answering
from persistent_terminal_hub.control.hub import Hub
from persistent_terminal_hub.signing_keys import KeyStore
from persistent_terminal_hub.tokens import Purpose, issue

#: What is a poll of ours is no activity of the owner's.
QUIET = "no_track_activity=1"
TOKEN_SECONDS = 60.0
SECONDS = 10.0
#: Addresses are kept so long; a workspace gets a new one only when it starts.
ADDRESS_SECONDS = 10.0


class WorkspaceLink:
    """All running workspaces."""

    def __init__(self, hub: Hub, keys: KeyStore, hub_id: str) -> None:
        self._hub = hub
        self._keys = keys
        self._hub_id = hub_id
        self._entries: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._asked = float("-inf")
        self._client = httpx.AsyncClient(
            timeout=SECONDS, limits=httpx.Limits(max_connections=200, max_keepalive_connections=20)
        )

    async def close(self) -> None:
        """Let go of all connections."""
        await self._client.aclose()

    async def ask(
        self,
        owner: str,
        name: str,
        method: str,
        path: str,
        action: str,
        *,
        actor: str,
        token: str = "",
        body: Any = None,
        seconds: float = SECONDS,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON of an answer (None for 204). Raises ApiError: the workspace's own, 409, or 503.

        With `token` the caller asks, with the caller's own rights and locked out by a lock; else the hub
        does, for `action`.
        """
        url = await self._url(owner, name, path)
        auth = self._auth(owner, name, [action], actor, token)
        try:
            answer = await self._client.request(
                method, url, headers={**(headers or {}), **auth}, json=body, timeout=seconds
            )
        except httpx.HTTPError as error:
            self.forget(owner, name)
            raise _lost(f"{owner}/{name}", error) from None
        return _result(answer, f"{owner}/{name}")

    @asynccontextmanager
    async def stream(
        self, owner: str, name: str, path: str, action: str, *, actor: str, token: str, body: Any,
        seconds: float,
    ) -> AsyncIterator[httpx.Response]:  # fmt: skip
        """An answer that comes bit by bit; `seconds` without any of it end the wait."""
        url = await self._url(owner, name, path)
        headers = self._auth(owner, name, [action], actor, token)
        try:
            async with self._client.stream(
                "POST", url, headers=headers, json=body, timeout=seconds
            ) as answer:
                if answer.status_code >= 400:
                    await answer.aread()
                    _result(answer, f"{owner}/{name}")
                yield answer
        except httpx.HTTPError as error:
            self.forget(owner, name)
            raise _lost(f"{owner}/{name}", error) from None

    def forget(self, owner: str, name: str) -> None:
        """It was started or stopped, or does not answer: ask the hub where it is the next time."""
        self._entries.pop((owner, name), None)

    async def entry(self, owner: str, name: str) -> Mapping[str, Any]:
        """What the hub says of one that runs: `address`, `container`; empty if it does not run."""
        stale = time.monotonic() - self._asked > ADDRESS_SECONDS
        if stale or (owner, name) not in self._entries:
            entries = await self._hub.running()
            self._asked = time.monotonic()
            self._entries = {
                (str(entry.get("user")), str(entry.get("workspace", ""))): entry
                for entry in entries
                if entry.get("address") and not entry.get("pending")
            }
        return self._entries.get((owner, name), {})

    async def _url(self, owner: str, name: str, path: str) -> str:
        return f"{await self._address(owner, name)}/persistent-terminals/api/{path}"

    async def _address(self, owner: str, name: str) -> str:
        entry = await self.entry(owner, name)
        if not entry:
            raise ApiError(
                409, f"The workspace {owner}/{name} does not run.", "Start it first.", reason="Not running"
            )
        return str(entry["address"]).rstrip("/")

    def _auth(
        self, owner: str, name: str, actions: Sequence[str], actor: str, own: str = ""
    ) -> dict[str, str]:
        if own:
            return {"Authorization": f"token {own}"}
        token = issue(
            self._keys.signing(),
            Purpose.STEER,
            issuer=f"hub:{self._hub_id}",
            audience=f"workspace:{owner}/{name}",
            subject="service:terminals",
            lifetime=TOKEN_SECONDS,
            claims={"actions": list(actions), "on_behalf": actor},
        )
        return {"Authorization": f"Bearer {token}"}


def _lost(workspace: str, error: httpx.HTTPError) -> ApiError:
    """Nothing reached it, or nobody knows what it did."""
    never = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    return not_answering(workspace, unknown=not never)


def _result(answer: httpx.Response, workspace: str) -> Any:
    if answer.status_code == 204:
        return None
    try:
        model = answer.json()
    except ValueError:
        raise not_answering(workspace) from None
    if answer.status_code < 300:
        return model
    # Its own mistakes are no answer, either; what it did before it made one is not known.
    if answer.status_code in (500, 502, 504) or not isinstance(model, dict):
        raise not_answering(workspace)
    raise ApiError(
        answer.status_code,
        str(model.get("message") or "The workspace refused.")[:1000],
        str(model.get("hint") or "")[:1000],
        reason=str(model.get("reason") or "")[:100],
    )
