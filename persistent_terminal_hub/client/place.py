"""Where the hub or the workspace is, and the token to show there. Nothing here talks to anybody.

A token is never an argument: other users of a machine read the command lines of all processes. It comes from
PTH_TOKEN, or from a file that only its owner can read.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from .errors import NotConfigured

#: The longest token that is believed; a file that is longer is something else.
MAX_TOKEN = 8192


@dataclass(frozen=True, slots=True)
class Place:
    """A base URL (it ends in "/") and the token that is accepted there."""

    url: str
    token: str = field(repr=False)
    is_hub: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries; the token is never part of a URL."""
        return {"Authorization": f"token {self.token}"} if self.token else {}

    @property
    def local(self) -> bool:
        """Whether it is this machine, which no proxy of the environment can reach for us."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")

    @property
    def exposed(self) -> bool:
        """Whether the token would cross a network in the clear."""
        return self.url.startswith("http:") and not self.local


class Target(NamedTuple):
    """`[USER/WORKSPACE:]SESSION`, taken apart; None means "mine"; the default workspace is called ""."""

    user: str | None
    workspace: str
    session: str


def parse_target(text: str) -> Target:
    """`train`, `lab:train` (my workspace lab), `alice/lab:train`, `alice/:train` (her default workspace)."""
    place, colon, session = text.rpartition(":")
    if not session:
        raise NotConfigured(f"{text!r} names no session.", "Write [USER/WORKSPACE:]SESSION.")
    if not colon:
        return Target(None, "", session)
    user, _, workspace = place.rpartition("/")
    return Target(user or None, workspace, session)


def clean_url(url: str) -> str:
    """The URL as a base, or a sentence about what is wrong with it."""
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NotConfigured("The address must begin with http:// or https:// and name a host.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise NotConfigured(
            "The address must not contain a token, a password or anything after '?' or '#'.",
            "Give the token in PTH_TOKEN or in the token file.",
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/"


def token_file(environ: Mapping[str, str]) -> Path:
    """The file that may hold the token."""
    config = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or Path.home()) / ".config"
    return Path(config) / "persistent-terminal-hub" / "token"


def read_token(path: Path) -> str | None:
    """The token of the file, None if there is no file; others must not be able to read it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NotConfigured(f"The token file {path} cannot be read: {error.strerror}.") from None
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o077:
            raise NotConfigured(
                f"The token file {path} must be a file of yours that nobody else can read.",
                f"Type: chmod 600 {path}",
            )
        text = file.read(MAX_TOKEN + 1).decode("utf-8", "replace").strip()
    return _checked(text, f"The token file {path}")


def _checked(token: str, where: str) -> str:
    if not token or len(token) > MAX_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise NotConfigured(f"{where} does not contain a token.")
    return token


def find_token(environ: Mapping[str, str]) -> str | None:
    """PTH_TOKEN, else the token file, else the token that a workspace's server has of the hub."""
    if token := environ.get("PTH_TOKEN"):
        return _checked(token.strip(), "PTH_TOKEN")
    return read_token(token_file(environ)) or environ.get("JUPYTERHUB_API_TOKEN") or None


def find_place(
    *, hub: str | None = None, server: str | None = None, environ: Mapping[str, str] | None = None
) -> Place:
    """Said on purpose, else PTH_SERVER_URL, PTH_HUB_URL, or the workspace that this process runs in."""
    env = os.environ if environ is None else environ
    if hub and server:
        raise NotConfigured("Name a hub or a server, not both.")
    if not hub and not server:
        server, hub = env.get("PTH_SERVER_URL"), env.get("PTH_HUB_URL")
        if server and hub:
            raise NotConfigured("PTH_SERVER_URL and PTH_HUB_URL are both set.", "Unset one of them.")
    if not hub and not server:
        server = _own_server(env)
    if not hub and not server:
        raise NotConfigured("Where is the hub?", "Name it with --hub or in PTH_HUB_URL.")
    token = find_token(env)
    if token is None:
        raise NotConfigured(
            "There is no token.",
            f"Get one on the hub's page /hub/token; put it into PTH_TOKEN or {token_file(env)} (mode 600).",
        )
    if server:
        return Place(clean_url(server), token)
    # People copy what the browser shows.
    url = re.sub(r"(?<=[^:/])/hub/(?:home/|token/)?$", "/", clean_url(hub or ""))
    return Place(url, token, is_hub=True)


def _own_server(environ: Mapping[str, str]) -> str | None:
    """The server of the workspace whose terminal this is."""
    service, prefix = environ.get("JUPYTERHUB_SERVICE_URL"), environ.get("JUPYTERHUB_SERVICE_PREFIX")
    if not service or not prefix:
        return None
    parts = urlsplit(service)
    # It listens on every address ("" or 0.0.0.0) or on one; in the same container loopback is the nearest.
    host = parts.hostname if parts.hostname not in (None, "0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{prefix}"
