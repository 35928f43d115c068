"""The bodies of `persistent-terminal-hub workspace …`: ask, wait, and say it to a person or a program."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import click

from . import errors
from .command import DONE, FAILED, INTERRUPTED, interruptible, print_json, print_lines, say
from .control_service import ControlService
from .operation_wait import Left, wait_for
from .shapes import Change, Status, WorkspaceDetails
from .tables import ago, fields, shown, size, table

_DONE = {
    "create": "was created", "start": "is started", "stop": "is stopped", "restart": "is restarted",
    "delete": "is deleted",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class How:
    """Whether the end is waited for, and for whom the answer is."""

    wait: bool = True
    as_json: bool = False


# -- looking -----------------------------------------------------------------------------------------------
async def show_list(
    service: ControlService, owner: str | None, everybody: bool, status: Status | None, as_json: bool
) -> int:
    """All workspaces."""
    if owner is None and not everybody:
        owner = (await service.me()).name
    found = await service.workspaces.list(owner=owner, status=status)
    if as_json:
        print_json([item.json_object() for item in found])
        return DONE
    if not found:
        say(
            "There is no such workspace."
            if status
            else "There is no workspace yet. Make one: workspace create NAME"
        )
        return DONE
    now = time.time()
    rows = [
        (item.label, item.status, ago(item.last_activity, now), item.display_name, item.url) for item in found
    ]
    print_lines(table(("WORKSPACE", "STATUS", "LAST ACTIVE", "DISPLAY NAME", "URL"), rows))
    return DONE


async def show(service: ControlService, key: str, as_json: bool) -> int:
    """One workspace."""
    item = await service.workspaces.get(key)
    if as_json:
        print_json(item.json_object())
        return DONE
    options = ", ".join(f"{name} {value}" for name, value in item.options.items())
    source = str((item.source or {}).get("url") or "")
    print_lines(
        fields(
            [
                ("Workspace", item.label), ("Display name", item.display_name), ("Status", item.status),
                ("URL", item.url), ("Home", item.root_path), ("Container", item.container_id[:12]),
                ("Made of", options), ("Repository", source), ("Variables", ", ".join(item.env)),
                ("Created", item.created), ("Last active", ago(item.last_activity, time.time())),
                ("Under way", "yes; `workspace wait` follows it" if item.operation else ""),
                ("Id", item.workspace_id),
            ]
        )
    )  # fmt: skip
    return DONE


async def show_logs(service: ControlService, key: str, lines: int, as_json: bool) -> int:
    """What it printed."""
    found = await service.workspaces.logs(key, lines)
    if as_json:
        print_json(found)
    else:
        # A file gets them as they are.
        print_lines([shown(line.replace("\t", "    ")) for line in found] if sys.stdout.isatty() else found)
    return DONE


async def show_stats(service: ControlService, key: str, as_json: bool) -> int:
    """What it uses."""
    stats = await service.workspaces.stats(key)
    if as_json:
        print_json(stats.json_object())
        return DONE
    memory = f"{size(stats.memory_bytes)}; at most {size(stats.memory_peak_bytes)}"
    memory += f", limit {size(stats.memory_limit_bytes)}"
    quota = f", quota {size(stats.disk_quota_bytes)}" if stats.disk_quota_bytes else ""
    network = f"{size(stats.received_bytes)} received, {size(stats.sent_bytes)} sent"
    print_lines(
        fields(
            [
                ("CPU", f"{stats.cpu_seconds:.1f} s since its start"), ("Memory", memory),
                ("Disk", f"{size(stats.disk_bytes)}{quota}"), ("Network", network),
            ]
        )
    )  # fmt: skip
    if stats.sessions:
        names: dict[str, str] = {}
        with suppress(errors.ClientError):
            names = {each.session_id: each.name for each in await service.sessions.list(workspace=key)}
        rows = [
            (names.get(each.id, each.id), f"{each.cpu_seconds:.1f} s", size(each.memory_bytes))
            for each in stats.sessions
        ]
        print_lines(["", *table(("SESSION", "CPU", "MEMORY"), rows)])
    return DONE


# -- changing ----------------------------------------------------------------------------------------------
async def create(service: ControlService, name: str, wishes: Mapping[str, Any], how: How) -> int:
    """A new workspace."""
    return await finish(service, await service.workspaces.create(name, **wishes), how)


async def clone(service: ControlService, url: str, name: str, wishes: Mapping[str, Any], how: How) -> int:
    """A new workspace with a repository in it."""
    return await finish(service, await service.workspaces.clone(url, name, **wishes), how)


async def act(service: ControlService, key: str, action: str, how: How) -> int:
    """Start, stop or restart."""
    calls = {
        "start": service.workspaces.start,
        "stop": service.workspaces.stop,
        "restart": service.workspaces.restart,
    }
    return await finish(service, await calls[action](key), how)


async def change(
    service: ControlService, key: str, wishes: Mapping[str, Any], env: Mapping[str, str],
    unset: frozenset[str], as_json: bool,
) -> int:  # fmt: skip
    """Another display name, image, limits, environment."""
    wanted = dict(wishes)
    before = await service.workspaces.get(key)
    if env or unset:
        kept = {name: value for name, value in before.env.items() if name not in unset}
        wanted["env"] = {**kept, **env}
    if not wanted:
        raise errors.NotConfigured("What shall change?", "See `workspace set --help`.")
    item = await service.workspaces.patch(before.workspace_id, **wanted)
    if as_json:
        print_json(item.json_object())
    else:
        later = before.status != "stopped" and wanted.keys() & {"image", "cpu", "memory", "pids", "egress"}
        say(f"{item.label} is changed{'; its container gets it at its next start' if later else ''}.")
    return DONE


async def delete(service: ControlService, key: str, sure: bool, how: How) -> int:
    """Delete it with its files; the person says its name first."""
    item = await service.workspaces.get(key)
    if not sure:
        print_losses(item, await running_sessions(service, item))
        if not sys.stdin.isatty():
            raise errors.NotConfigured("Nobody is there to confirm it; nothing was deleted.", "Add --yes.")
        try:
            with interruptible():
                typed = click.prompt(
                    f"Type {item.label} to delete it", default="", show_default=False, err=True
                )
        except (click.Abort, KeyboardInterrupt):
            click.echo(err=True)  # behind the prompt
            typed = ""
        if not typed.strip() or typed.strip() not in (item.label, item.name):
            say("Nothing was deleted.")
            return FAILED
    return await finish(service, await service.workspaces.delete(item.workspace_id), how)


async def running_sessions(service: ControlService, item: WorkspaceDetails) -> list[str] | None:
    """Their names; None when nobody can tell."""
    if item.status == "stopped":
        return []
    try:
        found = await service.sessions.list(workspace=item.workspace_id)
    except errors.ClientError:
        return None
    return [each.name for each in found if not each.ended]


def print_losses(item: WorkspaceDetails, running: list[str] | None) -> None:
    """What a deletion takes away."""
    where = f" ({item.root_path})" if item.root_path else ""
    say(
        f"{item.label} ({item.display_name}) will be deleted with all its files{where}; nothing brings them "
        "back."
    )
    if running is None:
        say("Its sessions cannot be listed; whatever runs in it ends.")
    elif running:
        say(f"Running sessions that end with it: {', '.join(running)}.")
    else:
        say("No session runs in it.")


# -- what is under way -------------------------------------------------------------------------------------
async def follow(service: ControlService, key: str, how: How) -> int:
    """Wait for what is under way."""
    item = await service.workspaces.get(key)
    if item.operation is None:
        say(f"Nothing is under way for {item.label}; it is {item.status}.")
        return DONE
    operation = await service.operations.get(item.operation)
    return await finish(service, Change(workspace=item, operation=operation), how)


async def cancel(service: ControlService, key: str, how: How) -> int:
    """Call off what is under way."""
    item = await service.workspaces.get(key)
    if item.operation is None:
        raise errors.Conflict(f"Nothing is under way for {item.label}; it is {item.status}.")
    operation = await service.operations.cancel(item.operation)
    try:
        return await finish(service, Change(workspace=item, operation=operation), how)
    except errors.OperationFailed as error:
        if error.state != "cancelled":
            raise
        say("It is cancelled; nothing is left of it.")
        return DONE


async def finish(service: ControlService, change: Change, how: How) -> int:
    """Wait for a change's end if that is wished, and say how it is."""
    item, operation = change.workspace, change.operation
    if operation is None:
        if how.as_json:
            print_json(change.json_object())
        else:
            say(f"There was nothing to do: {item.label} is {item.status}.")
        return DONE
    if not how.wait:
        if how.as_json:
            print_json(change.json_object())
        else:
            say(f"It is under way; `workspace wait {item.label}` follows it.")
        return DONE
    try:
        operation = await wait_for(service, operation, item.label)
    except Left as left:
        say(str(left))
        return INTERRUPTED
    if operation.kind != "delete":
        item = await service.workspaces.get(item.workspace_id)
    if how.as_json:
        print_json(Change(workspace=item, operation=operation).json_object())
        return DONE
    where = f": {item.url}" if item.url and operation.kind in ("create", "start", "restart") else "."
    print(shown(f"{item.label} {_DONE[operation.kind]}{where}"))
    if operation.path:
        print(shown(f"The repository is in {item.root_path}/{operation.path}."))
    if operation.setup_session:
        print(
            shown(f"Its dependencies are being installed: persistent-terminal-hub attach {item.label}:setup")
        )
    return DONE


def name_from(url: str) -> str:
    """A workspace's name for a repository. Raises NotConfigured when its URL suggests none."""
    last = re.split(r"[/:]", url.rstrip("/"))[-1].removesuffix(".git").lower()
    name = re.sub(r"[^a-z0-9]+", "-", last).lstrip("-0123456789")[:30].strip("-")
    if not name:
        raise errors.NotConfigured("What shall the workspace be called?", "Give a NAME behind the URL.")
    return name
