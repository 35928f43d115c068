"""Which rules hold for a workspace: the settings, then every entry of `rules` that matches. Pure.

How they travel to the workspace and are read there: `rules_file.py`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from fnmatch import fnmatchcase

from persistent_terminal_hub.config.unlocking import default_lock_is_off
from persistent_terminal_hub.policy import Rules
from persistent_terminal_hub.settings import RuleSettings, Settings


def workspace_id(user: str, workspace: str) -> str:
    """`user/workspace` of a server name or of what already is one; the default workspace is `user/`."""
    return workspace if "/" in workspace else f"{user}/{workspace}"


def rules_for(settings: Settings, user: str, groups: Collection[str], workspace: str) -> Rules:
    """The rules of one workspace (its server name, or `user/server name`).

    Later entries win, key by key. The administrator's maximum holds over the TTL as well: what sessions
    wish is held against it by the policy.
    """
    session, culler = settings.session, settings.culler
    values: dict[str, float] = {
        "ttl_seconds": session.ttl_seconds,
        "max_ttl_seconds": session.max_ttl_seconds,
        "max_age_seconds": session.max_age_seconds,
        "idle_lock_minutes": 0.0 if default_lock_is_off(settings) else session.idle_lock_minutes,
        "reauth_on_reconnect": session.reauth_on_reconnect,
        "warn_seconds": session.warn_seconds,
        "keep_alive_max_minutes": session.keep_alive_max_minutes,
        "max_cpu_seconds": session.max_cpu_seconds,
        "max_memory": _mebibytes(session.max_memory),
        "idle_stop_minutes": culler.idle_stop_minutes,
        "workspace_max_age_minutes": culler.workspace_max_age_minutes,
        "remove_stopped_after_days": culler.remove_stopped_after_days,
    }
    place = workspace_id(user, workspace)
    for entry in settings.rules:
        if matches(entry, user, groups, place):
            given = ((name, getattr(entry, name)) for name in values)
            values |= {
                name: _mebibytes(value) if isinstance(value, str) else value
                for name, value in given
                if value is not None
            }
    ttl, most = values["ttl_seconds"], values["max_ttl_seconds"]
    return Rules(
        idle_lock=60.0 * values["idle_lock_minutes"],
        reauth_on_reconnect=float(values["reauth_on_reconnect"]),
        ttl=float(min(ttl, most) if most else ttl),
        max_ttl=float(most),
        max_age=float(values["max_age_seconds"]),
        max_cpu=float(values["max_cpu_seconds"]),
        max_memory=float(values["max_memory"]),
        idle_stop=60.0 * values["idle_stop_minutes"],
        workspace_max_age=60.0 * values["workspace_max_age_minutes"],
        remove_after=86400.0 * values["remove_stopped_after_days"],
        warn_before=float(values["warn_seconds"]),
        keep_alive_max=60.0 * values["keep_alive_max_minutes"],
        fresh=float(culler.interval_seconds),
    )


def rules_in_workspace(settings: Settings, user: str, groups: Collection[str], workspace: str) -> Rules:
    """The same as the workspace itself is told them: it warns of no stop that nobody will carry out."""
    rules = rules_for(settings, user, groups, workspace)
    if settings.culler.enabled and not settings.culler.dry_run:
        return rules
    return replace(rules, idle_stop=0.0, workspace_max_age=0.0, remove_after=0.0)


def _mebibytes(size: str) -> float:
    """Of a size as 512M; 0 of an empty one."""
    units = {"M": 1, "G": 1024, "T": 1024 * 1024}
    return float(int(size[:-1]) * units[size[-1]]) if size else 0.0


def matches(entry: RuleSettings, user: str, groups: Collection[str], place: str) -> bool:
    """Whether each list that the entry has names the user, one of the groups, the workspace."""
    return (
        (not entry.users or user in entry.users)
        and (not entry.groups or not entry.groups.isdisjoint(groups))
        and (not entry.workspaces or any(fnmatchcase(place, glob) for glob in entry.workspaces))
    )
