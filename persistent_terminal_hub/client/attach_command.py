"""The body of `persistent-terminal-hub attach`: find the workspace, list, create, attach."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

from . import errors
from .api import SessionInfo, Workspace, find_workspace
from .keys import DetachKey
from .place import Target, find_place, parse_target
from .terminal import FAILED, AtEof, Options, Terminal
from .tty import size_of

DEFAULT_DETACH_KEY = "ctrl-]"


def run(
    target: str | None,
    *,
    hub: str | None,
    server: str | None,
    list_: bool,
    create: bool,
    watch: bool,
    detach_key: str | None,
    at_eof: AtEof,
    quiet: bool,
    command: Sequence[str],
) -> int:
    """Run the command; its exit status."""
    try:
        if target is None and not list_:
            raise errors.NotConfigured("Which session?", "Name one, or see them with --list.")
        if command and not create:
            raise errors.NotConfigured("A command starts a session.", "Add --create.")
        key = DetachKey.parse(detach_key or os.environ.get("PTH_DETACH_KEY") or DEFAULT_DETACH_KEY)
        options = Options(key, "watch" if watch else "rw", at_eof, quiet)
        where = _target(target, list_)
        place = find_place(hub=hub, server=server)
        if place.exposed:
            print(
                "warning: The token and all you type cross the network unencrypted (http).", file=sys.stderr
            )
        # A thread writes the output; with the usual 5 ms it would wait that long for its turn at each piece.
        sys.setswitchinterval(0.0005)
        return asyncio.run(_run(where, options, hub, server, list_, create, command))
    except errors.ClientError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130


def _target(text: str | None, list_: bool) -> Target:
    if list_:  # nothing behind the workspace: alice/lab, alice/lab:, or nothing at all
        return parse_target(f"{text.rstrip(':')}:*") if text else Target(None, "", "*")
    return parse_target(text or "")


async def _run(
    target: Target,
    options: Options,
    hub: str | None,
    server: str | None,
    list_: bool,
    create: bool,
    command: Sequence[str],
) -> int:
    workspace = await find_workspace(target.workspace, target.user, hub=hub, server=server, start=create)
    async with workspace:
        if list_:
            _print_list(await workspace.list())
            return 0
        session = await _session(workspace, target, create, command)
        if not options.quiet and sys.stdin.isatty() and sys.stdout.isatty():
            leave = f" {options.detach_key.name} detaches." if options.detach_key else ""
            where = f" in {workspace.label}" if workspace.label else ""
            print(f"[Attaching to {session.name}{where}.{leave}]", file=sys.stderr)
        return await Terminal(workspace, session, options).run()


async def _session(workspace: Workspace, target: Target, create: bool, command: Sequence[str]) -> SessionInfo:
    if create:
        wishes: dict[str, object] = {"argv": list(command)} if command else {}
        if sys.stdout.isatty():
            wishes["rows"], wishes["cols"] = size_of(1)
        return (await workspace.ensure(target.session, **wishes))[0]
    try:
        session = await workspace.get(target.session)
    except errors.NoSuchSession:
        running = [item.name for item in await workspace.list() if not item.ended]
        known = f"Running: {', '.join(running)}." if running else "None is running."
        raise errors.NoSuchSession(
            f"There is no session {target.session!r}.", f"{known} --create makes one."
        ) from None
    if session.ended:
        raise errors.SessionEnded(f"The session {session.name!r} has ended.", "--create starts it anew.")
    return session


def _print_list(sessions: Sequence[SessionInfo]) -> None:
    rows = [("NAME", "STATE", "CREATED", "PROGRAM")]
    rows += [
        (
            item.name,
            item.state,
            str(item.raw.get("created") or ""),
            " ".join(str(part) for part in item.raw.get("argv") or ()),
        )
        for item in sessions
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        first = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        # What others wrote must not drive this terminal.
        print("".join(char if char.isprintable() else "?" for char in f"{first}  {row[3]}"[:200]).rstrip())
