"""What the culler asks the hub, and asks it to do.

Two questions in a cycle, whatever the number of workspaces: which ones run (answered from the hub's memory),
and which containers the hub does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from persistent_terminal_hub.culler.http import Answer, Http, NoAnswer
from persistent_terminal_hub.json_values import amount

#: The hub may be busy with a thousand starts; there is only this one question.
HUB_SECONDS = 30.0


class HubAway(Exception):
    """The hub did not answer as it should: nothing is known, nothing is done in this cycle."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace as the hub knows it."""

    user: str
    name: str  # the server name; "" for the default one
    groups: frozenset[str] = frozenset()
    address: str | None = None  # where it answers, ends with a slash; None: not known
    pending: str | None = None  # the hub is starting or stopping it

    @property
    def id(self) -> str:
        """As logs, rules and tokens name it."""
        return f"{self.user}/{self.name}"


@dataclass(frozen=True, slots=True)
class Orphan:
    """A running container that the hub does not know."""

    user: str
    name: str
    container: str
    adoptable: bool
    reason: str  # why it cannot be adopted


@dataclass(frozen=True, slots=True)
class Stopped:
    """A container that has ended and was not taken away."""

    user: str
    name: str
    groups: frozenset[str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Containers beyond the hub's records."""

    orphans: tuple[Orphan, ...] = ()
    stopped: tuple[Stopped, ...] = ()


class HubApi:
    """The hub, seen by a service with few rights."""

    def __init__(self, http: Http, api_url: str, token: str) -> None:
        self._http = http
        self._api = api_url.rstrip("/")  # …/hub/api
        self._ours = self._api.removesuffix("/api") + "/persistent-terminals/api"
        self._headers = {"Authorization": f"token {token}"}

    async def running(self) -> list[Workspace]:
        """Every workspace that runs, starts or stops. Raises HubAway."""
        model = await self._get("/running")
        entries = model.get("workspaces") if isinstance(model, dict) else None
        if not isinstance(entries, list):
            raise HubAway("The hub's list of workspaces cannot be read.")
        return [workspace for entry in entries if (workspace := _workspace(entry)) is not None]

    async def leftovers(self) -> Leftovers:
        """Orphans and stopped containers. Raises HubAway, also when Docker is away."""
        model = await self._get("/orphans")
        if not isinstance(model, dict):
            raise HubAway("The hub's list of orphans cannot be read.")
        return Leftovers(
            tuple(orphan for entry in _entries(model, "orphans") if (orphan := _orphan(entry)) is not None),
            tuple(ended for entry in _entries(model, "stopped") if (ended := _stopped(entry)) is not None),
        )

    async def adopt(self, user: str, name: str) -> Answer:
        """Ask the hub to take an orphan over."""
        return await self._post("/orphans/adopt", user, name)

    async def remove_stopped(self, user: str, name: str) -> Answer:
        """Ask the hub to take a stopped container away; the files stay."""
        return await self._post("/stopped/remove", user, name)

    async def stop(self, user: str, name: str) -> Answer:
        """Stop a workspace: 202 under way, 204 done; anything else is tried again in the next cycle."""
        server = f"servers/{quote(name, safe='')}" if name else "server"
        url = f"{self._api}/users/{quote(user, safe='')}/{server}"
        return await self._http.send("DELETE", url, headers=self._headers, seconds=HUB_SECONDS)

    async def _get(self, path: str) -> Any:
        try:
            answer = await self._http.send(
                "GET", self._ours + path, headers=self._headers, seconds=HUB_SECONDS
            )
            if not answer.ok:
                raise HubAway(f"The hub answered {answer.sentence()}")
            return answer.json()
        except NoAnswer as error:
            raise HubAway(f"The hub does not answer: {error}.") from None
        except ValueError:
            raise HubAway("The hub's answer is no JSON.") from None

    async def _post(self, path: str, user: str, name: str) -> Answer:
        body = {"user": user, "workspace": name}
        url = self._ours + path
        return await self._http.send("POST", url, headers=self._headers, body=body, seconds=HUB_SECONDS)


def _entries(model: Mapping[str, Any], key: str) -> list[Any]:
    entries = model.get(key)
    return entries if isinstance(entries, list) else []


def _names(entry: Any) -> tuple[str, str] | None:
    if not isinstance(entry, dict):
        return None
    user, name = entry.get("user"), entry.get("workspace")
    return (user, name) if isinstance(user, str) and user and isinstance(name, str) else None


def _groups(entry: Mapping[str, Any]) -> frozenset[str]:
    groups = entry.get("groups")
    found = groups if isinstance(groups, list) else []
    return frozenset(group for group in found if isinstance(group, str))


def _workspace(entry: Any) -> Workspace | None:
    names = _names(entry)
    if names is None:
        return None
    address, pending = entry.get("address"), entry.get("pending")
    return Workspace(
        *names,
        groups=_groups(entry),
        address=address if isinstance(address, str) and address.startswith("http") else None,
        pending=str(pending) if pending else None,
    )


def _orphan(entry: Any) -> Orphan | None:
    names = _names(entry)
    if names is None:
        return None
    reason = ""
    if entry.get("deleted"):
        reason = "its owner or an administrator deleted the workspace while Docker did not answer"
    elif not entry.get("userKnown"):
        reason = "the hub has no such user; let the person log in, or add the user"
    elif entry.get("paused"):
        reason = "it is paused"
    return Orphan(*names, str(entry.get("container", "")), not reason, reason)


def _stopped(entry: Any) -> Stopped | None:
    names = _names(entry)
    seconds = amount(entry.get("stoppedFor")) if names else None
    return None if names is None or seconds is None else Stopped(*names, _groups(entry), seconds)
