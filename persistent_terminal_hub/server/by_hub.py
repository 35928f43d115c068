"""Resources that the workspace's owner may use, and the control service with a token that the hub signed."""

from __future__ import annotations

import inspect
import json
from typing import Any

from pydantic import ValidationError

from persistent_terminal_hub.bodies import sentence

from .api import SessionsHandler
from .errors import SessionError
from .steering import is_steered


class HubOrOwnerHandler(SessionsHandler):
    """Methods are `@allow_unauthenticated` and begin with `await self.let_in()`."""

    #: What a steer token must name.
    action = ""
    #: Bytes.
    most = 256 * 1024
    _by_hub = False

    async def prepare(self) -> None:  # type: ignore[override]
        """Find out who asks; Jupyter is not shown the hub's token, which it would take for one of its own."""
        self._by_hub = await is_steered(self, self.action)
        if not self._by_hub:
            await super().prepare()

    async def let_in(self) -> None:
        """Raises SessionError 401 or 403."""
        if self._by_hub:
            return
        user = self.current_user
        if not user:
            raise SessionError(401, "Nobody is logged in here.", "Log in, or send a token of the hub.")
        allowed = self.authorizer.is_authorized(self, user, "write", self.auth_resource)
        if inspect.isawaitable(allowed):
            allowed = await allowed
        if not allowed:
            raise SessionError(403, "You may not run programs in this workspace.")

    def read(self, model: type[Any]) -> Any:
        """The request's body as `model`."""
        if len(self.request.body) > self.most:
            raise SessionError(413, f"The body is larger than {self.most} bytes; nothing was done.")
        try:
            value = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError):
            raise SessionError(400, "The body is not JSON.", "Send a JSON object.") from None
        try:
            return model.model_validate(value)
        except ValidationError as error:
            raise SessionError(422, sentence(error)) from None
