from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from persistent_terminal_hub.hub import site_options
from persistent_terminal_hub.hub.container_spec import (
    SpecRequest,
    build,
    config_hash,
    parse_memory,
    violations,
)
from persistent_terminal_hub.hub.process_spawner import default_command
from persistent_terminal_hub.hub.site_options import SiteOptionError
from persistent_terminal_hub.hub.stop_grace import keeper_grace

GIB = 1 << 30
REQUEST = SpecRequest(
    hub_id="0123456789ab",
    user="Ann",
    workspace="gpu-1",
    image="pth/workspace:latest",
    image_id="sha256:abc",
    memory_bytes=2 * GIB,
    cpus=1.5,
    pids=512,
    stop_timeout_seconds=10,
    address=IPv4Address("10.213.0.10"),
)


def test_the_whole_specification() -> None:
    """The table: everything that Docker is told. A change here is a change of the product."""
    kwargs = build(REQUEST).create_kwargs()
    name = "pth-0123456789ab--41nn--gpu-2d1"
    labels = kwargs.pop("labels")
    assert len(labels.pop("pth.config")) == 16
    assert labels == {
        "pth.hub": "0123456789ab",
        "pth.user": "Ann",
        "pth.workspace": "gpu-1",
        "pth.image": "pth/workspace:latest",
    }
    assert kwargs == {
        "name": name,
        "image": "sha256:abc",
        "user": "1000:1000",
        "working_dir": "/workspace",
        "hostname": "gpu-1",
        "environment": {
            "HOME": "/workspace",
            "PTH_RUNTIME_DIR": "/run/pth",
            "PTH_STATE_DIR": "/workspace/.persistent-terminal-hub",
            "PTH_STOP_GRACE": "7",
        },
        "stop_signal": "SIGTERM",
        "networking_config": {
            "EndpointsConfig": {f"{name}-net": {"IPAMConfig": {"IPv4Address": "10.213.0.10"}}}
        },
        "host_config": {
            "ShmSize": GIB // 2,
            "Ulimits": [
                {"Name": "nofile", "Soft": 16384, "Hard": 16384},
                {"Name": "core", "Soft": 0, "Hard": 0},
            ],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            "Privileged": False,
            "CapDrop": ["ALL"],
            "CapAdd": [],
            "SecurityOpt": ["no-new-privileges"],
            "ReadonlyRootfs": True,
            "Tmpfs": {
                "/tmp": f"rw,exec,nosuid,nodev,size={GIB},mode=1777",
                "/run/pth": "rw,noexec,nosuid,nodev,size=16777216,uid=1000,gid=1000,mode=0700",
            },
            "Memory": 2 * GIB,
            "MemorySwap": 2 * GIB,
            "OomKillDisable": False,
            "OomScoreAdj": 300,
            "PidsLimit": 512,
            "NanoCpus": 1_500_000_000,
            "Init": False,
            "NetworkMode": f"{name}-net",
            "PidMode": "",
            "IpcMode": "private",
            "UTSMode": "",
            "UsernsMode": "",
            "CgroupParent": "",
            "PortBindings": {},
            "PublishAllPorts": False,
            "Devices": [],
            "AutoRemove": False,
            "RestartPolicy": {"Name": "no"},
            "Mounts": [
                {"Type": "volume", "Source": f"{name}-home", "Target": "/workspace", "ReadOnly": False}
            ],
        },
    }


def test_it_can_be_sent_as_it_is() -> None:
    json.dumps(build(REQUEST).create_kwargs())


def test_details_that_depend_on_the_request() -> None:
    assert build(replace(REQUEST, workspace="")).hostname == "workspace"
    assert "command" not in build(REQUEST).create_kwargs()
    assert build(replace(REQUEST, command=("a", "b"))).create_kwargs()["command"] == ["a", "b"]
    small = build(replace(REQUEST, memory_bytes=128 << 20))
    assert small.host_config["ShmSize"] == 64 << 20


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"address": IPv4Address("10.213.9.10")}, True),
        ({"address": None}, True),
        ({"image_id": "sha256:def"}, False),
        ({"memory_bytes": GIB}, False),
        ({"pids": 100}, False),
        ({"command": ("x",)}, False),
        ({"site": site_options.check({"dns": ["10.0.0.53"]}, None)}, False),
    ],
)
def test_the_hash_names_what_it_was_made_from(change: dict[str, Any], same: bool) -> None:
    one, two = build(REQUEST), build(replace(REQUEST, **change))
    assert (one.labels["pth.config"] == two.labels["pth.config"]) is same
    assert two.labels["pth.config"] == config_hash(two)


def test_what_a_site_may_add() -> None:
    site = site_options.check(
        {
            "dns": ["10.0.0.53"],
            "shm_size": "2g",
            "mounts": [{"target": "/data", "source": "datasets", "type": "volume", "read_only": True}],
            "binds": {"/srv/shared": {"bind": "/shared", "mode": "ro"}},
            "tmpfs": {"/var/tmp": "size=1g"},
            "ulimits": [{"name": "nofile", "soft": 1024, "hard": 2048}],
            "group_add": [2000],
            "device_requests": [{"Driver": "nvidia", "Count": 1, "Capabilities": [["gpu"]]}],
            "log_config": {"type": "journald"},
        },
        {"labels": {"site": "x"}, "runtime": "runsc"},
    )
    spec = build(replace(REQUEST, site=site))
    host = spec.host_config
    assert host["Dns"] == ["10.0.0.53"]
    assert host["ShmSize"] == 2 * GIB
    assert host["Runtime"] == "runsc"
    assert host["LogConfig"]["Type"] == "journald"
    assert host["DeviceRequests"]
    assert [mount["Target"] for mount in host["Mounts"]] == ["/data", "/shared", "/workspace"]
    assert host["Mounts"][1] == {
        "Type": "bind",
        "Source": "/srv/shared",
        "Target": "/shared",
        "ReadOnly": True,
    }
    assert set(host["Tmpfs"]) == {"/tmp", "/run/pth", "/var/tmp"}
    assert {limit["Name"]: limit["Soft"] for limit in host["Ulimits"]} == {"nofile": 1024, "core": 0}
    assert spec.labels["site"] == "x"
    assert violations(host, spec.user) == []


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ({"privileged": True}, "owns the host"),
        ({"cap_add": ["SYS_ADMIN"]}, "capability"),
        ({"cap_drop": []}, "capabilities"),
        ({"security_opt": ["seccomp=unconfined"]}, "seccomp"),
        ({"read_only": False}, "read-only"),
        ({"network_mode": "host"}, "network of its own"),
        ({"links": {"a": "b"}}, "reach each other"),
        ({"pid_mode": "host"}, "processes"),
        ({"ipc_mode": "host"}, "memory"),
        ({"uts_mode": "host"}, "name"),
        ({"userns_mode": "host"}, "namespace"),
        ({"cgroup_parent": "/"}, "limits"),
        ({"devices": ["/dev/sda"]}, "device_requests"),
        ({"sysctls": {"a": "b"}}, "host's"),
        ({"mem_limit": "64g"}, "workspace.memory"),
        ({"memswap_limit": -1}, "swap"),
        ({"pids_limit": -1}, "workspace.pids"),
        ({"nano_cpus": 1}, "workspace.cpu"),
        ({"restart_policy": {"Name": "always"}}, "hub starts"),
        ({"auto_remove": True}, "removes"),
        ({"port_bindings": {8888: 8888}}, "proxy"),
        ({"volumes_from": ["x"]}, "files"),
        ({"some_new_option": 1}, "let through"),
        ({"binds": ["/var/run/docker.sock:/var/run/docker.sock"]}, "host"),
        ({"binds": {"/run/docker.sock": "/x"}}, "host"),
        ({"binds": ["/srv/docker.sock:/x"]}, "host"),
        ({"binds": ["/:/host"]}, "host"),
        ({"binds": ["//:/host"]}, "host"),
        ({"binds": ["/srv/../etc:/x"]}, "host"),
        ({"binds": ["/var:/x"]}, "system directories"),
        ({"binds": ["/var/lib/docker:/x"]}, "host"),
        ({"binds": ["pth-0123456789ab-bob--default-home:/x"]}, "homes"),
        ({"binds": ["data:/workspace"]}, "belongs to the workspace"),
        ({"binds": ["data:/run/pth/x/.."]}, "belongs to the workspace"),
        ({"binds": ["data:/run"]}, "belongs to the workspace"),
        ({"binds": ["data:relative"]}, "belongs to the workspace"),
        ({"mounts": [{"target": "/x", "source": "/etc", "type": "bind"}]}, "host"),
        ({"mounts": [{"Target": "/x", "Source": "s", "Type": "npipe"}]}, "npipe"),
        (
            {
                "mounts": [
                    {
                        "Target": "/x",
                        "Source": "v",
                        "Type": "volume",
                        "VolumeOptions": {"DriverConfig": {"Options": {"o": "bind", "device": "/"}}},
                    }
                ]
            },
            "driver options",
        ),
        ({"mounts": ["x"]}, "mapping"),
        ({"tmpfs": {"/run/pth": "mode=0777"}}, "belongs to the workspace"),
        ({"group_add": ["docker"]}, "rights"),
        ({"group_add": [0]}, "rights"),
        ({"shm_size": "huge"}, "extra_host_config"),
    ],
)
def test_what_would_weaken_it_is_refused(host: dict[str, Any], why: str) -> None:
    with pytest.raises(SiteOptionError, match=why) as refused:
        site_options.check(host, None)
    assert "c.DockerSpawner.extra_host_config" in str(refused.value)


@pytest.mark.parametrize(
    ("create", "why"),
    [
        ({"user": "root"}, "uid 1000"),
        ({"environment": {"A": "b"}}, "c.Spawner.environment"),
        ({"command": ["sh"]}, "c.Spawner.cmd"),
        ({"entrypoint": ["sh"]}, "secrets"),
        ({"host_config": {}}, "extra_host_config"),
        ({"networking_config": {}}, "network of its own"),
        ({"labels": {"pth.user": "bob"}}, "hub's"),
        ({"name": "x"}, "names"),
        ({"image": "x"}, "workspace.image"),
        ({"volumes": ["/x"]}, "let through"),
    ],
)
def test_what_would_change_whose_it_is_is_refused(create: dict[str, Any], why: str) -> None:
    with pytest.raises(SiteOptionError, match=why) as refused:
        site_options.check(None, create)
    assert "c.DockerSpawner.extra_create_kwargs" in str(refused.value)


def test_the_baseline_is_merged_last() -> None:
    """Even if a bad option got past the check, it would not reach Docker."""
    bad = {"Privileged": True, "NetworkMode": "host", "CapAdd": ["ALL"], "Tmpfs": {"/run/pth": "mode=0777"}}
    spec = build(replace(REQUEST, site=site_options.SiteOptions(host_config=bad)))
    assert violations(spec.host_config, spec.user) == []
    assert spec.host_config["CapAdd"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"Privileged": True},
        {"CapDrop": []},
        {"CapAdd": ["NET_ADMIN"]},
        {"SecurityOpt": []},
        {"SecurityOpt": ["no-new-privileges", "seccomp=unconfined"]},
        {"ReadonlyRootfs": False},
        {"Tmpfs": {}},
        {"Memory": 0, "MemorySwap": 0},
        {"MemorySwap": -1},
        {"PidsLimit": None},
        {"NanoCpus": 0},
        {"NetworkMode": "host"},
        {"PidMode": "host"},
        {"PortBindings": {"1": []}},
        {"Devices": [{}]},
        {"RestartPolicy": {"Name": "always"}},
        {"Binds": ["/var/run/docker.sock:/x"]},
    ],
)
def test_violations_sees_each_weakness(change: dict[str, Any]) -> None:
    host = {**build(REQUEST).host_config, **change}
    assert len(violations(host, "1000:1000")) == 1
    assert violations(build(REQUEST).host_config, "root")


@pytest.mark.parametrize(
    ("text", "value"), [("512M", 512 << 20), ("2G", 2 << 30), ("1T", 1 << 40), ("4K", 4096)]
)
def test_memory(text: str, value: int) -> None:
    assert parse_memory(text) == value


@pytest.mark.parametrize(("timeout", "grace"), [(600, 597), (10, 7), (4, 1), (3, 1), (1, 1)])
def test_the_keeper_is_done_before_docker_kills_it(timeout: int, grace: int) -> None:
    assert keeper_grace(timeout) == grace
    spec = build(replace(REQUEST, stop_timeout_seconds=timeout))
    assert spec.environment["PTH_STOP_GRACE"] == str(grace)
    assert default_command(timeout)[3:5] == ["--grace", str(grace)]
