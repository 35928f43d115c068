"""What the filter lets through, walked rule by rule; and that the kernel's own tool takes every text."""
# ruff: noqa: E501 - the tables of cases read best one case a line

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from egress_sim import Packet, Table, saved
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from persistent_terminal_hub.config.egress_entries import NEVER, PRIVATE, parse_allow
from persistent_terminal_hub.hub.egress import (
    EgressError,
    Ground,
    Policy,
    Workspace,
    in_place,
    parse_state,
    removal_text,
    restore_text,
)

HUB = "0123456789ab"
POOL = IPv4Network("10.213.0.0/16")
GROUND = Ground(
    HUB, POOL, 29, IPv4Address("10.213.0.1"), 8081,
    allow=parse_allow(["10.66.0.5:443", "192.0.2.0/24", "198.51.100.7:53/udp"]),
    resolvers=(IPv4Address("10.9.9.9"), IPv4Address("127.0.0.53"), IPv4Address("10.213.0.10")),
)  # fmt: skip
ONE, TWO, THREE = (
    Workspace(IPv4Network(f"10.213.{i}.0/29"), policy) for i, policy in enumerate(Policy, start=1)
)
BASE = ":DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -j RETURN\n"
ALL = [ONE, TWO, THREE]
OF = {workspace.policy: workspace for workspace in ALL}


def sender(workspace: Workspace) -> IPv4Address:
    return workspace.subnet[2]


def forwarded(
    target: str, policy: str, port: int = 80, protocol: str = "tcp", ground: Ground = GROUND
) -> bool:
    table = Table(restore_text(ground, ALL, BASE), BASE)
    packet = Packet(sender(OF[Policy(policy)]), IPv4Address(target), protocol, port)
    return table.lets_through("FORWARD", packet)


def local(target: str, policy: str, port: int, protocol: str = "tcp") -> bool:
    table = Table(restore_text(GROUND, ALL, BASE), BASE)
    return table.lets_through(
        "INPUT", Packet(sender(OF[Policy(policy)]), IPv4Address(target), protocol, port)
    )


@pytest.mark.parametrize(
    ("target", "port", "protocol", "none", "list_", "internet"),
    [
        ("203.0.113.9", 443, "tcp", False, False, True),  # public, not listed
        ("192.0.2.9", 80, "tcp", False, True, True),  # public and listed
        ("192.0.2.9", 80, "udp", False, True, True),
        ("10.66.0.5", 443, "tcp", False, True, False),  # private and listed
        ("10.66.0.5", 80, "tcp", False, False, False),  # another port of it
        ("10.66.0.5", 443, "udp", False, False, False),
        ("198.51.100.7", 53, "udp", False, True, True),
        ("169.254.169.254", 80, "tcp", False, False, False),
        ("100.100.100.200", 80, "tcp", False, False, False),  # metadata of another cloud
        ("168.63.129.16", 80, "tcp", False, False, False),
        ("10.9.9.9", 53, "udp", False, False, True),  # the name server
        ("10.9.9.9", 53, "tcp", False, False, True),
        ("10.9.9.9", 443, "tcp", False, False, False),
        ("172.17.0.2", 5432, "tcp", False, False, False),  # a database in a container
        ("192.168.1.1", 22, "tcp", False, False, False),
        ("10.213.2.2", 8888, "tcp", False, False, False),  # another workspace
        ("10.213.0.10", 53, "udp", False, False, False),  # a name server must not be in the range
        ("224.0.0.251", 5353, "udp", False, False, False),
        ("255.255.255.255", 67, "udp", False, False, False),
    ],
)
def test_who_reaches_what(
    target: str, port: int, protocol: str, none: bool, list_: bool, internet: bool
) -> None:
    got = {policy: forwarded(target, policy, port, protocol) for policy in ("none", "list", "internet")}
    assert got == {"none": none, "list": list_, "internet": internet}


@pytest.mark.parametrize("policy", ["none", "list", "internet"])
def test_of_the_machine_itself_only_the_hub_api(policy: str) -> None:
    assert local("10.213.0.1", policy, 8081)
    assert not local("10.213.0.1", policy, 8001)
    assert not local("10.213.0.1", policy, 8081, "udp")
    assert not local("10.213.1.1", policy, 8081)  # its own gateway
    assert not local("192.0.2.1", policy, 22)
    assert local("10.9.9.9", policy, 53, "udp") == (
        policy == "internet"
    )  # the machine may be the name server


def test_words_of_the_list() -> None:
    ground = replace(GROUND, allow=parse_allow(["internet", "dns", "10.66.0.5:443"]))
    for target, port, protocol, want in (
        ("203.0.113.9", 80, "tcp", True), ("10.66.0.5", 443, "tcp", True), ("10.66.0.6", 443, "tcp", False),
        ("10.9.9.9", 53, "udp", True), ("169.254.169.254", 80, "tcp", False),
    ):  # fmt: skip
        assert forwarded(target, "list", port, protocol, ground) is want, target


def test_unknown_senders_of_the_range_reach_nothing_and_others_are_left_alone() -> None:
    table = Table(restore_text(GROUND, [], BASE), BASE)
    stranger, neighbour = POOL[900], IPv4Address("172.17.0.5")
    public = IPv4Address("203.0.113.9")
    assert not table.lets_through("FORWARD", Packet(stranger, public))
    assert table.lets_through("FORWARD", Packet(stranger, public, answer=True))
    assert not table.lets_through("INPUT", Packet(stranger, IPv4Address("192.0.2.1"), port=22))
    assert table.lets_through("INPUT", Packet(stranger, GROUND.hub_address, port=8081))
    assert table.lets_through("FORWARD", Packet(neighbour, IPv4Address("10.0.0.1")))
    assert table.lets_through("INPUT", Packet(neighbour, IPv4Address("192.0.2.1"), port=22))


# -- every state, every address ------------------------------------------------------------------------
NETWORKS = st.builds(
    lambda a, p: str(IPv4Network((a, p), strict=False)), st.integers(0, 2**32 - 1), st.integers(0, 32)
)
ENTRIES = st.one_of(
    st.sampled_from(["internet", "dns", "0.0.0.0/0", "10.0.0.0/8", "10.213.0.0/16:80", "128.0.0.0/1"]),
    NETWORKS,
    st.builds(
        lambda n, p, k: f"{n}:{p}{k}", NETWORKS, st.integers(1, 65535), st.sampled_from(["", "/tcp", "/udp"])
    ),
)


def allowed(entries: list[str]) -> Any:
    kept = []
    for entry in entries:
        try:
            parse_allow([entry])
        except ValueError:
            continue
        kept.append(entry)
    return parse_allow(kept)


GROUNDS = st.builds(
    lambda entries, servers, most: replace(
        GROUND, allow=allowed(entries), resolvers=tuple(IPv4Address(s) for s in servers), most=most
    ),
    st.lists(ENTRIES, max_size=6), st.lists(st.integers(1, 2**32 - 1), max_size=3), st.sampled_from(Policy),
)  # fmt: skip
STATES = st.lists(
    st.tuples(st.integers(1, 2**13 - 1), st.sampled_from(Policy)), max_size=6, unique_by=lambda t: t[0]
).map(lambda items: [Workspace(IPv4Network((int(POOL[0]) + i * 8, 29)), policy) for i, policy in items])
ADDRESSES = st.one_of(
    st.integers(0, 2**32 - 1),
    *(st.integers(int(net[0]), int(net[-1])) for net in (POOL, *NEVER, *PRIVATE)),
).map(IPv4Address)


@given(GROUNDS, STATES, ADDRESSES, st.integers(1, 65535), st.sampled_from(["tcp", "udp", "icmp"]), st.data())
@example(GROUND, ALL, IPv4Address("169.254.169.254"), 80, "tcp", None)
@settings(max_examples=400, deadline=None)
def test_no_policy_lets_a_forbidden_address_through(
    ground: Ground, state: list[Workspace], target: IPv4Address, port: int, protocol: str, data: Any
) -> None:
    assume(state)
    who = state[0] if data is None else data.draw(st.sampled_from(state))
    table = Table(restore_text(ground, state, BASE), BASE)
    passed = table.lets_through("FORWARD", Packet(sender(who), target, protocol, port))
    asked = target in ground.name_servers and port == 53 and protocol in ("tcp", "udp")
    if not asked:
        if target in POOL or any(target in net for net in NEVER):
            assert not passed
        if who.policy is Policy.INTERNET and any(target in net for net in PRIVATE):
            assert not passed
    listed = any(
        target in place.network and (not place.port or (place.port, place.protocol) == (port, protocol))
        for place in ground.allow.places
    )
    public = not any(target in net for net in (POOL, *NEVER, *PRIVATE))
    right = ground.permits(who.policy) and {
        Policy.NONE: False,
        Policy.INTERNET: public or asked,
        Policy.LIST: (asked and ground.allow.dns)
        or ((listed or (public and ground.allow.internet)) and target not in POOL
            and not any(target in net for net in NEVER)),
    }[who.policy]  # fmt: skip
    assert passed == right
    if not asked and (target, port, protocol) != (ground.hub_address, ground.hub_port, "tcp"):
        assert not table.lets_through("INPUT", Packet(sender(who), target, protocol, port))


@pytest.mark.netns
@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("iptables-restore"), reason="needs root and iptables"
)
@given(GROUNDS, STATES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_kernels_tool_takes_every_text(ground: Ground, state: list[Workspace]) -> None:
    # In a namespace of its own: --test too looks into the table.
    text = restore_text(ground, state, "")
    script = (
        "iptables-restore --noflush --test && iptables-restore --noflush <<E && iptables-save -t filter\n"
        f"{text}E\n"
    )
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", f"{script}"], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + text
    assert in_place(ground, state, done.stdout), done.stdout  # and prints it as we spell it


# -- hooks ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "base",
    [
        "",
        BASE,
        BASE + "-A INPUT -j ACCEPT\n",
        "-A FORWARD -j ACCEPT\n" + BASE,  # something decides before Docker asks us
        ":DOCKER-USER - [0:0]\n",  # an engine that leaves the firewall alone
        BASE + "-A DOCKER-USER -j ACCEPT\n",
    ],
)
def test_it_stands_before_everything_else_and_comes_back(base: str) -> None:
    first = Table(base)
    table = Table(restore_text(GROUND, ALL, saved(first)), base)
    meta = Packet(sender(THREE), IPv4Address("169.254.169.254"))
    ssh = Packet(sender(THREE), IPv4Address("192.0.2.1"), port=22)
    assert not table.lets_through("FORWARD", meta) and not table.lets_through("INPUT", ssh)
    now = saved(table)
    assert in_place(GROUND, ALL, now)
    assert not in_place(GROUND, [ONE], now)
    again = Table(restore_text(GROUND, ALL, now), now)
    assert again.chains == table.chains  # nothing doubled
    # Swept away, pushed back, doubled, or changed in one rule: seen, and put right.
    hook = next(line for line in now.splitlines() if line.startswith("-A INPUT"))
    for broken in (
        now.replace(hook + "\n", ""),
        now.replace(hook, "-A INPUT -j ACCEPT\n" + hook),
        now.replace(hook, hook + "\n" + hook),
        now.replace(
            "-A PTH-0123456789ab-NET -d 169.254.0.0/16 -j REJECT",
            "-A PTH-0123456789ab-NET -d 169.254.0.0/16 -j RETURN",
        ),
    ):
        assert broken != now and not in_place(GROUND, ALL, broken)
        mended = Table(restore_text(GROUND, ALL, broken), broken)
        assert in_place(GROUND, ALL, saved(mended))
        assert not mended.lets_through("INPUT", ssh) and not mended.lets_through("FORWARD", meta)


def test_two_hubs_and_a_dead_one() -> None:
    other = replace(
        GROUND,
        hub_id="ba9876543210",
        pool=IPv4Network("10.214.0.0/16"),
        hub_address=IPv4Address("10.214.0.1"),
    )
    table = Table(restore_text(GROUND, ALL, BASE), BASE)
    table = Table(restore_text(other, [], saved(table)), saved(table))
    assert in_place(GROUND, ALL, saved(table)) and in_place(other, [], saved(table))
    # Whoever has the very range of another is its successor: the first network of a range is one hub's.
    heir = replace(GROUND, hub_id="fedcba987654")
    table = Table(restore_text(heir, [ONE], saved(table)), saved(table))
    assert HUB not in saved(table)
    assert in_place(heir, [ONE], saved(table)) and in_place(other, [], saved(table))
    for hub_id in ("fedcba987654", "ba9876543210"):
        table = Table(removal_text(hub_id, saved(table)), saved(table))
    assert table.chains == Table("", BASE).chains
    assert removal_text(HUB, saved(table)) == ""


# -- messages ------------------------------------------------------------------------------------------
GOOD = {"subnet": "10.213.0.8/29", "policy": "internet"}


def test_a_good_state() -> None:
    state = parse_state([{**GOOD, "bandwidth": 10}, {"subnet": "10.213.0.16/29", "policy": "none"}], GROUND)
    assert state == (
        Workspace(IPv4Network("10.213.0.8/29"), Policy.INTERNET, 10),
        Workspace(IPv4Network("10.213.0.16/29"), Policy.NONE),
    )


@pytest.mark.parametrize(
    "state",
    [
        None, {}, "x", [None], [{}], [{"subnet": "10.213.0.8/29"}], [{**GOOD, "allow": ["0.0.0.0/0"]}],
        [{**GOOD, "subnet": "10.213.0.0/29"}],  # the hub's own
        [{**GOOD, "subnet": "10.214.0.8/29"}], [{**GOOD, "subnet": "0.0.0.0/0"}],
        [{**GOOD, "subnet": "10.213.0.8/28"}], [{**GOOD, "subnet": "10.213.0.9/29"}],
        [{**GOOD, "subnet": "10.213.0.8/29\n-j ACCEPT"}], [{**GOOD, "subnet": 5}], [{**GOOD, "subnet": ["x"]}],
        [{**GOOD, "policy": "all"}], [{**GOOD, "policy": ["none"]}], [{**GOOD, "policy": None}],
        [{**GOOD, "bandwidth": -1}], [{**GOOD, "bandwidth": True}], [{**GOOD, "bandwidth": "1M"}],
        [{**GOOD, "bandwidth": 10**16}], [GOOD, GOOD], [GOOD] * 10_000,
    ],
)  # fmt: skip
def test_a_bad_state_is_refused(state: object) -> None:
    with pytest.raises(EgressError):
        parse_state(state, GROUND)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda s: (
            st.lists(s, max_size=3)
            | st.dictionaries(st.sampled_from(["subnet", "policy", "bandwidth", "x"]), s, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_junk_never_gets_through(junk: object) -> None:
    try:
        found = parse_state(junk, GROUND)
    except EgressError:
        return
    assert all(w.subnet.subnet_of(POOL) for w in found)


@pytest.mark.parametrize(
    ("most", "permitted"),
    [("none", {"none"}), ("list", {"none", "list"}), ("internet", {"none", "list", "internet"})],
)
def test_the_settings_are_the_most(most: str, permitted: set[str]) -> None:
    ground = replace(GROUND, most=Policy(most))
    for policy in Policy:
        entry = {"subnet": "10.213.0.8/29", "policy": policy.value}
        if policy.value in permitted:
            assert parse_state([entry], ground)
        else:
            with pytest.raises(EgressError, match="at most"):
                parse_state([entry], ground)


@pytest.mark.parametrize(
    "entry",
    ["", "x", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8:0", "10.0.0.0/8:65536", "10.0.0.0/8:1/icmp", "1.2.3",
     "169.254.169.254", "169.254.0.0/16:80", "127.0.0.1:5432", "224.0.0.1", "168.63.129.16", "host.example:443",
     "10.0.0.1 -j ACCEPT", "10.0.0.1:80\n", "::1", "Internet"],
)  # fmt: skip
def test_bad_entries_of_the_list(entry: str) -> None:
    with pytest.raises(ValueError, match=r"^must "):
        parse_allow([entry])
