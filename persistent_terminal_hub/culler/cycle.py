"""One cycle: ask every workspace, let `policy.decide` judge each by its own facts, do what it says.

Workers take workspaces one after another, in random order and with random pauses, so that neither a thousand
workspaces are asked at once nor the same ones always first; a workspace is judged as soon as its facts are
there, so that many slow ones make nobody's facts old. What is not certain leads to nothing: no facts, no
action. Before a stop the workspace is asked once more, because somebody may have come back since.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from persistent_terminal_hub.culler.http import NoAnswer
from persistent_terminal_hub.culler.hub_api import HubApi, HubAway, Workspace
from persistent_terminal_hub.culler.leftovers import LeftoverWatch
from persistent_terminal_hub.culler.log import DecisionLog
from persistent_terminal_hub.culler.workspaces import Look, Said, Workspaces
from persistent_terminal_hub.policy import (
    Action,
    EndSession,
    Lock,
    Remove,
    Rules,
    Stop,
    Warn,
    WorkspaceFacts,
)

#: Workspaces that are stopped at the same time: each keeps the hub and the engine busy for seconds.
STOPS_AT_ONCE = 4

Do = Callable[[], Awaitable[Said]]
Decide = Callable[[WorkspaceFacts, Rules, float], Sequence[Action]]


class RulesFor(Protocol):
    """The rules of a workspace after groups and maxima."""

    def __call__(self, user: str, groups: frozenset[str], name: str) -> Rules:
        """For the workspace `user/name`."""


@dataclass
class Tally:
    """What one cycle did."""

    workspaces: int = 0
    reached: int = 0
    silent: int = 0
    actions: int = 0
    seconds: float = 0.0


@dataclass
class Noted:
    """What was last written about a workspace, so that the log has changes instead of repetitions. Losing it
    at a restart costs a repeated line, or a repeated PUT of the rules, and nothing else."""

    silence: str = ""
    kept: str = ""
    locked: bool | None = None
    rules: tuple[str, str] = ("", "")  # our hash when they were sent, its hash at that time


@dataclass
class Culler:
    """Runs cycles."""

    hub: HubApi
    workspaces: Workspaces
    leftovers: LeftoverWatch
    rules_for: RulesFor
    #: The same as the workspace itself has to know them.
    rules_told: RulesFor
    hash_of: Callable[[Rules], str]
    decide: Decide
    log: DecisionLog
    concurrency: int = 20
    #: Seconds over which the questions of a cycle are spread.
    spread: float = 0.0
    dry_run: bool = False
    verbose: bool = False
    clock: Callable[[], float] = time.monotonic
    stops: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(STOPS_AT_ONCE))
    _noted: dict[str, Noted] = field(default_factory=dict)
    _hub_away: str = ""

    @property
    def hub_is_away(self) -> bool:
        """Whether the last cycle found no hub."""
        return bool(self._hub_away)

    async def run_once(self) -> Tally:
        """One cycle. Without the hub nothing is asked and nothing happens."""
        began = self.clock()
        tally = Tally()
        try:
            running = await self.hub.running()
        except HubAway as error:
            if self._hub_away != str(error):
                self._hub_away = str(error)
                self.log.line("wait", reason=f"{error} Nothing is stopped until it answers.")
            return tally
        if self._hub_away:
            self._hub_away = ""
            self.log.line("go on", reason="The hub answers again.")
        tally.workspaces = len(running)
        self._forget({workspace.id for workspace in running})
        random.shuffle(running)
        queue = iter(running)
        workers = min(self.concurrency, len(running))
        pause = 2 * self.spread * workers / len(running) if running else 0.0
        await asyncio.gather(
            self.leftovers.look(), *(self._worker(queue, pause, tally) for _ in range(workers))
        )
        tally.seconds = self.clock() - began
        return tally

    def _forget(self, present: set[str]) -> None:
        for gone in self._noted.keys() - present:
            del self._noted[gone]

    async def _worker(self, queue: Iterator[Workspace], pause: float, tally: Tally) -> None:
        for workspace in queue:
            if pause:
                await asyncio.sleep(random.uniform(0, pause))  # noqa: S311  (jitter)
            try:
                await self._one(workspace, tally)
            except Exception as error:  # one workspace must not keep the others from being looked at
                self._line(workspace, "error", f"unexpected {type(error).__name__}: {error}"[:300])

    async def _one(self, workspace: Workspace, tally: Tally) -> None:
        look = await self.workspaces.look(workspace)
        self._note_silence(workspace, look)
        if look.facts.state != "running":
            tally.silent += look.facts.state == "unreachable"
            return
        tally.reached += 1
        self._note_lock(workspace, look.facts.locked)
        rules = self.rules_for(workspace.user, workspace.groups, workspace.name)
        await self._send_rules(workspace, look.rules_hash)
        actions = self.decide(look.facts, rules, self.clock())
        self._note_kept(workspace, look.facts, rules, actions)
        stops = [action for action in actions if isinstance(action, Stop)]
        for action in actions:
            # Sessions are warned by their workspace's own clock, which knows every client.
            if isinstance(action, Warn) and action.session is None and not stops:
                tally.actions += 1
                await self._warn(workspace, action)
            elif isinstance(action, Lock):
                tally.actions += 1
                lock = partial(self.workspaces.lock, workspace, action.reason)
                await self._do(workspace, "lock", action.reason, lock)
            elif isinstance(action, EndSession):
                tally.actions += 1
                end = partial(self.workspaces.end_session, workspace, action.session, action.code)
                await self._do(workspace, "end_session", action.reason, end, session=action.session)
        if stops:
            tally.actions += 1
            await self._stop(workspace, rules, stops[0].reason)

    async def _warn(self, workspace: Workspace, warn: Warn) -> None:
        show = partial(self.workspaces.warn, workspace, warn.code, warn.seconds, warn.reason)
        await self._do(workspace, "warn", warn.reason, show, code=warn.code, seconds=round(warn.seconds))

    async def _do(
        self,
        workspace: Workspace,
        action: str,
        reason: str,
        do: Do,
        **more: object,
    ) -> None:
        if self.dry_run:
            self._line(workspace, action, reason, result="not done", **more)
            return
        said = await do()
        result = "done" if said.ok else f"failed, tried again in the next cycle: {said.detail}"
        self._line(workspace, action, reason, result=result, **more)

    async def _stop(self, workspace: Workspace, rules: Rules, reason: str) -> None:
        if self.dry_run:
            self._line(workspace, "stop", reason, result="not done")
            return
        async with self.stops:
            again = await self.workspaces.look(workspace)
            still = again.facts.state == "running" and any(
                isinstance(action, Stop) for action in self.decide(again.facts, rules, self.clock())
            )
            if not still:
                self._line(workspace, "stop", reason, result="withdrawn: asked once more, it is not idle")
                return
            try:
                answer = await self.hub.stop(workspace.user, workspace.name)
            except NoAnswer as error:
                result = f"failed, tried again in the next cycle: the hub gave {error}"
            else:
                done = "done" if answer.status == 204 else "under way"
                result = done if answer.ok else f"failed, tried again in the next cycle: {answer.sentence()}"
        self._line(workspace, "stop", reason, result=result)

    async def _send_rules(self, workspace: Workspace, reported: str) -> None:
        """Rules change with the settings and with groups; the workspace's own clock has to know."""
        rules = self.rules_told(workspace.user, workspace.groups, workspace.name)
        ours = self.hash_of(rules)
        noted = self._note(workspace)
        if reported == ours or noted.rules == (ours, reported):
            return  # it has them, or was told and says the same as before: asking again changes nothing
        if not self.dry_run:
            said = await self.workspaces.put_rules(workspace, rules)
            result = "done" if said.ok else f"failed: {said.detail}"
            if said.ok:
                noted.rules = (ours, reported)
        else:
            noted.rules = (ours, reported)
            result = "not done"
        self._line(workspace, "rules", "the rules of this workspace have changed", result=result)

    # -- the log -------------------------------------------------------------------------------------
    def _note(self, workspace: Workspace) -> Noted:
        return self._noted.setdefault(workspace.id, Noted())

    def _line(self, workspace: Workspace, action: str, reason: str, **more: object) -> None:
        self.log.line(action, user=workspace.user, workspace=workspace.name, reason=reason, **more)

    def _note_lock(self, workspace: Workspace, locked: bool) -> None:
        """Workspaces lock by their own clocks, and open for whoever proved a fresh login."""
        noted = self._note(workspace)
        if noted.locked is not None and noted.locked != locked:
            self._line(workspace, "locked" if locked else "unlocked", "Found so since the last look.")
        noted.locked = locked

    def _note_silence(self, workspace: Workspace, look: Look) -> None:
        noted = self._note(workspace)
        silence = look.why if look.facts.state == "unreachable" else ""
        if silence and silence != noted.silence:
            self._line(workspace, "keep", f"It does not say how it is: {look.detail}.", state=silence)
        elif noted.silence and not silence:
            self._line(workspace, "keep", "It answers again.", state=look.facts.state)
        noted.silence = silence

    def _note_kept(
        self, workspace: Workspace, facts: WorkspaceFacts, rules: Rules, actions: Sequence[Action]
    ) -> None:
        """Say once why a workspace without presence is not stopped: it is what administrators ask about."""
        noted = self._note(workspace)
        due = bool(rules.idle_stop) and facts.since_presence >= rules.idle_stop
        stopping = any(
            isinstance(action, Stop | Remove)
            or (isinstance(action, Warn) and action.session is None and action.code == "idle_stop")
            for action in actions
        )
        kept = "" if stopping or not due else why_kept(facts)
        if kept and (kept != noted.kept or self.verbose):
            self._line(workspace, "keep", kept)
        noted.kept = kept


def why_kept(facts: WorkspaceFacts) -> str:
    """What defers the idle stop of a workspace without presence, for people; empty when it is not known."""
    busy = [session.name or session.id for session in facts.sessions if session.busy]
    if busy:
        more = f" and {len(busy) - 1} more" if len(busy) > 1 else ""
        return f"A job runs in the session {busy[0]}{more}."
    if facts.busy:
        return "A notebook's kernel is computing."
    if facts.since_connected == 0:
        return "A page or client is connected."
    return ""
