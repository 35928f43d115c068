"""What takes long: how far it is, as it comes, through every cut; its end; calling it off."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Callable
from typing import Final

from .control_http import ControlHttp
from .errors import OperationFailed, Unreachable
from .events import BadStream, Event, EventParser
from .shapes import Operation, Progress

#: Streams that may end without a word before it is asked instead.
STREAMS: Final = 3
#: Seconds between two questions, and before another stream.
LOOK: Final = 1.0
#: Seconds without a byte after which a stream counts as cut: the proxy does not tell when the service was
#: killed. The service says something every 5 s; an older one that is quiet for longer is only asked anew.
SILENCE: Final = 12.0
#: Questions without an answer after which it is given up; each has the patience of a request.
UNANSWERED: Final = 15

OnProgress = Callable[[Progress], None]


class Operations:
    """Those of the hub."""

    def __init__(self, http: ControlHttp) -> None:
        self._http = http

    async def get(self, operation: str | Operation) -> Operation:
        """How far it is."""
        return await self._http.ask_for(Operation, "GET", f"operations/{_id(operation)}")

    async def cancel(self, operation: str | Operation) -> Operation:
        """Call it off; what it did is taken back, which `wait` waits for. Raises Conflict: it is too late."""
        return await self._http.ask_for(Operation, "DELETE", f"operations/{_id(operation)}")

    async def wait(self, operation: str | Operation, on_progress: OnProgress | None = None) -> Operation:
        """Wait for its end. Raises OperationFailed when it failed or was cancelled."""
        async with contextlib.aclosing(self.follow(operation)) as lines:
            async for line in lines:
                if on_progress is not None:
                    on_progress(line)
        ended = await self.get(operation)
        if ended.state != "done":
            cancelled = ended.state == "cancelled"
            sentence = "It was cancelled; nothing is left of it." if cancelled else "It failed."
            raise OperationFailed(ended.error or sentence, state=ended.state)
        return ended

    async def follow(self, operation: str | Operation, after: int = 0) -> AsyncGenerator[Progress, None]:
        """Every line of progress once, until it has ended, whatever happens to the connection.

        Where event streams do not come through (a proxy that keeps them back), it is asked now and then.
        """
        identity = _id(operation)
        silent = unanswered = 0
        said = ""
        while True:
            if silent < STREAMS:
                silent += 1
                try:
                    async with contextlib.aclosing(self._events(identity, after)) as events:
                        async for event in events:
                            silent = 0
                            if event.kind == "end":
                                return
                            line = _progress(event)
                            if line is not None and line.number > after:
                                after = line.number
                                yield line
                except (Unreachable, BadStream):
                    pass
            try:
                found = await self.get(identity)
            except Unreachable:
                unanswered += 1
                if unanswered >= UNANSWERED:
                    raise
                continue
            unanswered = 0
            if silent >= STREAMS:
                line = _by_asking(found)
                if line.message != said:
                    said = line.message
                    yield line
                if found.ended:
                    return
            await self._http.sleep(LOOK)

    async def _events(self, identity: str, after: int) -> AsyncGenerator[Event, None]:
        headers = {"Accept": "text/event-stream"}
        if after:
            headers["Last-Event-ID"] = str(after)
        path = f"operations/{identity}/events"
        async with self._http.stream("GET", path, headers=headers, silence=SILENCE) as response:
            if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                raise BadStream("This is no stream of events.")
            parser = EventParser()
            async for piece in response.aiter_bytes():
                for event in parser.feed(piece):
                    yield event


def _id(operation: str | Operation) -> str:
    return operation if isinstance(operation, str) else operation.id


def _progress(event: Event) -> Progress | None:
    """None: not an event of progress, or one that later versions invented."""
    if event.kind != "progress" or not (event.id.isascii() and event.id.isdigit()) or len(event.id) > 9:
        return None
    try:
        return Progress.model_validate(json.loads(event.data) | {"number": int(event.id)})
    except (ValueError, TypeError, RecursionError):  # pydantic's is a ValueError
        return None


def _by_asking(found: Operation) -> Progress:
    message = found.error or (f"{found.state}: {found.step}" if not found.ended else found.state)
    return Progress(number=0, at=found.updated, percent=100 if found.state == "done" else 0, message=message)
