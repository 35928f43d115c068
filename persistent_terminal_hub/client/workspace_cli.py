"""`persistent-terminal-hub workspace …`: what the commands are called and take; see `workspace_command`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .command import (
    Duration,
    environment,
    hub_option,
    json_option,
    leave,
    run,
    workspace_argument,
)

if TYPE_CHECKING:
    from .workspace_command import How

F = TypeVar("F", bound=Callable[..., Any])
_EGRESS = click.Choice(["none", "internet", "list"])
_STATUS = click.Choice(["creating", "starting", "running", "stopping", "stopped", "deleting"])


@click.group()
def workspace() -> None:
    """Make, see, use and delete workspaces.

    A workspace is NAME (yours), USER/NAME, USER/ (somebody's default one), or an id. The token comes from
    PTH_TOKEN or from ~/.config/persistent-terminal-hub/token, which only you may read.

    \b
    Exit status: 0 done; 1 refused or failed; 2 wrong usage; 3 there is none of that name that you may see;
    4 not signed in, or not allowed; 5 locked; 6 no answer, try again; 130 interrupted. `exec` has its own.

    \b
    Examples:
      persistent-terminal-hub workspace create training --cpu 2 --memory 4G
      persistent-terminal-hub workspace clone https://git.example.org/team/paper.git --install
      persistent-terminal-hub workspace exec training -- python3 --version
    """


def _made_of(command: F) -> F:
    """What a workspace is made of."""
    for option in (
        click.option("--egress", type=_EGRESS, help="What its network may reach."),
        click.option("--pids", type=click.IntRange(32), help="Most processes and threads."),
        click.option("--memory", metavar="SIZE", help="Such as 512M or 4G."),
        click.option("--cpu", type=click.FloatRange(0, min_open=True), help="CPUs, such as 2 or 0.5."),
        click.option("--image", help="One of the images that the site allows."),
        click.option("--display-name", metavar="TEXT", help="What people read; any script."),
    ):
        command = option(command)
    return command


def _waiting(command: F) -> F:
    """Whether the end is waited for."""
    command = click.option("--no-wait", is_flag=True, help="Only begin; do not wait for the end.")(command)
    return hub_option(json_option(command))


def _env_option(command: F) -> F:
    return click.option(
        "-e", "--env", multiple=True, metavar="NAME[=VALUE]",
        help="A variable of its sessions; NAME alone: as it is here. Passwords belong into secrets.",
    )(command)  # fmt: skip


def _secret_option(command: F) -> F:
    return click.option(
        "--secret", "secret_files", multiple=True, metavar="NAME=FILE",
        help="A secret of this workspace alone, with what FILE holds.",
    )(command)  # fmt: skip


def _how(no_wait: bool, as_json: bool) -> How:
    from .workspace_command import How

    return How(wait=not no_wait, as_json=as_json)


def _wishes(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


@workspace.command("list")
@click.option("--user", metavar="USER", help="Those of USER.")
@click.option("--all", "all_", is_flag=True, help="Everybody's, as far as you may see them.")
@click.option("--status", type=_STATUS, help="Only those.")
@json_option
@hub_option
def list_(user: str | None, all_: bool, status: Any, as_json: bool, hub: str | None) -> None:
    """List workspaces, stopped ones included: your own ones, if nothing else is said."""
    from . import workspace_command as module

    run(hub, lambda service: module.show_list(service, user, all_, status, as_json))


@workspace.command()
@workspace_argument
@json_option
@hub_option
def show(workspace: str, as_json: bool, hub: str | None) -> None:
    """Show one workspace."""
    from . import workspace_command as module

    run(hub, lambda service: module.show(service, workspace, as_json))


@workspace.command()
@click.argument("name")
@_made_of
@_env_option
@_secret_option
@click.option("--no-start", is_flag=True, help="Make it, but do not start it.")
@_waiting
def create(
    name: str, env: tuple[str, ...], secret_files: tuple[str, ...], no_start: bool, no_wait: bool,
    as_json: bool, hub: str | None, **made_of: Any,
) -> None:  # fmt: skip
    """Make a workspace, start it, and wait until it runs.

    NAME has 1 to 30 characters of a-z, 0-9 and single hyphens, and begins with a letter. Ctrl-C asks whether
    to cancel the creation or to leave it going on; a script's is cancelled, and nothing is left of it.

    \b
    Example:
      persistent-terminal-hub workspace create training --cpu 2 --memory 4G -e STAGE=test
    """
    from . import workspace_command as module

    async def work(service: Any) -> int:
        wishes = _wishes(**made_of, **_given_to_it(env, secret_files), start=not no_start)
        return await module.create(service, name, wishes, _how(no_wait, as_json))

    run(hub, work)


@workspace.command()
@click.argument("url")
@click.argument("name", required=False)
@click.option("--branch", metavar="NAME", help="A branch or tag.")
@click.option("--depth", type=click.IntRange(1), help="Only that many commits.")
@click.option("--submodules", is_flag=True, help="With its submodules.")
@click.option("--install", is_flag=True, help="Install its dependencies in a session named `setup`.")
@click.option("--folder", metavar="NAME", help="A new folder in the home; else the repository's name.")
@click.option("--username", metavar="USER", help="For an https repository; the password is asked for.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option(
    "--credentials", "secret", metavar="SECRET", help="A secret of yours: user:token or an ssh key."
)
@_made_of
@_env_option
@_secret_option
@_waiting
def clone(
    url: str, name: str | None, branch: str | None, depth: int | None, submodules: bool, install: bool,
    folder: str | None, username: str | None, password_stdin: bool, secret: str | None,
    env: tuple[str, ...], secret_files: tuple[str, ...], no_wait: bool, as_json: bool, hub: str | None,
    **made_of: Any,
) -> None:  # fmt: skip
    """Make a workspace with a repository in it.

    URL is https, ssh or git; NAME is the repository's, if there is none. A clone that fails is taken back.

    \b
    Examples:
      persistent-terminal-hub workspace clone https://git.example.org/team/paper.git --depth 1 --install
      persistent-terminal-hub workspace clone --username me https://git.example.org/team/private.git
    """
    from . import workspace_command as module

    if password_stdin and username is None:
        raise click.UsageError("--password-stdin needs --username.")
    credentials = None if username is None else (username, _password(password_stdin))

    async def work(service: Any) -> int:
        wishes = _wishes(
            **made_of, **_given_to_it(env, secret_files), branch=branch, depth=depth, folder=folder,
            credentials=credentials, credentials_secret=secret,
        )  # fmt: skip
        wishes |= {"submodules": submodules, "install": install}
        chosen = name or module.name_from(url)
        return await module.clone(service, url, chosen, wishes, _how(no_wait, as_json))

    run(hub, work)


def _given_to_it(env: tuple[str, ...], secret_files: tuple[str, ...]) -> dict[str, Any]:
    """Variables and secrets, None for none. Raises NotConfigured."""
    from .user_secrets_cli import read_secrets

    return {"env": environment(env) or None, "secrets": read_secrets(secret_files) or None}


def _password(from_stdin: bool) -> str:
    """Never from the command line, which others can read."""
    if not from_stdin:
        return str(click.prompt("Password for the repository", hide_input=True, err=True))
    return sys.stdin.readline(8192).rstrip("\r\n")


def _action(name: str, text: str) -> None:
    @workspace.command(name, help=text)
    @workspace_argument
    @_waiting
    def action(workspace: str, no_wait: bool, as_json: bool, hub: str | None) -> None:
        from . import workspace_command as module

        run(hub, lambda service: module.act(service, workspace, name, _how(no_wait, as_json)))


_action("start", "Start a workspace and wait until it answers.")
_action("stop", "Stop a workspace. Its files stay; what runs in it ends.")
_action("restart", "Stop a workspace and start it again. What runs in it ends.")


@workspace.command()
@workspace_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@_waiting
def delete(workspace: str, yes: bool, no_wait: bool, as_json: bool, hub: str | None) -> None:
    """Delete a workspace with its files and its own secrets.

    It says what will be lost and asks for the workspace's name.
    """
    from . import workspace_command as module

    run(hub, lambda service: module.delete(service, workspace, yes, _how(no_wait, as_json)))


@workspace.command("set")
@workspace_argument
@_made_of
@_env_option
@click.option("--unset", multiple=True, metavar="NAME", help="Take that variable away.")
@json_option
@hub_option
def set_(
    workspace: str, env: tuple[str, ...], unset: tuple[str, ...], as_json: bool, hub: str | None,
    **made_of: Any,
) -> None:  # fmt: skip
    """Change what a workspace is called, is made of from its next start, or gives to new sessions.

    \b
    Example:
      persistent-terminal-hub workspace set training --memory 8G -e STAGE=production --unset DEBUG
    """
    from . import workspace_command as module

    async def work(service: Any) -> int:
        return await module.change(
            service, workspace, _wishes(**made_of), environment(env), frozenset(unset), as_json
        )

    run(hub, work)


@workspace.command()
@workspace_argument
@click.option("-n", "--lines", type=click.IntRange(1, 10_000), default=200, show_default=True)
@json_option
@hub_option
def logs(workspace: str, lines: int, as_json: bool, hub: str | None) -> None:
    """Print the last lines of what the workspace's own programs printed, also after a failed start."""
    from . import workspace_command as module

    run(hub, lambda service: module.show_logs(service, workspace, lines, as_json))


@workspace.command()
@workspace_argument
@json_option
@hub_option
def stats(workspace: str, as_json: bool, hub: str | None) -> None:
    """Show what a running workspace and its sessions use now."""
    from . import workspace_command as module

    run(hub, lambda service: module.show_stats(service, workspace, as_json))


@workspace.command("wait")
@workspace_argument
@json_option
@hub_option
def wait_(workspace: str, as_json: bool, hub: str | None) -> None:
    """Wait for the end of what is under way for a workspace."""
    from . import workspace_command as module

    run(hub, lambda service: module.follow(service, workspace, _how(False, as_json)))


@workspace.command()
@workspace_argument
@_waiting
def cancel(workspace: str, no_wait: bool, as_json: bool, hub: str | None) -> None:
    """Call off a creation or a start that is under way; what it did is taken back."""
    from . import workspace_command as module

    run(hub, lambda service: module.cancel(service, workspace, _how(no_wait, as_json)))


class _ExecUsageError(click.UsageError):
    """It must not pass for the command's own exit status."""

    exit_code = 125


class _Exec(click.Command):
    """A command whose status is another command's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise _ExecUsageError(error.message, error.ctx or ctx) from None


@workspace.command(
    "exec", cls=_Exec, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@workspace_argument
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("-C", "--cwd", metavar="FOLDER", default="", help="A folder in the home.")
@click.option(
    "-e", "--env", multiple=True, metavar="NAME[=VALUE]", help="A variable; NAME alone: as it is here."
)
@click.option("-t", "--timeout", type=Duration(), help="Such as 90, 10m or 1h; else the site's (30 s).")
@click.option("-n", "--no-stdin", is_flag=True, help="Do not read standard input.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end, for programs.")
@hub_option
def exec_(
    workspace: str, command: tuple[str, ...], cwd: str, env: tuple[str, ...], timeout: float | None,
    no_stdin: bool, as_json: bool, hub: str | None,
) -> None:  # fmt: skip
    """Run COMMAND in a workspace, without a terminal, with its outputs and exit status here.

    Options stand before the workspace. Standard input, if it is no terminal, is read to its end (1 MiB at
    most) and given to the command. Going away (Ctrl-C) ends the command; what is to go on belongs into a
    session.

    \b
    Exit status: the command's; 128+N when signal N ended it; 124 after the time limit; 125 when we failed
    (wrong usage, refused, not found, no answer); 130 interrupted.

    \b
    Examples:
      persistent-terminal-hub workspace exec training nvidia-smi
      persistent-terminal-hub workspace exec -t 10m training -- sh -c 'make -j4 && ./test'
      persistent-terminal-hub workspace exec training tar xz < data.tar.gz
    """
    from . import exec_command as module

    if command[0] == "--":
        command = command[1:]
    if not command:
        raise _ExecUsageError("Which command?", click.get_current_context())
    leave(
        lambda: module.run(
            hub, workspace, command, timeout=timeout, cwd=cwd, env=env, stdin=not no_stdin, as_json=as_json
        ),
        failed=module.FAILED,
    )
