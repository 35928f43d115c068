"""The full specification of a workspace's container, as a pure function.

``build(request)`` gives a :class:`ContainerSpec`: everything that Docker is told, and nothing secret.
The order is what makes it safe: defaults, then what the site adds (:mod:`.site_options` has let through
only what does not weaken a workspace), then the baseline, which is therefore never overridden.
``violations()`` checks the result, or what Docker says of a running container, against the baseline.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

from persistent_terminal_hub.hub.object_names import (
    LABEL_CONFIG,
    LABEL_EGRESS,
    LABEL_IMAGE,
    ObjectNames,
    object_labels,
    object_names,
)
from persistent_terminal_hub.hub.site_options import NO_SITE_OPTIONS, SiteOptions
from persistent_terminal_hub.hub.stop_grace import keeper_grace

UID = GID = 1000
HOME = "/workspace"
RUNTIME_DIR = "/run/pth"
#: What has to outlive the container, such as its lock: on the volume.
STATE_DIR = f"{HOME}/.persistent-terminal-hub"
SERVER_PORT = 8888
SPEC_VERSION = 1  # raise it when a change here should reach running workspaces at their next start

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
MEBIBYTE = 1 << 20
RUNTIME_DIR_BYTES = 16 * MEBIBYTE
# Kept modest: an engine without CAP_SYS_RESOURCE cannot give more than it has itself.
OPEN_FILES = 16384
LOG_FILES = 3
LOG_FILE_SIZE = "10m"
# When the host itself runs out of memory, a workspace goes before the hub, the proxy and Docker do.
OOM_SCORE = 300
CPU_UNIT = 1_000_000_000


def parse_memory(text: str) -> int:
    """``512M`` or ``2G`` in bytes."""
    return int(text[:-1]) * _UNITS[text[-1]]


@dataclass(frozen=True)
class SpecRequest:
    """What the specification is made from."""

    hub_id: str
    user: str
    workspace: str
    image: str
    image_id: str
    memory_bytes: int
    cpus: float
    pids: int
    stop_timeout_seconds: int
    address: IPv4Address | None = None
    command: Sequence[str] = ()
    site: SiteOptions = NO_SITE_OPTIONS
    open_files: int = OPEN_FILES
    runtime: str = ""
    egress: str = ""
    #: Bytes of output that the keeper keeps of each ended session.
    history_bytes: int | None = None


@dataclass(frozen=True)
class ContainerSpec:
    """Everything that Docker is told about one workspace's container."""

    names: ObjectNames
    image: str
    command: tuple[str, ...]
    user: str
    working_dir: str
    hostname: str
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    stop_signal: str
    host_config: Mapping[str, Any]
    address: IPv4Address | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def create_kwargs(self) -> dict[str, Any]:
        """Keyword arguments of docker-py's ``APIClient.create_container``."""
        endpoint = {"IPAMConfig": {"IPv4Address": str(self.address)}} if self.address else {}
        kwargs = {
            **self.extra,
            "name": self.names.container,
            "image": self.image,
            "user": self.user,
            "working_dir": self.working_dir,
            "hostname": self.hostname,
            "environment": dict(self.environment),
            "labels": dict(self.labels),
            "stop_signal": self.stop_signal,
            "host_config": dict(self.host_config),
            "networking_config": {"EndpointsConfig": {self.names.network: endpoint}},
        }
        if self.command:
            kwargs["command"] = list(self.command)
        return kwargs


def build(request: SpecRequest) -> ContainerSpec:
    """The specification of one workspace's container."""
    names = object_names(request.hub_id, request.user, request.workspace)
    host_config = _merge(_defaults(request), request.site.host_config)
    host_config = _merge(host_config, _baseline(request, names))
    command = tuple(request.command)
    environment = {
        "HOME": HOME,
        "PTH_RUNTIME_DIR": RUNTIME_DIR,
        "PTH_STATE_DIR": STATE_DIR,
        "PTH_STOP_GRACE": str(keeper_grace(request.stop_timeout_seconds)),
        **({} if request.history_bytes is None else {"PTH_HISTORY_BYTES": str(request.history_bytes)}),
    }
    labels = {
        **request.site.labels,
        **object_labels(request.hub_id, request.user, request.workspace),
        LABEL_IMAGE: request.image,
        **({LABEL_EGRESS: request.egress} if request.egress else {}),
    }
    spec = ContainerSpec(
        names=names,
        # By its id: what was looked up is what runs, even if the tag moves in between.
        image=request.image_id,
        command=command,
        user=f"{UID}:{GID}",
        working_dir=HOME,
        hostname=request.workspace or "workspace",
        environment=environment,
        labels=labels,
        stop_signal="SIGTERM",
        host_config=host_config,
        address=request.address,
    )
    labels[LABEL_CONFIG] = config_hash(spec)
    found = violations(host_config, spec.user)
    if found:  # cannot happen while the baseline is merged last; if it does, nothing must start
        raise AssertionError("; ".join(found))
    return spec


def config_hash(spec: ContainerSpec) -> str:
    """Names what a container was made from, so that an adopted one can be seen to be out of date.

    The subnet is left out: it is a place, not a property, and changes with every start.
    """
    kwargs = spec.create_kwargs()
    del kwargs["networking_config"]
    kwargs["labels"].pop(LABEL_CONFIG, None)
    text = json.dumps([SPEC_VERSION, kwargs], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _defaults(request: SpecRequest) -> dict[str, Any]:
    """What a site may change."""
    return {
        "ShmSize": max(64 * MEBIBYTE, request.memory_bytes // 4),
        "Ulimits": [
            {"Name": "nofile", "Soft": request.open_files, "Hard": request.open_files},
            {"Name": "core", "Soft": 0, "Hard": 0},
        ],
        "LogConfig": {
            "Type": "json-file",
            "Config": {"max-size": LOG_FILE_SIZE, "max-file": str(LOG_FILES)},
        },
        **({"Runtime": request.runtime} if request.runtime else {}),
    }


def _baseline(request: SpecRequest, names: ObjectNames) -> dict[str, Any]:
    """What nobody may change. Merged last."""
    half = request.memory_bytes // 2
    return {
        "Privileged": False,
        "CapDrop": ["ALL"],
        "CapAdd": [],
        # No "seccomp=": Docker's default profile applies.
        "SecurityOpt": ["no-new-privileges"],
        "ReadonlyRootfs": True,
        "Tmpfs": {
            # Exec is allowed in /tmp because builds by pip and npm run what they compile there.
            "/tmp": f"rw,exec,nosuid,nodev,size={half},mode=1777",  # noqa: S108
            RUNTIME_DIR: (f"rw,noexec,nosuid,nodev,size={RUNTIME_DIR_BYTES},uid={UID},gid={GID},mode=0700"),
        },
        "Memory": request.memory_bytes,
        "MemorySwap": request.memory_bytes,  # equal: no swap, or a hog would drag the whole host down
        "OomKillDisable": False,
        "OomScoreAdj": OOM_SCORE,
        "PidsLimit": request.pids,
        "NanoCpus": int(request.cpus * CPU_UNIT),
        # The image brings tini; a second init would only hide its exit status.
        "Init": False,
        "NetworkMode": names.network,
        "PidMode": "",
        "IpcMode": "private",
        "UTSMode": "",
        "UsernsMode": "",
        "CgroupParent": "",
        "PortBindings": {},
        "PublishAllPorts": False,
        "Devices": [],
        "AutoRemove": False,
        # Only the hub starts a workspace: it has to hand over the secrets each time.
        "RestartPolicy": {"Name": "no"},
        "Mounts": [{"Type": "volume", "Source": names.volume, "Target": HOME, "ReadOnly": False}],
    }


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` wins, except that tmpfs entries and mounts are added to each other."""
    merged = {**base, **over}
    if "Tmpfs" in base and "Tmpfs" in over:
        merged["Tmpfs"] = {**base["Tmpfs"], **over["Tmpfs"]}
    if "Mounts" in base and "Mounts" in over:
        merged["Mounts"] = [*base["Mounts"], *over["Mounts"]]
    if "Ulimits" in base and "Ulimits" in over:
        given = {limit["Name"] for limit in over["Ulimits"]}
        merged["Ulimits"] = [*over["Ulimits"], *(u for u in base["Ulimits"] if u["Name"] not in given)]
    return merged


def violations(host_config: Mapping[str, Any], user: str) -> list[str]:
    """How a ``HostConfig`` (ours, or what Docker reports) falls short of the baseline, in words."""
    security = [str(option) for option in host_config.get("SecurityOpt") or ()]
    tmpfs = host_config.get("Tmpfs") or {}
    mounts = host_config.get("Mounts") or ()
    checks = {
        "it runs as another user than 1000:1000": user == f"{UID}:{GID}",
        "it is privileged": not host_config.get("Privileged"),
        "not every capability is dropped": host_config.get("CapDrop") == ["ALL"],
        "capabilities are added": not host_config.get("CapAdd"),
        "no-new-privileges is missing": any(option.startswith("no-new-privileges") for option in security),
        "a security profile is switched off": not any("unconfined" in option for option in security),
        "its root is writable": host_config.get("ReadonlyRootfs") is True,
        f"{RUNTIME_DIR} is not a private tmpfs": "mode=0700" in tmpfs.get(RUNTIME_DIR, ""),
        "its memory is not limited": bool(host_config.get("Memory")),
        "it may swap": host_config.get("MemorySwap") == host_config.get("Memory"),
        "its processes are not limited": (host_config.get("PidsLimit") or 0) > 0,
        "its CPU is not limited": (host_config.get("NanoCpus") or 0) > 0,
        "it has no network of its own": str(host_config.get("NetworkMode", "")).endswith("-net"),
        "it shares a namespace of the host": not any(
            host_config.get(mode) == "host" for mode in ("PidMode", "IpcMode", "UTSMode", "UsernsMode")
        ),
        "it publishes ports": not host_config.get("PortBindings"),
        "it is given devices": not host_config.get("Devices"),
        "Docker restarts it": (host_config.get("RestartPolicy") or {}).get("Name", "no") in ("no", ""),
        "it has a socket of the container engine": not any(
            "docker.sock" in str(mount) or "containerd" in str(mount)
            for mount in [*mounts, *(host_config.get("Binds") or ())]
        ),
    }
    return [complaint for complaint, held in checks.items() if not held]
