"""Which rules hold for a workspace: the settings, then every entry of `rules` that matches. Pure.

Also how rules travel to a workspace, as JSON in `PTH_RULES` or through its API, and are read there: what
comes from outside is taken whole or not at all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, fields, replace
from fnmatch import fnmatchcase
from typing import Any, Final

from persistent_terminal_hub.config.unlocking import default_lock_is_off
from persistent_terminal_hub.policy import Rules
from persistent_terminal_hub.settings import YEARS, RuleSettings, Settings

#: The variable of a workspace's environment that holds its rules.
VARIABLE: Final = "PTH_RULES"
#: A dozen numbers; anything near this is something else.
MAX_JSON: Final = 4096
_NAMES: Final = tuple(field.name for field in fields(Rules))

#: Of a server that no hub started: nobody could unlock it, and nobody asked for limits.
NO_RULES: Final = Rules(idle_lock=0.0, ttl=0.0)


class RulesError(Exception):
    """Rules from outside that cannot be used; a sentence that repeats no value."""


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


# ---- on the way to a workspace


def rules_to_json(rules: Rules) -> str:
    """One line of JSON that `rules_from_json` reads; equal rules give equal text."""
    return json.dumps(asdict(rules), sort_keys=True, separators=(",", ":"), allow_nan=False)


def rules_from_json(text: str | bytes) -> Rules:
    """Rules from outside; what they do not name has its default. Raises RulesError and nothing else."""
    if len(text) > MAX_JSON:
        raise RulesError(f"The rules are longer than {MAX_JSON} characters; they were not taken.")
    try:
        data = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except RulesError:
        raise
    except (ValueError, RecursionError):
        raise RulesError("The rules are not valid JSON; they were not taken.") from None
    if not isinstance(data, dict):
        raise RulesError("The rules must be a JSON object; they were not taken.")
    unknown = len(data.keys() - set(_NAMES))
    if unknown:
        raise RulesError(
            f"The rules hold {unknown} name(s) that are unknown here (known: {', '.join(_NAMES)}); they were "
            "not taken."
        )
    return Rules(**dict(_numbers(data)))


def rules_or_keep(text: str | bytes, old: Rules) -> tuple[Rules, str]:
    """The rules in `text`, or the old ones and a sentence that says why."""
    try:
        return rules_from_json(text), ""
    except RulesError as error:
        return old, f"{error} The rules before stay in force."


def rules_of_environment(environ: Mapping[str, str]) -> tuple[Rules, str]:
    """What a workspace starts with. Without the variable nothing is limited; with one that cannot be read
    the defaults hold, the idle lock among them, and the sentence says so."""
    if VARIABLE not in environ:
        return NO_RULES, ""
    try:
        return rules_from_json(environ[VARIABLE]), ""
    except RulesError as error:
        return Rules(), f"{VARIABLE}: {error} The defaults are in force."


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        raise RulesError("The rules give a name twice; they were not taken.")
    return data


def _no_number(_: str) -> float:
    raise RulesError("The rules hold what is no number; they were not taken.")


def _numbers(data: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in data.items():
        # bool is an int in Python, and 1e999 is read as infinity.
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not 0 <= value <= YEARS:
            raise RulesError(
                f"The rule {name} must be a number of seconds from 0 to {YEARS:,}; the rules were not taken."
            )
        yield name, float(value)
