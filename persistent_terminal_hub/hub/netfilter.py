"""Runs the kernel's own tools for filters and queues: fixed programs, argument lists, no shell, never a
text that somebody sent (only what `egress` and `bandwidth` made of checked values)."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence

#: Not the caller's PATH: this runs as root.
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
SECONDS = 20.0
#: iptables-legacy shares one lock with everybody; so long it waits for it.
LOCK_SECONDS = "5"


class ToolError(Exception):
    """A tool is missing or refused; the text says which and why."""


def find_tool(name: str) -> str:
    """The program's path; empty when the machine does not have it."""
    return shutil.which(name, path=SYSTEM_PATH) or ""


async def run(*command: str, text: str = "") -> str:
    """Run a tool and return what it prints. Raises ToolError."""
    program = find_tool(command[0])
    if not program:
        raise ToolError(
            f"{command[0]} is not on this machine (on Debian: apt-get install iptables iproute2)."
        )
    try:
        process = await asyncio.create_subprocess_exec(
            program, *command[1:],
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={"PATH": SYSTEM_PATH, "LC_ALL": "C"},
        )  # fmt: skip
    except OSError as error:
        raise ToolError(f"{command[0]} cannot be started: {error.strerror}.") from None
    try:
        out, err = await asyncio.wait_for(process.communicate(text.encode()), SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise ToolError(f"{command[0]} took longer than {SECONDS:g} s.") from None
    if process.returncode:
        words = " ".join(err.decode(errors="replace").split())[:300]
        raise ToolError(f"{command[0]} refused: {words or f'exit code {process.returncode}'}")
    return out.decode(errors="replace")


async def saved_rules() -> str:
    """The filter table as `iptables-save` prints it."""
    return await run("iptables-save", "-t", "filter")


async def restore(text: str) -> None:
    """Apply a text in one step; either all of it or, with a ToolError, nothing."""
    await run("iptables-restore", "--noflush", "--wait", LOCK_SECONDS, text=text)


async def problem_with_filter(chain: str) -> str:
    """Why this process cannot filter on this machine; empty when it can (tried out on an empty chain)."""
    try:
        await restore(f"*filter\n:{chain} - [0:0]\n-X {chain}\nCOMMIT\n")
        await saved_rules()
    except ToolError as error:
        return str(error)
    return ""


async def first_refusal(commands: Sequence[Sequence[str]]) -> str:
    """Run commands in order until one is refused; why it was, empty when none was."""
    for command in commands:
        try:
            await run(*command)
        except ToolError as error:
            return str(error)
    return ""
