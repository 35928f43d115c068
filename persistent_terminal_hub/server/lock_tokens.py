"""The hub's signed tokens, as this workspace takes them: unlock and steer."""

from __future__ import annotations

from typing import Final

from tornado.httputil import HTTPServerRequest

from persistent_terminal_hub.tokens import MAX_TOKEN, Purpose, TokenError, Verified

from .hub_keys import HubKeys

#: Seconds that an unlock and a steer token may be valid.
UNLOCK_LIFE: Final = 60.0
STEER_LIFE: Final = 60.0


class HubTokens:
    """Verifies for one workspace, whose owner is `owner`."""

    def __init__(self, keys: HubKeys, owner: str) -> None:
        self._keys = keys
        self._owner = owner

    async def unlock(self, token: str) -> Verified:
        """An unlock for the owner. Raises TokenError."""
        return await self._keys.verify(token, Purpose.UNLOCK, subject=self._owner, max_lifetime=UNLOCK_LIFE)

    async def steers(self, request: HTTPServerRequest, action: str) -> bool:
        """Whether the request has a steer token that allows this action."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or len(token) > MAX_TOKEN or token.count(".") != 2:
            return False
        try:
            verified = await self._keys.verify(token.strip(), Purpose.STEER, max_lifetime=STEER_LIFE)
        except TokenError:
            return False
        actions = verified.claims.get("actions")
        return isinstance(actions, list) and action in actions
