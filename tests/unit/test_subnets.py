from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.hub.subnets import (
    SubnetsExhausted,
    check_pool,
    gateway_of,
    hub_subnet,
    networks_in_use,
    pick_subnet,
    routes_in_use,
    workspace_address,
)

POOL = IPv4Network("10.213.0.0/16")
SMALL = IPv4Network("10.213.0.0/26")  # eight /29: the hub's and seven more


def test_the_first_subnet_is_the_hubs() -> None:
    subnet = hub_subnet(POOL, 29)
    assert subnet == IPv4Network("10.213.0.0/29")
    assert gateway_of(subnet) == IPv4Address("10.213.0.1")
    assert workspace_address(subnet) == IPv4Address("10.213.0.2")


def test_a_small_range_is_used_up_to_the_last_subnet() -> None:
    taken: list[IPv4Network] = []
    for _ in range(7):
        taken.append(pick_subnet(SMALL, 29, taken))
    assert len(set(taken)) == 7
    assert hub_subnet(SMALL, 29) not in taken
    with pytest.raises(SubnetsExhausted, match=r"All 7 networks .*docker.subnetPool"):
        pick_subnet(SMALL, 29, taken)


@pytest.mark.parametrize(
    "taken",
    ["10.213.0.0/27", "10.213.0.32/28", "10.213.0.8/32", "0.0.0.0/1", "192.168.0.0/16"],
)
def test_odd_neighbours_are_avoided(taken: str) -> None:
    other = IPv4Network(taken)
    if other.supernet_of(SMALL):
        with pytest.raises(SubnetsExhausted):
            pick_subnet(SMALL, 29, [other])
        return
    for seed in range(20):
        assert not pick_subnet(SMALL, 29, [other], random.Random(seed)).overlaps(other)


@given(st.sets(st.integers(0, 511), max_size=400), st.integers(0, 2**32))
def test_what_is_picked_is_free_and_inside(indexes: set[int], seed: int) -> None:
    pool = IPv4Network("10.213.0.0/20")
    taken = [IPv4Network((int(pool.network_address) + index * 8, 29)) for index in indexes]
    subnet = pick_subnet(pool, 29, taken, random.Random(seed))
    assert subnet.subnet_of(pool) and subnet.prefixlen == 29
    assert subnet not in taken and subnet != hub_subnet(pool, 29)


@pytest.mark.parametrize(("pool", "prefix"), [("10.0.0.0/24", 24), ("10.0.0.0/28", 24), ("10.0.0.0/16", 30)])
def test_ranges_that_cannot_work(pool: str, prefix: int) -> None:
    with pytest.raises(ValueError, match=r"docker\.subnet"):
        check_pool(IPv4Network(pool), prefix)


def test_networks_of_docker() -> None:
    inspected = [
        {"IPAM": {"Config": [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}, {"Subnet": "fd00::/64"}]}},
        {"IPAM": {"Config": []}},
        {"IPAM": {"Config": None}},
        {"IPAM": None},
        {},
    ]
    assert networks_in_use(inspected) == [IPv4Network("172.17.0.0/16")]


ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
tun0\t0800D50A\t00000000\t0005\t0\t0\t0\tF8FFFFFF\t0\t0\t0
broken line
x\tzz\t0\t0\t0\t0\t0\tzz\t0\t0\t0
"""


def test_routes_of_the_host() -> None:
    assert routes_in_use(ROUTES) == [
        IPv4Network("192.0.2.0/24"),
        IPv4Network("172.17.0.0/16"),
        IPv4Network("10.213.0.8/29"),
    ]
    assert routes_in_use("") == []
