"""All settings of the hub in one typed model.

`Settings()` is what runs when no file is given: loopback, no TLS, local accounts.
Keys are camelCase in YAML (snake_case is accepted too).
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic.alias_generators import to_camel


class Section(BaseModel):
    """A group of settings: refuses unknown keys, cannot be changed after loading."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, hide_input_in_errors=True
    )


Port = Annotated[int, Field(ge=1, le=65535)]
Mebibyte = 1024 * 1024


class TlsSettings(Section):
    """PEM files of the public port."""

    cert_file: Path
    key_file: Path


class ServerSettings(Section):
    """The public address and the ports behind it."""

    host: str = Field("127.0.0.1", description="Address the proxy listens on.")
    port: Port = Field(8000, description="Port the proxy listens on.")
    base_url: str = Field("/", description="URL prefix of everything, begins and ends with a slash.")
    tls: TlsSettings | None = Field(None, description="Certificate and key; none means plain HTTP.")
    hub_port: Port = Field(8081, description="Port of the hub's own API, for the proxy and the workspaces.")
    proxy_api_port: Port = Field(8001, description="Port of the proxy's API, on loopback.")

    @field_validator("base_url")
    @classmethod
    def _slashes(cls, value: str) -> str:
        return "/" + value.strip("/") + "/" if value.strip("/") else "/"


class SessionSettings(Section):
    """How long sessions live and how much of them is kept."""

    ttl_seconds: int = Field(86400, ge=60, description="A session ends this long after its owner's last presence.")
    idle_lock_minutes: int = Field(30, ge=0, description="Lock a workspace after this long without presence; 0: never.")
    scrollback_bytes: int = Field(
        8 * Mebibyte, ge=64 * 1024, le=1024 * Mebibyte, description="Output kept per session, in bytes."
    )
    max_per_workspace: int = Field(50, ge=1, le=10000, description="Sessions one workspace may hold.")


class PtySettings(Section):
    """Size of a new terminal before a client says its own."""

    cols: int = Field(80, ge=2, le=1000)
    rows: int = Field(24, ge=2, le=1000)


class AuthSettings(Section):
    """Who may log in."""

    provider: Literal["local", "oauth2", "google", "github"] = Field(
        "local", description="`local`: accounts of this hub; `oauth2`: any OpenID Connect issuer."
    )
    client_id: str = Field("", description="OAuth client id.")
    client_secret: SecretStr = Field(SecretStr(""), description="OAuth client secret.")
    issuer: str = Field("", description="Issuer URL; its discovery document names the endpoints.")
    callback_url: str = Field("", description="OAuth callback as the browser sees it; empty: derived from the request.")
    scopes: tuple[str, ...] = Field(("openid", "profile", "email"), description="Scopes asked for.")
    username_claim: str = Field("preferred_username", description="Claim that becomes the user name.")
    groups_claim: str = Field("groups", description="Claim that lists the groups.")
    allowed_users: frozenset[str] = Field(frozenset(), description="Users who may log in.")
    allowed_groups: frozenset[str] = Field(frozenset(), description="Groups whose members may log in.")
    admin_users: frozenset[str] = Field(frozenset(), description="Administrators by name.")
    admin_groups: frozenset[str] = Field(frozenset(), description="Groups whose members are administrators.")
    allow_all: bool = Field(False, description="Let in everybody whom the provider knows.")
    sign_up: bool = Field(True, description="Local accounts: people may ask for one; an administrator approves.")


class WorkspaceSettings(Section):
    """What a workspace is made of and how many there may be."""

    backend: Literal["auto", "docker", "process"] = Field(
        "auto", description="`auto`: containers when a Docker Engine answers, else local processes without isolation."
    )
    image: str = Field("persistent-terminal-hub/workspace:latest", description="Image of a workspace.")
    cpu: float = Field(2.0, gt=0, le=1024, description="CPUs a workspace may use.")
    memory: str = Field("2G", pattern=r"^[1-9][0-9]*[KMGT]$", description="Memory a workspace may use, as 512M or 2G.")
    pids: int = Field(512, ge=32, le=1_000_000, description="Processes and threads a workspace may hold.")
    max_per_user: int = Field(5, ge=1, le=1000, description="Named workspaces per user, besides the default one.")
    max_running: int = Field(0, ge=0, description="Running workspaces in all; 0: no limit.")
    start_timeout_seconds: int = Field(120, ge=5, le=3600, description="A start that takes longer has failed.")
    stop_timeout_seconds: int = Field(10, ge=1, le=600, description="Grace between TERM and KILL at a stop.")


class DockerSettings(Section):
    """The Docker Engine and the networks of the workspaces."""

    host: str = Field("", description="Engine address; empty: DOCKER_HOST or the local socket.")
    subnet_pool: str = Field("10.213.0.0/16", description="Private range that the workspaces' networks are cut from.")
    subnet_prefix: int = Field(29, ge=16, le=29, description="Prefix length of one workspace's network.")

    @field_validator("subnet_pool")
    @classmethod
    def _network(cls, value: str) -> str:
        return str(ipaddress.IPv4Network(value))


class Settings(Section):
    """Every setting; the defaults serve on 127.0.0.1:8000 with local accounts."""

    server: ServerSettings = Field(default_factory=ServerSettings)
    session: SessionSettings = Field(default_factory=SessionSettings)
    pty: PtySettings = Field(default_factory=PtySettings)
    auth: AuthSettings = Field(default_factory=AuthSettings)
    workspace: WorkspaceSettings = Field(default_factory=WorkspaceSettings)
    docker: DockerSettings = Field(default_factory=DockerSettings)
    data_dir: Path = Field(Path("var"), description="Where the hub keeps its database, keys and logs.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO")
