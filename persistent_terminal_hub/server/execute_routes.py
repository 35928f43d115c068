"""`POST persistent-terminals/api/execute`: one command, its outputs and how it ended; also as it comes."""

from __future__ import annotations

import asyncio
import base64
import binascii
import codecs
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.utils import url_path_join
from pydantic import Field
from tornado.iostream import StreamClosedError

from persistent_terminal_hub.bodies import MAX_STDIN, MAX_TIMEOUT, CommandBody

from .by_hub import HubOrOwnerHandler
from .disk_quota import check_quota
from .environment import session_environment
from .errors import SessionError
from .execute import Command, Outcome, Output, Stream, execute

#: Commands that run at once.
AT_ONCE = 8
#: Seconds, when nobody says how many.
DEFAULT_TIMEOUT = 30.0
MAX_OUTPUT = 16 * 1024 * 1024
_RUNNING = "persistent_terminal_executing"


class Execute(CommandBody):
    """What to run."""

    max_output_bytes: int = Field(1024 * 1024, ge=0, le=MAX_OUTPUT)

    def argv(self) -> Sequence[str]:
        """A string is for the shell."""
        return ["/bin/sh", "-c", self.command] if isinstance(self.command, str) else self.command

    def stdin_bytes(self) -> bytes:
        """Raises SessionError 422."""
        try:
            if self.stdin_encoding == "base64":
                data = base64.b64decode(self.stdin, validate=True)
            else:
                data = self.stdin.encode()
        except (binascii.Error, ValueError):
            raise SessionError(422, "stdin is not what stdinEncoding says; nothing was run.") from None
        if len(data) > MAX_STDIN:
            raise SessionError(422, f"stdin has more than {MAX_STDIN} bytes; nothing was run.")
        return data


def inside(home: Path, wanted: str) -> Path:
    """The folder `wanted` in the home, links followed. Raises SessionError 422 when it lies outside."""
    root = home.resolve()
    try:
        folder = (root / wanted).resolve()
    except (OSError, RuntimeError):  # a circle of links
        raise SessionError(422, f"The folder {wanted[:200]!r} cannot be found.") from None
    if folder != root and root not in folder.parents:
        raise SessionError(422, "cwd lies outside the home; nothing was run.", "Name a folder in the home.")
    if not folder.is_dir():
        raise SessionError(422, f"There is no folder {wanted[:200]!r} in the home; nothing was run.")
    return folder


def environment(asked: Mapping[str, str], extra: Mapping[str, str | None]) -> dict[str, str]:
    """What a command gets: a session's environment, without a terminal in it."""
    env = session_environment(os.environ, extra, {}, name="")
    for name in ("COLORTERM", "PTH_SESSION"):
        env.pop(name, None)
    env["TERM"] = "dumb"
    return env | dict(asked)


class ExecuteHandler(HubOrOwnerHandler):
    """Runs commands."""

    action = "execute"
    most = 2 * 1024 * 1024
    _task: asyncio.Task[Any] | None = None

    def on_connection_close(self) -> None:
        """Nobody waits for the answer: what runs is killed."""
        if self._task is not None:
            self._task.cancel()
        super().on_connection_close()

    @allow_unauthenticated
    async def get(self) -> None:
        """Where commands run, and what bounds them."""
        await self.let_in()
        root = str(self._home().resolve())
        self.reply({"rootPath": root, "maxTimeout": MAX_TIMEOUT, "maxOutputBytes": MAX_OUTPUT})

    @allow_unauthenticated
    async def post(self) -> None:
        """Run one."""
        await self.let_in()
        body: Execute = self.read(Execute)
        running: set[object] = self.settings.setdefault(_RUNNING, set())
        if len(running) >= AT_ONCE:
            raise SessionError(429, f"{AT_ONCE} commands run already; this one was not.", "Try again later.")
        manager = self.settings.get("terminal_manager")
        await check_quota(manager)
        command = Command(
            argv=body.argv(),
            cwd=str(inside(self._home(), body.cwd)),
            env=environment(
                {**getattr(manager, "variables", {}), **body.env}, getattr(manager, "extra_env", None) or {}
            ),
            stdin=body.stdin_bytes(),
            timeout=DEFAULT_TIMEOUT if body.timeout is None else body.timeout,
            limit=body.max_output_bytes,
        )
        mark = object()
        running.add(mark)
        try:
            self._task = asyncio.ensure_future(self._run(command, body))
            await self._task
        except asyncio.CancelledError:
            return
        except StreamClosedError:
            return
        finally:
            running.discard(mark)

    async def _run(self, command: Command, body: Execute) -> None:
        if body.stream:
            await self._stream(command, body.output_encoding)
            return
        outcome = await execute(command)
        decode = _decoder(body.output_encoding)
        texts = {
            "stdout": decode(bytes(outcome.stdout.data), True),
            "stderr": _decoder(body.output_encoding)(bytes(outcome.stderr.data), True),
        }
        self.reply(model(outcome) | texts)

    async def _stream(self, command: Command, encoding: str) -> None:
        decoders = {"stdout": _decoder(encoding), "stderr": _decoder(encoding)}
        self.set_header("Content-Type", "application/x-ndjson")
        self.set_header("X-Accel-Buffering", "no")

        async def send(stream: Stream, data: bytes) -> None:
            text = decoders[stream](data, False)
            if text:
                self.write(json.dumps({"stream": stream, "data": text}) + "\n")
                await self.flush()

        outcome = await execute(command, send)
        for stream, decode in decoders.items():
            if rest := decode(b"", True):
                self.write(json.dumps({"stream": stream, "data": rest}) + "\n")
        self.write(json.dumps({"result": model(outcome)}) + "\n")
        await self.finish()

    def _home(self) -> Path:
        return Path(str(self.settings.get("server_root_dir") or Path.home())).expanduser()


def model(outcome: Outcome) -> dict[str, Any]:
    """How it ended."""

    def bounds(name: str, output: Output) -> dict[str, Any]:
        return {f"{name}Bytes": output.total, f"{name}Truncated": output.truncated}

    return {
        "exitCode": outcome.code,
        "signal": outcome.signal,
        "timedOut": outcome.timed_out,
        "seconds": round(outcome.seconds, 3),
        **bounds("stdout", outcome.stdout),
        **bounds("stderr", outcome.stderr),
    }


class _Base64:
    """Whole groups of three bytes, so that the pieces make one base64 text together."""

    def __init__(self) -> None:
        self._rest = b""

    def __call__(self, data: bytes, final: bool) -> str:
        data = self._rest + data
        whole = len(data) if final else len(data) // 3 * 3
        self._rest = data[whole:]
        return base64.b64encode(data[:whole]).decode()


def _decoder(encoding: str) -> Any:
    if encoding == "base64":
        return _Base64()
    return codecs.getincrementaldecoder("utf-8")("replace").decode


def handlers(base_url: str) -> list[tuple[str, type[HubOrOwnerHandler]]]:
    """Routes under the server's base URL."""
    return [(url_path_join(base_url, "/persistent-terminals/api/execute"), ExecuteHandler)]
