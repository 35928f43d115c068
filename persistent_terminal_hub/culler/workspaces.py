"""Asking a workspace how it is, and telling it what to do, over HTTP with a token that the hub's key signed.

"I cannot reach it" is a state of its own and never idleness: each way of not answering has a name, for the
log, and leads to nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol
from urllib.parse import quote

from persistent_terminal_hub.culler.http import Answer, Http, NoAnswer
from persistent_terminal_hub.culler.hub_api import Workspace
from persistent_terminal_hub.policy import Rules, WorkspaceFacts
from persistent_terminal_hub.workspace_facts import BadFacts, facts_of

#: How long a token is good for; one is signed for each request.
TOKEN_SECONDS = 60.0

Why = Literal[
    "", "pending", "no address", "timeout", "refused", "broken", "locked", "busy", "denied", "unreadable"
]

#: What an HTTP status of the facts route means.
_REFUSALS: dict[int, Why] = {
    401: "denied",
    403: "denied",
    423: "locked",
    429: "busy",
    502: "busy",
    503: "busy",
}


class Sign(Protocol):
    """Makes a `steer` token for one workspace."""

    def __call__(self, workspace_id: str, actions: Sequence[str]) -> str:
        """A token that allows `actions` there for `TOKEN_SECONDS`."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was found out about a workspace. `why` is empty when it answered."""

    facts: WorkspaceFacts
    rules_hash: str = ""
    why: Why = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What a workspace said to a request."""

    ok: bool
    detail: str = ""


class Workspaces:
    """All workspaces, each asked directly at its own address."""

    def __init__(
        self, http: Http, sign: Sign, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._http = http
        self._sign = sign
        self._seconds = seconds
        self._clock = clock

    async def look(self, workspace: Workspace) -> Look:
        """Its facts. They count as taken when the question was sent: the answer can only be younger."""
        taken = self._clock()
        if workspace.pending:
            return Look(
                WorkspaceFacts(taken, "pending"), why="pending", detail=f"pending {workspace.pending}"
            )
        if workspace.address is None:
            return Look(
                WorkspaceFacts(taken, "unreachable"), why="no address", detail="the hub names no address"
            )
        unreachable = WorkspaceFacts(taken, "unreachable")
        try:
            # Without `no_track_activity` the question itself would count as activity.
            answer = await self._ask(workspace, "GET", "facts?no_track_activity=1", ["facts"])
        except NoAnswer as error:
            return Look(unreachable, why=error.why, detail=str(error))
        if answer.status != 200:
            why = _REFUSALS.get(answer.status, "unreadable")
            return Look(unreachable, why=why, detail=answer.sentence())
        try:
            facts, rules_hash = facts_of(answer.json(), taken)
        except BadFacts as error:
            return Look(unreachable, why="unreadable", detail=str(error))
        except (ValueError, RecursionError):
            return Look(unreachable, why="unreadable", detail="the answer is no JSON")
        return Look(facts, rules_hash)

    async def warn(self, workspace: Workspace, code: str, seconds: float, reason: str) -> Said:
        """Have it tell its owner what comes, on every page and in every client."""
        body = {"code": code, "seconds": seconds, "session": None, "reason": reason}
        return await self._tell(workspace, "POST", "warn", "warn", body)

    async def lock(self, workspace: Workspace, reason: str) -> Said:
        """Lock it."""
        return await self._tell(workspace, "POST", "lock", "lock", {"reason": reason})

    async def end_session(self, workspace: Workspace, session: str, code: str) -> Said:
        """End one session; one that has ended already is as good."""
        path = f"sessions/{quote(session, safe='')}?reason={quote(code)}"
        return await self._tell(workspace, "DELETE", path, "end", None, fine=(404, 410))

    async def put_rules(self, workspace: Workspace, rules: Rules) -> Said:
        """Give it the rules that hold for it now."""
        return await self._tell(workspace, "PUT", "rules", "rules", asdict(rules))

    async def _tell(
        self, workspace: Workspace, method: str, path: str, action: str, body: Any, fine: tuple[int, ...] = ()
    ) -> Said:
        try:
            answer = await self._ask(workspace, method, path, [action], body)
        except NoAnswer as error:
            return Said(False, str(error))
        ok = answer.ok or answer.status in fine
        return Said(ok, "" if ok else answer.sentence())

    async def _ask(
        self, workspace: Workspace, method: str, path: str, actions: Sequence[str], body: Any = None
    ) -> Answer:
        if workspace.address is None:
            raise NoAnswer("refused", "the hub names no address")
        url = f"{workspace.address.rstrip('/')}/persistent-terminals/api/{path}"
        token = self._sign(workspace.id, actions)
        headers = {"Authorization": f"Bearer {token}"}
        return await self._http.send(method, url, headers=headers, body=body, seconds=self._seconds)
