"""Judges valid settings: what to warn of, and what makes serving impossible or unsafe.

Pure, apart from `tls_findings`, whose answer the two others are given.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import urlsplit

from pydantic import SecretStr

from persistent_terminal_hub.config.presets import PRESETS
from persistent_terminal_hub.config.rule_checks import rule_warnings
from persistent_terminal_hub.config.schema import Keys, describe
from persistent_terminal_hub.config.tls import TlsFindings, inspect_tls
from persistent_terminal_hub.config.unlocking import lock_problems, lock_warnings
from persistent_terminal_hub.settings import Settings

# The ranges that are never routed publicly: RFC 1918, and RFC 6598 for carriers.
# `is_private` of Python also takes loopback, link-local and documentation, where no container can live.
_PRIVATE = tuple(
    ipaddress.IPv4Network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
_PLACEHOLDER = re.compile(
    r"<[^<>]*>|\$\{.*\}|your[-_ ].*|(change|replace)[-_ ]?(this|me)|placeholder|todo|x{3,}|\.{3}"
    r"|\*+",  # the mask that check-config prints
    re.IGNORECASE,
)


def is_placeholder(text: str) -> bool:
    """Whether a text is what an example has in place of a value, such as <YOUR_CLIENT_ID>."""
    return _PLACEHOLDER.fullmatch(text.strip()) is not None


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine only; names other than localhost do not."""
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def tls_findings(settings: Settings, now: datetime | None = None) -> TlsFindings:
    """What the certificate and key files are like; nothing when TLS is not set."""
    tls = settings.server.tls
    return inspect_tls(tls.cert_file, tls.key_file, now) if tls else TlsFindings()


def warnings(settings: Settings, tls: TlsFindings) -> list[str]:
    """All sentences of warning; the settings may be used all the same."""
    return [
        *_problems(settings, tls),
        *tls.warnings,
        *_network_warnings(settings),
        *_auth_warnings(settings),
        *lock_warnings(settings),
        *rule_warnings(settings),
    ]


def problems(settings: Settings, tls: TlsFindings) -> list[str]:
    """All sentences that forbid serving."""
    return list(_problems(settings, tls))


def _problems(settings: Settings, tls: TlsFindings) -> Iterator[str]:
    yield from _port_problems(settings)
    yield from tls.problems
    yield from _client_problems(settings)
    yield from _issuer_problems(settings)
    yield from _public_url_problems(settings)
    yield from lock_problems(settings)
    yield from _placeholder_problems(settings)
    if settings.workspace.backend != "process":
        yield from _subnet_problems(settings)


def _port_problems(settings: Settings) -> Iterator[str]:
    server = settings.server
    ports = {
        "server.port": server.port,
        "server.hubPort": server.hub_port,
        "server.proxyApiPort": server.proxy_api_port,
        **({"control.port": settings.control.port} if settings.control.enabled else {}),
    }
    names = list(ports)
    for index, name in enumerate(names):
        for other in names[index + 1 :]:
            if ports[name] == ports[other]:
                yield f"{name} and {other} are both {ports[name]}; give each its own port."


def _client_problems(settings: Settings) -> Iterator[str]:
    auth = settings.auth
    preset = PRESETS.get(auth.provider)
    if preset is None:
        return
    for name, text in (("clientId", auth.client_id), ("clientSecret", auth.client_secret.get_secret_value())):
        if not text.strip() or is_placeholder(text):
            what = "is still the placeholder of an example" if text.strip() else "is not set"
            yield f"auth.{name} {what}; to get one from {preset.title}, {preset.register}."


def _issuer_problems(settings: Settings) -> Iterator[str]:
    auth = settings.auth
    preset = PRESETS.get(auth.provider)
    if preset is None or not preset.oidc or is_placeholder(auth.issuer):
        return
    if not auth.issuer:
        yield (
            "auth.issuer is not set; give the URL of your identity provider under which "
            "/.well-known/openid-configuration answers."
        )
        return
    problem = _url_problem(auth.issuer)
    if problem:
        yield f"auth.issuer {problem}."


def _public_url_problems(settings: Settings) -> Iterator[str]:
    url = settings.server.public_url
    if not url and settings.server.subdomains:
        yield "server.subdomains needs server.publicUrl: users get hosts below its host."
    if not url or is_placeholder(url):
        return
    try:
        parts = urlsplit(url)
        plain = (
            parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        plain = False
    if not plain or parts.username or parts.password or parts.query or parts.fragment:
        yield "server.publicUrl must be an address such as https://hub.example.org, and nothing after it."
    elif settings.server.subdomains and _is_address(parts.hostname or ""):
        yield "server.subdomains needs a host name in server.publicUrl: an IP address has no hosts below it."
    elif parts.path.strip("/") not in ("", settings.server.base_url.strip("/")):
        yield "server.publicUrl must not have a path of its own; server.baseUrl says the path."


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _url_problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port  # raises for one that is no number
    except ValueError:
        return "is not a valid URL"
    if parts.scheme not in ("http", "https") or not host:
        return "must be a URL such as https://login.example.org"
    if parts.username or parts.password or parts.query or parts.fragment:
        return "must be a plain URL, without user name, '?' or '#'"
    if parts.scheme == "http" and not is_loopback(host):
        return "must begin with https://, or anybody on the way could log in as anybody"
    return None


def _placeholder_problems(settings: Settings) -> Iterator[str]:
    """Placeholders elsewhere, in the form that nothing real has."""
    for keys, text in _texts(settings):
        if keys not in (("auth", "clientId"), ("auth", "clientSecret")) and re.fullmatch(r"<[^<>]*>", text):
            yield f"{'.'.join(keys)} is still the placeholder of an example; put in the real value."


def _texts(settings: Settings) -> Iterator[tuple[Keys, str]]:
    schema = describe(Settings)
    for leaf in schema.leaves():
        value: object = settings
        for name in leaf.path:
            value = getattr(value, name, None)
        yield from ((leaf.keys, text) for text in _texts_in(value))
    for table in schema.tables():
        for entry in settings.rules:
            for child in table.entry.children:
                yield from ((child.keys, text) for text in _texts_in(getattr(entry, child.path[-1])))


def _texts_in(value: object) -> Iterator[str]:
    for part in value if isinstance(value, tuple | frozenset) else (value,):
        text = part.get_secret_value() if isinstance(part, SecretStr) else part
        if isinstance(text, str):
            yield text


def _subnet_problems(settings: Settings) -> Iterator[str]:
    pool = ipaddress.IPv4Network(settings.docker.subnet_pool)
    prefix = settings.docker.subnet_prefix
    if not any(pool.subnet_of(private) for private in _PRIVATE):
        yield (
            f"docker.subnetPool {pool} is not a private range; take a free part of 10.0.0.0/8, "
            "172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10."
        )
    # The first network is the hub's own.
    if prefix <= pool.prefixlen:
        yield (
            f"docker.subnetPool {pool} is too small for networks of /{prefix}: it must hold the hub's and "
            "at least one workspace's; enlarge the pool or raise docker.subnetPrefix."
        )


def _network_warnings(settings: Settings) -> Iterator[str]:
    server, docker, workspace = settings.server, settings.docker, settings.workspace
    if server.tls is None and not is_loopback(server.host):
        yield (
            f"server.host {server.host} is reachable from other machines and TLS is off: passwords travel "
            "readable unless a proxy in front adds TLS; set server.tls."
        )
    pool = ipaddress.IPv4Network(docker.subnet_pool)
    room = (1 << max(0, docker.subnet_prefix - pool.prefixlen)) - 1
    if workspace.backend != "process" and 0 < room < workspace.max_running:
        yield (
            f"docker.subnetPool {pool} has room for {room} workspaces, fewer than workspace.maxRunning "
            f"{workspace.max_running}."
        )
    if workspace.backend == "process":
        yield "workspace.backend is process: workspaces are not isolated from each other."


def _auth_warnings(settings: Settings) -> Iterator[str]:
    auth = settings.auth
    preset = PRESETS.get(auth.provider)
    if auth.allow_all:
        who = f"everybody who has an account at {preset.title}" if preset else "everybody who signs up"
        yield f"auth.allowAll is on: {who} may log in."
    if preset is None:
        return
    rules = (auth.allowed_users, auth.allowed_groups, auth.admin_users, auth.admin_groups)
    if not auth.allow_all and not any(rules):
        yield (
            "Nobody can log in: set auth.allowedUsers, auth.allowedGroups, auth.adminUsers or "
            "auth.adminGroups (or auth.allowAll)."
        )
    if not auth.groups_claim and (auth.allowed_groups or auth.admin_groups):
        yield f"auth.allowedGroups and auth.adminGroups do nothing: {preset.title} lists no groups."
    if not preset.oidc and auth.issuer:
        yield f"auth.issuer does nothing: {preset.title} has fixed addresses."
