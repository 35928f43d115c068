"""What a site may add to its workspaces' containers, and what is refused (pure).

Sites add options in DockerSpawner's own words (``extra_host_config``, ``extra_create_kwargs``), so
that what is known about it stays true. Only what is listed here goes through: an option that nobody
thought about is refused with a sentence, not passed on.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from docker.errors import DockerException
from docker.types import HostConfig, Mount

API_VERSION = "1.41"  # only for docker-py's own checks of spelling; the engine's version decides what works

ALLOWED_HOST = frozenset(
    {
        "binds", "blkio_weight", "cpu_shares", "cpuset_cpus", "cpuset_mems", "device_requests", "dns",
        "dns_opt", "dns_search", "extra_hosts", "group_add", "log_config", "mounts", "runtime", "shm_size",
        "storage_opt", "tmpfs", "ulimits", "volume_driver",
    }
)  # fmt: skip
ALLOWED_CREATE = frozenset({"labels", "domainname", "runtime"})

# Why the ones that people do try are refused.
REASONS = {
    "privileged": "a privileged container owns the host",
    "cap_add": "workspaces run without any capability",
    "cap_drop": "all capabilities are dropped already",
    "security_opt": "no-new-privileges and the default seccomp profile stay as they are",
    "read_only": "the root file system is always read-only",
    "network_mode": "each workspace has a network of its own",
    "network": "each workspace has a network of its own",
    "networking_config": "each workspace has a network of its own",
    "links": "workspaces do not reach each other",
    "pid_mode": "a workspace sees its own processes only",
    "ipc_mode": "a workspace shares no memory with others",
    "uts_mode": "a workspace does not share the host's name",
    "userns_mode": "a workspace does not join the host's user namespace",
    "cgroup_parent": "it would leave the limits behind",
    "cgroupns": "a workspace sees its own control group only",
    "devices": "raw devices reach past the container (for GPUs use device_requests)",
    "device_cgroup_rules": "raw devices reach past the container",
    "sysctls": "kernel settings are the host's",
    "user": "workspaces run as uid 1000",
    "mem_limit": "set workspace.memory, or c.Spawner.mem_limit for a group",
    "memswap_limit": "swap is off for workspaces",
    "pids_limit": "set workspace.pids",
    "nano_cpus": "set workspace.cpu, or c.Spawner.cpu_limit for a group",
    "cpu_quota": "set workspace.cpu, or c.Spawner.cpu_limit for a group",
    "cpu_period": "set workspace.cpu, or c.Spawner.cpu_limit for a group",
    "oom_kill_disable": "a workspace that is out of memory would hang",
    "restart_policy": "only the hub starts a workspace, because it hands over the secrets",
    "auto_remove": "the hub removes a container once it knows that it is stopped",
    "port_bindings": "workspaces are reached through the proxy only",
    "publish_all_ports": "workspaces are reached through the proxy only",
    "ports": "workspaces are reached through the proxy only",
    "volumes_from": "it would bring another container's files",
    "init": "the image brings tini",
    "environment": "use c.Spawner.environment: it reaches the workspace without standing in docker inspect",
    "command": "use c.Spawner.cmd",
    "entrypoint": "the image's first process hands over the secrets",
    "image": "set workspace.image",
    "name": "names come from hub, user and workspace",
    "host_config": "use c.DockerSpawner.extra_host_config",
}  # fmt: skip

FORBIDDEN_SOURCES = ("/etc", "/proc", "/sys", "/dev", "/boot", "/root", "/run", "/var/run", "/var/lib/docker")
FORBIDDEN_TARGETS = (
    "/",
    "/workspace",
    "/run/pth",
    "/proc",
    "/sys",
    "/dev",
    "/etc",
    "/usr",
    "/opt/pth",
    "/tmp",  # noqa: S108
)
FORBIDDEN_GROUPS = frozenset({"0", "root", "docker", "disk", "sudo", "wheel", "shadow", "adm"})


class SiteOptionError(ValueError):
    """A site's option would weaken a workspace; the text names it and says what to do instead."""


@dataclass(frozen=True)
class SiteOptions:
    """Checked additions, in the words of Docker's API."""

    host_config: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


NO_SITE_OPTIONS = SiteOptions()


def check(host: Mapping[str, Any] | None, create: Mapping[str, Any] | None) -> SiteOptions:
    """Check ``extra_host_config`` and ``extra_create_kwargs``.

    Raises :class:`SiteOptionError` on the first bad one.
    """
    host = dict(host or {})
    create = dict(create or {})
    for setting, options, allowed in (
        ("extra_host_config", host, ALLOWED_HOST),
        ("extra_create_kwargs", create, ALLOWED_CREATE),
    ):
        for name in options:
            if name not in allowed:
                why = REASONS.get(name, "only options known to keep a workspace isolated are let through")
                raise SiteOptionError(f"c.DockerSpawner.{setting}: {name!r} is refused: {why}.")
    mounts = [_mount(entry) for entry in host.pop("mounts", ())]
    mounts += _binds(host.pop("binds", ()))
    for mount in mounts:
        _check_mount(mount)
    for target in host.get("tmpfs") or {}:
        _check_target(target)
    for group in host.get("group_add") or ():
        if str(group) in FORBIDDEN_GROUPS:
            raise SiteOptionError(
                f"c.DockerSpawner.extra_host_config: group_add {group!r} is refused: "
                "that group has rights on the system."
            )
    if "runtime" in create:
        host["runtime"] = create["runtime"]
    try:
        raw = dict(HostConfig(API_VERSION, **host)) if host else {}
    except (TypeError, ValueError, DockerException) as error:
        raise SiteOptionError(f"c.DockerSpawner.extra_host_config: {error}") from None
    raw.pop("NetworkMode", None)
    if mounts:
        raw["Mounts"] = mounts
    return SiteOptions(host_config=raw, labels=_labels(create.get("labels") or {}))


def _labels(labels: Mapping[str, Any]) -> dict[str, str]:
    for name in labels:
        if str(name).startswith("pth."):
            raise SiteOptionError(
                f"c.DockerSpawner.extra_create_kwargs: label {name!r} is refused: "
                "labels that begin with pth. are the hub's."
            )
    return {str(name): str(value) for name, value in labels.items()}


def _mount(entry: Any) -> dict[str, Any]:
    if isinstance(entry, Mount) or (isinstance(entry, Mapping) and "Target" in entry):
        return dict(entry)
    if isinstance(entry, Mapping):
        try:
            return dict(Mount(**entry))
        except TypeError as error:
            raise SiteOptionError(f"c.DockerSpawner.extra_host_config: mounts: {error}") from None
    raise SiteOptionError(
        "c.DockerSpawner.extra_host_config: each of mounts must be a mapping or a docker Mount."
    )


def _binds(binds: Mapping[str, Any] | Sequence[str]) -> list[dict[str, Any]]:
    entries: list[tuple[str, str, str]] = []
    if isinstance(binds, Mapping):
        for source, where in binds.items():
            if isinstance(where, Mapping):
                entries.append((str(source), str(where.get("bind", "")), str(where.get("mode", "rw"))))
            else:
                entries.append((str(source), str(where), "rw"))
    else:
        for text in binds:
            source, _, rest = str(text).partition(":")
            target, _, mode = rest.partition(":")
            entries.append((source, target, mode or "rw"))
    return [
        {
            "Type": "bind" if source.startswith("/") else "volume",
            "Source": source,
            "Target": target,
            "ReadOnly": "ro" in mode.split(","),
        }
        for source, target, mode in entries
    ]


def _check_mount(mount: Mapping[str, Any]) -> None:
    kind = mount.get("Type", "volume")
    source = str(mount.get("Source") or "")
    if kind not in ("bind", "volume", "tmpfs"):
        raise SiteOptionError(f"c.DockerSpawner.extra_host_config: mounts of type {kind!r} are refused.")
    if kind == "volume" and source.startswith("pth-"):
        raise SiteOptionError(
            f"c.DockerSpawner.extra_host_config: volume {source!r} is refused: "
            "volumes named pth-… are workspaces' homes."
        )
    if (mount.get("VolumeOptions") or {}).get("DriverConfig"):
        # The local driver's options can bind any directory of the host under a volume's name.
        raise SiteOptionError(
            "c.DockerSpawner.extra_host_config: driver options of a mount are refused: "
            "create the volume with docker volume create and mount it by name."
        )
    if kind == "bind":
        path = posixpath.normpath(source)
        if (
            not path.startswith("/")
            or path in ("/", "//")
            or path.endswith(".sock")
            or _within(path, FORBIDDEN_SOURCES)
        ):
            raise SiteOptionError(
                f"c.DockerSpawner.extra_host_config: a bind of {source!r} is refused: "
                "the host's system directories and sockets (Docker's above all) would give away the host."
            )
        if any(_within(forbidden, (path,)) for forbidden in FORBIDDEN_SOURCES):
            raise SiteOptionError(
                f"c.DockerSpawner.extra_host_config: a bind of {source!r} is refused: "
                "it contains system directories."
            )
    _check_target(str(mount.get("Target") or ""))


def _check_target(target: str) -> None:
    path = posixpath.normpath(target) if target else ""
    if (
        not path.startswith("/")
        or path in FORBIDDEN_TARGETS
        or any(_within(t, (path,)) for t in FORBIDDEN_TARGETS)
    ):
        raise SiteOptionError(
            f"c.DockerSpawner.extra_host_config: mounting at {target!r} is refused: "
            "that place belongs to the workspace."
        )


def _within(path: str, roots: Sequence[str]) -> bool:
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)
