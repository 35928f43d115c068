"""Magics for notebooks: what a cell starts with them outlives the kernel, the server and the browser.

    %%terminal train          type the cell's text into the session `train`, made if there is none
    %terminal --tail train    show the end of its output
    %terminal                 list the sessions

IPython loads this by etc/ipython/ipython_config.py; elsewhere, type:

    %load_ext persistent_terminal_hub.client.notebook
"""

from __future__ import annotations

import argparse
import os
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class

from .cells import keep, last_lines, source_line, typed_as_it_stands
from .errors import ClientError
from .sync import Attachment, Workspace, find_workspace

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .api import SessionInfo

TIMEOUT = 30.0
#: Seconds without output after which a shell that starts has drawn its prompt.
CALM = 0.25


def cells_directory() -> Path:
    """Where texts of several lines are kept for the shell that reads them: where the keeper keeps its own.

    A client imports nothing of the keeper, so a test holds the two together.
    """
    return Path(os.environ.get("PTH_STATE_DIR") or Path.home() / ".persistent-terminal-hub") / "cells"


class _Parser(argparse.ArgumentParser):
    """Complains as IPython does."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. Write %terminal --help.")


_PARSER = _Parser(
    prog="%terminal",
    description="%%terminal NAME runs the cell's text in the session NAME; %terminal lists the sessions.",
)
_PARSER.add_argument("name", nargs="?", help="the session's name")
_PARSER.add_argument("--tail", action="store_true", help="show the end of the session's output")
_PARSER.add_argument("-n", "--lines", type=int, default=20, help="how many lines --tail shows (20)")
_PARSER.add_argument("--cwd", help="directory of a session that is made; without it, the kernel's")
_PARSER.add_argument("--force", action="store_true", help="type although a program runs that would read it")


@contextmanager
def _workspace() -> Iterator[Workspace]:
    """The one that this kernel runs in; failures as one sentence without a traceback."""
    try:
        with find_workspace() as workspace:
            yield workspace
    except (ClientError, TimeoutError) as error:
        raise UsageError(str(error) or "The session does not answer.") from None
    except OSError as error:
        raise UsageError(f"The cell's text cannot be kept for the shell: {error}") from None


@magics_class
class TerminalMagics(Magics):
    """`%terminal` and `%%terminal`."""

    @line_cell_magic
    def terminal(self, line: str, cell: str | None = None) -> None:
        """Run the cell in a persistent terminal session; without a cell, list sessions or show one's end."""
        try:
            wishes = _PARSER.parse_args(shlex.split(line))
        except ValueError as error:  # a quote that is not closed
            raise UsageError(f"{error}. Write %terminal --help.") from None
        except SystemExit:  # --help; it was printed
            return
        if cell is None:
            if wishes.name:
                self._tail(wishes.name, wishes.lines)
            elif wishes.tail:
                raise UsageError("Which session? %terminal --tail NAME; %terminal alone lists them.")
            else:
                self._list()
        elif wishes.name is None or wishes.tail:
            raise UsageError("Write %%terminal NAME; the cell's text runs in the session of that name.")
        else:
            self._run(wishes, cell.strip("\n"))

    def _run(self, wishes: Any, text: str) -> None:
        if not text.strip():
            raise UsageError("The cell has no text to run; nothing was typed.")
        with _workspace() as workspace:
            session, made = workspace.ensure(wishes.name, cwd=wishes.cwd or str(Path.cwd()))
            if session.raw.get("busy") and not wishes.force:
                raise UsageError(
                    f"The session {session.name!r} is busy with a program, so nothing was typed. Wait for its"
                    f" end (%terminal --tail {session.name}), take another name, or type into that program"
                    " with --force."
                )
            whole = typed_as_it_stands(text)
            line = text if whole else source_line(keep(text, session.name, cells_directory()))
            with workspace.attach(session.id) as attachment:
                if made:
                    _wait_for_calm(attachment)  # a shell that starts throws away what was typed before
                attachment.send(line + "\r")
                attachment.flush(TIMEOUT)
        began = "made, and the cell runs" if made else "the cell runs"
        print(f"{session.name}: {began} in it. %terminal --tail {session.name} shows the end of its output.")

    def _tail(self, name: str, lines: int) -> None:
        if lines < 1:
            raise UsageError("--lines must be 1 or more.")
        with _workspace() as workspace:
            print(last_lines(workspace.output_text(name), lines))

    def _list(self) -> None:
        with _workspace() as workspace:
            sessions = workspace.list()
        if not sessions:
            print("No sessions. %%terminal NAME makes one and runs the cell in it.")
        for session in sessions:
            print(f"{session.name:<20} {_state(session)}")


def _state(session: SessionInfo) -> str:
    if session.ended:
        how = session.raw.get("exit") or {}
        code = how.get("code")
        return (
            f"ended with exit code {code}" if code is not None else f"ended ({how.get('reason') or 'signal'})"
        )
    seconds = float(session.raw.get("busyFor") or 0)
    return session.state + (f", busy for {seconds:.0f} s" if session.raw.get("busy") else "")


def _wait_for_calm(attachment: Attachment, most: float = 5.0) -> None:
    """Until nothing came for a moment, or the patience ends: a flood has no end to wait for."""
    ends = time.monotonic() + most
    seen, since = -1, time.monotonic()
    while time.monotonic() < ends:
        if attachment.offset != seen:
            seen, since = attachment.offset, time.monotonic()
        elif time.monotonic() - since >= CALM:
            return
        time.sleep(0.02)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Called by IPython."""
    shell.register_magics(TerminalMagics)
