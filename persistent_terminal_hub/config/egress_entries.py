"""What a workspace may reach, as administrators write it: the entries of `workspace.egressAllow` (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from typing import Literal

#: Nobody's to reach, whoever lists it: this machine itself, link-local addresses (among them a cloud's
#: metadata service, 169.254.169.254), multicast, reserved ones, and Azure's service for its machines.
NEVER = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "168.63.129.16/32",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)  # fmt: skip
#: Not the Internet: private networks (RFC 1918), carriers' (RFC 6598; metadata services of some clouds are
#: there too), protocol assignments (RFC 6890) and laboratories (RFC 2544).
PRIVATE = tuple(
    IPv4Network(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15",
    )
)  # fmt: skip
#: Words that stand for more than an address.
INTERNET, DNS = "internet", "dns"
MOST_ENTRIES = 256

Protocol = Literal["tcp", "udp"]
_ENTRY = re.compile(r"(?P<net>[0-9./]{7,18})(?::(?P<port>[0-9]{1,5})(?:/(?P<protocol>tcp|udp))?)?")
WANTED = (
    "must be networks such as 192.0.2.0/24, with a port if wanted (192.0.2.7:443 or 192.0.2.7:53/udp), "
    f"or the words {INTERNET} and {DNS}"
)


@dataclass(frozen=True)
class Allowed:
    """One destination; without a port all of the network's ports and protocols."""

    network: IPv4Network
    port: int = 0
    protocol: Protocol | None = None


@dataclass(frozen=True)
class AllowList:
    """What the policy `list` lets through."""

    places: tuple[Allowed, ...] = ()
    internet: bool = False
    dns: bool = False


NOTHING_LISTED = AllowList()


def parse_entry(text: str) -> Allowed:
    """One entry that is no word. Raises ValueError with the end of a sentence."""
    found = _ENTRY.fullmatch(text)
    if found is None:
        raise ValueError(WANTED)
    try:
        network = IPv4Network(found["net"])
    except (AddressValueError, NetmaskValueError):
        raise ValueError(WANTED) from None
    except ValueError:
        raise ValueError(f"{WANTED}; the host bits of a network must be zero") from None
    port = int(found["port"] or 0)
    if found["port"] is not None and not 1 <= port <= 65535:
        raise ValueError(f"{WANTED}; a port is 1 to 65535")
    if any(network.subnet_of(never) for never in NEVER):
        raise ValueError(
            "must not name this machine's own, link-local (a cloud's metadata service), multicast or "
            "reserved addresses: no workspace ever reaches them"
        )
    protocol: Protocol | None = None
    if port:
        protocol = "udp" if found["protocol"] == "udp" else "tcp"
    return Allowed(network, port, protocol)


def parse_allow(entries: Iterable[str]) -> AllowList:
    """The whole list. Raises ValueError with the end of a sentence."""
    words = list(entries)
    if len(words) > MOST_ENTRIES:
        raise ValueError(f"must have at most {MOST_ENTRIES} entries")
    return AllowList(
        tuple(dict.fromkeys(parse_entry(word) for word in words if word not in (INTERNET, DNS))),
        internet=INTERNET in words,
        dns=DNS in words,
    )


def parse_resolver(text: str) -> IPv4Address:
    """The address of a name server. Raises ValueError with the end of a sentence."""
    try:
        return IPv4Address(text)
    except ValueError:
        raise ValueError("must be IPv4 addresses such as 192.0.2.53") from None
