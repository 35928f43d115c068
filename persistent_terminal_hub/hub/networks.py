"""The networks and volumes of workspaces in Docker (blocking: call it in a worker thread).

Each workspace has a network of its own, so no container reaches another's ports. A network exists
while its container does; the volume stays until the workspace is deleted for good.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.types import IPAMConfig, IPAMPool

from persistent_terminal_hub.hub.docker_client import EngineError, Kind, classify
from persistent_terminal_hub.hub.object_names import LABEL_HUB, check_hub_id, hub_network_name
from persistent_terminal_hub.hub.subnets import (
    gateway_of,
    hub_subnet,
    networks_in_use,
    pick_subnet,
    routes_in_use,
)
from persistent_terminal_hub.settings import Settings

logger = logging.getLogger(__name__)

ROUTES = Path("/proc/net/route")
TRIES = 10  # another hub, or another thread of this one, may take a subnet between looking and creating
BRIDGE_OPTIONS = {"com.docker.network.bridge.enable_icc": "false"}


def subnet_of(network: Mapping[str, Any]) -> IPv4Network | None:
    """The IPv4 subnet of an inspected network."""
    found = networks_in_use([network])
    return found[0] if found else None


def find_network(client: docker.APIClient, name: str) -> dict[str, Any] | None:
    """The network of exactly this name (Docker's own filter matches parts of names)."""
    for network in client.networks(names=[name]):
        if network["Name"] == name:
            return dict(network)
    return None


def ensure_network(
    client: docker.APIClient, name: str, labels: Mapping[str, str], pool: IPv4Network, prefix: int
) -> tuple[IPv4Network, bool]:
    """The subnet of the workspace's network, which is created if missing; and whether it was."""
    existing = find_network(client, name)
    if existing is not None:
        subnet = subnet_of(existing)
        # Its labels say what goes for it (egress), and Docker cannot change them.
        same = all((existing.get("Labels") or {}).get(key) == value for key, value in labels.items())
        if subnet is not None and same and not _in_use(client, name):
            return subnet, False
        raise EngineError(
            Kind.FAILED,
            f"the Docker network {name} is there but not usable; remove it with: docker network rm {name}",
        )
    refused: list[IPv4Network] = []
    for _ in range(TRIES):
        taken = networks_in_use(client.networks()) + host_routes() + refused
        subnet = pick_subnet(pool, prefix, taken)
        try:
            _create(client, name, labels, subnet)
        except APIError as error:
            problem = classify(error)
            if problem.kind is Kind.OVERLAP:
                refused.append(subnet)
                continue
            again = find_network(client, name)
            if problem.kind is Kind.CONFLICT and again is not None and (other := subnet_of(again)):
                return other, False
            raise
        return subnet, True
    raise EngineError(Kind.OVERLAP, f"Docker refused {TRIES} subnets of {pool} in a row")


def _in_use(client: docker.APIClient, name: str) -> bool:
    return bool(client.inspect_network(name).get("Containers"))


def _create(client: docker.APIClient, name: str, labels: Mapping[str, str], subnet: IPv4Network) -> None:
    client.create_network(
        name,
        driver="bridge",
        options=dict(BRIDGE_OPTIONS),
        ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=str(subnet), gateway=str(gateway_of(subnet)))]),
        check_duplicate=True,
        labels=dict(labels),
    )


def host_routes(path: Path = ROUTES) -> list[IPv4Network]:
    """The networks that this machine has routes to; none where the file is not there."""
    try:
        return routes_in_use(path.read_text())
    except OSError:
        return []


def remove_network(client: docker.APIClient, name: str) -> None:
    """Remove the network; it is fine if there is none."""
    try:
        client.remove_network(name)
    except NotFound:
        return


def remove_volume(client: docker.APIClient, name: str) -> None:
    """Remove the volume and what is on it; it is fine if there is none."""
    try:
        client.remove_volume(name)
    except NotFound:
        return


def ensure_hub_network(client: docker.APIClient, settings: Settings, hub_id: str) -> IPv4Address:
    """Make sure that the hub's network is there; return its gateway, the address for the hub's API.

    No container is ever attached to it. Its gateway is an address of this machine that containers
    reach and the LAN does not. Raises EngineError with a sentence when the range is in use otherwise.
    """
    pool = IPv4Network(settings.docker.subnet_pool)
    subnet = hub_subnet(pool, settings.docker.subnet_prefix)
    name = hub_network_name(check_hub_id(hub_id))
    try:
        existing = find_network(client, name)
        if existing is not None and subnet_of(existing) != subnet:
            # The pool was changed. Nothing is attached to this network, so it may be made anew.
            client.remove_network(name)
            existing = None
        if existing is None:
            _create(client, name, {LABEL_HUB: hub_id}, subnet)
    except APIError as error:
        problem = classify(error)
        if problem.kind is Kind.OVERLAP:
            raise EngineError(
                Kind.OVERLAP,
                f"The network {subnet} that the hub needs is in use on this Docker Engine (by another hub?): "
                "choose another docker.subnetPool.",
            ) from None
        raise problem from None
    return gateway_of(subnet)
