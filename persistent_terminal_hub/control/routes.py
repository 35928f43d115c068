"""All routes of the service, relative to its prefix."""

from __future__ import annotations

from typing import Any

from persistent_terminal_hub.control.me import HomeHandler, MeHandler
from persistent_terminal_hub.control.secrets_handlers import secrets_routes
from persistent_terminal_hub.control.usage_handlers import usage_routes

Route = tuple[Any, ...]


def routes() -> list[Route]:
    """Every resource."""
    return [(r"", HomeHandler), (r"api/me", MeHandler), *secrets_routes, *usage_routes]
