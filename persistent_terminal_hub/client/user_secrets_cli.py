"""`persistent-terminal-hub secrets list|set|delete`: a person's own secrets, by the control service."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import errors
from .command import (
    DONE,
    attempt,
    complete_workspace,
    hub_option,
    json_option,
    leave,
    print_json,
    print_lines,
    run,
    say,
)
from .tables import ago, table

if TYPE_CHECKING:
    from .control_service import ControlService

#: Bytes that are read; the service takes less, and says so.
_MOST = 1024 * 1024
_workspace = click.option(
    "--workspace", metavar="[USER/]NAME", shell_complete=complete_workspace,
    help="For that one only, where it wins over one for all.",
)  # fmt: skip


@click.command("list")
@_workspace
@json_option
@hub_option
def list_(workspace: str | None, as_json: bool, hub: str | None) -> None:
    """List your secrets: names and dates. Nobody can read a value back."""

    async def work(service: ControlService) -> int:
        found = await service.secrets.list(workspace=workspace)
        if as_json:
            print_json([item.json_object() for item in found])
        elif not found:
            say("You have no secret there.")
        else:
            now = time.time()
            rows = [
                (
                    item.name,
                    (item.workspace or "all").replace("~", "/"),
                    ago(item.updated, now),
                    item.problem or "",
                )
                for item in found
            ]
            print_lines(table(("SECRET", "WORKSPACE", "SET", "PROBLEM"), rows))
        return DONE

    run(hub, work)


@click.command("set")
@click.argument("name")
@click.argument("value", nargs=-1, metavar="")
@click.option("--file", type=click.Path(path_type=Path), help="Take the value from this file, as it is.")
@_workspace
@hub_option
def set_(
    name: str, value: tuple[str, ...], file: Path | None, workspace: str | None, hub: str | None
) -> None:
    """Set a secret of yours, for sessions that are created from now on.

    The value is asked for, or read from standard input (one line end at its end is left out), or from a file.
    It is never an argument: others can read the command lines of all programs.

    \b
    Examples:
      persistent-terminal-hub secrets set DB_PASSWORD
      pass show db | persistent-terminal-hub secrets set DB_PASSWORD --workspace training
      persistent-terminal-hub secrets set pgpass --file ~/.pgpass
    """

    if value:  # and it is not repeated
        raise click.UsageError(
            "A value is never an argument: others can read it, and so can who reads your shell's history. "
            "Leave it out, and you are asked for it. If it was the real one, change it."
        )

    def work() -> int:
        given = read_value(file)

        async def setting(service: ControlService) -> int:
            await service.secrets.set(name, given, workspace=workspace)
            say(f"{name} is set; sessions that are created from now on have it.")
            return DONE

        return attempt(hub, setting)

    leave(work)


@click.command("delete")
@click.argument("name")
@_workspace
@hub_option
def delete(name: str, workspace: str | None, hub: str | None) -> None:
    """Delete a secret of yours. Running sessions keep what they were started with."""

    async def work(service: ControlService) -> int:
        await service.secrets.delete(name, workspace=workspace)
        say(f"{name} is deleted.")
        return DONE

    run(hub, work)


def read_value(file: Path | None) -> bytes:
    """The value, from wherever it comes. Raises ClientError."""
    if file is not None:
        data = _read(file)
    elif sys.stdin.isatty():
        try:
            data = str(click.prompt("Value", hide_input=True, err=True)).encode()
        except click.Abort:
            raise KeyboardInterrupt from None
    else:
        data = sys.stdin.buffer.read(_MOST + 1)
        data = data.removesuffix(b"\n").removesuffix(b"\r")
    if not data:
        raise errors.NotConfigured("The value is empty; nothing was set.")
    if len(data) > _MOST:
        raise errors.Refused("The value is too long for a secret; nothing was set.")
    return data


def read_secrets(pairs: Sequence[str]) -> dict[str, str]:
    """`NAME=FILE`, for a workspace that is made. Raises NotConfigured."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not equals or not name or not file:
            raise errors.NotConfigured("A secret is given as NAME=FILE.", "The file holds the value.")
        try:
            found[name] = _read(Path(file)).decode()
        except UnicodeDecodeError:
            raise errors.NotConfigured(
                f"{file} is no text.", "Set it when the workspace is there: secrets set --file --workspace."
            ) from None
    return found


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as source:
            return source.read(_MOST + 1)
    except OSError as error:
        raise errors.NotConfigured(f"{file} cannot be read: {error.strerror}.") from None


COMMANDS = (list_, set_, delete)
