"""`persistent-terminal-hub sessions …`: the sessions of all workspaces, also of those that do not run."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from . import errors
from .command import (
    DONE,
    complete_workspace,
    environment,
    hub_option,
    json_option,
    leave,
    print_json,
    print_lines,
    run,
    say,
    to_its_end,
    warn_if_exposed,
    workspace_argument,
)
from .tables import ago, shown, table

if TYPE_CHECKING:
    from .control_service import ControlService
    from .shapes import SessionDetails

_STATE = click.Choice(["active", "dormant", "locked", "ended"])


@click.group(invoke_without_command=True)
@click.pass_context
def sessions(ctx: click.Context) -> None:
    """List, make, read, rename and end sessions, in all workspaces at once. Alone it lists yours.

    A session is [USER/WORKSPACE:]SESSION as for `attach`, or its id. Exit statuses: see `workspace --help`.

    \b
    Examples:
      persistent-terminal-hub sessions
      persistent-terminal-hub sessions create training run-1 -- python3 train.py
      persistent-terminal-hub sessions output training:run-1 -n 20
      persistent-terminal-hub sessions end training:run-1
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_)


@sessions.command("list")
@click.argument("workspace", required=False, metavar="[[USER/]NAME]", shell_complete=complete_workspace)
@click.option("--all", "all_", is_flag=True, help="Everybody's, as far as you may see them.")
@click.option("--state", type=_STATE, help="Only those.")
@json_option
@hub_option
def list_(
    workspace: str | None = None, all_: bool = False, state: Any = None, as_json: bool = False,
    hub: str | None = None,
) -> None:  # fmt: skip
    """List sessions: yours, or those of one workspace."""

    async def work(service: ControlService) -> int:
        owner = None if all_ or workspace else (await service.me()).name
        found = await service.sessions.list(workspace=workspace, owner=owner, state=state)
        if as_json:
            print_json([item.json_object() for item in found])
        elif not found:
            say("There is no such session.")
        else:
            now = time.time()
            rows = [_row(item, now) for item in found]
            print_lines(table(("SESSION", "STATE", "CLIENTS", "LAST OUTPUT", "PROGRAM"), rows))
            if any(item.stale for item in found):
                say("(?) the workspace does not answer; this is what was last seen.")
        return DONE

    run(hub, work)


def _row(item: SessionDetails, now: float) -> tuple[object, ...]:
    where = f"{item.workspace.replace('~', '/')}:{item.name}"
    state = f"{item.state} (?)" if item.stale else item.state
    return where, state, item.clients, ago(item.last_output, now), " ".join(item.argv or ())[:80]


@sessions.command()
@workspace_argument
@click.argument("name", required=False)
@click.argument("command", nargs=-1, metavar="[-- COMMAND...]")
@click.option("-C", "--cwd", metavar="FOLDER", help="Where it begins.")
@click.option("-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="A variable of this session.")
@json_option
@hub_option
def create(
    workspace: str, name: str | None, command: tuple[str, ...], cwd: str | None, env: tuple[str, ...],
    as_json: bool, hub: str | None,
) -> None:  # fmt: skip
    """Start a session in a workspace that runs: a shell, or COMMAND. It goes on when you leave."""

    async def work(service: ControlService) -> int:
        made = await service.sessions.create(
            workspace, name, argv=list(command) or None, cwd=cwd, env=environment(env) or None
        )
        if as_json:
            print_json(made.json_object())
        else:
            where = f"{made.workspace.replace('~', '/')}:{made.name}"
            print(shown(f"It runs: persistent-terminal-hub attach {where}"))
        return DONE

    run(hub, work)


@sessions.command()
@click.argument("session", metavar="[USER/WORKSPACE:]SESSION")
@click.argument("name")
@hub_option
def rename(session: str, name: str, hub: str | None) -> None:
    """Give a session another NAME; whoever is attached stays."""

    async def work(service: ControlService) -> int:
        await service.sessions.rename((await find(service, session)).id, name)
        return DONE

    run(hub, work)


@sessions.command()
@click.argument("session", metavar="[USER/WORKSPACE:]SESSION")
@hub_option
def end(session: str, hub: str | None) -> None:
    """End a session and its programs; forget one that has ended."""

    async def work(service: ControlService) -> int:
        found = await find(service, session)
        await service.sessions.end(found.id)
        say(f"{found.name} is {'forgotten' if found.ended else 'ended'}.")
        return DONE

    run(hub, work)


@sessions.command()
@click.argument("session", metavar="[USER/WORKSPACE:]SESSION")
@click.option("-n", "--lines", type=click.IntRange(1), metavar="N", help="Only the last N lines.")
@click.option("--raw", is_flag=True, help="All bytes that are kept, as they were printed.")
@hub_option
def output(session: str, lines: int | None, raw: bool, hub: str | None) -> None:
    """Print what a session of a running workspace printed, also of one that has ended.

    Without --raw: lines to read, with no colours and without what was overwritten.
    """
    if raw and lines:
        raise click.UsageError("--raw prints all bytes; give it or --lines.")

    async def work() -> int:
        from .api import find_workspace
        from .cells import last_lines
        from .place import parse_target

        target = parse_target(session)
        async with await find_workspace(target.workspace, target.user, hub=hub) as workspace:
            warn_if_exposed(workspace.place)
            if raw:
                sys.stdout.buffer.write((await workspace.output(target.session)).data)
            else:
                text = await workspace.output_text(target.session)
                print(last_lines(text, lines) if lines else text.rstrip("\n"))
        sys.stdout.flush()  # here, where a reader that has gone is no failure
        return DONE

    leave(lambda: to_its_end(work))


async def find(service: ControlService, text: str) -> SessionDetails:
    """The session that is meant; a running one before one that has ended. Raises ClientError."""
    if "." in text and len(text.partition(".")[0]) == 32:
        return await service.sessions.get(text)
    place, colon, name = text.rpartition(":")
    workspace = place if colon else "/"
    if workspace == "/":  # no workspace: the default one
        workspace = f"{(await service.me()).name}/"
    found = [
        item for item in await service.sessions.list(workspace=workspace)
        if name in (item.name, item.session_id)
    ]  # fmt: skip
    if not found:
        raise errors.NoSuchSession(f"There is no session {name!r} there.", "See them: sessions list.")
    return min(found, key=lambda item: item.ended)
