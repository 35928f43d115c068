"""Waiting for an operation at a terminal: progress in words, and what Ctrl-C means."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any, Literal

import click

from . import errors
from .command import interruptible, on_interrupt, say
from .control_service import ControlService
from .shapes import Operation, Progress

Wish = Literal["cancel", "leave", "wait"]

_NAMES = {
    "create": "creation", "start": "start", "stop": "stop", "restart": "restart", "delete": "deletion",
}  # fmt: skip


class Left(Exception):
    """It was interrupted: it was called off, or goes on at the hub, as the sentence says."""


def line_of(progress: Progress) -> str:
    """As people see it."""
    return f"[{progress.percent:3d} %] {progress.message}"


async def wait_for(service: ControlService, operation: Operation, label: str) -> Operation:
    """Its end. Raises OperationFailed, and Left when it was interrupted."""
    waiting = asyncio.ensure_future(
        service.operations.wait(operation, lambda progress: say(line_of(progress)))
    )
    cancelled = False
    try:
        while not await _ended(waiting):
            what = f"The {_NAMES[operation.kind]} of {label}"
            if cancelled or operation.kind not in ("create", "start"):
                goes_on = "is being taken back at the hub" if cancelled else "goes on at the hub"
                raise Left(f"{what} {goes_on}.")
            wish = ask_person(what) if sys.stdin.isatty() and sys.stderr.isatty() else "cancel"
            if wish == "leave":
                raise Left(f"{what} goes on at the hub; `workspace wait {label}` follows it.")
            if wish == "cancel":
                say(f"Interrupted: {what[0].lower()}{what[1:]} is being cancelled.")
                # Too late: then it is done, and says so.
                with contextlib.suppress(errors.Conflict):
                    await service.operations.cancel(operation)
                    cancelled = True
        try:
            return waiting.result()
        except errors.OperationFailed as error:
            if cancelled and error.state == "cancelled":
                raise Left("It is cancelled; nothing is left of it.") from None
            raise
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


def ask_person(what: str) -> Wish:
    """What shall become of it."""
    try:
        with interruptible():
            answer = click.prompt(
                f"\n{what} goes on at the hub. Cancel it, leave it going on, or wait for it?",
                type=click.Choice(["cancel", "leave", "wait"]), default="wait", err=True,
            )  # fmt: skip
    except (click.Abort, KeyboardInterrupt):
        click.echo(err=True)  # behind the prompt
        return "leave"
    return "cancel" if answer == "cancel" else "leave" if answer == "leave" else "wait"


async def _ended(waiting: asyncio.Future[Operation]) -> bool:
    """Wait for its end or for Ctrl-C; whether it has ended."""
    loop = asyncio.get_running_loop()
    pressed = asyncio.Event()
    with on_interrupt(lambda *_: loop.call_soon_threadsafe(pressed.set)):
        pressing = asyncio.ensure_future(pressed.wait())
        awaited: list[asyncio.Future[Any]] = [waiting, pressing]
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        pressing.cancel()
    return waiting.done()
