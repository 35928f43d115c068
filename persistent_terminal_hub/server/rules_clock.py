"""The workspace's own clock: asks the policy every few seconds, and does what it says.

It locks, warns and ends sessions also when hub, culler and network are gone; stopping the workspace is the
culler's. A server that starts asks before anybody knows whether the workspace is open, so that one that was
idle for too long while no server ran comes up locked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Protocol

from persistent_terminal_hub import policy, rules_file
from persistent_terminal_hub.keeper.channel import KeeperError
from persistent_terminal_hub.keeper.client import Client
from persistent_terminal_hub.policy import EndSession, Lock, Rules, Warn, WorkspaceFacts
from persistent_terminal_hub.protocol.messages import Notice
from persistent_terminal_hub.repeating import Repeating

from .errors import refusal
from .keeper_link import Change, Info, KeeperLink
from .keeper_lock import RulesClock
from .presence import Presence
from .rules_facts import (
    WARNED,
    limits,
    moments_in,
    number_in,
    seconds_or_none,
    session_facts,
    warnings_that_hold,
    with_use,
    workspace_facts,
)

log = logging.getLogger(__name__)

SETTING: Final = "persistent_terminals_rules"
WARNED_FILE: Final = "warned.json"
#: Seconds between two questions to the policy; of short limits a small part.
LONGEST, SHORTEST, PART = 5.0, 0.1, 20.0
#: Seconds in which a session that was told to end is not told again.
END_AGAIN = 60.0
MAX_EVENTS = 200
#: What is done to one session or the lock must not take longer.
ACT_SECONDS = 30.0

Ask = Callable[..., Awaitable[dict[str, Any]]]


class Teller(Protocol):
    """Who shows a notice to the clients."""

    def __call__(self, session: str | None, notice: Notice) -> None:
        """To everybody attached to a session, or (None) to every session."""


#: What sessions use: id -> (CPU seconds, MiB).
Used = Callable[[], Awaitable[Mapping[str, tuple[float, float]]]]


async def _nothing_used() -> Mapping[str, tuple[float, float]]:
    return {}


class WorkspaceClock:
    """See the module."""

    def __init__(
        self,
        link: KeeperLink,
        presence: Presence,
        directory: Path,
        *,
        kernels_busy: Callable[[], bool] = lambda: False,
        websockets: Callable[[], int] = lambda: 0,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """`directory` is the runtime directory, which is gone when the keeper is."""
        self.link = link
        self.presence = presence
        self.tell: Teller = lambda _session, _notice: None
        self.used: Used = _nothing_used
        self._directory = directory
        self._environ = environ
        self._kernels_busy = kernels_busy
        self._websockets = websockets
        self.rules, trouble = rules_file.read_rules(directory, environ)
        if trouble:
            log.error("%s", trouble)
        # Warnings of the workspace, by when they were shown; and which start of the workspace they are of.
        self.warned, self._warned_of = _read_warned(directory / WARNED_FILE)
        self.events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)
        self._count = 0
        self._clock: RulesClock | None = None
        self._kernels_since: float | None = None
        self._last_busy: float | None = None
        self._told_to_end: dict[str, float] = {}
        # While the keeper is away, its connection says so in the log.
        self._looking = Repeating("Looking at the rules", self.tick, lambda: self.interval, quiet=(OSError,))
        self._was_locked = False
        link.before_ready = self._first_look
        link.on_change(self._on_change)

    # -- life ----------------------------------------------------------------------------------------
    def start(self) -> None:
        """Begin. From the event loop."""
        self._looking.start()

    async def close(self) -> None:
        """End."""
        await self._looking.close()

    @property
    def interval(self) -> float:
        """Seconds between two looks."""
        rules = self.rules
        set_ = [
            limit
            for limit in (
                rules.idle_lock, rules.reauth_on_reconnect, rules.ttl, rules.max_age, rules.idle_stop,
                rules.workspace_max_age,
            )
            if limit > 0
        ]  # fmt: skip
        return min(LONGEST, max(SHORTEST, min(set_, default=LONGEST * PART) / PART))

    def set_rules(self, rules: Rules) -> None:
        """Other rules hold from now on, and after a restart of this server. Raises OSError."""
        changed = rules != self.rules
        self.rules = rules
        if changed:
            self.note("rules")
            rules_file.write_rules(self._directory, rules, self._environ)
            self._looking.wake()

    # -- looking -------------------------------------------------------------------------------------
    async def facts(self) -> WorkspaceFacts:
        """How it is now. Raises KeeperError, KeeperGone."""
        await self.link.count_connected(self._websockets())
        facts = await self._gather(self.link.ask)
        if self.rules.max_cpu > 0 or self.rules.max_memory > 0:
            with contextlib.suppress(OSError):  # then nobody knows what sessions use
                return with_use(facts, await self.used())
        return facts

    async def _gather(self, ask: Ask) -> WorkspaceFacts:
        models: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            page = await ask("list", after=after)
            models += page["sessions"]
            after = page["next"]
        self._clock = RulesClock.of(await ask("rules_clock"))
        if self._warned_of != self._clock.started:  # another start of the workspace, or of the machine
            self.warned, self._warned_of = {}, self._clock.started
        locked = bool((await ask("lock_state"))["locked"])
        now = time.monotonic()
        for model in models:
            info = self.link.sessions.get(str(model["id"]))
            if info is not None:
                info.update(model)
        if self._kernels_busy():
            self._kernels_since = now if self._kernels_since is None else self._kernels_since
        else:
            self._kernels_since = None
        if self._kernels_since is not None or any(m["busy"] for m in models if m["exit"] is None):
            self._last_busy = now
        return workspace_facts(
            models,
            self._clock,
            now=now,
            locked=locked,
            kernels_busy_since=self._kernels_since,
            last_busy=self._last_busy,
            warned=self.warned,
        )

    async def _first_look(self, client: Client) -> None:
        """Called on every new connection to the keeper, before anybody knows the state of the lock."""
        if not self.link.knows_rules:
            log.error("The keeper is older than this server: nothing locks or ends until the next start.")
            return

        async def ask(op: str, **fields: Any) -> dict[str, Any]:
            return dict((await client.call(op, **fields)).header)

        try:
            if self.presence.last is not None:  # of a time when the keeper could not hear it
                await ask("presence", at=self.presence.last)
            facts = await self._gather(ask)
            for action in policy.decide(facts, self.rules, time.monotonic()):
                if isinstance(action, Lock):
                    await ask("lock", reason=action.reason)
        except (KeeperError, OSError):
            raise  # the connection is tried again, and nobody is let in before
        except Exception:  # a mistake of ours must open nothing
            log.exception("The rules could not be looked at.")
            if self.rules.idle_lock > 0:
                await ask("lock", reason="The rules of this workspace could not be looked at.")

    def _on_change(self, change: Change) -> None:
        view = self.link.lock
        if change.kind == "lock" and view is not None and view.locked != self._was_locked:
            self._was_locked = view.locked
            self.note("locked" if view.locked else "unlocked", reason=view.reason or None)

    async def tick(self) -> None:
        """One look, and what follows from it."""
        await self.link.ready()
        if not self.link.knows_rules:
            return
        facts = await self.facts()
        for action in policy.decide(facts, self.rules, time.monotonic()):
            try:
                async with asyncio.timeout(ACT_SECONDS):
                    await self._act(action)
            except (KeeperError, TimeoutError) as error:
                log.warning("%s could not be done: %s", type(action).__name__, error)

    # -- acting --------------------------------------------------------------------------------------
    async def _act(self, action: policy.Action) -> None:
        if isinstance(action, Lock):
            await self.link.lock_now(action.reason)
        elif isinstance(action, EndSession):
            await self.end(action.session, action.code, action.reason)
        elif isinstance(action, Warn):
            await self.warn(action.code, action.seconds, action.session, action.reason)

    async def end(self, session: str, code: str, reason: str) -> None:
        """End a session; its exit says `code`."""
        now = time.monotonic()
        self._told_to_end = {key: at for key, at in self._told_to_end.items() if now - at < END_AGAIN}
        if session in self._told_to_end:
            return
        self._told_to_end[session] = now
        log.info("%s", reason)
        self.note("ended", session=session, code=code, reason=reason)
        await self.link.end(session, code)

    async def warn(self, code: str, seconds: float, session: str | None, reason: str) -> None:
        """Announce an end or a stop: noted first, so that who comes later sees it, then shown."""
        now = time.monotonic()
        if session is not None:
            info = self.link.sessions.get(session)
            noted = moments_in(info.meta) if info is not None else {}
            await self.link.annotate(session, {WARNED: {**noted, code: now}})
        else:
            self.warned[code] = now
            with contextlib.suppress(OSError):  # then it is said again after a restart
                text = json.dumps({"started": self._warned_of, WARNED: self.warned}).encode()
                rules_file.write_private(self._directory / WARNED_FILE, text)
        self.note("warned", session=session, code=code, reason=reason, seconds=round(seconds, 3))
        self.tell(session, Notice(code=code, message=reason, seconds=seconds))

    async def watch(self, info: Info, pid: int | None, seconds: float) -> list[dict[str, Any]]:
        """Watch a process of a session, or none. Raises SessionError."""
        try:
            info.watched = await self.link.watch_pid(info.id, pid, seconds)
        except (KeeperError, OSError) as error:
            raise refusal(error) from error
        info.busy = info.busy or bool(info.watched)
        return info.watched

    def note(self, kind: str, **more: Any) -> None:
        """Something happened that hub and culler may want to know."""
        self._count += 1
        told = {name: value for name, value in more.items() if value is not None}
        self.events.append({"seq": self._count, "at": time.time(), "kind": kind, **told})

    # -- telling -------------------------------------------------------------------------------------
    @property
    def since_presence(self) -> float:
        """Seconds; as far as this server knows, which is as of the last look."""
        moments = [self.presence.last, None if self._clock is None else self._clock.presence]
        known = [moment for moment in moments if moment is not None]
        return max(0.0, time.monotonic() - max(known)) if known else 0.0

    def _session_facts(self, info: Info) -> policy.SessionFacts:
        return session_facts(
            identity=info.id,
            name=info.name,
            created=info.created_monotonic,
            attached=bool(info.attached),
            busy=info.busy,
            busy_since=info.busy_since,
            meta=info.meta,
            now=time.monotonic(),
        )

    def session_model(self, info: Info) -> dict[str, Any]:
        """What the API shows of a session's life."""
        facts, rules = self._session_facts(info), self.rules
        found = limits(facts, self.since_presence, rules)
        running = info.running
        return {
            "busy": running and facts.busy,
            "busyFor": round(facts.busy_for, 3) if running else 0.0,
            "watched": info.watched if running else [],
            "ttlSeconds": seconds_or_none(found["ttl"][1]),
            "maxAgeSeconds": seconds_or_none(found["max_age"][1]),
            "expiresIn": seconds_or_none(max(0.0, min(left for left, _ in found.values())))
            if running
            else None,
            "warnings": self.warnings(info) if running else [],
        }

    def warnings(self, info: Info) -> list[dict[str, Any]]:
        """The warnings that hold for a session."""
        holding = warnings_that_hold(self._session_facts(info), self.since_presence, self.rules)
        return [{"code": code, "seconds": round(left, 3)} for code, left in holding]

    def greeting(self, session: str) -> list[Notice]:
        """What somebody who attaches now has missed."""
        info = self.link.sessions.get(session)
        if info is None or not info.running:
            return []
        notices = []
        for each in self.warnings(info):
            why = "its owner was not there" if each["code"] == "ttl" else "of its age"
            left = each["seconds"]
            text = f"Session {info.name} ends in {policy.span(left)}, because {why}."
            notices.append(Notice(code=each["code"], message=text, seconds=left))
        # An idle stop is put off by whoever comes; the end of a workspace's life is not.
        oldest = self.rules.workspace_max_age
        if oldest > 0 and "workspace_max_age" in self.warned and self._clock is not None:
            left = max(0.0, oldest - (time.monotonic() - self._clock.started))
            if left <= policy.lead(oldest, self.rules):
                text = f"The workspace stops in {policy.span(left)}, because of its age."
                notices.append(Notice(code="workspace_max_age", message=text, seconds=left))
        return notices

    def model_of(self, facts: WorkspaceFacts, since: int) -> dict[str, Any]:
        """The facts as the API tells them, and the events after number `since`."""
        model = asdict(facts)
        del model["taken"]
        for session in model["sessions"]:
            info = self.link.sessions.get(session["id"])
            # For people: no rule asks what runs in the foreground.
            session["program"] = (info.foreground_name if info is not None else None) or ""
        lock = self.link.lock
        return {
            **model,
            "locked_since": lock.since if lock is not None and lock.locked else None,
            "rulesHash": rules_file.rules_hash(self.rules),
            "events": [event for event in self.events if event["seq"] > since],
        }


def _read_warned(path: Path) -> tuple[dict[str, float], float | None]:
    try:
        with path.open("rb") as file:
            kept = json.loads(file.read(rules_file.MAX_FILE))
        return (moments_in(kept), number_in(kept, "started")) if isinstance(kept, dict) else ({}, None)
    except (OSError, ValueError, RecursionError):
        return {}, None
