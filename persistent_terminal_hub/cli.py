"""The command `persistent-terminal-hub`."""

from __future__ import annotations

import click

from persistent_terminal_hub import __version__


@click.group()
@click.version_option(__version__)
def main() -> None:
    """Workspaces with terminals that outlive everything but you."""
