"""Warnings about durations that contradict each other and entries of `rules` that do nothing. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from persistent_terminal_hub.config.presets import PRESETS
from persistent_terminal_hub.settings import RuleSettings, Settings

_LISTS = frozenset({"groups", "users", "workspaces"})


def rule_warnings(settings: Settings) -> Iterator[str]:
    """All sentences of warning."""
    yield from _limits(settings)
    yield from _stops(settings)
    for number, entry in enumerate(settings.rules, start=1):
        yield from _entry(settings, entry, number)


def _limits(settings: Settings) -> Iterator[str]:
    session = settings.session
    pairs = [("session.ttlSeconds", session.ttl_seconds, session.max_ttl_seconds)]
    for number, entry in enumerate(settings.rules, start=1):
        if entry.ttl_seconds is not None or entry.max_ttl_seconds is not None:
            most = session.max_ttl_seconds if entry.max_ttl_seconds is None else entry.max_ttl_seconds
            pairs.append(
                (f"rules.ttlSeconds (entry {number})", entry.ttl_seconds or session.ttl_seconds, most)
            )
    for name, ttl, most in pairs:
        if 0 < most < ttl:
            yield f"{name} {ttl} is more than the maximum, {most}: sessions end after the maximum."


def _stops(settings: Settings) -> Iterator[str]:
    culler = settings.culler
    stops = culler.idle_stop_minutes or any(entry.idle_stop_minutes for entry in settings.rules)
    ages = culler.workspace_max_age_minutes or any(
        entry.workspace_max_age_minutes for entry in settings.rules
    )
    removes = culler.remove_stopped_after_days or any(
        entry.remove_stopped_after_days for entry in settings.rules
    )
    if (stops or ages or removes) and not culler.enabled:
        yield "culler.enabled is false: no workspace is stopped or removed, whatever the other settings say."
    if stops and removes:
        yield (
            "culler.removeStoppedAfterDays also removes the containers of workspaces that the idle stop "
            "stopped: what people installed outside their home directory is lost then."
        )
    if culler.timeout_seconds >= culler.interval_seconds:
        yield (
            f"culler.timeoutSeconds {culler.timeout_seconds} is not shorter than culler.intervalSeconds "
            f"{culler.interval_seconds}: what a slow workspace answers may be too old to be acted on."
        )


def _entry(settings: Settings, entry: RuleSettings, number: int) -> Iterator[str]:
    where = f"rules (entry {number})"
    if not entry.model_fields_set - _LISTS:
        yield f"{where} changes nothing: it names people or workspaces but no duration."
    preset = PRESETS.get(settings.auth.provider)
    if entry.groups and preset is not None and not settings.auth.groups_claim:
        yield (
            f"{where} names groups, but {preset.title} lists none: only groups that an administrator made in "
            "the hub itself match."
        )
    for user in sorted(entry.users):
        if user != user.strip().lower() or not user:
            yield f"{where} names a user who cannot be: they are in lower case, without spaces."
            break
    for glob in sorted(entry.workspaces):
        if "/" not in glob and not glob.endswith("*"):
            yield f"{where} has a pattern without a slash, which matches nothing; write */{_shown(glob)}."
        elif entry.users and not any(_could_match(glob, user) for user in entry.users):
            yield f"{where} matches nothing: its pattern {_shown(glob)} is of none of its users."


def _could_match(glob: str, user: str) -> bool:
    owner, slash, _ = glob.partition("/")
    return fnmatchcase(user, owner) if slash else True


def _shown(glob: str) -> str:
    return glob if len(glob) <= 80 else glob[:79] + "…"
