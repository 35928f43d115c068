"""The hub's side of the egress helper: where it listens, and how it is told.

What is told is always the whole state, read from Docker a moment before: the networks of this hub say in
their labels which policy goes for them. So nothing has to be remembered, and a hub that was restarted
says the same as the one before.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Literal

from persistent_terminal_hub.config.egress_entries import parse_allow, parse_resolver
from persistent_terminal_hub.hub.bandwidth import parse_rate
from persistent_terminal_hub.hub.egress import Ground, Policy
from persistent_terminal_hub.hub.object_names import (
    LABEL_BANDWIDTH,
    LABEL_EGRESS,
    LABEL_USER,
    check_hub_id,
)
from persistent_terminal_hub.hub.subnets import gateway_of, hub_subnet, networks_in_use
from persistent_terminal_hub.settings import Settings

#: Root's own directory: in one that others may write, a name can be changed under root's hands.
SOCKET_DIR = Path("/run/persistent-terminal-hub")
SECONDS = 30.0
MOST_BYTES = 8 * 1024 * 1024

Filter = Literal["enforced", "not enforced"]
NOT_FILTERED = (
    "The network of workspaces is not filtered: they reach whatever this machine reaches, its own services "
    "on all addresses and a cloud's metadata service included. Run the hub as root, or beside it, as root, "
    "`persistent-terminal-hub egress-helper` (docs/how-to/limit-egress.md)."
)


class FilterProblem(Exception):
    """The filter could not be put in place; the text says why."""


def socket_path(hub_id: str) -> Path:
    """Where the helper of this hub listens."""
    return SOCKET_DIR / f"egress-{check_hub_id(hub_id)}.sock"


def ground_of(settings: Settings, hub_id: str) -> Ground:
    """What the settings say of the filter."""
    pool, prefix = IPv4Network(settings.docker.subnet_pool), settings.docker.subnet_prefix
    workspace = settings.workspace
    return Ground(
        hub_id=check_hub_id(hub_id),
        pool=pool,
        prefix=prefix,
        hub_address=gateway_of(hub_subnet(pool, prefix)),
        hub_port=settings.server.hub_port,
        allow=parse_allow(workspace.egress_allow),
        resolvers=tuple(parse_resolver(text) for text in workspace.egress_resolvers),
        most=Policy(workspace.egress),
    )


@dataclass(frozen=True)
class Wish:
    """What goes for one workspace's network."""

    policy: Policy
    bandwidth: int = 0

    @property
    def labels(self) -> dict[str, str]:
        """How the network says so."""
        return {LABEL_EGRESS: self.policy.value, LABEL_BANDWIDTH: str(self.bandwidth)}


def state_of(networks: Iterable[Mapping[str, Any]], settings: Settings) -> list[dict[str, Any]]:
    """The state to tell, from Docker's list of this hub's networks (pure).

    A network without a label is older than the filter: the settings go for it.
    """
    state = []
    for network in networks:
        labels = network.get("Labels") or {}
        subnets = networks_in_use([network])
        if LABEL_USER not in labels or not subnets:
            continue  # the hub's own
        bandwidth = str(labels.get(LABEL_BANDWIDTH, ""))
        state.append(
            {
                "subnet": str(subnets[0]),
                "policy": labels.get(LABEL_EGRESS, settings.workspace.egress),
                "bandwidth": int(bandwidth)
                if bandwidth.isdecimal()
                else parse_rate(settings.workspace.network_bandwidth),
            }
        )
    return state


def usable(state: list[dict[str, Any]], ground: Ground) -> list[dict[str, Any]]:
    """The state without what the settings no longer allow: that reaches nothing until it is started anew.

    Networks of another pool, from before a change of the settings, are nobody's to filter here.
    """
    kept = []
    for entry in state:
        subnet = IPv4Network(entry["subnet"])
        fits = subnet.prefixlen == ground.prefix and subnet.subnet_of(ground.pool)
        if fits and entry["policy"] in set(Policy) and ground.permits(Policy(entry["policy"])):
            kept.append(entry)
    return kept


async def ask(hub_id: str, message: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the helper; its answer. Raises FilterProblem when it does not answer or refuses."""
    try:
        answer = await asyncio.wait_for(_exchange(socket_path(hub_id), message), SECONDS)
    except (OSError, ValueError, TimeoutError) as error:
        raise FilterProblem(f"the egress helper does not answer ({error or type(error).__name__})") from None
    if not isinstance(answer, dict) or answer.get("ok") is not True:
        problem = answer.get("problem") if isinstance(answer, dict) else ""
        raise FilterProblem(f"the egress helper refused: {problem}")
    return answer


async def _exchange(path: Path, message: Mapping[str, Any]) -> Any:
    reader, writer = await asyncio.open_unix_connection(str(path), limit=MOST_BYTES)
    try:
        writer.write(json.dumps(message).encode() + b"\n")
        await writer.drain()
        return json.loads(await reader.readline())
    finally:
        writer.close()
