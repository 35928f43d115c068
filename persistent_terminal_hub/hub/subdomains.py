"""A host for each user, so that a browser keeps their pages apart (`server.subdomains`)."""

from __future__ import annotations

from urllib.parse import urlsplit

from jupyterhub.utils import subdomain_hook_idna

from persistent_terminal_hub.settings import Settings


def hub_origin(settings: Settings) -> str:
    """Scheme, host and port of the hub's own pages; users' hosts are below that host."""
    parts = urlsplit(settings.server.public_url)
    return f"{parts.scheme}://{parts.netloc}"


def host_of(name: str, domain: str, kind: str) -> str:
    """JupyterHub's `subdomain_hook`. Our services are as trusted as the hub, and stay on its host: their
    addresses are the same for programs with and without subdomains."""
    return domain if kind == "service" else str(subdomain_hook_idna(name, domain, kind))
