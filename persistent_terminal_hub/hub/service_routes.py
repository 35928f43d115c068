"""Our routes for services below /hub; each authenticator of ours adds them."""

from __future__ import annotations

from persistent_terminal_hub.hub import orphans
from persistent_terminal_hub.hub.logs_api import LogsHandler
from persistent_terminal_hub.hub.running_api import RunningHandler


def service_handlers() -> list[tuple[str, type]]:
    """Called by `get_handlers` at the hub's start."""
    return [
        (r"/persistent-terminals/api/running", RunningHandler),
        (r"/persistent-terminals/api/logs", LogsHandler),
        (r"/persistent-terminals/api/orphans", orphans.OrphansHandler),
        (r"/persistent-terminals/api/orphans/adopt", orphans.AdoptHandler),
        (r"/persistent-terminals/api/stopped/remove", orphans.RemoveStoppedHandler),
    ]
