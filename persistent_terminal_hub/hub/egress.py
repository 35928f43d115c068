"""What workspaces may reach, as the text that `iptables-restore --noflush` applies in one step (pure).

The rules of one hub stand in chains of its own, which carry its id, and are hooked in before everything
that is not ours. They only ever take away: what they let through RETURNs to the machine's own rules.

- FORWARD (what containers send past this machine): answers; else the chain of the sender's policy. A sender
  in the hub's range of whom nothing was said reaches nothing, so a rule that is missing opens nothing.
- INPUT (what containers send to this machine): answers, and the hub's API. Nothing else of the host.

Senders are told apart by address. A workspace cannot forge one: it has neither CAP_NET_RAW nor
CAP_NET_ADMIN, and is alone in its network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network

from persistent_terminal_hub.config.egress_entries import NEVER, NOTHING_LISTED, PRIVATE, AllowList
from persistent_terminal_hub.hub.object_names import check_hub_id

PREFIX = "PTH-"
#: A program is told at once, where a silent drop would leave it waiting for minutes.
REFUSE = "-j REJECT --reject-with icmp-admin-prohibited"
ANSWERS = "-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"
#: Bits a second: what `networkBandwidth` can say at most is far below.
MOST_BANDWIDTH = 10**15


class Policy(StrEnum):
    """What one workspace may reach besides the hub's API."""

    NONE = "none"
    LIST = "list"
    INTERNET = "internet"


class EgressError(ValueError):
    """A desired state that is refused; the text is a sentence."""


@dataclass(frozen=True)
class Workspace:
    """One workspace's network and what goes for it."""

    subnet: IPv4Network
    policy: Policy
    bandwidth: int = 0  # bits a second each way; 0: no limit


@dataclass(frozen=True)
class Ground:
    """What holds for all workspaces of a hub; comes from the settings, never from a message."""

    hub_id: str
    pool: IPv4Network
    prefix: int
    hub_address: IPv4Address
    hub_port: int
    allow: AllowList = NOTHING_LISTED
    resolvers: tuple[IPv4Address, ...] = ()
    most: Policy = Policy.INTERNET

    def chain(self, part: str) -> str:
        """The name of one of this hub's chains (at most 28 characters)."""
        return f"{PREFIX}{check_hub_id(self.hub_id)}-{part}"

    @property
    def chains(self) -> tuple[str, ...]:
        """All chains of this hub."""
        return tuple(self.chain(part) for part in ("FWD", "NET", "LIST", "IN", "DNS"))

    def permits(self, policy: Policy) -> bool:
        """Whether the settings let a workspace have this policy."""
        narrower = {
            Policy.NONE: {Policy.NONE},
            Policy.LIST: {Policy.NONE, Policy.LIST},
            # With `internet` the list is what an administrator offers to those who ask for it.
            Policy.INTERNET: set(Policy),
        }
        return policy in narrower[self.most]

    def resolving(self, policy: Policy) -> bool:
        """Whether a policy lets names be looked up."""
        return policy is Policy.INTERNET or (policy is Policy.LIST and self.allow.dns)

    @property
    def name_servers(self) -> tuple[IPv4Address, ...]:
        """The resolvers that a container may be let through to: none in the workspaces' own range."""
        return tuple(a for a in dict.fromkeys(self.resolvers) if a not in self.pool and not a.is_loopback)


def parse_state(data: object, ground: Ground) -> tuple[Workspace, ...]:
    """The workspaces of a message, every part of it checked. Raises EgressError."""
    if not isinstance(data, list):
        raise EgressError("The state must be a list of workspaces.")
    room = (1 << (ground.prefix - ground.pool.prefixlen)) - 1
    if len(data) > room:
        raise EgressError(f"The state names {len(data)} workspaces, and the pool has room for {room}.")
    found = [_parse_workspace(entry, ground) for entry in data]
    if len({workspace.subnet for workspace in found}) < len(found):
        raise EgressError("The state names a subnet twice.")
    return tuple(sorted(found, key=lambda workspace: workspace.subnet))


def _parse_workspace(entry: object, ground: Ground) -> Workspace:
    if not isinstance(entry, Mapping) or not {"subnet", "policy"} <= entry.keys() <= {
        "subnet",
        "policy",
        "bandwidth",
    }:
        raise EgressError("A workspace must have subnet, policy and, if wanted, bandwidth; nothing else.")
    text, word, bandwidth = entry["subnet"], entry["policy"], entry.get("bandwidth", 0)
    try:
        if not isinstance(text, str) or len(text) > 18:
            raise ValueError
        subnet = IPv4Network(text)
    except ValueError:
        raise EgressError("A subnet must be a text such as 10.213.0.8/29, its host bits zero.") from None
    hub = next(ground.pool.subnets(new_prefix=ground.prefix))
    if subnet.prefixlen != ground.prefix or not subnet.subnet_of(ground.pool) or subnet == hub:
        raise EgressError(
            f"The subnet {subnet} is not a workspace's: those are /{ground.prefix} networks of {ground.pool} "
            "without the hub's own."
        )
    if not isinstance(word, str) or word not in set(Policy):
        raise EgressError("A policy must be none, list or internet.")
    policy = Policy(word)
    if not ground.permits(policy):
        raise EgressError(f"The settings allow at most {ground.most}, not {policy}.")
    if isinstance(bandwidth, bool) or not isinstance(bandwidth, int) or not 0 <= bandwidth <= MOST_BANDWIDTH:
        raise EgressError("A bandwidth must be a whole number of bits a second, 0 for no limit.")
    return Workspace(subnet, policy, bandwidth)


def rules(ground: Ground, workspaces: Iterable[Workspace]) -> list[str]:
    """All rules of this hub's chains, spelled as `iptables-save` prints them."""
    fwd, net, lst, inp, dns = ground.chains
    chain_of = {Policy.INTERNET: net, Policy.LIST: lst}
    known = [workspace for workspace in workspaces if ground.permits(workspace.policy)]
    lines = [f"-A {fwd} {ANSWERS}"]
    lines += [f"-A {fwd} -s {w.subnet} -g {chain_of[w.policy]}" for w in known if w.policy in chain_of]
    lines.append(f"-A {fwd} {REFUSE}")

    ask = [
        f"-d {server}/32 -p {protocol} -m {protocol} --dport 53 -j RETURN"
        for server in ground.name_servers
        for protocol in ("udp", "tcp")
    ]
    never = [f"-d {place} {REFUSE}" for place in (ground.pool, *NEVER)]
    public = [*(f"-d {place} {REFUSE}" for place in PRIVATE), "-j RETURN"]
    lines += [f"-A {net} {rule}" for rule in (*ask, *never, *public)]

    listed = [_place(place.network, place.port, place.protocol) for place in ground.allow.places]
    rest = public if ground.allow.internet else [REFUSE]
    asking = ask if ground.allow.dns else []
    lines += [f"-A {lst} {rule}" for rule in (*asking, *never, *listed, *rest)]

    lines.append(f"-A {inp} {ANSWERS}")
    lines.append(f"-A {inp} -d {ground.hub_address}/32 -p tcp -m tcp --dport {ground.hub_port} -j RETURN")
    if ask:  # the machine itself may be the name server
        lines += [f"-A {inp} -s {w.subnet} -g {dns}" for w in known if ground.resolving(w.policy)]
    lines.append(f"-A {inp} {REFUSE}")
    lines += [f"-A {dns} {rule}" for rule in (*ask, REFUSE)]
    return lines


def _place(network: IPv4Network, port: int, protocol: str | None) -> str:
    # iptables-save leaves out what matches everything.
    where = "" if network.prefixlen == 0 else f"-d {network} "
    what = f"-p {protocol} -m {protocol} --dport {port} " if port else ""
    return f"{where}{what}-j RETURN"


def restore_text(ground: Ground, workspaces: Iterable[Workspace], present: str = "") -> str:
    """Input of `iptables-restore --noflush`: all of this hub's chains anew, and its hooks where they belong.

    `present` is what `iptables-save -t filter` printed; from it come the hooks to put in or to move.
    """
    lines = [f":{chain} - [0:0]" for chain in ground.chains]
    lines += rules(ground, workspaces)
    lines += _hooks(ground, present)
    lines += _predecessors(ground, present)
    return _table(lines)


def removal_text(hub_id: str, present: str) -> str:
    """Takes away all chains and hooks of one hub; empty when there are none."""
    mine = f"{PREFIX}{check_hub_id(hub_id)}-"
    chains = [chain for chain in _declared(present) if chain.startswith(mine)]
    return _table(_take_away(chains, present)) if chains else ""


def in_place(ground: Ground, workspaces: Iterable[Workspace], present: str) -> bool:
    """Whether `iptables-save -t filter` shows exactly what is wanted, hooks included."""
    return hooked(ground, present) and by_chain(ground, present) == by_chain(
        ground, "\n".join(rules(ground, workspaces))
    )


def hooked(ground: Ground, present: str) -> bool:
    """Whether our chains are called from where they must be, before everything that is not ours."""
    return not _hooks(ground, present)


def by_chain(ground: Ground, present: str) -> dict[str, list[str]]:
    """The rules of each of our chains, in their order."""
    return {chain: _in_chain(present, chain) for chain in ground.chains}


def _table(lines: Iterable[str]) -> str:
    return "\n".join(["*filter", *lines, "COMMIT", ""])


def _declared(present: str) -> list[str]:
    return [line[1:].split()[0] for line in present.splitlines() if line.startswith(":")]


def _appended(present: str) -> list[str]:
    return [line for line in present.splitlines() if line.startswith("-A ") and len(line.split()) > 2]


def _in_chain(present: str, chain: str) -> list[str]:
    return [line.split(" ", 2)[2] for line in _appended(present) if line.split()[1] == chain]


def _is_ours(rule: str) -> bool:
    """A hook of some hub's."""
    return f" {PREFIX}" in rule


def _wanted_hooks(ground: Ground, present: str) -> dict[str, str]:
    """Where our chains have to be called, and how."""
    forward = f"-s {ground.pool} -j {ground.chain('FWD')}"
    hooks = {"INPUT": f"-s {ground.pool} -j {ground.chain('IN')}"}
    if "DOCKER-USER" in _declared(present):
        hooks["DOCKER-USER"] = forward
    others = (rule for rule in _in_chain(present, "FORWARD") if not _is_ours(rule))
    if next(others, "") != "-j DOCKER-USER" or "DOCKER-USER" not in hooks:
        # An engine that leaves the firewall alone, or a rule before Docker's that would decide first.
        hooks["FORWARD"] = forward
    return hooks


def _hooks(ground: Ground, present: str) -> list[str]:
    """The commands that bring the hooks into their places; none when all is as it should be."""
    wanted = _wanted_hooks(ground, present)
    commands: list[str] = []
    for chain in ("INPUT", "DOCKER-USER", "FORWARD"):
        there = _in_chain(present, chain)
        mine = [rule for rule in there if any(rule.endswith(f" {name}") for name in ground.chains)]
        first_foreign = next((i for i, rule in enumerate(there) if not _is_ours(rule)), len(there))
        hook = wanted.get(chain)
        if hook is not None and mine == [hook] and there.index(hook) < first_foreign:
            continue
        commands += [f"-D {chain} {rule}" for rule in mine]
        if hook is not None:
            commands.append(f"-I {chain} 1 {hook}")
    return commands


def _predecessors(ground: Ground, present: str) -> list[str]:
    """Takes away what a hub left behind that had exactly this range: two living ones cannot share it."""
    dead: set[str] = set()
    for chain in ("INPUT", "DOCKER-USER", "FORWARD"):
        for rule in _in_chain(present, chain):
            target = rule.split()[-1]
            if rule.startswith(f"-s {ground.pool} -j {PREFIX}") and target not in ground.chains:
                dead.add(target.rsplit("-", 1)[0] + "-")
    chains = [chain for chain in _declared(present) if chain.startswith(tuple(dead))] if dead else []
    return _take_away(chains, present)


def _take_away(chains: list[str], present: str) -> list[str]:
    hooks = [
        f"-D {chain} {rule}"
        for chain in ("INPUT", "DOCKER-USER", "FORWARD")
        for rule in _in_chain(present, chain)
        if rule.split()[-1] in chains
    ]
    return [*hooks, *(f"-F {chain}" for chain in chains), *(f"-X {chain}" for chain in chains)]
