"""A command in a workspace: what is asked, and what comes back, byte for byte."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from . import errors
from .errors import Refused, Unreachable

#: Bytes of standard input that the service takes.
MAX_STDIN: Final = 1024 * 1024
#: Characters of a line of a stream; an output's piece is 64 KiB, and base64 makes it longer.
_MAX_LINE: Final = 1024 * 1024

OutputName = Literal["stdout", "stderr"]
OnOutput = Callable[[OutputName, bytes], None]


@dataclass(frozen=True, slots=True)
class Executed:
    """How a command ended: an exit code, or a signal. `seconds` is how long it ran.

    `stdout` and `stderr` are empty when they were given to a callback as they came. The `…_bytes` say how
    much there was; what is beyond the service's bound was dropped, and `…_truncated` says so.
    """

    exit_code: int | None
    signal: int | None
    timed_out: bool
    seconds: float
    stdout_bytes: int
    stderr_bytes: int
    stdout_truncated: bool
    stderr_truncated: bool
    stdout: bytes = field(default=b"", repr=False)
    stderr: bytes = field(default=b"", repr=False)

    @property
    def text(self) -> str:
        """Standard output as text; what is no UTF-8 is replaced."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def error_text(self) -> str:
        """Standard error as text."""
        return self.stderr.decode("utf-8", "replace")

    @property
    def succeeded(self) -> bool:
        """Whether it ended by itself with 0."""
        return self.exit_code == 0 and not self.timed_out


def command_body(
    command: str | Sequence[str], *, timeout: float | None, cwd: str, env: Mapping[str, str] | None,
    stdin: str | bytes, stream: bool,
) -> dict[str, Any]:  # fmt: skip
    """The request. Raises Refused for a standard input that is too long."""
    data = stdin.encode() if isinstance(stdin, str) else stdin
    if len(data) > MAX_STDIN:
        raise Refused(
            f"Standard input has more than {MAX_STDIN} bytes; nothing was run.",
            "Put what is larger into a file of the workspace.",
        )
    wishes: dict[str, Any] = {
        "command": command if isinstance(command, str) else list(command),
        "timeout": timeout,
        "cwd": cwd,
        "env": dict(env or {}),
        "stdin": base64.b64encode(data).decode(),
        "stdinEncoding": "base64",
        "outputEncoding": "base64",
        "stream": stream,
    }
    return {name: value for name, value in wishes.items() if value not in (None, "", {})}


def executed(model: object) -> Executed:
    """The answer, or a stream's result. Raises Unreachable."""
    if not isinstance(model, dict):
        raise _unknown()
    try:
        code, signal = model["exitCode"], model["signal"]
        return Executed(
            exit_code=None if code is None else int(code),
            signal=None if signal is None else int(signal),
            timed_out=bool(model["timedOut"]),
            seconds=float(model["seconds"]),
            stdout_bytes=int(model["stdoutBytes"]),
            stderr_bytes=int(model["stderrBytes"]),
            stdout_truncated=bool(model["stdoutTruncated"]),
            stderr_truncated=bool(model["stderrTruncated"]),
            stdout=base64.b64decode(model.get("stdout") or "", validate=True),
            stderr=base64.b64decode(model.get("stderr") or "", validate=True),
        )
    except (KeyError, TypeError, ValueError):  # binascii's is a ValueError
        raise _unknown() from None


async def read_stream(pieces: AsyncIterator[bytes], on_output: OnOutput) -> Executed:
    """Give outputs on as they come, in order; the result. Raises ClientError, also when it is cut."""
    held = b""
    async for piece in pieces:
        *lines, held = (held + piece).split(b"\n")
        if len(held) > _MAX_LINE:
            raise _unknown()
        for line in lines:
            if (result := _line(line, on_output)) is not None:
                return result
    raise Unreachable("The connection was cut before the command's end; the command was ended with it.")


def _line(line: bytes, on_output: OnOutput) -> Executed | None:
    if not line.strip():
        return None
    try:
        value = json.loads(line)
        if "result" in value:
            return executed(value["result"])
        if isinstance(error := value.get("error"), dict):
            raise errors.of_status(int(error.get("status") or 503), {"hint": "", **error})
        name, data = value.get("stream"), value.get("data")
        if name == "stdout" or name == "stderr":
            on_output(name, base64.b64decode(data, validate=True))
    except (ValueError, TypeError, AttributeError, binascii.Error, RecursionError):
        raise _unknown() from None
    return None


def _unknown() -> Unreachable:
    return Unreachable("The service answers, but not as this version of the client understands.")
