"""The command `persistent-terminal-hub`.

Each command imports what it needs when it runs, so that the command line answers at once and works in a
workspace too, where the hub's libraries are missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NoReturn

import click

from persistent_terminal_hub import __version__
from persistent_terminal_hub.client import hub_sessions_cli, reports_cli, user_secrets_cli, workspace_cli


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Workspaces with terminals that outlive everything but you."""


@main.command()
@click.option(
    "--config", type=click.Path(path_type=Path), help="Settings file; else what PTH_CONFIG names, else none."
)
@click.option(
    "--new-admin-password", is_flag=True, help="Give the local account `admin` a new password; print it once."
)
def serve(config: Path | None, new_admin_password: bool) -> None:
    """Start the proxy and the hub, and keep them running."""
    from persistent_terminal_hub.hub.serve import serve as run

    raise SystemExit(run(config, new_admin_password))


@main.command("check-config")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--serving", is_flag=True, help="Fail also for what `serve` would refuse.")
def check_config(file: Path | None, serving: bool) -> None:
    """Check the settings and print them as they take effect, secrets masked.

    Reads FILE, else the file that PTH_CONFIG names, else none, and the environment.
    """
    from persistent_terminal_hub import settings as model
    from persistent_terminal_hub.config.callbacks import note_on_callbacks
    from persistent_terminal_hub.config.text import to_yaml

    try:
        loaded = model.explain_settings(file)
    except model.SettingsError as error:
        _fail(error.problems)
    refused = model.problems_for_serving(loaded.settings) if serving else []
    click.echo(to_yaml(loaded.settings, origins=loaded.origins), nl=False)
    for warning in model.warnings_of(loaded.settings):
        if warning not in refused:
            click.echo(f"warning: {warning}", err=True)
    if refused:
        _fail(refused)
    if note := note_on_callbacks(loaded.settings):
        click.echo(f"note: {note}", err=True)


@main.command()
@click.argument("target", required=False, metavar="[[USER/WORKSPACE:]SESSION]")
@click.argument("command", nargs=-1, metavar="[-- COMMAND...]")
@click.option("--hub", metavar="URL", help="The hub's address; else PTH_HUB_URL.")
@click.option("--server", metavar="URL", help="A workspace's address, without a hub; else PTH_SERVER_URL.")
@click.option("--list", "list_", is_flag=True, help="List the workspace's sessions.")
@click.option("--create", is_flag=True, help="Start the workspace and the session if they do not run.")
@click.option("--watch", is_flag=True, help="Only watch: nothing is typed, the size is left alone.")
@click.option(
    "--detach-key", metavar="KEY", help="ctrl- and a key, or none; else PTH_DETACH_KEY, else ctrl-]."
)
@click.option(
    "--eof", type=click.Choice(["wait", "detach", "send"]), default="wait", show_default=True,
    help="At the end of piped input: wait for the session's end, detach, or send Ctrl-D.",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Say nothing of our own but errors.")
def attach(
    target: str | None, command: tuple[str, ...], hub: str | None, server: str | None, list_: bool,
    create: bool, watch: bool, detach_key: str | None, eof: Literal["wait", "detach", "send"], quiet: bool,
) -> None:  # fmt: skip
    """Attach this terminal to a session; it comes back by itself after every cut.

    The token comes from PTH_TOKEN or from ~/.config/persistent-terminal-hub/token, which only you may read.
    Exit status: the session's own; 0 after detaching; 255 when attaching failed.
    """
    try:
        from persistent_terminal_hub.client.attach_command import run
    except ModuleNotFoundError as error:
        _fail([f"{error.name} is missing. Install it with: pip install 'persistent-terminal-hub[client]'"])
    raise SystemExit(
        run(
            target, hub=hub, server=server, list_=list_, create=create, watch=watch,
            detach_key=detach_key, at_eof=eof, quiet=quiet, command=command,
        )
    )  # fmt: skip


@main.command("rotate-keys")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; else what PTH_CONFIG names.")
@click.option(
    "--compromised", is_flag=True,
    help="The keys may be stolen: throw them away now, with every token that they signed.",
)  # fmt: skip
def rotate_keys(config: Path | None, compromised: bool) -> None:
    """Replace the key that signs the hub's tokens. Nobody is disturbed; the hub does it by itself, too.

    The new key is published at once and signs five minutes later; the old one verifies for another day.
    """
    from persistent_terminal_hub.hub.rotate_keys import rotate

    raise SystemExit(rotate(config, compromised))


@main.command("egress-helper")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; else what PTH_CONFIG names.")
@click.option("--user", default="", help="Who runs the hub; else the owner of its data directory.")
@click.option(
    "--interval", type=click.FloatRange(0.2, 3600), default=5.0, show_default=True,
    help="Seconds between two looks at whether the rules still stand.",
)  # fmt: skip
@click.option("--remove", is_flag=True, help="Take away all rules of this hub, and end.")
def egress_helper(config: Path | None, user: str, interval: float, remove: bool) -> None:
    """Filter the network of the workspaces, as root beside a hub that is not.

    A hub that `serve` runs as root has one already. When this command ends, the rules stay.
    """
    from persistent_terminal_hub.hub.egress_command import run

    raise SystemExit(run(config, user, interval, remove))


@main.command()
@click.argument("target", required=False, metavar="[USER/WORKSPACE]")
@click.option("--all", "all_", is_flag=True, help="All of mine, of USER/, or everybody's (administrators).")
@click.option("--hub", metavar="URL", help="The hub's address; else PTH_HUB_URL.")
def lock(target: str | None, all_: bool, hub: str | None) -> None:
    """Lock a workspace now: nobody sees it until its owner proves a fresh login. What runs in it goes on.

    Without an argument: my default workspace, or the one that this terminal is in. The token comes from
    PTH_TOKEN or from ~/.config/persistent-terminal-hub/token, which only you may read.
    Exit status: 0 locked; 1 some do not answer yet (the hub goes on asking); 255 it failed.
    """
    try:
        from persistent_terminal_hub.client.lock_command import run
    except ModuleNotFoundError as error:
        _fail([f"{error.name} is missing. Install it with: pip install 'persistent-terminal-hub[client]'"])
    raise SystemExit(run(target, all_=all_, hub=hub))


@main.command("keep-alive")
@click.option("--pid", type=click.IntRange(1), help="The process; `$!` of a job that was just started.")
@click.option("--for", "duration", metavar="TIME", help="4h, 1d12h, 90m or seconds; else the maximum.")
@click.option("--session", metavar="NAME", help="The session it belongs to; else the one of this terminal.")
@click.option("--stop", is_flag=True, help="Watch no process of the session any more.")
def keep_alive(pid: int | None, duration: str | None, session: str | None, stop: bool) -> None:
    """Keep this workspace from being stopped as idle while a process lives.

    Run it inside the workspace. The workspace locks all the same, and a session's end is not put off.
    """
    from persistent_terminal_hub import keep_alive as module

    if stop == (pid is not None):
        _fail(["Give either --pid or --stop."])
    try:
        click.echo(module.keep_alive(pid, module.seconds_of(duration) if duration else None, session))
    except module.Failed as error:
        _fail([str(error)])


@main.group("secrets")
def secrets_group() -> None:
    """Your secrets: list, set and delete them; for administrators, the keys that seal everybody's."""


@secrets_group.command("rotate-key")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; else what PTH_CONFIG names.")
@click.option("--forget-old", is_flag=True, help="Remove older keys that seal nothing any more.")
def rotate_secrets_key(config: Path | None, forget_old: bool) -> None:
    """Administrators: add a sealing key and put every secret under it. The service may go on meanwhile."""
    from persistent_terminal_hub.control.secrets_command import rotate_key

    raise SystemExit(rotate_key(config, forget_old))


@main.group()
def audit() -> None:
    """The audit log: who did what."""


@audit.command("verify")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; else what PTH_CONFIG names.")
@click.option(
    "--heads", type=click.Path(path_type=Path), help="Exported heads; else those of the data folder."
)
@click.option(
    "--public-key", type=click.Path(path_type=Path), help="The key that the heads were signed with."
)
def audit_verify(config: Path | None, heads: Path | None, public_key: Path | None) -> None:
    """Look whether a record was changed, removed or cut off. Exit status: 0 whole, 1 not, 2 cannot tell."""
    from persistent_terminal_hub.control.audit_command import verify

    raise SystemExit(verify(config, heads, public_key))


@audit.command("export")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; else what PTH_CONFIG names.")
def audit_export(config: Path | None) -> None:
    """Print every record as a line of JSON, the oldest first."""
    from persistent_terminal_hub.control.audit_command import export

    raise SystemExit(export(config))


@main.group()
def passkeys() -> None:
    """Look after the passkeys that people have enrolled, on the machine that holds the data directory."""


@passkeys.command("list")
@click.argument("user", required=False)
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; else what PTH_CONFIG names.")
def passkeys_list(user: str | None, config: Path | None) -> None:
    """List the passkeys of USER, or everybody's."""
    from persistent_terminal_hub.hub.passkey_admin import show

    raise SystemExit(show(config, user))


@passkeys.command("reset")
@click.argument("user")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file; else what PTH_CONFIG names.")
def passkeys_reset(user: str, config: Path | None) -> None:
    """Remove all passkeys of USER, who lost a device or has a copied one. The hub may run meanwhile.

    Where the provider proves no fresh login, USER adds a new one within ten minutes after logging in.
    """
    from persistent_terminal_hub.hub.passkey_admin import reset

    raise SystemExit(reset(config, user))


@main.command("settings-reference")
def settings_reference() -> None:
    """Print the reference page of all settings (docs/reference/settings.md)."""
    from persistent_terminal_hub.config.text import reference_page

    click.echo(reference_page(), nl=False)


main.add_command(workspace_cli.workspace)
main.add_command(hub_sessions_cli.sessions)
main.add_command(reports_cli.usage)
audit.add_command(reports_cli.audit_list)
for _command in user_secrets_cli.COMMANDS:
    secrets_group.add_command(_command)


def _fail(problems: tuple[str, ...] | list[str]) -> NoReturn:
    for problem in problems:
        click.echo(f"error: {problem}", err=True)
    raise SystemExit(1)
