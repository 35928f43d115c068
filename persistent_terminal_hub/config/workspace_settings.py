"""The settings of a workspace: what it is made of, how much it may use, what it may reach."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from persistent_terminal_hub.config.egress_entries import parse_allow, parse_resolver
from persistent_terminal_hub.config.section import Section

SIZE = r"[1-9][0-9]{0,11}[KMGT]"


class WorkspaceSettings(Section):
    """What a workspace is made of and how many there may be."""

    backend: Literal["auto", "docker", "process"] = Field(
        "auto",
        description="`auto`: containers when a Docker Engine answers, else processes without isolation.",
    )
    image: str = Field(
        "persistent-terminal-hub/workspace:latest", min_length=1, description="Image of a workspace."
    )
    cpu: float = Field(2.0, gt=0, le=1024, allow_inf_nan=False, description="CPUs a workspace may use.")
    memory: str = Field("2G", description="Memory a workspace may use, as 512M or 2G.")
    pids: int = Field(512, ge=32, le=1_000_000, description="Processes and threads a workspace may hold.")
    open_files: int = Field(16384, ge=256, le=1_048_576, description="Open files of one process.")
    images: tuple[str, ...] = Field((), description="Further images that people may choose.")
    max_cpu: float = Field(
        0, ge=0, le=1024, allow_inf_nan=False, description="Most CPUs people may ask for; 0: `cpu`."
    )
    max_memory: str = Field("", description="Most memory people may ask for; empty: `memory`.")
    max_pids: int = Field(0, ge=0, le=1_000_000, description="Most processes people may ask for; 0: `pids`.")
    runtime: str = Field("", description="Container runtime by name, as runsc; empty: the engine's own.")
    egress: Literal["none", "internet", "list"] = Field(
        "internet",
        description="What workspaces reach: public addresses, only `egressAllow`, or nothing but the hub.",
    )
    egress_allow: tuple[str, ...] = Field(
        (),
        description="With `list`: networks, as 192.0.2.7:443 (`/udp` for UDP), and `internet`, `dns`.",
    )
    egress_resolvers: tuple[str, ...] = Field(
        (), description="Name servers of the containers; empty: those of the machine."
    )
    egress_filter: Literal["auto", "required", "off"] = Field(
        "auto",
        description="`auto`: filter if the egress helper can run; `required`: else no workspace starts.",
    )
    network_bandwidth: str = Field(
        "", description="Bits a second of one workspace, each way, as 100M; empty: no limit."
    )
    disk_quota: str = Field("", description="Soft quota of a workspace's files, as 20G; empty: none.")
    max_per_user: int = Field(
        5, ge=1, le=1000, description="Named workspaces per user, besides the default one."
    )
    max_running: int = Field(0, ge=0, le=1_000_000, description="Running workspaces in all; 0: no limit.")
    start_timeout_seconds: int = Field(
        120, ge=5, le=3600, description="A start that takes longer has failed."
    )
    stop_timeout_seconds: int = Field(10, ge=1, le=600, description="Grace between TERM and KILL at a stop.")

    @field_validator("memory", "max_memory", "disk_quota")
    @classmethod
    def _size(cls, value: str, info: ValidationInfo) -> str:
        if not re.fullmatch(SIZE, value) and (value or info.field_name == "memory"):
            raise ValueError("must be a size such as 512M or 2G (a whole number, then K, M, G or T)")
        return value

    @field_validator("network_bandwidth")
    @classmethod
    def _rate(cls, value: str) -> str:
        if value and not re.fullmatch(r"[1-9][0-9]{0,5}[KMG]", value):
            raise ValueError("must be bits a second such as 100M (a whole number, then K, M or G)")
        return value

    @field_validator("runtime")
    @classmethod
    def _runtime(cls, value: str) -> str:
        if value and not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}", value):
            raise ValueError("must be the name of a runtime such as runsc")
        return value

    @field_validator("egress_allow")
    @classmethod
    def _allow(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        parse_allow(value)
        return value

    @field_validator("egress_resolvers")
    @classmethod
    def _resolvers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for address in value:
            parse_resolver(address)
        return value
