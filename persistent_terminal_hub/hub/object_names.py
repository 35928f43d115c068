"""Names and labels of a workspace's Docker objects (pure).

Requirements:

- injective: two workspaces never share a name, whatever characters users and workspaces are called by;
- safe: only ``[a-z0-9-]``, begins with a letter, so that Docker, DNS and a shell take it as it is;
- bounded: a container's name has at most 63 characters (a DNS label), a volume's and a network's a few more;
- readable: an ordinary name stays visible in ``docker ps``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

MAX_LENGTH = 63
HASH_LENGTH = 24  # hex digits, 96 bits: nobody finds two users whose names collide

LABEL_HUB = "pth.hub"
LABEL_USER = "pth.user"
LABEL_WORKSPACE = "pth.workspace"
LABEL_CONFIG = "pth.config"
LABEL_IMAGE = "pth.image"
LABEL_EGRESS = "pth.egress"
LABEL_BANDWIDTH = "pth.bandwidth"

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_HUB_ID = re.compile(r"[0-9a-f]{12}")


def escape(text: str) -> str:
    """Write everything but ``[a-z0-9]`` as ``-xx`` per UTF-8 byte. Injective; never contains ``--``."""
    return "".join(
        char if char in _SAFE else "".join(f"-{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))
        for char in text
    )


def _workspace_part(workspace: str) -> str:
    if workspace == "":
        return "default"
    if workspace == "default":
        # The nameless default workspace has the plain word; one that is really called so is escaped.
        return "-64efault"
    return escape(workspace)


@dataclass(frozen=True)
class ObjectNames:
    """The Docker names of one workspace."""

    container: str
    volume: str
    network: str


def check_hub_id(hub_id: str) -> str:
    """Return the id; raise ValueError unless it is 12 hex digits."""
    if not _HUB_ID.fullmatch(hub_id):
        raise ValueError(f"The hub id must be 12 hex digits, not {hub_id!r}.")
    return hub_id


def object_names(hub_id: str, user: str, workspace: str) -> ObjectNames:
    """The names of one user's workspace (``workspace`` is the server name, "" for the default one)."""
    if not user:
        raise ValueError("A workspace needs a user.")
    full = f"pth-{check_hub_id(hub_id)}-{escape(user)}--{_workspace_part(workspace)}"
    if len(full) >= MAX_LENGTH:
        # A shortened name has exactly MAX_LENGTH characters and a full one has fewer: they never meet.
        digest = hashlib.sha256(full.encode()).hexdigest()[:HASH_LENGTH]
        full = f"{full[: MAX_LENGTH - HASH_LENGTH - 1]}-{digest}"
    return ObjectNames(container=full, volume=f"{full}-home", network=f"{full}-net")


def hub_network_name(hub_id: str) -> str:
    """The network whose gateway address carries the hub's API."""
    return f"pth-{check_hub_id(hub_id)}-hub"


def object_labels(hub_id: str, user: str, workspace: str) -> dict[str, str]:
    """What every object of a workspace is labelled with; adoption goes by these, not by names."""
    return {LABEL_HUB: check_hub_id(hub_id), LABEL_USER: user, LABEL_WORKSPACE: workspace}


def label_filters(labels: Mapping[str, str]) -> dict[str, list[str]]:
    """The same labels as a filter of Docker's list calls."""
    return {"label": [f"{key}={value}" for key, value in labels.items()]}
