"""`persistent-terminals/api/secrets`: the control service hands over its owner's secrets.

PUT replaces all of them, and the workspace's own `env`, for sessions that are created from now on. GET says
which there are and which state of them; no answer ever holds a value.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from pathlib import Path
from typing import Annotated, Any

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.utils import url_path_join
from pydantic import Field, field_validator

from persistent_terminal_hub.bodies import Body, check_env_names
from persistent_terminal_hub.secret_names import MAX_NAME, MAX_SECRETS, MAX_VALUE

from .errors import SessionError
from .keeper_link import Change
from .manager import PersistentTerminalManager
from .rules_routes import RulesHandler
from .session_secrets import SessionSecrets, directories_in_use, life_of_workspace

#: Seconds.
NEW_SECONDS = 5.0
_OURS = ("PTH_", "JUPYTERHUB_", "LD_")


class Delivery(Body):
    """The body of a PUT: values in base64."""

    version: str = Field(max_length=64, pattern=r"^[\x21-\x7e]*$")
    secrets: dict[str, str] = Field(max_length=MAX_SECRETS)
    env: dict[str, Annotated[str, Field(max_length=8192, pattern=r"^[^\x00]*$")]] = Field(
        default_factory=dict, max_length=MAX_SECRETS
    )

    @field_validator("env")
    @classmethod
    def _variables(cls, value: dict[str, str]) -> dict[str, str]:
        check_env_names(value)
        if any(name.startswith(_OURS) for name in value):
            raise ValueError("A name in env is one that the workspace itself uses.")
        return value


class Secrets(RulesHandler):
    """All secrets of the workspace."""

    while_locked = "steer"
    steer_action = "secrets"
    max_body = 2 * (MAX_SECRETS * MAX_NAME + 256 * 1024) + 2 * 1024 * 1024

    @property
    def store(self) -> SessionSecrets:
        """Where they are."""
        if self.sessions.secrets is None:
            raise SessionError(404, "This server keeps no secrets: it is no workspace of a hub.")
        return self.sessions.secrets

    @allow_unauthenticated
    async def get(self) -> None:
        """Names, and the state's version."""
        self._answer()

    @allow_unauthenticated
    async def put(self) -> None:
        """Other secrets from now on."""
        body: Delivery = self.body(Delivery)
        infos = [session.info for session in self.sessions.terminals.values()]
        running = [info.pid for info in infos]
        # Of a program that has only just begun, the kernel does not show the environment yet.
        new = any(time.monotonic() - info.created_monotonic < NEW_SECONDS for info in infos)
        newest = {self.store.directory} if new or self.sessions.creating else set()
        try:
            values = {name: _decoded(name, text) for name, text in body.secrets.items()}
            await asyncio.to_thread(
                lambda: self.store.store(body.version, values, directories_in_use(running) | newest, body.env)
            )
        except ValueError as error:
            raise SessionError(422, str(error)) from None
        except OSError as error:
            raise SessionError(
                503,
                f"The secrets cannot be written in the workspace ({error.strerror}); the former ones hold.",
                "Its runtime directory may be full: see what fills /run/pth.",
            ) from None
        self._answer()

    def _answer(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.reply(
            {
                "version": self.store.version,
                "names": self.store.names,
                # Says also that this server takes an `env`, which an older one refuses.
                "env": sorted(self.store.variables),
            }
        )


def _decoded(name: str, text: str) -> bytes:
    if len(text) > 2 * MAX_VALUE:
        raise ValueError(f"The secret {name[:MAX_NAME]} is too large: {MAX_VALUE} bytes are the most.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"The value of {name[:MAX_NAME]} is not base64.") from None


def set_up(serverapp: Any, manager: PersistentTerminalManager) -> None:
    """Give the manager its secrets, and the server the route. Only in a workspace."""
    store = manager.secrets = SessionSecrets(Path(manager.link.path).parent, life_of_workspace())

    def on_change(change: Change) -> None:
        if change.kind == "exited":
            pids = [session.info.pid for session in manager.terminals.values()]
            asyncio.get_running_loop().run_in_executor(
                None, lambda: store.remove_unused(directories_in_use(pids))
            )

    manager.link.on_change(on_change)
    base = serverapp.web_app.settings["base_url"]
    route = url_path_join(base, "/persistent-terminals/api/secrets")
    serverapp.web_app.add_handlers(".*$", [(route, Secrets)])
