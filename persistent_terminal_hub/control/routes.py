"""All routes of the service, relative to its prefix."""

from __future__ import annotations

from typing import Any

from persistent_terminal_hub.control import operation_handlers, workspace_handlers
from persistent_terminal_hub.control.me import HomeHandler, MeHandler
from persistent_terminal_hub.control.secrets_handlers import secrets_routes
from persistent_terminal_hub.control.usage_handlers import usage_routes

Route = tuple[Any, ...]


def routes() -> list[Route]:
    """Every resource."""
    return [
        (r"", HomeHandler),
        (r"api/me", MeHandler),
        *workspace_handlers.routes(),
        *operation_handlers.routes(),
        *secrets_routes,
        *usage_routes,
    ]
