"""The body of `persistent-terminal-hub lock`: lock a workspace now, without a browser."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from . import errors
from .api import _Http
from .place import find_place

FAILED = 255
#: The hub waits five seconds for each workspace, twenty at a time.
TIMEOUT = 600.0


class _Locks(_Http):
    """Asks the hub, or the workspace that this runs in."""

    async def lock(self, wish: Mapping[str, object]) -> list[dict[str, Any]]:
        """One entry for each workspace."""
        if self.place.is_hub:
            self._client.timeout = TIMEOUT
            answer = await self._request("POST", "hub/persistent-terminals/api/lock", wish)
            found = answer.get("workspaces") if isinstance(answer, dict) else None
            if not isinstance(found, list):
                raise errors.Unreachable(f"{self.place.url} answers, but not as this hub does.")
            return [item for item in found if isinstance(item, dict)]
        try:
            await self._request("POST", "persistent-terminals/api/lock", {})
        except errors.WorkspaceLocked:
            return [{"workspace": "", "result": "already", "message": "It was locked already."}]
        return [{"workspace": "", "result": "locked", "message": "It is locked; what runs in it goes on."}]


def run(target: str | None, *, all_: bool, hub: str | None) -> int:
    """Run the command: 0 when all are locked, 1 when some do not answer yet, 255 when it failed."""
    try:
        place = find_place(hub=hub)
        wish = wish_of(target, all_)
        if not place.is_hub and wish:
            raise errors.NotConfigured(
                "Only the hub can lock other workspaces.", "Name it with --hub or in PTH_HUB_URL."
            )
        if place.exposed:
            print("warning: The token crosses the network unencrypted (http).", file=sys.stderr)
        return asyncio.run(_run(_Locks(place), wish))
    except errors.ClientError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130


def wish_of(target: str | None, all_: bool) -> dict[str, object]:
    """What is asked of the hub: `lab` is mine, `alice/lab` hers, `alice/` her default workspace."""
    if target is None:
        return {"all": True} if all_ else {}
    user, slash, workspace = target.rpartition("/")
    if slash and (not user or "/" in user):
        raise errors.NotConfigured(f"{target!r} names no workspace.", "Write USER/WORKSPACE, or USER/.")
    if all_:
        if workspace:
            raise errors.NotConfigured("--all takes USER/ and no workspace.", "Leave one of them out.")
        return {"all": True, "user": user}
    return {"workspace": workspace, "user": user} if slash else {"workspace": workspace}


async def _run(locks: _Locks, wish: Mapping[str, object]) -> int:
    async with locks:
        done = await locks.lock(wish)
    if not done:
        print("No workspace runs, so there was nothing to lock.", file=sys.stderr)
    for item in done:
        label = f"{item.get('user', '')}/{item.get('workspace', '')}" if "user" in item else "This workspace"
        line = f"{label}: {item.get('message', '')}"
        # What others wrote must not drive this terminal.
        print("".join(char if char.isprintable() else "?" for char in line))
    return int(any(item.get("result") not in ("locked", "already", "not_running") for item in done))
