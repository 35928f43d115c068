"""`api/operations/{id}`: what is under way, its progress as it comes, and calling it off."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tornado.iostream import StreamClosedError

from persistent_terminal_hub.control.documented import documented
from persistent_terminal_hub.control.errors import ApiError, not_found
from persistent_terminal_hub.control.operation_store import Progress, Task
from persistent_terminal_hub.control.operations import FINAL
from persistent_terminal_hub.control.rights import Action
from persistent_terminal_hub.control.web import ApiHandler
from persistent_terminal_hub.control.workspace_handlers import iso, operation_model
from persistent_terminal_hub.control.workspace_models import OperationModel

#: Seconds between two looks for new lines.
LOOK = 0.3
#: Seconds after which something is sent in any case, so that nobody between takes the line for dead, and
#: that a client finds out soon when we are: the proxy does not pass on that a service was killed.
QUIET = 5.0
#: Seconds that one stream lasts; the client comes back with the last number it saw.
LONGEST = 3600.0


class OperationBase(ApiHandler):
    """What both resources share."""

    async def found(self, identity: str, action: Action) -> Task:
        """It, if the caller may do that with its workspace."""
        task = await self.control.blocking(self.control.operations.get, identity)
        if task is None:
            raise not_found("operation")
        self.need(action, task.owner, str(task.request.get("name", "")), "operation")
        return task


class OperationHandler(OperationBase):
    """One operation."""

    @documented(answers={200: OperationModel})
    async def get(self, identity: str) -> None:
        """Show it."""
        task = await self.found(identity, Action.VIEW)
        self.reply(operation_model(task, self.control.place.prefix))

    @documented(answers={202: OperationModel}, refuses=(409,))
    async def delete(self, identity: str) -> None:
        """Call it off. What it did is taken back; that takes a while."""
        task = await self.found(identity, Action.MANAGE)
        control = self.control
        on = f"{task.owner}/{task.request.get('name', '')}"
        async with self.audited("operation.cancel", on, name=task.kind):
            cancelled = await control.blocking(control.operations.cancel, identity)
            if cancelled is None:
                raise ApiError(
                    409,
                    f"This operation ({task.kind}) cannot be cancelled (any more); nothing was changed.",
                    "GET it to see how it ended.",
                )
        control.runner.cancel(identity)
        self.reply(operation_model(cancelled, control.place.prefix), 202)


class EventsHandler(OperationBase):
    """Its progress, as server-sent events."""

    _gone = False

    def on_connection_close(self) -> None:
        """Nobody listens any more."""
        self._gone = True

    @documented(
        answers={200: None},
        media={200: ("text/event-stream", "id: 1\nevent: progress\n")},
        headers={"Last-Event-ID": "^[0-9]{1,9}$"},
    )
    async def get(self, identity: str) -> None:
        """Everything after Last-Event-ID, until the operation has ended."""
        after = _last_id(self.request.headers.get("Last-Event-ID", ""))
        await self.found(identity, Action.VIEW)
        control = self.control
        self.set_header("Content-Type", "text/event-stream")
        # nginx would keep it back otherwise.
        self.set_header("X-Accel-Buffering", "no")
        loop = asyncio.get_running_loop()
        until, quiet = loop.time() + LONGEST, loop.time()
        try:
            await self.flush()
            while not self._gone and loop.time() < until:
                lines, state = await control.blocking(control.operations.events, identity, after)
                for line in lines:
                    self.write(_event(line))
                    after = line.number
                if lines or loop.time() - quiet > QUIET:
                    quiet = loop.time()
                    self.write("" if lines else ": still here\n\n")
                    await self.flush()
                if state is None or (state in FINAL and not lines):
                    self.write(f"event: end\ndata: {json.dumps({'state': state})}\n\n")
                    break
                await asyncio.sleep(0 if lines else LOOK)
            await self.finish()
        except StreamClosedError:
            return


def _event(line: Progress) -> str:
    data = {"at": iso(line.at), "percent": line.percent, "message": line.message}
    return f"id: {line.number}\nevent: progress\ndata: {json.dumps(data)}\n\n"


def _last_id(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ApiError(422, "Last-Event-ID is the number of an event, or left out.")
    return int(text)


def routes() -> list[tuple[Any, ...]]:
    """Relative to the service's prefix."""
    return [
        (r"api/operations/([0-9a-f]{32})", OperationHandler),
        (r"api/operations/([0-9a-f]{32})/events", EventsHandler),
    ]
