"""What stands around the rules: Docker's networks as a state, name servers, cables and their buckets."""
# ruff: noqa: E501 - the tables of cases read best one case a line

from __future__ import annotations

import json
import socket
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from egress_sim import Table, saved

from persistent_terminal_hub.hub import egress_child, egress_link, netfilter
from persistent_terminal_hub.hub.bandwidth import burst_bytes, commands, ifb_name, parse_links, parse_rate
from persistent_terminal_hub.hub.data_dir import DataDir
from persistent_terminal_hub.hub.egress import Policy
from persistent_terminal_hub.hub.egress_helper import Helper, resolvers_of
from persistent_terminal_hub.hub.egress_link import FilterProblem, Wish, ask, ground_of, state_of, usable
from persistent_terminal_hub.settings import Settings

HUB = "0123456789ab"
BASE = ":DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -j RETURN\n"
SETTINGS = Settings.model_validate({"workspace": {"egress": "list", "networkBandwidth": "10M"}})


def network(subnet: str, **labels: str) -> dict[str, Any]:
    named = {f"pth.{key}": value for key, value in labels.items()}
    return {"Name": "n", "Labels": {"pth.hub": HUB, **named}, "IPAM": {"Config": [{"Subnet": subnet}]}}


def test_the_networks_of_docker_say_what_goes() -> None:
    state = state_of(
        [
            network("10.213.0.0/29"),  # the hub's own
            network("10.213.0.8/29", user="ann", workspace="", egress="none", bandwidth="0"),
            network("10.213.0.16/29", user="bob", workspace=""),  # older than the filter
            {"Name": "n", "Labels": None, "IPAM": {"Config": None}},
        ],
        SETTINGS,
    )
    assert state == [
        {"subnet": "10.213.0.8/29", "policy": "none", "bandwidth": 0},
        {"subnet": "10.213.0.16/29", "policy": "list", "bandwidth": 10_000_000},
    ]
    assert Wish(Policy.NONE, 5).labels == {"pth.egress": "none", "pth.bandwidth": "5"}


def test_what_no_longer_fits_the_settings_is_left_out_and_so_reaches_nothing() -> None:
    ground = ground_of(SETTINGS, HUB)
    entries = [
        {"subnet": "10.213.0.8/29", "policy": policy, "bandwidth": 0}
        for policy in ("none", "internet", "junk")
    ] + [{"subnet": "10.99.0.8/29", "policy": "none"}, {"subnet": "10.213.0.0/28", "policy": "none"}]
    assert usable(entries, ground) == entries[:1]


def test_the_ground_comes_from_the_settings() -> None:
    ground = ground_of(SETTINGS, HUB)
    assert (str(ground.hub_address), ground.hub_port, ground.most) == ("10.213.0.1", 8081, Policy.LIST)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("nameserver 10.0.0.2\nnameserver 10.0.0.2\nsearch x\n", ["10.0.0.2", "10.0.0.2"]),
        ("# nameserver 1.1.1.1\nnameserver 127.0.0.53\nnameserver 0.0.0.0\nnameserver fe80::1%eth0\n", []),
        ("nameserver\nnameserver x\n nameserver\t192.0.2.53 # main\n", ["192.0.2.53"]),
    ],
)
def test_name_servers_of_the_machine(text: str, wanted: list[str]) -> None:
    assert resolvers_of(text) == [IPv4Address(address) for address in wanted]


def test_rates_and_buckets() -> None:
    assert [parse_rate(text) for text in ("", "5K", "100M", "2G")] == [0, 5000, 100_000_000, 2_000_000_000]
    assert burst_bytes(8000) == 65536 and burst_bytes(8 * 10**9) == 20_000_000
    subnet = IPv4Network("10.213.0.8/29")
    assert ifb_name(subnet) == "pthi0ad50008"  # 15 characters at most
    first, again = commands("veth1", subnet, 8000, False), commands("veth1", subnet, 8000, True)
    assert first[1:] == again and first[0][:3] == ["ip", "link", "add"]
    assert all(word for command in first for word in command)


def test_the_cable_of_a_workspace() -> None:
    def link(name: str, index: int, master: str = "", address: str = "") -> dict[str, Any]:
        entry: dict[str, Any] = {"ifname": name, "ifindex": index, "addr_info": []}
        if master:
            entry["master"] = master
        if address:
            entry["addr_info"] = [{"local": address}]
        return entry

    listing = [
        link("br-1", 3, address="10.213.0.9"), link("veth1", 4, master="br-1"), {},
        link("br-2", 5, address="10.213.0.17"),
        link("br-3", 6, address="10.213.0.25"), link("v", 7, master="br-3"), link("w", 8, master="br-3"),
        link("pthi0ad50008", 9), link("pthi0ad60008", 10), link("pthi-other", 11), link("pthizzzzzzzz", 12),
    ]  # fmt: skip
    links = parse_links(json.dumps(listing))
    ports = [links.port_of(IPv4Network(f"10.213.0.{n}/29")) for n in (8, 16, 24, 32)]
    assert ports == [("veth1", 4), None, None, None]  # none yet; two: not what we made
    assert links.ifbs_in(IPv4Network("10.213.0.0/16")) == {"pthi0ad50008"}


async def test_a_tool_that_is_missing_or_fails_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(netfilter, "SYSTEM_PATH", str(tmp_path))
    with pytest.raises(netfilter.ToolError, match="not on this machine"):
        await netfilter.saved_rules()
    assert "not on this machine" in await netfilter.problem_with_filter("PTH-x")
    tool = tmp_path / "iptables-save"
    tool.write_text("#!/bin/sh\necho 'nope, not root' >&2; exit 4\n")
    tool.chmod(0o755)
    with pytest.raises(netfilter.ToolError, match="refused: nope, not root"):
        await netfilter.saved_rules()


async def test_a_state_that_cannot_be_applied_is_not_remembered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(netfilter, "SYSTEM_PATH", str(tmp_path))
    helper = Helper(replace(ground_of(SETTINGS, HUB)), path=tmp_path / "h.sock")
    message = {"op": "apply", "workspaces": [{"subnet": "10.213.0.8/29", "policy": "none"}]}
    answer = await helper.answer(json.dumps(message).encode())
    assert answer["ok"] is False and "not on this machine" in str(answer["problem"])
    assert (await helper.answer(b'{"op": "status"}'))["enforced"] == 0
    assert list(tmp_path.iterdir()) == []


class Kernel:
    """Keeps the table; its iptables spells rules in a way of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.table = Table("", BASE)
        self.writes = 0
        self.sweep_after_write = False
        monkeypatch.setattr(netfilter, "saved_rules", self.saved)
        monkeypatch.setattr(netfilter, "restore", self.restore)

    async def saved(self) -> str:
        return saved(self.table).replace("--ctstate RELATED,ESTABLISHED", "--ctstate ESTABLISHED,RELATED")

    async def restore(self, text: str) -> None:
        self.writes += 1
        self.table = Table(text, saved(self.table))
        if self.sweep_after_write:
            self.table.chains["INPUT"].clear()
            self.table.chains[f"PTH-{HUB}-FWD"].clear()


async def test_another_spelling_is_not_written_again_and_again_but_a_sweep_is_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kernel = Kernel(monkeypatch)
    helper = Helper(ground_of(SETTINGS, HUB), path=tmp_path / "h.sock")
    message = {"op": "apply", "workspaces": [{"subnet": "10.213.0.8/29", "policy": "list"}]}
    assert (await helper.answer(json.dumps(message).encode()))["ok"] is True
    for _ in range(3):
        await helper.check()
    assert kernel.writes == 1
    good = kernel.table.chains
    # Swept, and swept again in the moment between writing and looking: that is not the new normal.
    kernel.table = Table("", BASE)
    kernel.sweep_after_write = True
    await helper.check()
    kernel.sweep_after_write = False
    await helper.check()
    assert kernel.writes == 3 and kernel.table.chains == good


@pytest.mark.parametrize("text", ["", "junk", "{}", "[1]", '[{"subnet": "0.0.0.0/0", "policy": "internet"}]'])
def test_a_memory_that_is_junk_is_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "h.json").write_text(text)
    helper = Helper(ground_of(SETTINGS, HUB), path=tmp_path / "h.sock")
    helper.recall()
    assert helper._workspaces == ()


async def test_a_helper_that_is_away_or_talks_nonsense(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(egress_link, "SOCKET_DIR", tmp_path)
    with pytest.raises(FilterProblem, match="does not answer"):
        await ask(HUB, {"op": "status"})
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(egress_link.socket_path(HUB)))  # a helper that was killed
    with pytest.raises(FilterProblem, match="does not answer"):
        await ask(HUB, {"op": "status"})


@pytest.mark.parametrize(
    ("mode", "egress", "words"),
    [("off", "internet", "is off"), ("auto", "internet", "not filtered"), ("auto", "none", "No workspace can be"),
     ("required", "internet", "No workspace can be")],
)  # fmt: skip
async def test_an_unprivileged_hub_says_what_it_cannot_enforce(
    mode: str, egress: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(egress_link, "SOCKET_DIR", tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    settings = Settings.model_validate({"workspace": {"egress": egress, "egressFilter": mode}})
    data = DataDir(tmp_path / "data")
    data.prepare()
    plan = await egress_child.plan(settings, data)
    assert not plan.start and words in plan.warning and "metadata" in plan.warning
    egress_link.socket_path(data.hub_id()).touch()  # there is a helper, but it is dead
    plan = await egress_child.plan(settings, data)
    assert ("until" in plan.warning or "before" in plan.warning) == (mode != "off")
