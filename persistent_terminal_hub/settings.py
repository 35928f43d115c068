"""All settings of the hub in one typed model, and the functions that load, judge and print it.

`Settings()` is what runs when no file is given: loopback, no TLS, local accounts.
Keys are camelCase in YAML (snake_case is accepted too).

This module is the public face. What needs more than pydantic (YAML, certificates) sits in modules of its
own and is imported when first used, so that importing the model stays cheap.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator

from persistent_terminal_hub.config.presets import preset_of
from persistent_terminal_hub.config.section import NOT_TEXT as NOT_TEXT
from persistent_terminal_hub.config.section import Section as Section
from persistent_terminal_hub.config.workspace_settings import WorkspaceSettings as WorkspaceSettings

if TYPE_CHECKING:
    from persistent_terminal_hub.config.load import LoadedSettings


class SettingsError(Exception):
    """The settings cannot be used; one sentence per problem, and never a value that may be secret."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: tuple[str, ...] = problems


def _not_empty(path: Path) -> Path:
    # Path("") is the current directory: an unset variable in a compose file would scatter keys there.
    if path == Path():
        raise ValueError("must be a path, not empty")
    return path


Port = Annotated[int, Field(ge=1, le=65535)]
FilePath = Annotated[Path, AfterValidator(_not_empty)]
Mebibyte = 1024 * 1024
#: Ten years in seconds: the longest time that means anything here.
YEARS = 315_360_000
Minutes = Annotated[float, Field(ge=0, le=YEARS // 60, allow_inf_nan=False)]
Days = Annotated[float, Field(ge=0, le=YEARS // 86400, allow_inf_nan=False)]


def _size_or_none(value: str) -> str:
    if value and not re.fullmatch(r"[1-9][0-9]{0,4}[MGT]", value):
        raise ValueError("must be a size such as 512M or 2G (a whole number, then M, G or T), or empty")
    return value


class TlsSettings(Section):
    """PEM files of the public port. Without this group the hub speaks plain HTTP."""

    cert_file: FilePath = Field(description="Certificate in PEM, the server's own first, then its chain.")
    key_file: FilePath = Field(description="Private key of that certificate in PEM, without a password.")


class ServerSettings(Section):
    """The public address and the ports behind it."""

    host: str = Field("127.0.0.1", min_length=1, description="Address the proxy listens on.")
    port: Port = Field(8000, description="Port the proxy listens on.")
    base_url: str = Field("/", description="URL prefix of everything, begins and ends with a slash.")
    public_url: str = Field(
        "", description="Address people type, as https://hub.example.org; empty: from host, port and TLS."
    )
    subdomains: bool = Field(
        False, description="A host for each user below `publicUrl`'s; needs a wildcard name and certificate."
    )
    tls: TlsSettings | None = Field(None, description="Certificate and key; none means plain HTTP.")
    hub_port: Port = Field(8081, description="Port of the hub's own API, for the proxy and the workspaces.")
    proxy_api_port: Port = Field(8001, description="Port of the proxy's API, on loopback.")

    @field_validator("base_url")
    @classmethod
    def _slashes(cls, value: str) -> str:
        return "/" + value.strip("/") + "/" if value.strip("/") else "/"


class SessionSettings(Section):
    """How long sessions live, when a workspace locks, and how much of a session is kept."""

    ttl_seconds: int = Field(
        86400, ge=60, le=YEARS, description="A session ends this long after its owner's last presence."
    )
    max_ttl_seconds: int = Field(
        0, ge=0, le=YEARS, description="Most that a session may wish or be extended to; 0: `ttlSeconds`."
    )
    max_age_seconds: int = Field(
        0, ge=0, le=YEARS, description="A session ends this long after its creation; 0: never."
    )
    idle_lock_minutes: Minutes = Field(
        30.0, description="Lock a workspace after this long without presence; 0: never."
    )
    reauth_on_reconnect: int = Field(
        0, ge=0, le=YEARS, description="Lock after so many seconds without any connected page; 0: never."
    )
    warn_seconds: int = Field(
        900, ge=1, le=86400, description="An end or a stop is announced this long before, at the latest."
    )
    keep_alive_max_minutes: Minutes = Field(
        1440.0, description="So long a job or a watched process may defer the idle stop; 0: for ever."
    )
    max_cpu_seconds: int = Field(
        0, ge=0, le=YEARS, description="End a session that used more CPU time, after a warning; 0: never."
    )
    max_memory: str = Field(
        "", description="End a session that uses more, as 4G, after a warning; empty: never."
    )
    scrollback_bytes: int = Field(
        8 * Mebibyte, ge=64 * 1024, le=1024 * Mebibyte, description="Output kept per session, in bytes."
    )
    history_bytes: int = Field(
        Mebibyte,
        ge=0,
        le=64 * Mebibyte,
        description="Output of an ended session kept on the volume; 0: none.",
    )
    max_per_workspace: int = Field(50, ge=1, le=10000, description="Sessions one workspace may hold.")

    @field_validator("max_memory")
    @classmethod
    def _memory(cls, value: str) -> str:
        return _size_or_none(value)


class PtySettings(Section):
    """Size of a new terminal before a client says its own."""

    cols: int = Field(80, ge=2, le=1000, description="Columns.")
    rows: int = Field(24, ge=2, le=1000, description="Rows.")


def _preset_default(name: str) -> Any:
    """A default that depends on `provider`, which stands before it in the model."""
    return lambda data: getattr(preset_of(data.get("provider", "local")), name)


class AuthSettings(Section):
    """Who may log in."""

    provider: Literal["local", "oauth2", "google", "github"] = Field(
        "local", description="`local`: accounts of this hub; `oauth2`: any OpenID Connect issuer."
    )
    client_id: str = Field("", description="OAuth client id.")
    client_secret: SecretStr = Field(SecretStr(""), description="OAuth client secret.")
    issuer: str = Field(
        default_factory=_preset_default("issuer"),
        description="Issuer URL; its discovery document names the endpoints. Needed with `oauth2`.",
    )
    callback_url: str = Field(
        "", description="OAuth callback as the browser sees it; empty: derived from the request."
    )
    scopes: tuple[str, ...] = Field(
        default_factory=_preset_default("scopes"), description="Scopes asked for."
    )
    username_claim: str = Field(
        default_factory=_preset_default("username_claim"), description="Claim that becomes the user name."
    )
    groups_claim: str = Field(
        default_factory=_preset_default("groups_claim"),
        description="Claim that lists the groups; empty: none does.",
    )
    allowed_users: frozenset[str] = Field(frozenset(), description="Users who may log in.")
    allowed_groups: frozenset[str] = Field(frozenset(), description="Groups whose members may log in.")
    admin_users: frozenset[str] = Field(frozenset(), description="Administrators by name.")
    admin_groups: frozenset[str] = Field(frozenset(), description="Groups whose members are administrators.")
    allow_all: bool = Field(False, description="Let in everybody whom the provider knows.")
    sign_up: bool = Field(
        True, description="Local accounts: people may ask for one; an administrator approves."
    )
    passkeys: bool = Field(
        True, description="A passkey may prove a fresh login, with every provider, where browsers allow it."
    )
    signing_key_days: int = Field(
        30, ge=1, le=3650, description="The key that signs the hub's tokens is replaced after so many days."
    )


class DockerSettings(Section):
    """The Docker Engine and the networks of the workspaces."""

    host: str = Field("", description="Engine address; empty: DOCKER_HOST or the local socket.")
    subnet_pool: str = Field(
        "10.213.0.0/16", description="Private range that the workspaces' networks are cut from."
    )
    subnet_prefix: int = Field(29, ge=16, le=29, description="Prefix length of one workspace's network.")

    @field_validator("subnet_pool")
    @classmethod
    def _network(cls, value: str) -> str:
        try:
            return str(ipaddress.IPv4Network(value))
        except ValueError:
            # Python's own message quotes the value; ours must not, whatever somebody pasted here.
            raise ValueError(
                "must be an IPv4 network such as 10.213.0.0/16, its host bits all zero"
            ) from None


class CullerSettings(Section):
    """The service that stops workspaces nobody uses. `session` says when sessions end and workspaces lock."""

    enabled: bool = Field(True, description="Run the culler.")
    interval_seconds: int = Field(
        60, ge=1, le=86400, description="How often it looks; facts older than this are not acted on."
    )
    idle_stop_minutes: Minutes = Field(
        0,
        description="Stop a workspace after this long without presence, job or connected page; 0: never.",
    )
    workspace_max_age_minutes: Minutes = Field(
        0, description="Stop a workspace this long after its start, whatever runs in it; 0: never."
    )
    remove_stopped_after_days: Days = Field(
        0, description="Remove the container of a workspace stopped so long, not its files; 0: never."
    )
    concurrency: int = Field(20, ge=1, le=1000, description="Workspaces that are asked at the same time.")
    timeout_seconds: int = Field(
        5, ge=1, le=300, description="A workspace that answers later than this is unreachable, not idle."
    )
    dry_run: bool = Field(False, description="Only log what would be done.")


class RuleSettings(Section):
    """Other durations for some people or workspaces. Of several entries that match, the later one wins,
    key by key. An entry matches when each list that it has (groups, users, workspaces) matches; one
    without lists matches every workspace."""

    groups: frozenset[str] = Field(frozenset(), description="Members of one of these groups.")
    users: frozenset[str] = Field(frozenset(), description="These users.")
    workspaces: frozenset[str] = Field(
        frozenset(),
        description="Patterns of `user/workspace`, as `ada/*` or `*/gpu-*`; `ada/` is the default one.",
    )
    ttl_seconds: int | None = Field(None, ge=60, le=YEARS, description="As `session.ttlSeconds`.")
    max_ttl_seconds: int | None = Field(None, ge=0, le=YEARS, description="As `session.maxTtlSeconds`.")
    max_age_seconds: int | None = Field(None, ge=0, le=YEARS, description="As `session.maxAgeSeconds`.")
    idle_lock_minutes: Minutes | None = Field(None, description="As `session.idleLockMinutes`.")
    reauth_on_reconnect: int | None = Field(
        None, ge=0, le=YEARS, description="As `session.reauthOnReconnect`."
    )
    warn_seconds: int | None = Field(None, ge=1, le=86400, description="As `session.warnSeconds`.")
    keep_alive_max_minutes: Minutes | None = Field(None, description="As `session.keepAliveMaxMinutes`.")
    max_cpu_seconds: int | None = Field(None, ge=0, le=YEARS, description="As `session.maxCpuSeconds`.")
    max_memory: str | None = Field(None, description="As `session.maxMemory`.")
    idle_stop_minutes: Minutes | None = Field(None, description="As `culler.idleStopMinutes`.")
    workspace_max_age_minutes: Minutes | None = Field(None, description="As `culler.workspaceMaxAgeMinutes`.")
    remove_stopped_after_days: Days | None = Field(None, description="As `culler.removeStoppedAfterDays`.")

    @field_validator("max_memory")
    @classmethod
    def _memory(cls, value: str | None) -> str | None:
        return None if value is None else _size_or_none(value)


class ControlSettings(Section):
    """The service behind /services/terminals: the API of workspaces and sessions, secrets, the audit log."""

    enabled: bool = Field(True, description="Run the control service.")
    port: Port = Field(8082, description="Port of the service on loopback, for the proxy.")
    database_url: SecretStr = Field(
        SecretStr(""),
        description="`postgresql+psycopg://user:password@host/name`; empty: SQLite in the data directory.",
    )
    operators: frozenset[str] = Field(
        frozenset(), description="Users who see and steer everything, but may open nobody's workspace."
    )
    operator_groups: frozenset[str] = Field(frozenset(), description="Groups whose members are operators.")


class VaultSettings(Section):
    """HashiCorp Vault, for `secrets.keySource: vault`."""

    address: str = Field("", description="Vault's address, as https://vault.example.org:8200.")
    token: SecretStr = Field(
        SecretStr(""), description="A token that may read (KV) or use (transit) the key."
    )
    engine: Literal["kv", "transit"] = Field(
        "kv",
        description="`kv`: Vault holds the keys (KV version 2); `transit`: it wraps those in a file.",
    )
    mount: str = Field("secret", min_length=1, description="Where that engine is mounted.")
    name: str = Field(
        "persistent-terminal-hub",
        min_length=1,
        description="Path of the KV secret, or name of the transit key.",
    )
    namespace: str = Field("", description="Vault's namespace; empty: none.")
    ca_file: str = Field("", description="Certificates that vouch for Vault; empty: the system's.")


class SecretsSettings(Section):
    """The keys that seal people's secrets in the database."""

    key_source: Literal["file", "env", "vault"] = Field(
        "file",
        description="`file`: one in the data directory; `env`: `PTH_SEALING_KEYS`; `vault`: HashiCorp Vault.",
    )
    vault: VaultSettings = Field(default_factory=VaultSettings, description="HashiCorp Vault.")


class UsageSettings(Section):
    """How often the use of workspaces is measured, and how long that is kept."""

    sample_seconds: int = Field(60, ge=5, le=3600, description="Seconds between two measurements.")
    keep_days: int = Field(
        365, ge=8, le=3650, description="By the hour so long; by ten minutes a week, by the minute a day."
    )


class AuditSettings(Section):
    """What was done by whom: how long it is kept, and what of it."""

    retention_days: int = Field(
        365, ge=0, le=36500, description="Records are removed after so many days; 0: never."
    )
    head_minutes: int = Field(
        10, ge=1, le=10080, description="How often the log's end is exported, signed, to audit/heads.jsonl."
    )
    execute_text: bool = Field(
        False, description="Record the text of executed commands; else their SHA-256 only."
    )


class ExecuteSettings(Section):
    """Commands that are run by the API."""

    default_timeout: int = Field(30, ge=1, le=86400, description="Seconds, when a request names none.")
    max_timeout: int = Field(3600, ge=1, le=86400, description="Seconds that a request may ask for.")
    max_output_bytes: int = Field(
        1048576, ge=1024, le=16777216, description="Of each output; what comes after is dropped, and said."
    )


class Settings(Section):
    """Every setting; the defaults serve on 127.0.0.1:8000 with local accounts."""

    server: ServerSettings = Field(default_factory=ServerSettings)
    session: SessionSettings = Field(default_factory=SessionSettings)
    pty: PtySettings = Field(default_factory=PtySettings)
    auth: AuthSettings = Field(default_factory=AuthSettings)
    workspace: WorkspaceSettings = Field(default_factory=WorkspaceSettings)
    docker: DockerSettings = Field(default_factory=DockerSettings)
    culler: CullerSettings = Field(default_factory=CullerSettings)
    control: ControlSettings = Field(default_factory=ControlSettings)
    secrets: SecretsSettings = Field(default_factory=SecretsSettings)
    usage: UsageSettings = Field(default_factory=UsageSettings)
    audit: AuditSettings = Field(default_factory=AuditSettings)
    execute: ExecuteSettings = Field(default_factory=ExecuteSettings)
    rules: tuple[RuleSettings, ...] = Field((), description="Other durations for some people or workspaces.")
    data_dir: FilePath = Field(Path("var"), description="Where the hub keeps its database, keys and logs.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="What the hub's log holds."
    )


def load_settings(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of the file (`path`, else `PTH_CONFIG`, else none), overridden by the environment.

    Raises SettingsError with every problem found, each a sentence with file and line or variable.
    """
    return explain_settings(path, environ).settings


def explain_settings(path: Path | None = None, environ: Mapping[str, str] | None = None) -> LoadedSettings:
    """Like `load_settings`, and says for each value where it came from."""
    from persistent_terminal_hub.config.load import load

    return load(path, environ)


def dump_settings(settings: Settings, *, reveal_secrets: bool = False) -> str:
    """The settings as YAML that `load_settings` reads; secrets are masked unless revealed."""
    from persistent_terminal_hub.config.text import to_yaml

    return to_yaml(settings, reveal_secrets=reveal_secrets)


def warnings_of(settings: Settings, *, now: datetime | None = None) -> list[str]:
    """What an administrator should know although the settings are valid; reads the TLS files."""
    from persistent_terminal_hub.config import checks

    return checks.warnings(settings, checks.tls_findings(settings, now))


def problems_for_serving(settings: Settings, *, now: datetime | None = None) -> list[str]:
    """Why the hub must not be started with these settings; empty when it may. Reads the TLS files."""
    from persistent_terminal_hub.config import checks

    return checks.problems(settings, checks.tls_findings(settings, now))
