"""A small netfilter: walks the text that `iptables-restore` is given, as the kernel would."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network


@dataclass(frozen=True)
class Packet:
    """The first packet of a connection, or one that belongs to an earlier one."""

    source: IPv4Address
    target: IPv4Address
    protocol: str = "tcp"
    port: int = 80
    answer: bool = False


class Table:
    """The filter table: chains of rules, each a list of words."""

    def __init__(self, text: str, base: str = "") -> None:
        self.chains: dict[str, list[list[str]]] = {"INPUT": [], "FORWARD": [], "DOCKER-USER": []}
        for part in (base, text):
            for line in part.splitlines():
                self._apply(line.split())

    def _apply(self, words: list[str]) -> None:
        if not words or words[0] in ("*filter", "COMMIT") or words[0].startswith("#"):
            return
        if words[0].startswith(":"):
            chain = words[0][1:]
            if words[1] == "-" and not chain.startswith("DOCKER"):
                self.chains[chain] = []  # --noflush empties the chains that are declared
            self.chains.setdefault(chain, [])
        elif words[0] == "-A":
            self.chains[words[1]].append(words[2:])
        elif words[0] == "-I":
            self.chains[words[1]].insert(int(words[2]) - 1, words[3:])
        elif words[0] == "-D":
            self.chains[words[1]].remove(words[2:])
        elif words[0] == "-F":
            self.chains[words[1]] = []
        elif words[0] == "-X":
            assert not self.chains[words[1]], "not empty"
            assert not any(words[1] in rule for rules in self.chains.values() for rule in rules), "in use"
            del self.chains[words[1]]
        else:
            raise AssertionError(f"unknown command {words}")

    def lets_through(self, start: str, packet: Packet) -> bool:
        """Whether a packet is let through by what starts at this chain; the end of it is an accept."""
        return self._walk(start, packet) is not False

    def _walk(self, chain: str, packet: Packet) -> bool | None:
        """True accepted, False refused, None the caller goes on."""
        for rule in self.chains[chain]:
            matched, verdict, name = self._read(rule, packet)
            if not matched:
                continue
            if verdict == "-g":
                return self._walk(name, packet)
            if name in ("DROP", "REJECT"):
                return False
            if name == "ACCEPT":
                return True
            if name == "RETURN":
                return None
            result = self._walk(name, packet)
            if result is not None:
                return result
        return None

    def _read(self, rule: list[str], packet: Packet) -> tuple[bool, str, str]:
        words, matched, verdict, name = list(rule), True, "", ""
        while words:
            word = words.pop(0)
            value = words.pop(0)
            if word in ("-s", "-d"):
                address = packet.source if word == "-s" else packet.target
                matched &= address in IPv4Network(value)
            elif word == "-p":
                matched &= packet.protocol == value
            elif word == "--dport":
                matched &= packet.port == int(value)
            elif word == "--ctstate":
                assert value == "RELATED,ESTABLISHED"
                matched &= packet.answer
            elif word in ("-j", "-g"):
                verdict, name = word, value
            else:
                assert word in ("-m", "--reject-with"), f"unknown match {word}"
        return matched, verdict, name


def saved(table: Table) -> str:
    """The table as `iptables-save` prints it."""
    lines = [f":{chain} ACCEPT [0:0]" for chain in table.chains]
    lines += [f"-A {chain} {' '.join(rule)}" for chain, rules in table.chains.items() for rule in rules]
    return "*filter\n" + "\n".join(lines) + "\nCOMMIT\n"
