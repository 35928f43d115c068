"""Limits the bits a second of each workspace, at the machine's end of its cable.

What the container receives leaves the machine through that end, so a token bucket stands there. What it
sends arrives there, where Linux cannot queue: it is turned over to an interface of its own (ifb) with a
bucket of its own. The container can change neither; both ends go when the container does.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from ipaddress import IPv4Network
from pathlib import Path

from persistent_terminal_hub.hub.egress import Workspace
from persistent_terminal_hub.hub.netfilter import ToolError, find_tool, first_refusal, run
from persistent_terminal_hub.hub.subnets import gateway_of

NET = Path("/sys/class/net")
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


class Shaper:
    """Keeps the limits in place; remembers what it did, because interfaces come and go."""

    def __init__(self, pool: IPv4Network) -> None:
        self._pool = pool
        self._done: dict[IPv4Network, tuple[str, int]] = {}

    async def apply(self, workspaces: Iterable[Workspace]) -> str:
        """Bring limits to the workspaces that run; why one could not be had, empty when all are."""
        limited = {w.subnet: w.bandwidth for w in workspaces if w.bandwidth}
        problem = ""
        await self._tidy(limited)
        if not limited:
            return problem
        if not find_tool("tc"):
            return (
                "tc is not on this machine (on Debian: apt-get install iproute2): bandwidth is not limited."
            )
        bridges = await _bridges()
        for subnet, rate in limited.items():
            port = _port_of(bridges.get(str(gateway_of(subnet)), ""))
            if not port:
                continue  # its container does not run yet; the next round sees it
            index = (NET / port / "ifindex").read_text().strip() if (NET / port).exists() else ""
            mark = (f"{port}:{index}", rate)
            if self._done.get(subnet) == mark and (NET / ifb_name(subnet)).exists():
                continue
            wrong = await first_refusal(commands(port, subnet, rate, (NET / ifb_name(subnet)).exists()))
            if wrong:
                problem = f"The bandwidth of {subnet} is not limited: {wrong}"
            else:
                self._done[subnet] = mark
        return problem

    async def _tidy(self, limited: dict[IPv4Network, int]) -> None:
        """Remove interfaces of workspaces that are gone."""
        for subnet in [subnet for subnet in self._done if subnet not in limited]:
            del self._done[subnet]
        wanted = {ifb_name(subnet) for subnet in limited}
        for name in _ifbs_in(self._pool) - wanted:
            with contextlib.suppress(ToolError):
                await run("ip", "link", "del", "dev", name)


def _ifbs_in(pool: IPv4Network) -> set[str]:
    """The interfaces that stand for subnets of a range."""
    found = set()
    for path in NET.glob(f"{IFB_PREFIX}*"):
        with contextlib.suppress(ValueError):
            if int(pool[0]) <= int(path.name.removeprefix(IFB_PREFIX), 16) <= int(pool[-1]):
                found.add(path.name)
    return found


async def _bridges() -> dict[str, str]:
    """Addresses of this machine and the interfaces that have them."""
    try:
        listing = json.loads(await run("ip", "-j", "-4", "addr", "show"))
    except (ToolError, ValueError):
        return {}
    return {
        address["local"]: entry["ifname"]
        for entry in listing
        for address in entry.get("addr_info", ())
        if "local" in address and "ifname" in entry
    }


def _port_of(bridge: str) -> str:
    """The one cable of a workspace's bridge; empty when there is none, or more than one."""
    ports = [path.name for path in (NET / bridge / "brif").glob("*")] if bridge else []
    return ports[0] if len(ports) == 1 else ""
