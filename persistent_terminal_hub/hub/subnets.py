"""Small subnets for the workspaces' networks, cut from one private range (pure).

Docker's own address pools end at about 30 networks, so each workspace is given an explicit subnet.
The first subnet of the range belongs to the hub. Two hubs may pick the same subnet at the same
moment: Docker refuses the second, and the caller asks again with what is taken by then.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

# How many subnets are looked at from a random place before going through the range from its beginning:
# near-constant work while the range is mostly free, and two hubs seldom pick the same.
RANDOM_TRIES = 16


class SubnetsExhausted(Exception):
    """Every subnet of the range is in use; the text says what to change."""


def check_pool(pool: IPv4Network, prefix: int) -> None:
    """Raise ValueError unless the range holds the hub's subnet and at least one more."""
    if prefix > 29:
        raise ValueError(
            f"docker.subnetPrefix is {prefix}: a workspace's network needs four addresses, so 29 at most."
        )
    if prefix <= pool.prefixlen:
        raise ValueError(
            f"docker.subnetPool {pool} cannot be cut into /{prefix} networks for the hub and the workspaces: "
            "choose a larger docker.subnetPrefix or a larger docker.subnetPool."
        )


def _nth(pool: IPv4Network, prefix: int, index: int) -> IPv4Network:
    return IPv4Network((int(pool.network_address) + index * (1 << (32 - prefix)), prefix))


def hub_subnet(pool: IPv4Network, prefix: int) -> IPv4Network:
    """The first subnet of the range."""
    check_pool(pool, prefix)
    return _nth(pool, prefix, 0)


def gateway_of(subnet: IPv4Network) -> IPv4Address:
    """The address that the host has in this subnet."""
    return subnet.network_address + 1


def workspace_address(subnet: IPv4Network) -> IPv4Address:
    """The address of the one container in this subnet; fixed, so that a restart does not move it."""
    return subnet.network_address + 2


def pick_subnet(
    pool: IPv4Network, prefix: int, taken: Iterable[IPv4Network], rng: random.Random | None = None
) -> IPv4Network:
    """A subnet of the range that overlaps nothing in ``taken``; never the hub's."""
    check_pool(pool, prefix)
    inside = [network for network in taken if network.overlaps(pool)]
    exact = {network for network in inside if network.prefixlen == prefix}
    odd = [network for network in inside if network.prefixlen != prefix]
    count = 1 << (prefix - pool.prefixlen)
    draw = rng or random.Random()  # noqa: S311 - spreads load, hides nothing
    for index in _candidates(count, draw):
        subnet = _nth(pool, prefix, index)
        if subnet not in exact and not any(subnet.overlaps(network) for network in odd):
            return subnet
    raise SubnetsExhausted(
        f"All {count - 1} networks of docker.subnetPool {pool} are in use or overlap with routes of "
        "this machine. Stop workspaces that are not needed, or give docker.subnetPool a larger range."
    )


def _candidates(count: int, rng: random.Random) -> Iterator[int]:
    for _ in range(RANDOM_TRIES):
        yield rng.randrange(1, count)
    yield from range(1, count)


def networks_in_use(inspected: Iterable[Mapping[str, Any]]) -> list[IPv4Network]:
    """The IPv4 subnets of Docker's networks, from ``GET /networks``."""
    found = []
    for network in inspected:
        for config in (network.get("IPAM") or {}).get("Config") or ():
            text = config.get("Subnet") or ""
            if text and ":" not in text:
                found.append(IPv4Network(text, strict=False))
    return found


def routes_in_use(proc_net_route: str) -> list[IPv4Network]:
    """The host's IPv4 routes but the default one, from the text of ``/proc/net/route``."""
    found = []
    for line in proc_net_route.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8:
            continue
        try:
            destination, mask = (int.from_bytes(bytes.fromhex(fields[column]), "little") for column in (1, 7))
        except ValueError:
            continue
        if mask:
            prefix = mask.bit_count()
            found.append(IPv4Network((destination & mask, prefix)))
    return found
