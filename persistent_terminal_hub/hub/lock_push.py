"""Tells workspaces to lock, many at a time; one that does not answer is asked again for a while."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from persistent_terminal_hub.hub.unlock import HubTokens
from persistent_terminal_hub.signing_keys import KeyStoreError

log = logging.getLogger("persistent_terminal_hub")

#: Workspaces that are asked at the same time.
CONCURRENCY: Final = 20
#: A workspace that takes longer does not answer, in seconds.
TIMEOUT_SECONDS: Final = 5.0
#: How long it is asked again in the background, and the first and the longest pause, in seconds.
PATIENCE_SECONDS: Final = 600.0
FIRST_PAUSE_SECONDS: Final = 2.0
LONGEST_PAUSE_SECONDS: Final = 30.0

Result = Literal["locked", "already", "not_answering", "refused", "not_running"]

SENTENCES: Final[dict[Result, str]] = {
    "locked": "It is locked; what runs in it goes on.",
    "already": "It was locked already.",
    "not_answering": "It does not answer. The hub goes on asking, for ten minutes at most.",
    "refused": "It did not accept the order to lock; its log says why.",
    "not_running": "It does not run, so there is nothing to lock.",
}


@dataclass(frozen=True, slots=True)
class Target:
    """A workspace, and where its server listens now: None when it does not run."""

    user: str
    workspace: str
    url: Callable[[], str | None]

    @property
    def id(self) -> str:
        """As tokens name it."""
        return f"{self.user}/{self.workspace}"


class LockSender:
    """One per hub."""

    def __init__(
        self,
        tokens: HubTokens,
        *,
        concurrency: int = CONCURRENCY,
        timeout: float = TIMEOUT_SECONDS,
        patience: float = PATIENCE_SECONDS,
        first_pause: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._tokens = tokens
        self._limit = concurrency
        self._timeout = timeout
        self._patience = patience
        self._first_pause = first_pause
        self._client: SimpleAsyncHTTPClient | None = None
        self._slots: asyncio.Semaphore | None = None
        #: Workspaces that are being asked in the background.
        self.pursued: dict[str, asyncio.Task[None]] = {}

    async def lock(self, targets: Sequence[Target], reason: str) -> list[Result]:
        """Ask each once, and go on in the background for those that do not answer."""
        results = await asyncio.gather(*(self._ask(target, reason) for target in targets))
        for target, result in zip(targets, results, strict=True):
            if result == "not_answering" and target.id not in self.pursued:
                task = asyncio.get_running_loop().create_task(self._pursue(target, reason))
                self.pursued[target.id] = task
        return list(results)

    async def _ask(self, target: Target, reason: str) -> Result:
        # Made here, because there is a loop only now.
        self._slots = self._slots or asyncio.Semaphore(self._limit)
        self._client = self._client or SimpleAsyncHTTPClient(force_instance=True, max_clients=self._limit)
        async with self._slots:
            url = target.url()
            if url is None:
                return "not_running"
            request = HTTPRequest(
                url.rstrip("/") + "/persistent-terminals/api/lock",
                method="POST",
                headers={
                    "Authorization": f"Bearer {self._tokens.steer(target.user, target.workspace, 'lock')}",
                    "Content-Type": "application/json",
                },
                body=json.dumps({"reason": reason}),
                connect_timeout=self._timeout,
                request_timeout=self._timeout,
                # The token is for this server only.
                follow_redirects=False,
            )
            try:
                response = await self._client.fetch(request)
            except HTTPClientError as error:
                if error.code == 423:
                    return "already"
                # 5xx: starting, or its keeper is busy; 599: a timeout.
                return "not_answering" if error.code >= 500 else "refused"
            except OSError:
                return "not_answering"
        try:
            answer = json.loads(response.body)
        except ValueError:
            return "refused"
        if not isinstance(answer, dict) or answer.get("locked") is not True:
            return "refused"
        return "already" if answer.get("already") is True else "locked"

    async def _pursue(self, target: Target, reason: str) -> None:
        try:
            await self._ask_until(target, reason)
        finally:
            self.pursued.pop(target.id, None)

    async def _ask_until(self, target: Target, reason: str) -> None:
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self._patience, self._first_pause
        while loop.time() < deadline:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            try:
                result = await self._ask(target, reason)
            except KeyStoreError as error:
                log.error("Lock of %s: %s", target.id, error)
                continue
            if result != "not_answering":
                log.info("Lock of %s, asked again: %s", target.id, result)
                return
        log.warning("Lock of %s: it did not answer for %.0f s, given up.", target.id, self._patience)
