"""Puts the rules into a server: the clock, presence, and who shows warnings to whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from persistent_terminal_hub.protocol.messages import Notice

from . import rules_routes
from .keeper_link import KeeperLink
from .lock import SETTING as GATE
from .manager import PersistentTerminalManager
from .presence import SETTING as PRESENCE
from .presence import Presence, listen_to_kernels
from .rules_clock import SETTING, WorkspaceClock
from .stream_start import SETTING as STREAMS


def set_up(serverapp: Any, link: KeeperLink, manager: PersistentTerminalManager | None) -> WorkspaceClock:
    """Before the server listens, and before the link connects: the clock has the first word."""
    settings = serverapp.web_app.settings
    presence = settings[PRESENCE] = Presence(link)
    gate = settings.get(GATE)

    def kernels_busy() -> bool:
        kernels = serverapp.kernel_manager
        return any(_is_busy(kernels, kernel) for kernel in kernels.list_kernel_ids())

    def websockets() -> int:
        return gate.connections.websockets() if gate is not None else 0

    clock = settings[SETTING] = WorkspaceClock(
        link,
        presence,
        Path(link.path).parent,
        kernels_busy=kernels_busy,
        websockets=websockets,
    )

    def tell(session: str | None, notice: Notice) -> None:
        service = settings.get(STREAMS)
        if service is not None:
            service.streams.notice(session, notice)
        for found in [] if manager is None else list(manager.by_id.values()):
            if session in (None, found.id):
                for client in list(found.clients):
                    client.show_title(notice.message)

    clock.tell = tell
    if manager is not None:
        manager.life = clock.session_model
    listen_to_kernels(settings, presence)
    serverapp.web_app.add_handlers(".*$", rules_routes.handlers(settings["base_url"]))
    serverapp.io_loop.add_callback(clock.start)
    return clock


def _is_busy(kernels: Any, kernel: str) -> bool:
    return bool(getattr(kernels.get_kernel(kernel), "execution_state", None) == "busy")
