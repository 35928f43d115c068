"""Server-sent events, taken apart (pure): bytes in, whatever their cuts; events out."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

#: Characters of one event; whoever sends more is not the control service.
MAX_EVENT = 256 * 1024


class BadStream(ValueError):
    """This is no stream of events."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `id` is the last one that the stream gave, also when it was given with an earlier event."""

    id: str
    kind: str
    data: str


class EventParser:
    """Goes through one stream."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._line: list[str] = []  # parts of the line that has not ended
        self._held = 0  # characters of the unfinished line and event
        self._after_cr = False  # a CR ended the last line: an LF now belongs to it
        self._first = True
        self._id = ""
        self._kind = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete with these bytes. Raises BadStream when one does not end."""
        text = self._decode(data)
        if text and self._first:
            self._first = False
            text = text.removeprefix("\ufeff")
        events: list[Event] = []
        start = 0
        for at, char in enumerate(text):
            if char == "\n" and self._after_cr:
                start = at + 1
            elif char in "\r\n":
                self._line.append(text[start:at])
                line, self._line = "".join(self._line), []
                start = at + 1
                if (event := self._take(line)) is not None:
                    events.append(event)
            self._after_cr = char == "\r"
        if start < len(text):
            self._line.append(text[start:])
        self._held = sum(map(len, self._line)) + sum(map(len, self._data))
        if self._held > MAX_EVENT:
            raise BadStream("An event does not end.")
        return events

    def _take(self, line: str) -> Event | None:
        """One whole line."""
        if not line:
            event = Event(self._id, self._kind or "message", "\n".join(self._data)) if self._data else None
            self._kind, self._data = "", []
            return event
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._kind = value
        elif name == "id" and "\0" not in value:
            self._id = value
        return None  # comments, `retry`, and what later versions invent
