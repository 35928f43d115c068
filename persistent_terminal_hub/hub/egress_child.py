"""How `serve` comes by the egress helper: it starts one when it is root and the machine can filter."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from persistent_terminal_hub.hub import netfilter
from persistent_terminal_hub.hub.data_dir import DataDir
from persistent_terminal_hub.hub.egress import PREFIX
from persistent_terminal_hub.hub.egress_link import NOT_FILTERED, FilterProblem, ask, socket_path
from persistent_terminal_hub.hub.supervisor import ChildSpec
from persistent_terminal_hub.settings import Settings

#: Makes the hub refuse to start what is not filtered: the helper runs, or will again in a moment.
REQUIRE = {"PTH_WORKSPACE__EGRESS_FILTER": "required"}


@dataclass(frozen=True)
class FilterPlan:
    """Whether to start a helper, and what to say."""

    start: bool
    warning: str = ""


async def plan(settings: Settings, data: DataDir) -> FilterPlan:
    """Find out what is possible. Changes nothing that stays."""
    workspace = settings.workspace
    if workspace.egress_filter == "off":
        return FilterPlan(False, f"{NOT_FILTERED} (The setting workspace.egressFilter is off.)")
    hub_id = data.hub_id()
    if os.geteuid() == 0:
        problem = await netfilter.problem_with_filter(f"{PREFIX}{hub_id}-TRY")
        if not problem:
            return FilterPlan(True)
        return FilterPlan(False, f"{NOT_FILTERED} This machine cannot: {problem}")
    if socket_path(hub_id).exists():
        try:
            await ask(hub_id, {"op": "status"})
        except FilterProblem as away:
            return FilterPlan(
                False, f"No workspace can be started before the egress helper runs again: {away}."
            )
        return FilterPlan(False)
    if workspace.egress_filter == "required" or workspace.egress != "internet":
        return FilterPlan(
            False,
            f"No workspace can be started: the settings need an egress helper, and none runs. {NOT_FILTERED}",
        )
    return FilterPlan(False, NOT_FILTERED)


def helper_spec(environment: dict[str, str], hub_id: str) -> ChildSpec:
    """How the helper is started."""

    async def is_ready() -> bool:
        try:
            await ask(hub_id, {"op": "status"})
        except FilterProblem:
            return False
        return True

    code = "from persistent_terminal_hub.cli import main; main()"
    return ChildSpec(
        "egress-helper", [sys.executable, "-c", code, "egress-helper"], environment, (), is_ready
    )
