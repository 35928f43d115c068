"""The keeper's lock and clocks, as the server asks for them; part of :class:`~.keeper_link.KeeperLink`.

The keeper may be older than this server: then what it cannot do is refused with a sentence, and it counts as
not locked, because it never was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from persistent_terminal_hub.keeper.channel import KeeperError
from persistent_terminal_hub.keeper.client import Client

from .keeper_mirror import Change

#: What the workspace's rules need of a keeper.
LOCK_OPS = frozenset({"lock", "unlock", "lock_state", "presence", "rules_clock", "connected", "watch_pid"})
_TOO_OLD = "The keeper of this workspace is older than its server and cannot do that; restart the workspace."


@dataclass(frozen=True, slots=True)
class LockView:
    """The lock as the keeper told it last."""

    locked: bool
    #: Wall-clock seconds, for display; None while it is open.
    since: float | None
    reason: str
    #: How often it was locked: names this lock.
    generation: int


@dataclass(frozen=True, slots=True)
class RulesClock:
    """Monotonic seconds of the system's clock, which this process shares with the keeper."""

    presence: float
    connected: float
    started: float
    #: Whether a page or client is connected at this moment.
    is_connected: bool = False

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> RulesClock:
        """From what the keeper answers."""
        return cls(
            presence=float(answer["presence"][1]),
            connected=float(answer["connected"][1]),
            started=float(answer["started"][1]),
            is_connected=bool(answer["is_connected"]),
        )


class LockRequests:
    """Requests; and the mirror of the lock, :attr:`lock`, which every event keeps up to date."""

    def __init__(self) -> None:
        #: Called with each new connection before its lock is known to anybody: may lock.
        self.before_ready: Callable[[Client], Awaitable[None]] | None = None
        #: None until a keeper was reached for the first time. A lost connection leaves it as it was.
        self.lock: LockView | None = None
        self._ops: frozenset[str] = frozenset()
        self._client: Client | None = None

    async def _call(self, op: str, **fields: Any) -> Any:
        raise NotImplementedError

    def _tell(self, change: Change) -> None:
        raise NotImplementedError

    async def _call_newer(self, op: str, **fields: Any) -> dict[str, Any]:
        if self._ops and op not in self._ops:
            raise KeeperError({"error": "unknown_op", "message": _TOO_OLD})
        try:
            return dict((await self._call(op, **fields)).header)
        except KeeperError as error:
            if error.code == "unknown_op":
                raise KeeperError({"error": "unknown_op", "message": _TOO_OLD}) from None
            raise

    # -- the mirror ----------------------------------------------------------------------------------
    async def _learn_lock(self, client: Client) -> None:
        """Called on each new connection, before anybody is told that it stands."""
        self._ops = frozenset(map(str, client.keeper.get("ops", ())))
        if self.before_ready is not None:
            await self.before_ready(client)
        if "lock_state" in self._ops:
            self._take_lock((await client.call("lock_state")).header)
        else:
            self._take_lock({"locked": False, "since": None, "reason": "", "generation": 0})

    def _take_lock(self, model: dict[str, Any]) -> LockView:
        since = model.get("since")
        view = LockView(
            locked=bool(model["locked"]),
            since=float(since[0]) if since else None,
            reason=str(model["reason"]),
            generation=int(model["generation"]),
        )
        if view != self.lock:
            self.lock = view
            self._tell(Change("lock", None))
        return view

    @property
    def knows_rules(self) -> bool:
        """Whether the keeper can lock and has the rules' clocks."""
        return self._ops >= LOCK_OPS

    # -- requests ------------------------------------------------------------------------------------
    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """Any operation, and its answer. Raises KeeperError, KeeperGone."""
        return await self._call_newer(op, **fields)

    async def lock_now(self, reason: str) -> LockView:
        """Lock the workspace; what is locked stays as it is. Raises KeeperError, KeeperGone."""
        return self._take_lock(await self._call_newer("lock", reason=reason))

    async def unlock(self, jti: str, exp: float) -> LockView:
        """Open with a token that was verified: its id, and the wall-clock end of its life.

        Raises KeeperError: `used`, `not_locked`, or `not_recorded` when the volume cannot be written.
        """
        return self._take_lock(await self._call_newer("unlock", jti=jti, exp=exp))

    async def present(self, at: float | None = None) -> None:
        """The owner was there (at a monotonic time; now)."""
        await self._call_newer("presence", at=at)

    def present_soon(self, at: float) -> None:
        """The same without waiting."""
        client = self._client
        if client is not None and client.is_open and "presence" in self._ops:
            client.send("presence", at=at).add_done_callback(_ignore)

    async def count_connected(self, count: int) -> None:
        """So many WebSockets of this server are open."""
        await self._call_newer("connected", count=count)

    async def rules_clock(self) -> RulesClock:
        """When the owner was last there, when anybody was last connected, when the workspace started."""
        return RulesClock.of(await self._call_newer("rules_clock"))

    async def watch_pid(self, identity: str, pid: int | None, seconds: float = 0.0) -> list[dict[str, Any]]:
        """Let a session count as busy while a process of it lives, for so long at most; None: no process."""
        fields = {} if pid is None else {"pid": pid, "max": seconds}
        watched: list[dict[str, Any]] = (await self._call_newer("watch_pid", session=identity, **fields))[
            "watched"
        ]
        return watched


def _ignore(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
