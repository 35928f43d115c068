"""Whether a request comes from the hub or its culler: by a signed `steer` token that names the action."""

from __future__ import annotations

from tornado.web import RequestHandler

from .lock_routes import TOKENS
from .lock_tokens import HubTokens


async def is_steered(handler: RequestHandler, action: str) -> bool:
    """Whether it may do this. Ask before Jupyter does, which would take the token for one of the hub's API
    tokens and show it around."""
    tokens = handler.settings.get(TOKENS)
    return isinstance(tokens, HubTokens) and await tokens.steers(handler.request, action)
