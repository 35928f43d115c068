"""Containers beyond the hub's records: orphans are reported and adopted, stopped ones removed by the rules.

An orphan runs, so it may hold sessions: it is never stopped or removed here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from persistent_terminal_hub.culler.http import Answer, NoAnswer
from persistent_terminal_hub.culler.hub_api import HubApi, HubAway, Orphan, Stopped
from persistent_terminal_hub.culler.log import DecisionLog
from persistent_terminal_hub.policy import Remove, WorkspaceFacts

if TYPE_CHECKING:
    from persistent_terminal_hub.culler.cycle import Decide, RulesFor

#: The hub could not take an orphan over: it is asked again so much later.
ADOPT_AGAIN_SECONDS = 600.0
#: After a lost database every workspace is an orphan; each adoption is a start, and the cycle waits for them.
ADOPTIONS_IN_A_CYCLE = 4


@dataclass
class LeftoverWatch:
    """Looks once in a cycle."""

    hub: HubApi
    rules_for: RulesFor
    decide: Decide
    log: DecisionLog
    dry_run: bool = False
    clock: Callable[[], float] = time.monotonic
    #: Orphans of the last cycle, with what was said of them: a container is adopted when it was seen twice,
    #: so that one which the hub is just starting or stopping is not.
    _seen: dict[tuple[str, str], str] = field(default_factory=dict)
    _adopt_at: dict[tuple[str, str], float] = field(default_factory=dict)
    _away: str = ""

    async def look(self) -> None:
        """Report, adopt, remove."""
        try:
            found = await self.hub.leftovers()
        except HubAway as error:
            if self._away != str(error):
                self._away = str(error)
                self.log.line("keep", reason=f"Orphans cannot be looked for. {error}")
            return
        self._away = ""
        await self._orphans(found.orphans)
        for stopped in found.stopped:
            await self._stopped(stopped)

    async def _orphans(self, orphans: Sequence[Orphan]) -> None:
        seen, self._seen = self._seen, {}
        due: list[Orphan] = []
        for orphan in orphans:
            key = (orphan.user, orphan.name)
            said = orphan.reason
            self._seen[key] = said
            if seen.get(key) != said:
                reason = "Its container runs and the hub does not know it."
                result = f"left alone: {said}" if said else "adopted next, if it stays so"
                self._line(orphan, "orphan", reason, container=orphan.container, result=result)
            if orphan.adoptable and key in seen and self.clock() >= self._adopt_at.get(key, 0.0):
                due.append(orphan)
        some = due[:ADOPTIONS_IN_A_CYCLE]
        self._adopt_at |= {(each.user, each.name): self.clock() + ADOPT_AGAIN_SECONDS for each in some}
        await asyncio.gather(*map(self._adopt, some))
        self._adopt_at = {key: at for key, at in self._adopt_at.items() if key in self._seen}

    async def _adopt(self, orphan: Orphan) -> None:
        reason = "Its container runs and the hub did not know it."
        if self.dry_run:
            self._line(orphan, "adopt", reason, result="not done")
            return
        try:
            answer = await self.hub.adopt(orphan.user, orphan.name)
        except NoAnswer as error:
            result = f"the hub gave {error}"
        else:
            result = _adopted(answer)
        self._line(orphan, "adopt", reason, result=result)

    async def _stopped(self, stopped: Stopped) -> None:
        facts = WorkspaceFacts(self.clock(), "stopped", age=stopped.seconds)
        rules = self.rules_for(stopped.user, stopped.groups, stopped.name)
        for action in self.decide(facts, rules, self.clock()):
            if not isinstance(action, Remove):
                continue
            if self.dry_run:
                result = "not done"
            else:
                try:
                    answer = await self.hub.remove_stopped(stopped.user, stopped.name)
                    result = "done, its files stay" if answer.ok else f"failed: {answer.sentence()}"
                except NoAnswer as error:
                    result = f"failed: the hub gave {error}"
            self._line(stopped, "remove", action.reason, result=result)

    def _line(self, of: Orphan | Stopped, action: str, reason: str, **more: object) -> None:
        self.log.line(action, user=of.user, workspace=of.name, reason=reason, **more)


def _adopted(answer: Answer) -> str:
    if not answer.ok:
        return f"left alone: {answer.sentence()}"
    try:
        model = answer.json()
    except ValueError:
        return "done"
    if isinstance(model, dict) and model.get("state") == "recorded":
        return f"recorded; its owner's next start takes it over ({model.get('reason', '')})"
    return "done"
