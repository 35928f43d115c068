"""All routes of the service, relative to its prefix."""

from __future__ import annotations

from typing import Any

from persistent_terminal_hub.control import (
    audit_handlers,
    execute_handlers,
    operation_handlers,
    session_handlers,
    steer_handlers,
    workspace_handlers,
)
from persistent_terminal_hub.control.me import HomeHandler, MeHandler
from persistent_terminal_hub.control.openapi import OpenApiHandler
from persistent_terminal_hub.control.pages import page_routes
from persistent_terminal_hub.control.panel_handlers import panel_routes
from persistent_terminal_hub.control.secrets_handlers import secrets_routes
from persistent_terminal_hub.control.usage_handlers import usage_routes

Route = tuple[Any, ...]


def routes() -> list[Route]:
    """Every resource."""
    return [
        (r"", HomeHandler),
        (r"api/me", MeHandler),
        (r"api/openapi\.json", OpenApiHandler),
        *workspace_handlers.routes(),
        *execute_handlers.routes(),
        *operation_handlers.routes(),
        *session_handlers.routes(),
        *steer_handlers.routes(),
        *audit_handlers.routes(),
        *secrets_routes,
        *usage_routes,
        *panel_routes,
        *page_routes,
    ]
