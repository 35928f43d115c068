"""Hooks that Jupyter Server calls: link (before applications initialise), then load.

Jupyter Server links every extension before it loads any. While linking, our manager becomes the class that
`jupyter_server_terminals` will instantiate, and our handlers go in front of its own: of two handlers whose
pattern matches, the one that was added first gets the request.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

from jupyter_server_terminals.app import TerminalsExtensionApp

from persistent_terminal_hub.keeper.history import history_directory
from persistent_terminal_hub.keeper.lock_operations import state_directory

from . import (
    api,
    attach_tokens,
    clone_routes,
    elsewhere,
    execute_routes,
    hub_keys,
    lock_setup,
    missing_page,
    names,
    output_routes,
    own_keeper,
    page,
    pth_socket,
    rules_setup,
    secrets_routes,
    stock_api,
    stream_start,
    usage_routes,
)
from .attach_tokens import AttachTokens
from .hub_keys import HubKeys
from .manager import PersistentTerminalManager
from .notice import add_notice
from .past_sessions import PastSessions
from .socket import SessionSocket

_TERMINALS = "jupyter_server_terminals"


def _link_jupyter_server_extension(serverapp: Any) -> None:
    """Make our manager the server's terminal manager."""
    # For a terminals extension that is linked after this one.
    serverapp.config.TerminalsExtensionApp.terminal_manager_class = PersistentTerminalManager
    point = serverapp.extension_manager.extension_points.get(_TERMINALS)
    if point is None or not isinstance(point.app, TerminalsExtensionApp):
        serverapp.log.error(
            "The extension %s is not enabled, so there are no terminals. "
            "Enable it with: jupyter server extension enable %s",
            _TERMINALS,
            _TERMINALS,
        )
        return
    app = point.app
    app.terminal_manager_class = PersistentTerminalManager
    # In version 0.5.4 nobody sets it, so that shutdown checks overlook running terminals.
    app.terminals_available = bool(serverapp.terminals_enabled)
    if serverapp.terminals_enabled:
        app.handlers = [
            (rf"/terminals/websocket/({names.NAME_PATTERN})", SessionSocket),
            *stock_api.handlers,
            *app.handlers,
        ]

    async def let_go() -> None:
        # Stock code would say that it shuts terminals down; they go on.
        manager = getattr(app, "terminal_manager", None)
        if isinstance(manager, PersistentTerminalManager):
            await manager.terminate_all()

    app.cleanup_terminals = let_go  # type: ignore[method-assign]


def _load_jupyter_server_extension(serverapp: Any) -> None:
    """Put the lock in front of the server, add our API, and the notice if there is one."""
    settings = serverapp.web_app.settings
    settings[hub_keys.SETTING] = HubKeys.from_environment()
    manager = settings.get("terminal_manager")
    # Without terminals there is a lock nevertheless.
    persistent = isinstance(manager, PersistentTerminalManager)
    link = manager.link if persistent else own_keeper.link_of_workspace()
    gate = lock_setup.set_up(serverapp, link)
    missing_page.set_up(settings, gate.place)
    if link is not None:
        rules_setup.set_up(serverapp, link, manager if persistent else None)
    if link is not None and not persistent:
        serverapp.io_loop.add_callback(link.start)
    if isinstance(manager, PersistentTerminalManager):
        manager.activity_times = settings["last_activity_times"]
        settings["persistent_terminals_link"] = manager.link
        settings[attach_tokens.SETTING] = AttachTokens.from_environment(serverapp.identity_provider)
        # The event loop does not run yet; the first requests wait for this.
        serverapp.io_loop.add_callback(manager.link.start)
        serverapp.web_app.add_handlers(".*$", api.handlers(settings["base_url"]))
        if os.environ.get("PTH_RUNTIME_DIR"):
            secrets_routes.set_up(serverapp, manager)
            state = state_directory(Path(os.environ["PTH_RUNTIME_DIR"]), alone=False)
            manager.past = PastSessions(history_directory(state))
            usage_routes.set_up(serverapp, manager)
        serverapp.web_app.add_handlers(".*$", output_routes.handlers(settings["base_url"]))
        serverapp.web_app.add_handlers(".*$", pth_socket.handlers(settings["base_url"]))
        clone_routes.set_up(settings)
        serverapp.web_app.add_handlers(".*$", execute_routes.handlers(settings["base_url"]))
        serverapp.web_app.add_handlers(".*$", clone_routes.handlers(settings["base_url"]))
        serverapp.web_app.add_handlers(".*$", page.handlers(settings["base_url"]))
        settings[elsewhere.SETTING] = elsewhere.Elsewhere.from_environment(os.environ)
        serverapp.web_app.add_handlers(".*$", elsewhere.handlers(settings["base_url"]))
        serverapp.io_loop.add_callback(stream_start.start, settings)
    elif serverapp.terminals_enabled:
        serverapp.log.error("Terminals are not persistent: another terminal manager is in use.")
    add_notice(serverapp.web_app, os.environ.get("PTH_WORKSPACE_NOTICE", ""))
    serverapp.io_loop.add_callback(_set_aside_what_stays)


def _set_aside_what_stays() -> None:
    """Everything is loaded. Looking through it for garbage again would stop every echo for 50 ms and more."""
    gc.collect()
    gc.freeze()
