"""What the commands that talk to the control service share: options, exit statuses, errors as sentences.

click loads this with every command line, in places without httpx too; so what is large is imported late.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click

from . import errors
from .tables import shown

if TYPE_CHECKING:
    from .control_service import ControlService
    from .place import Place

DONE: Final = 0
FAILED: Final = 1  # refused, or begun and failed
USAGE: Final = 2  # click's own
NOT_FOUND: Final = 3
NOT_ALLOWED: Final = 4  # not signed in, or not allowed
LOCKED: Final = 5
UNREACHABLE: Final = 6  # no answer: it may be tried again
INTERRUPTED: Final = 130

F = TypeVar("F", bound=Callable[..., Any])
_DURATION: Final = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s?)?", re.ASCII)


def status_of(error: errors.ClientError) -> int:
    """The exit status of a failure."""
    if isinstance(error, errors.NotConfigured):
        return USAGE
    if isinstance(error, errors.NotFound):
        return NOT_FOUND
    if isinstance(error, errors.SignInAgain | errors.NotYours):
        return NOT_ALLOWED
    if isinstance(error, errors.WorkspaceLocked):
        return LOCKED
    return UNREACHABLE if isinstance(error, errors.Unreachable) else FAILED


def hub_option(command: F) -> F:
    """`--hub`."""
    return click.option("--hub", metavar="URL", help="The hub's address; else PTH_HUB_URL.")(command)


def json_option(command: F) -> F:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print the API's JSON, for programs.")(
        command
    )


class Duration(click.ParamType[float]):
    """90, 90s, 10m, 4h, 1d12h."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """In seconds."""
        if isinstance(value, int | float):
            return float(value)
        match = _DURATION.fullmatch(str(value).strip().lower())
        if match is None or not any(match.groups()):
            self.fail(f"{value!r} is not a duration. Write it as 90, 10m, 4h or 1d12h.", param, ctx)
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def environment(pairs: Sequence[str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`NAME=VALUE`, or `NAME` for what the variable is here. Raises NotConfigured."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals and name in environ:
            value = environ[name]
        elif not equals or not name:
            raise errors.NotConfigured(
                f"{shown(name)!r} is no variable."
                if equals
                else f"There is no variable {shown(name)!r} here.",
                "Write NAME=VALUE, or NAME of one that is set here.",
            )
        found[name] = value
    return found


def say(text: str) -> None:
    """A line for the person, beside the output."""
    print(shown(text), file=sys.stderr, flush=True)


def print_json(value: object) -> None:
    """For programs."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_lines(lines: Sequence[str]) -> None:
    """For people."""
    for line in lines:
        print(line)


@contextlib.contextmanager
def on_interrupt(handler: Callable[..., object]) -> Iterator[None]:
    """SIGINT to it, unless whoever started us has it ignored."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def interruptible() -> contextlib.AbstractContextManager[None]:
    """Around a question to the person: asyncio's own handler would let it stand at the first Ctrl-C."""
    return on_interrupt(signal.default_int_handler)


def run(hub: str | None, work: Callable[[ControlService], Awaitable[int]]) -> NoReturn:
    """Do it with the control service and exit with its status."""
    leave(lambda: attempt(hub, work))


def leave(work: Callable[[], int], *, failed: int | None = None) -> NoReturn:
    """Do it and exit with its status; with `failed`, if given, for every failure of ours."""
    try:
        status = work()
    except errors.ClientError as error:
        say(f"error: {error}")
        status = status_of(error) if failed is None else failed
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:
        # Whoever read has gone; Python must not complain about it when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = FAILED if failed is None else failed
    raise SystemExit(status)


def attempt(hub: str | None, work: Callable[[ControlService], Awaitable[int]]) -> int:
    """Do it. Raises ClientError."""

    async def working() -> int:
        from .control_service import find_control_service

        async with find_control_service(hub) as service:
            warn_if_exposed(service.place)
            return await work(service)

    return to_its_end(working)


def to_its_end(work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run what needs the libraries of the client. Raises ClientError."""
    import asyncio

    try:
        return asyncio.run(work())
    except ModuleNotFoundError as error:
        raise errors.ClientError(
            f"{error.name} is missing.", "Install it with: pip install 'persistent-terminal-hub[client]'"
        ) from None


def warn_if_exposed(place: Place) -> None:
    """Whoever sends a token in the clear is told."""
    if place.exposed:
        say("warning: The token crosses the network unencrypted (http).")


def complete_workspace(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names for the shell's completion; none when the hub does not answer at once."""
    import asyncio

    names: list[str] = []

    async def work(service: ControlService) -> int:
        owner, slash, _ = incomplete.rpartition("/")
        async with asyncio.timeout(3):
            me = (await service.me()).name
            for item in await service.workspaces.list(owner=owner or me):
                names.append(item.label if slash or not item.name else item.name)
        return DONE

    try:
        attempt(None, work)
    except (errors.ClientError, TimeoutError):
        return []
    return [name for name in names if name.startswith(incomplete)]


def workspace_argument(command: F) -> F:
    """The workspace that is meant."""
    return click.argument("workspace", metavar="[USER/]NAME", shell_complete=complete_workspace)(command)
