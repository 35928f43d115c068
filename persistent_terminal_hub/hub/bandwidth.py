"""Limits the bits a second of each workspace, at the machine's end of its cable.

What the container receives leaves the machine through that end, so a token bucket stands there. What it
sends arrives there, where Linux cannot queue: it is turned over to an interface of its own (ifb) with a
bucket of its own. The container can change neither; both ends go when the container does.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network

from persistent_terminal_hub.hub.egress import Workspace
from persistent_terminal_hub.hub.netfilter import ToolError, find_tool, first_refusal, run
from persistent_terminal_hub.hub.subnets import gateway_of

IFB_PREFIX = "pthi"
LATENCY = "50ms"
_UNITS = {"K": 10**3, "M": 10**6, "G": 10**9}


def parse_rate(text: str) -> int:
    """``100M`` in bits a second; nothing is 0."""
    return int(text[:-1]) * _UNITS[text[-1]] if text else 0


def burst_bytes(rate: int) -> int:
    """What may pass at once: 20 ms of the rate, and never less than one large packet of a local sender."""
    return max(64 * 1024, rate // 8 // 50)


def ifb_name(subnet: IPv4Network) -> str:
    """The interface behind which a workspace's sending waits; subnets are unique on a machine."""
    return f"{IFB_PREFIX}{int(subnet.network_address):08x}"


def commands(port: str, subnet: IPv4Network, rate: int, ifb_exists: bool) -> list[list[str]]:
    """What to run for one workspace whose cable ends at `port` (pure)."""
    ifb = ifb_name(subnet)
    bucket = ["tbf", "rate", f"{rate}bit", "burst", str(burst_bytes(rate)), "latency", LATENCY]
    return [
        *([] if ifb_exists else [["ip", "link", "add", "name", ifb, "type", "ifb"]]),
        ["ip", "link", "set", "dev", ifb, "up"],
        ["tc", "qdisc", "replace", "dev", ifb, "root", *bucket],
        ["tc", "qdisc", "replace", "dev", port, "root", *bucket],
        ["tc", "qdisc", "replace", "dev", port, "handle", "ffff:", "ingress"],
        [
            *("tc", "filter", "replace", "dev", port, "parent", "ffff:", "protocol", "all", "prio", "1"),
            *("handle", "800::800", "u32", "match", "u32", "0", "0"),
            *("action", "mirred", "egress", "redirect", "dev", ifb),
        ],
    ]


@dataclass(frozen=True)
class Links:
    """The interfaces of this machine, as far as they matter here."""

    bridges: dict[str, str]  # address: the interface that has it
    ports: dict[str, list[tuple[str, int]]]  # bridge: names and numbers of the cables that end there
    names: frozenset[str]

    def port_of(self, subnet: IPv4Network) -> tuple[str, int] | None:
        """The one cable of a workspace's bridge; none while its container does not run."""
        ports = self.ports.get(self.bridges.get(str(gateway_of(subnet)), ""), [])
        return ports[0] if len(ports) == 1 else None

    def ifbs_in(self, pool: IPv4Network) -> set[str]:
        """The interfaces that stand for subnets of a range."""
        found = set()
        for name in self.names:
            if re.fullmatch(f"{IFB_PREFIX}[0-9a-f]{{8}}", name):
                first = int(name.removeprefix(IFB_PREFIX), 16)
                if int(pool[0]) <= first <= int(pool[-1]):
                    found.add(name)
        return found


def parse_links(text: str) -> Links:
    """What `ip -j addr show` prints. Raises ValueError."""
    bridges: dict[str, str] = {}
    ports: dict[str, list[tuple[str, int]]] = {}
    names = set()
    for entry in json.loads(text):
        if "ifname" not in entry:
            continue
        names.add(entry["ifname"])
        if "master" in entry:
            ports.setdefault(entry["master"], []).append((entry["ifname"], entry["ifindex"]))
        for address in entry.get("addr_info", ()):
            if "local" in address:
                bridges[address["local"]] = entry["ifname"]
    return Links(bridges, ports, frozenset(names))


class Shaper:
    """Keeps the limits in place; remembers what it did, because interfaces come and go."""

    def __init__(self, pool: IPv4Network) -> None:
        self._pool = pool
        self._done: dict[IPv4Network, tuple[str, int, int]] = {}
        self._ever = True  # a helper before this one may have left something

    async def apply(self, workspaces: Iterable[Workspace]) -> str:
        """Bring limits to the workspaces that run; why one could not be had, empty when all are."""
        limited = {w.subnet: w.bandwidth for w in workspaces if w.bandwidth}
        if not limited and not self._ever:
            return ""
        if not find_tool("tc") or not find_tool("ip"):
            self._ever = False
            missing = "ip or tc is not on this machine (on Debian: apt-get install iproute2): "
            return missing + "bandwidth is not limited." if limited else ""
        try:
            links = parse_links(await run("ip", "-j", "addr", "show"))
        except (ToolError, ValueError) as error:
            return f"Bandwidth is not limited: {error}"
        self._ever = bool(limited)
        await self._tidy(limited, links)
        problem = ""
        for subnet, rate in limited.items():
            if (port := links.port_of(subnet)) is None:
                continue  # its container does not run yet; the next round sees it
            if self._done.get(subnet) == (*port, rate) and ifb_name(subnet) in links.names:
                continue
            wrong = await first_refusal(commands(port[0], subnet, rate, ifb_name(subnet) in links.names))
            if wrong:
                problem = f"The bandwidth of {subnet} is not limited: {wrong}"
            else:
                self._done[subnet] = (*port, rate)
        return problem

    async def _tidy(self, limited: dict[IPv4Network, int], links: Links) -> None:
        """Remove interfaces of workspaces that are gone. (A cable that stays keeps its own bucket.)"""
        for subnet in [subnet for subnet in self._done if subnet not in limited]:
            del self._done[subnet]
        for name in links.ifbs_in(self._pool) - {ifb_name(subnet) for subnet in limited}:
            with contextlib.suppress(ToolError):
                await run("ip", "link", "del", "dev", name)
