"""`/api/secrets`: a person's own secrets. Nobody reads a value here, and nobody else sees a name."""

from __future__ import annotations

import base64
import binascii
from typing import Literal

from pydantic import Field, field_validator

from persistent_terminal_hub.control.documented import documented
from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.rights import Action, may
from persistent_terminal_hub.control.secrets import SecretInfo
from persistent_terminal_hub.control.web import ApiHandler, Body, Reply
from persistent_terminal_hub.sealing import SealingError
from persistent_terminal_hub.secret_names import MAX_VALUE, check_name


class PutSecret(Body):
    """The body of a PUT."""

    value: str = Field(max_length=2 * MAX_VALUE, description="The secret; in base64 if `encoding` says so.")
    encoding: Literal["text", "base64"] = "text"

    def data(self) -> bytes:
        """The value's bytes. Raises ApiError."""
        if self.encoding == "text":
            return self.value.encode()
        try:
            return base64.b64decode(self.value, validate=True)
        except (binascii.Error, ValueError):
            raise ApiError(422, "The value is not base64.", "Send it as text, or encode it.") from None


class Scope(Body):
    """The query: for which workspace."""

    workspace: str | None = Field(None, max_length=255, pattern=r"^[^\x00-\x1f/]*$")

    @field_validator("workspace")
    @classmethod
    def _fits(cls, value: str | None) -> str | None:
        # With or without the owner's name: `alice~gpu`, `gpu`; `alice~` is the default workspace.
        if value == "":
            raise ValueError("An empty workspace is none: the default one is called `<your name>~`.")
        return value


class SecretReply(Reply):
    """One secret, without its value."""

    name: str
    #: Its workspace as `user~name`; null when it is for all of them.
    workspace: str | None
    created: float
    updated: float
    #: Why it cannot be opened any more; null when it can.
    problem: str | None = None


class SecretsReply(Reply):
    """All of them."""

    secrets: list[SecretReply]


class SecretsBase(ApiHandler):
    """What both resources share."""

    def scope(self) -> str | None:
        """The server's name that the query asks for; None: all of the caller's workspaces."""
        key = self.query(Scope).workspace
        workspace: str | None = None
        if key is not None:
            owner, tilde, name = key.rpartition("~")
            if tilde and owner != self.caller.name:
                raise ApiError(404, "There is no workspace of that name whose secrets are yours.")
            workspace = name
            if len(name) > 60:
                raise ApiError(422, "The workspace's name is too long to have secrets of its own.")
        caller = self.caller
        # Whoever may not open the workspaces must not slip a variable into their sessions.
        if not caller.is_user or not may(caller, Action.OPEN, caller.name, workspace):
            raise ApiError(
                403,
                "Only a person, with a token that may open their own workspaces, has secrets here.",
                "The token needs access:servers.",
            )
        return workspace

    def checked(self, given: str) -> str:
        """A name that a secret may have."""
        try:
            return check_name(given)
        except ValueError as error:
            raise ApiError(422, str(error)) from None

    def show(self, info: SecretInfo) -> SecretReply:
        """As JSON."""
        workspace = None if info.workspace is None else f"{self.caller.name}~{info.workspace}"
        return SecretReply(
            name=info.name,
            workspace=workspace,
            created=info.created,
            updated=info.updated,
            problem=info.problem or None,
        )

    async def note(self, what: str, name: str, workspace: str | None) -> None:
        """Into the audit log; the name, never the value."""
        on = f"{self.caller.name}/{'*' if workspace is None else workspace}"
        await self.control.record(
            who=self.caller.name, what=what, on=on, name=name, origin=self.origin, result="ok"
        )


class SecretsHandler(SecretsBase):
    """All secrets of the caller."""

    @documented(query=Scope, answers={200: SecretsReply}, refuses=(404,))
    async def get(self) -> None:
        """Names and dates; `workspace` limits it to those that were set for it."""
        workspace = self.scope()
        found = await self.control.blocking(self.control.secrets.infos, self.caller.name)
        shown = [info for info in found if workspace is None or info.workspace == workspace]
        self.reply(SecretsReply(secrets=[self.show(info) for info in shown]))


class SecretHandler(SecretsBase):
    """One secret of the caller."""

    @documented(
        query=Scope, body=PutSecret, answers={201: None, 204: None}, refuses=(404, 429),
        example={"value": "correct horse"},
    )  # fmt: skip
    async def put(self, secret: str) -> None:
        """Set it, for sessions that are created from now on."""
        workspace, name = self.scope(), self.checked(secret)
        data = self.body(PutSecret).data()
        store = self.control.secrets
        try:
            new = await self.control.blocking(store.put, self.caller.name, workspace, name, data)
        except SealingError as error:
            raise ApiError(
                503, f"{error} Nothing was stored.", "Ask an administrator.", retry_after=30
            ) from None
        await self.note("secret.put", name, workspace)
        self.control.delivery.changed(self.caller.name)
        self.set_status(201 if new else 204)
        self.finish()

    @documented(query=Scope, answers={204: None}, refuses=(404,))
    async def delete(self, secret: str) -> None:
        """Forget it; running sessions keep what they were started with."""
        workspace, name = self.scope(), self.checked(secret)
        if not await self.control.blocking(self.control.secrets.delete, self.caller.name, workspace, name):
            raise ApiError(404, "You have no secret of that name there.", "GET api/secrets lists them.")
        await self.note("secret.delete", name, workspace)
        self.control.delivery.changed(self.caller.name)
        self.nothing()


secrets_routes = [(r"api/secrets", SecretsHandler), (r"api/secrets/([^/]+)", SecretHandler)]
