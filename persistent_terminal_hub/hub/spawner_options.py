"""The spawner's side of what people may choose and of what workspaces may reach.

`workspace_options` and `egress` decide; here are the record that lasts and the talk with Docker and helper.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

from traitlets import default

from persistent_terminal_hub.hub import failures, workspace_options
from persistent_terminal_hub.hub.bandwidth import parse_rate
from persistent_terminal_hub.hub.container_spec import parse_memory
from persistent_terminal_hub.hub.egress import Ground, Policy
from persistent_terminal_hub.hub.egress_link import (
    FilterProblem,
    Wish,
    ask,
    ground_of,
    socket_path,
    state_of,
    usable,
)
from persistent_terminal_hub.hub.object_names import LABEL_EGRESS, LABEL_HUB, label_filters
from persistent_terminal_hub.hub.spawner_base import WorkspaceObjects
from persistent_terminal_hub.hub.workspace_options import Limits, OptionsRefused, WorkspaceOptions

NOT_ENFORCED = "not enforced"


class WorkspaceChoices(WorkspaceObjects):
    """Takes a person's options, and has the network filtered before anything runs in it."""

    _options = WorkspaceOptions()
    _egress = ""
    # One state after another: a list that was read earlier must not be told later.
    _telling: ClassVar[asyncio.Lock | None] = None
    _resynced: ClassVar[set[str]] = set()

    @default("apply_user_options")
    def _default_apply_user_options(self) -> Any:
        # `start` takes them: there a refusal is told as a sentence, without a stack trace in the log.
        return lambda spawner, user_options: None

    # -- options -------------------------------------------------------------------------------------
    @property
    def ground(self) -> Ground:
        """What the settings say of the filter."""
        return ground_of(self.settings, self.hub_id)

    @property
    def limits(self) -> Limits:
        """The most that a person may choose: the settings, or what a group was given beyond them."""
        workspace = self.settings.workspace
        return Limits(
            image=self.image,
            images=frozenset(workspace.images),
            cpu=max(workspace.max_cpu or workspace.cpu, float(self.cpu_limit or 0)),
            memory_bytes=max(
                parse_memory(workspace.max_memory or workspace.memory), int(self.mem_limit or 0)
            ),
            pids=workspace.max_pids or workspace.pids,
            ground=self.ground,
        )

    @property
    def chosen_image(self) -> str:
        """The image of this workspace."""
        return self._options.image or str(self.image)

    def take_options(self) -> list[str]:
        """Accept what this start asks for, durably; notes for the person. Raises WorkspaceProblem."""
        kept = self._options.chosen()
        try:
            self._options, notes = workspace_options.accept(kept, self.user_options or {}, self.limits)
        except OptionsRefused as refusal:
            self._record_options(kept)  # JupyterHub has recorded the refused ones already
            raise failures.options_refused(str(refusal)) from None
        self._record_options(self._options.chosen())
        return notes

    def _record_options(self, options: dict[str, Any]) -> None:
        self.user_options = self.orm_spawner.user_options = options
        state = dict(self.orm_spawner.state or {})
        self.orm_spawner.state = {**state, "options": options}
        self.user.db.commit()

    # -- egress --------------------------------------------------------------------------------------
    def wish(self) -> Wish:
        """What goes for this workspace's network."""
        workspace = self.settings.workspace
        policy = Policy(self._options.egress or workspace.egress)
        return Wish(policy, parse_rate(workspace.network_bandwidth))

    @property
    def filtered(self) -> bool:
        """Whether this hub's workspaces are filtered: as set, or because a helper is (or was) here."""
        mode = self.settings.workspace.egress_filter
        return mode == "required" or (mode == "auto" and socket_path(self.hub_id).exists())

    def refuse_unfiltered(self, wish: Wish) -> None:
        """Only `internet` is promised as far as possible; who chose less must not get everything."""
        if not self.filtered and wish.policy is not Policy.INTERNET:
            raise failures.egress_not_possible(wish.policy.value)

    async def apply_filter(self, wish: Wish) -> None:
        """Have the rules in the kernel before the container is. Raises WorkspaceProblem."""
        if not self.filtered:
            self._egress = NOT_ENFORCED
            return
        try:
            await self.tell_helper()
        except FilterProblem as problem:
            self._egress = NOT_ENFORCED
            raise failures.egress_failed(str(problem)) from None
        self._egress = wish.policy.value

    async def tell_helper(self) -> None:
        """Tell the helper of all networks of this hub that Docker has now. Raises FilterProblem."""
        cls = WorkspaceChoices
        if cls._telling is None:
            cls._telling = asyncio.Lock()
        async with cls._telling:
            filters = label_filters({LABEL_HUB: self.hub_id})
            networks = await self.engine.run(lambda client: client.networks(filters=filters))
            for network in networks:
                if network["Name"] == self.names.network and network.get("EnableIPv6"):
                    raise FilterProblem("Docker gave the network IPv6, which is not filtered; turn that off")
            state = usable(state_of(networks, self.settings), self.ground)
            answer = await ask(self.hub_id, {"op": "apply", "workspaces": state})
        if answer.get("bandwidth"):
            self.log.warning("Bandwidth: %s", answer["bandwidth"])

    async def resync_filter(self, labels: Mapping[str, str]) -> None:
        """Once in this hub's life, or when a helper has come: say what runs. Earlier rules stand meanwhile.

        `labels` are the running container's.
        """
        if not self.filtered:
            return
        if self.hub_id not in self._resynced:
            self._resynced.add(self.hub_id)
            try:
                await self.tell_helper()
            except FilterProblem as problem:
                self._resynced.discard(self.hub_id)
                self.log.warning("The egress helper was not told what runs: %s. Earlier rules stay.", problem)
                return
        if self._egress in ("", NOT_ENFORCED):
            self._egress = labels.get(LABEL_EGRESS, self.settings.workspace.egress)
            self.orm_spawner.state = self.get_state()
            self.user.db.commit()

    # -- what stays recorded -------------------------------------------------------------------------
    def get_state(self) -> dict[str, Any]:
        """The options outlast a stop; the policy stands there for administrators."""
        state: dict[str, Any] = super().get_state()
        if options := self._options.chosen():
            state["options"] = options
        if self.object_id and self._egress:
            state["egress"] = self._egress
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what the previous hub process recorded."""
        super().load_state(state)
        self._egress = str(state.get("egress", ""))
        try:
            self._options = workspace_options.parse(state.get("options") or {})
        except OptionsRefused:
            self._options = WorkspaceOptions()  # of another version
