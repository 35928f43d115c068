"""The body of `persistent-terminal-hub workspace exec`: a command there, its outputs and exit status here."""

from __future__ import annotations

import base64
import os
import stat
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .command import attempt, environment, print_json, say
from .control_service import ControlService
from .errors import Refused
from .executing import MAX_STDIN, Executed, OutputName

#: As docker has it: the command was not run, or nobody knows how it ended.
FAILED: Final = 125
#: As timeout(1) has it.
TIMED_OUT: Final = 124
#: Seconds after which it is said that standard input is being waited for.
_QUIET: Final = 3.0


def run(
    hub: str | None, key: str, command: Sequence[str], *, timeout: float | None, cwd: str,
    env: Sequence[str], stdin: bool, as_json: bool,
) -> int:  # fmt: skip
    """The whole command; its exit status. Raises ClientError."""
    wishes: dict[str, Any] = {"timeout": timeout, "cwd": cwd, "env": environment(env)}
    wishes["stdin"] = read_stdin() if stdin else b""
    return attempt(hub, lambda service: execute(service, key, command, wishes, as_json))


async def execute(
    service: ControlService, key: str, command: Sequence[str], wishes: Mapping[str, Any], as_json: bool
) -> int:
    """Run it; the exit status. Raises ClientError."""
    if as_json:
        ended = await service.workspaces.execute(key, command, **wishes)
        print_json(as_object(ended))
        return exit_status(ended)
    ended = await service.workspaces.execute(key, command, **wishes, on_output=_write)
    for sentence in remarks(ended):
        say(sentence)
    return exit_status(ended)


def exit_status(ended: Executed) -> int:
    """As a shell would have it."""
    if ended.timed_out:
        return TIMED_OUT
    if ended.signal is not None:
        return 128 + ended.signal
    return FAILED if ended.exit_code is None else ended.exit_code


def remarks(ended: Executed) -> list[str]:
    """What the outputs do not say."""
    found = []
    if ended.timed_out:
        found.append(
            f"error: The command was ended at its time limit ({ended.seconds:.0f} s); --timeout sets another."
        )
    for name, cut, count in (
        ("output", ended.stdout_truncated, ended.stdout_bytes),
        ("error output", ended.stderr_truncated, ended.stderr_bytes),
    ):
        if cut:
            found.append(
                f"warning: The command wrote {count} bytes of {name}; the rest of what the site allows was "
                "dropped. Write to a file there, or run it in a session."
            )
    return found


def as_object(ended: Executed) -> dict[str, object]:
    """For programs: text where it is UTF-8, else base64, and which of both."""
    found: dict[str, object] = {
        "exitCode": ended.exit_code, "signal": ended.signal, "timedOut": ended.timed_out,
        "seconds": ended.seconds, "stdoutBytes": ended.stdout_bytes, "stderrBytes": ended.stderr_bytes,
        "stdoutTruncated": ended.stdout_truncated, "stderrTruncated": ended.stderr_truncated,
    }  # fmt: skip
    for name, data in (("stdout", ended.stdout), ("stderr", ended.stderr)):
        try:
            found[name], found[f"{name}Encoding"] = data.decode(), "utf-8"
        except UnicodeDecodeError:
            found[name], found[f"{name}Encoding"] = base64.b64encode(data).decode(), "base64"
    return found


def read_stdin() -> bytes:
    """Standard input to its end, unless it is a terminal or nothing. Raises Refused when it is too long."""
    try:
        handle = sys.stdin.fileno()
        kind = os.fstat(handle).st_mode
    except (AttributeError, OSError, ValueError):  # closed
        return b""
    if os.isatty(handle) or (stat.S_ISCHR(kind) and os.fstat(handle).st_rdev == os.makedev(1, 3)):
        return b""
    hint = threading.Timer(
        _QUIET, say, ["Reading standard input to its end; -n leaves it out, Ctrl-C goes away."]
    )
    hint.daemon = True
    hint.start()
    try:
        data = sys.stdin.buffer.read(MAX_STDIN + 1)
    finally:
        hint.cancel()
    if len(data) > MAX_STDIN:
        raise Refused(
            f"Standard input has more than {MAX_STDIN} bytes; nothing was run.",
            "Put what is larger into a file of the workspace.",
        )
    return data


def _write(name: OutputName, data: bytes) -> None:
    out = (sys.stdout if name == "stdout" else sys.stderr).buffer
    out.write(data)
    out.flush()
