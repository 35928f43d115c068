"""Bodies and answers of the workspaces' resources. Every bound has its sentence."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from persistent_terminal_hub.bodies import check_env_names
from persistent_terminal_hub.control.names import check_name
from persistent_terminal_hub.control.web import Body, Reply
from persistent_terminal_hub.secret_names import MAX_SECRETS, MAX_VALUE
from persistent_terminal_hub.secret_names import check_name as check_secret_name

MAX_ENV = 100
#: Characters of all values together: a program's arguments and environment have a bound in the kernel.
MAX_ENV_SIZE = 256 * 1024
#: Ours, JupyterHub's, and what would change the programs that we start.
_ENV_RESERVED = re.compile(
    r"(?:PTH_|JUPYTERHUB_|JUPYTER_|JPY_|CONFIGPROXY_|LD_).*|HOME|USER|LOGNAME|SHELL|PATH|PYTHONPATH"
)
_IMAGE = r"^[a-z0-9][a-zA-Z0-9._:/@-]{0,254}$"
_SIZE = r"^[1-9][0-9]{0,11}[KMGT]$"
#: Besides letters of any script: no control characters, no line ends, nothing that turns text around.
_BAD_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")

EnvValue = Annotated[str, Field(max_length=8192, pattern=r"^[^\x00]*$")]
SecretValue = Annotated[str, Field(max_length=MAX_VALUE)]
DisplayName = Annotated[str, Field(min_length=1, max_length=100)]


def check_display_name(value: str | None) -> str | None:
    """What people read. Raises ValueError."""
    if value is not None and (_BAD_TEXT.search(value) or not value.strip()):
        raise ValueError("A display name is one line of plain text, without control characters.")
    return value


def check_env(value: dict[str, str]) -> dict[str, str]:
    """Environment variables of the workspace's sessions. Raises ValueError."""
    check_env_names(value)
    for name in value:
        if _ENV_RESERVED.fullmatch(name.upper()):
            raise ValueError(f"The environment variable {name!r} is the service's own.")
    if sum(len(name) + len(text) for name, text in value.items()) > MAX_ENV_SIZE:
        raise ValueError(f"The environment variables have more than {MAX_ENV_SIZE} characters together.")
    return value


class Resources(Body):
    """What a workspace may use; what is left out is the site's default. The site's settings bound them."""

    cpu: float | None = Field(None, gt=0, le=1024, allow_inf_nan=False, description="CPUs")
    memory: str | None = Field(None, pattern=_SIZE, description="such as 512M or 2G")
    pids: int | None = Field(None, ge=32, le=1_000_000, description="processes and threads")


class Credentials(Body):
    """For one clone. Never stored in the clear, never in a URL, wiped when the clone has ended."""

    username: str = Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")
    password: str = Field(min_length=1, max_length=4096, pattern=r"^[^\x00\r\n]+$", repr=False)


class Source(Body):
    """A repository. Its URL is judged again in the workspace, where it is cloned."""

    url: str = Field(min_length=1, max_length=2048, description="https, ssh or git; no credentials in it")
    folder: str | None = Field(None, min_length=1, max_length=255, description="a new folder in the home")
    branch: str | None = Field(None, min_length=1, max_length=255)
    depth: int | None = Field(None, ge=1, le=1_000_000)
    submodules: bool = False
    install: bool = Field(False, description="install dependencies in a session named setup")
    credentials: Credentials | None = None
    credentials_secret: str | None = Field(
        None, description="name of a secret that holds user:token (https) or a private key (ssh)"
    )

    @field_validator("credentials_secret")
    @classmethod
    def _name(cls, value: str | None) -> str | None:
        return None if value is None else check_secret_name(value)

    @model_validator(mode="after")
    def _one_way(self) -> Source:
        if self.credentials is not None and self.credentials_secret is not None:
            raise ValueError("Give credentials or credentialsSecret, not both.")
        return self


class CreateWorkspace(Body):
    """A new workspace."""

    name: str = Field(max_length=255, description='a-z, 0-9 and "-", 1 to 30; "" is the default workspace')
    display_name: DisplayName | None = None
    image: str | None = Field(None, pattern=_IMAGE, description="one of those that the site allows")
    resources: Resources = Resources()
    egress: Literal["none", "internet", "list"] | None = None
    source: Source | None = None
    env: dict[str, EnvValue] = Field(default_factory=dict, max_length=MAX_ENV)
    secrets: dict[str, SecretValue] = Field(
        default_factory=dict, max_length=MAX_SECRETS, repr=False,
        description="secrets of this workspace alone: sealed, never answered, removed with it",
    )  # fmt: skip
    start: bool = True

    _display = field_validator("display_name")(check_display_name)
    _environment = field_validator("env")(check_env)

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        return check_name(value)

    @field_validator("secrets")
    @classmethod
    def _secret_names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            check_secret_name(name)
        return value

    @model_validator(mode="after")
    def _a_clone_needs_a_start(self) -> CreateWorkspace:
        if self.source is not None and not self.start:
            raise ValueError("A repository can only be cloned into a workspace that is started.")
        return self

    def options(self) -> dict[str, Any]:
        """What the spawner is told (`hub/workspace_options.py`)."""
        wanted = {"image": self.image, "egress": self.egress, **self.resources.model_dump()}
        return {name: value for name, value in wanted.items() if value is not None}


class CloneWorkspace(CreateWorkspace):
    """A new workspace with a repository in it."""

    source: Source


class PatchWorkspace(Body):
    """What can be changed; what the container is made of counts from its next start."""

    display_name: DisplayName | None = None
    image: str | None = Field(None, pattern=_IMAGE)
    resources: Resources | None = None
    egress: Literal["none", "internet", "list"] | None = None
    env: dict[str, EnvValue] | None = Field(None, max_length=MAX_ENV)

    _display = field_validator("display_name")(check_display_name)

    @field_validator("env")
    @classmethod
    def _environment(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        return None if value is None else check_env(value)

    def options(self) -> dict[str, Any]:
        """What of the spawner's options changes."""
        wanted: dict[str, Any] = {"image": self.image, "egress": self.egress}
        if self.resources is not None:
            wanted |= self.resources.model_dump()
        return {name: value for name, value in wanted.items() if value is not None}


class Nothing(Body):
    """A body without fields."""


class WorkspaceModel(Reply):
    """A workspace."""

    workspace_id: str
    name: str
    owner: str
    display_name: str
    root_path: str = Field(description="its home; empty until it has run")
    container_id: str = Field(description="empty while it does not run")
    status: Literal["creating", "starting", "running", "stopping", "stopped", "deleting"]
    url: str
    options: dict[str, Any]
    env: dict[str, str]
    source: dict[str, Any] | None
    created: str
    last_activity: str | None
    operation: str | None = Field(description="the id of what is under way")


class WorkspaceList(Reply):
    """All workspaces that the caller may see."""

    workspaces: list[WorkspaceModel]


class OperationModel(Reply):
    """Something that takes long."""

    id: str
    kind: Literal["create", "start", "stop", "restart", "delete"]
    workspace_id: str
    state: Literal["waiting", "running", "undoing", "done", "failed", "cancelled"]
    step: str
    error: str
    path: str | None = Field(None, description="where a repository was cloned to")
    setup_session: str | None = Field(None, description="the id of the session that installs dependencies")
    created: str
    updated: str
    events: str = Field(description="where its progress can be followed")


class WorkspaceChange(Reply):
    """A workspace, and the operation that changes it; null when nothing had to be done."""

    workspace: WorkspaceModel
    operation: OperationModel | None
