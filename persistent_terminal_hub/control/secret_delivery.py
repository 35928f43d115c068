"""Brings secrets to running workspaces: after a change, after each start of a workspace, and when in doubt.

A workspace says which state of its owner's secrets it has (a version that tells nothing of a value); it gets
them when that is another one than ours. So nothing has to be remembered here: a service that was killed, a
second instance, or a container that was started behind the hub's back come out right.

The `env` that a workspace was given goes the same way: all of its sessions have it, whoever makes them.

No workspace waits for this. One that starts while the service is away has no secrets until it is back.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.hub import Hub
from persistent_terminal_hub.control.secrets import SecretStore
from persistent_terminal_hub.control.workspace_link import WorkspaceLink
from persistent_terminal_hub.repeating import Repeating
from persistent_terminal_hub.sealing import SealingError

log = logging.getLogger(__name__)

PATH = "secrets"
ACTOR = "service:terminals"
#: Seconds between two looks at what runs.
LOOK_SECONDS = 3.0
#: A workspace that has what it should is asked again after so long: its container may have been restarted.
AGAIN_SECONDS = 60.0
#: After a failure: doubled from the first to the last.
FIRST_WAIT, LAST_WAIT = 2.0, 120.0
AT_ONCE = 20
SECONDS = 10.0

Place = tuple[str, str]
Blocking = Callable[..., Awaitable[Any]]


class _Known:
    """What we know of a running workspace; only to ask it less often."""

    def __init__(self, start: tuple[object, ...]) -> None:
        self.start = start
        self.version: str | None = None
        self.next = 0.0
        self.wait = FIRST_WAIT


class SecretDelivery:
    """See the module. `blocking` takes a call to a thread."""

    def __init__(
        self, hub: Hub, workspaces: WorkspaceLink, store: SecretStore, blocking: Blocking,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._hub = hub
        self._workspaces = workspaces
        self._store = store
        self._blocking = blocking
        self._clock = clock
        self._known: dict[Place, _Known] = {}
        self._looking = Repeating(
            "Looking after the secrets",
            self.look,
            lambda: LOOK_SECONDS * random.uniform(0.8, 1.2),  # noqa: S311  (jitter)
            quiet=(ApiError,),  # the hub is away; what runs has what it has
        )
        self._limit = asyncio.Semaphore(AT_ONCE)

    def start(self) -> None:
        """Begin to look after all workspaces."""
        self._looking.start()

    async def close(self) -> None:
        """End."""
        await self._looking.close()

    def changed(self, owner: str) -> None:
        """The secrets of a user changed: bring them at once to what runs."""
        for place, known in self._known.items():
            if place[0] == owner:
                known.next, known.wait = 0.0, FIRST_WAIT
        self._looking.wake()

    async def ensure(self, owner: str, name: str) -> bool:
        """Before a session is created for its owner: whether the workspace has the secrets as they are now.

        Never raises for a workspace or a key source that does not answer: the session is wanted anyway.
        """
        try:
            await self._deliver((owner, name), None)
        except (ApiError, SealingError) as error:
            log.warning("The secrets of %s were not brought to %s/%s: %s", owner, owner, name, error)
            return False
        return True

    async def look(self) -> None:
        """Bring secrets wherever they are due. Raises ApiError when the hub does not answer."""
        running = {
            _place(entry): (entry["address"], entry.get("started"))
            for entry in await self._hub.running()
            if entry.get("address") and not entry.get("pending")
        }
        for place in self._known.keys() - running.keys():
            del self._known[place]
        for place, start in running.items():
            if place not in self._known or self._known[place].start != start:
                self._known[place] = _Known(start)
                self._workspaces.forget(*place)
        versions = await self._blocking(self._store.versions, list(running))
        due = [
            place for place, known in self._known.items() if _is_due(known, versions[place], self._clock())
        ]
        await asyncio.gather(*(self._try(place, versions[place]) for place in due))

    async def _try(self, place: Place, version: str) -> None:
        known = self._known[place]
        async with self._limit:
            try:
                known.version = await self._deliver(place, version)
            except (ApiError, SealingError) as error:
                if known.wait == FIRST_WAIT:
                    log.warning("The secrets of %s/%s are brought later: %s", *place, error)
                known.next = self._clock() + known.wait * random.uniform(0.8, 1.2)  # noqa: S311  (jitter)
                known.wait = min(known.wait * 2, LAST_WAIT)
                return
        known.wait = FIRST_WAIT
        known.next = self._clock() + AGAIN_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311  (jitter)

    async def _deliver(self, place: Place, version: str | None) -> str:
        """Bring what the workspace does not have; the version that it has now."""
        owner, name = place
        if version is None:
            version = (await self._blocking(self._store.versions, [place]))[place]
        has = await self._ask("GET", place, None)
        if has.get("version") == version:
            return version
        bundle = await self._blocking(self._store.bundle, owner, name)
        values = {key: base64.b64encode(value).decode() for key, value in bundle.values.items()}
        body = {"version": bundle.version, "secrets": values}
        # A server of an older image knows no `env`; sessions that are made by the API have it all the same.
        if "env" in has:
            body["env"] = dict(bundle.env)
        has = await self._ask("PUT", place, body)
        log.info("%d secrets were brought to %s/%s.", len(values), owner, name)
        return str(has.get("version", ""))

    async def _ask(self, method: str, place: Place, body: Any) -> dict[str, Any]:
        answer = await self._workspaces.ask(
            *place, method, PATH, "secrets", actor=ACTOR, body=body, seconds=SECONDS
        )
        return answer if isinstance(answer, dict) else {}


def _is_due(known: _Known, wanted: str, now: float) -> bool:
    failed = known.wait > FIRST_WAIT
    if known.version != wanted and not failed:
        return True
    # Who has no secrets needs no second look.
    return now >= known.next and bool(wanted or known.version != wanted)


def _place(entry: Mapping[str, Any]) -> Place:
    return str(entry.get("user")), str(entry.get("workspace", ""))
