"""The rules that a workspace is given when it starts.

They hold until the culler brings newer ones, also while hub and culler are away.
"""

from __future__ import annotations

from typing import Any

from persistent_terminal_hub.config.rules import rules_in_workspace
from persistent_terminal_hub.rules_file import ENVIRONMENT, rules_to_json
from persistent_terminal_hub.settings import Settings


def rules_environment(settings: Settings, spawner: Any) -> dict[str, str]:
    """Called by the spawners' `get_env`. Groups are those that JupyterHub knows the user to be in."""
    user = spawner.user
    groups = [group.name for group in user.groups]
    return {
        ENVIRONMENT: rules_to_json(rules_in_workspace(settings, user.name, groups, spawner.name)),
        **_quota(settings.workspace.disk_quota),
    }


def _quota(size: str) -> dict[str, str]:
    """The soft quota of its files, in bytes."""
    units = {"K": 10, "M": 20, "G": 30, "T": 40}
    return {"PTH_DISK_QUOTA": str(int(size[:-1]) << units[size[-1]])} if size else {}
