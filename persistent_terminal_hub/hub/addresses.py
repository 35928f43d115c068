"""Where proxy and hub listen, as the settings have it."""

from __future__ import annotations

from ipaddress import IPv4Network

from persistent_terminal_hub.hub.backend import Backend
from persistent_terminal_hub.hub.subnets import gateway_of, hub_subnet
from persistent_terminal_hub.settings import Settings


def public_bind_url(settings: Settings) -> str:
    """Where the proxy listens, as JupyterHub writes it."""
    scheme = "https" if settings.server.tls else "http"
    host = f"[{settings.server.host}]" if ":" in settings.server.host else settings.server.host
    return f"{scheme}://{host}:{settings.server.port}{settings.server.base_url}"


def hub_host(settings: Settings, backend: Backend) -> str:
    """The address that the hub's own server binds to: never one that the LAN can reach.

    With containers it is the gateway of the hub's own network, which every container reaches through its
    own gateway; otherwise loopback.
    """
    if backend == "process":
        return "127.0.0.1"
    pool = IPv4Network(settings.docker.subnet_pool)
    return str(gateway_of(hub_subnet(pool, settings.docker.subnet_prefix)))
