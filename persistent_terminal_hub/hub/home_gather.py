"""Asks a person's running workspaces what they are doing, all at once, and waits for none of them.

One answer serves every page that asks within the next seconds. A workspace that does not answer in time goes
on being asked: its answer is there for the page's next look.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from persistent_terminal_hub.hub.home_words import BadFacts, Told, Usage, told_of
from persistent_terminal_hub.hub.lock_push import Target
from persistent_terminal_hub.hub.unlock import HubTokens
from persistent_terminal_hub.json_values import amount
from persistent_terminal_hub.signing_keys import KeyStoreError

log = logging.getLogger("persistent_terminal_hub")

#: Requests to workspaces at the same time, of all people.
CONCURRENCY: Final = 40
#: A workspace that takes longer does not answer, in seconds.
TIMEOUT_SECONDS: Final = 5.0
#: An answer counts for so long, in seconds; also that there was none.
FRESH_SECONDS: Final = 2.0
#: Bytes of an answer: ten thousand sessions fit.
MOST_BYTES: Final = 8 * 1024 * 1024
#: CPU time is told for spans from the first to the second, in seconds.
SPAN_SECONDS: Final = (1.0, 120.0)
#: Workspaces that nobody asked about for so long are forgotten, in seconds.
FORGET_SECONDS: Final = 600.0

_Sample = tuple[float, float, float]  # when (monotonic), CPU seconds, which start of the workspace


@dataclass(slots=True)
class _Entry:
    told: Told | None = None
    at: float = float("-inf")
    asking: asyncio.Task[None] | None = None
    sample: _Sample | None = None


class HomeGather:
    """One per hub."""

    def __init__(self, tokens: HubTokens, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self._tokens = tokens
        self._timeout = timeout
        self._client: SimpleAsyncHTTPClient | None = None
        self._entries: dict[str, _Entry] = {}

    async def ask(self, targets: Sequence[Target], patience: float) -> dict[str, tuple[Told | None, bool]]:
        """By workspace name: its answer, and whether it had its time. Returns after `patience` seconds."""
        now = time.monotonic()
        self._forget(now)
        entries = {target.workspace: self._entries.setdefault(target.id, _Entry()) for target in targets}
        for target in targets:
            entry = entries[target.workspace]
            if entry.asking is None and now - entry.at > FRESH_SECONDS:
                entry.asking = asyncio.get_running_loop().create_task(self._update(target, entry))
        waiting = [entry.asking for entry in entries.values() if entry.asking is not None]
        if waiting:
            await asyncio.wait(waiting, timeout=patience)
        # One that answered before and is asked again shows its last answer for as long as it has time.
        return {name: (entry.told, entry.at >= 0 and entry.asking is None) for name, entry in entries.items()}

    def forget(self, target: Target) -> None:
        """It was stopped or changed: what it said is void."""
        self._entries.pop(target.id, None)

    def _forget(self, now: float) -> None:
        for identity, entry in list(self._entries.items()):
            if entry.asking is None and now - entry.at > FORGET_SECONDS:
                del self._entries[identity]

    async def _update(self, target: Target, entry: _Entry) -> None:
        try:
            entry.told = await self._told(target, entry)
        except (HTTPClientError, OSError, ValueError, RecursionError) as error:  # BadFacts is a ValueError
            log.debug("%s did not tell how it is: %s", target.id, type(error).__name__)
            entry.told = None
        except KeyStoreError as error:
            log.error("No workspace can be asked: %s", error)
            entry.told = None
        finally:
            entry.at, entry.asking = time.monotonic(), None

    async def _told(self, target: Target, entry: _Entry) -> Told | None:
        url = target.url()
        if url is None:
            return None
        token = self._tokens.steer(target.user, target.workspace, "facts", "usage")
        facts, usage = await asyncio.gather(
            self._get(url, "facts", token), self._get(url, "usage", token), return_exceptions=True
        )
        if isinstance(facts, BaseException):
            raise facts
        told = told_of(json.loads(facts.body), time.monotonic())
        if isinstance(usage, BaseException):  # an older one has no such route
            return told
        try:
            found, entry.sample = usage_of(json.loads(usage.body), entry.sample, time.monotonic())
        except ValueError:
            return told
        return replace(told, usage=found)

    async def _get(self, url: str, path: str, token: str) -> HTTPResponse:
        # Made here, because there is a loop only now.
        self._client = self._client or SimpleAsyncHTTPClient(
            force_instance=True, max_clients=CONCURRENCY, max_body_size=MOST_BYTES
        )
        request = HTTPRequest(
            f"{url.rstrip('/')}/persistent-terminals/api/{path}?no_track_activity=1",
            headers={"Authorization": f"Bearer {token}"},
            connect_timeout=self._timeout,
            request_timeout=self._timeout,
            # The token is for this server only.
            follow_redirects=False,
        )
        return await self._client.fetch(request)


def usage_of(model: object, before: _Sample | None, now: float) -> tuple[Usage, _Sample | None]:
    """From the answer of `api/usage`: counters become a rate by what they were before. Raises ValueError."""
    if not isinstance(model, Mapping):
        raise BadFacts("the usage must be an object")
    figures: dict[str, Any] = {name: amount(model.get(name)) for name in _FIGURES}
    cpu, life = figures["cpuSeconds"], figures["life"] or 0.0
    sample, cpus = (None if cpu is None else (now, cpu, life)), None
    if before is not None and sample is not None and before[2] == life and cpu is not None:
        passed = now - before[0]
        if passed < SPAN_SECONDS[0]:
            sample = before
        elif passed <= SPAN_SECONDS[1] and cpu >= before[1]:
            cpus = (cpu - before[1]) / passed
    return (
        Usage(
            cpus=cpus,
            memory=figures["memoryBytes"],
            memory_limit=figures["memoryLimitBytes"],
            disk=figures["diskBytes"],
            disk_quota=figures["diskQuotaBytes"],
        ),
        sample,
    )


_FIGURES = ("cpuSeconds", "memoryBytes", "memoryLimitBytes", "diskBytes", "diskQuotaBytes", "life")
