"""The Jupyter Server extension of a workspace."""

from __future__ import annotations


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Tell Jupyter Server which module links and loads the extension."""
    return [{"module": "persistent_terminal_hub.server.extension"}]
