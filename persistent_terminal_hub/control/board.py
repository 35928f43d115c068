"""What all panels look at: rows with versions, and what changed after a version (pure).

A panel names the version it has and gets the rows that are newer, so that a slow one costs nothing: what
changed ten times while it was away is sent once. Rows that went are remembered, the newest `MOST_GONE` of
them; who is behind that gets everything again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: Rows that went and are remembered.
MOST_GONE = 5000
#: Rows in one event.
CHUNK = 500
#: Seconds by which a moment that was computed from a duration may differ without being news.
SLACK = 3.0

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """What is sent at once. `whole`: it begins anew; `more`: the rest follows."""

    version: int
    rows: list[Row]
    gone: list[str]
    whole: bool
    more: bool


class Board:
    """The rows, by key, oldest change first."""

    def __init__(self, most_gone: int = MOST_GONE) -> None:
        #: Names this board: versions of another one mean nothing here.
        self.life = secrets.token_hex(4)
        self.version = 0
        self._rows: dict[str, tuple[int, Row]] = {}
        self._gone: dict[str, int] = {}
        self._most_gone = most_gone
        self._floor = 0  # nothing is known of what went until then

    def get(self, key: str) -> Row | None:
        """The row now."""
        found = self._rows.get(key)
        return None if found is None else found[1]

    def keys(self, kind: str) -> list[str]:
        """The keys that begin with this."""
        return [key for key in self._rows if key.startswith(kind)]

    def put(self, key: str, row: Row) -> bool:
        """Set a row; whether that is news."""
        old = self._rows.get(key)
        if old is not None and old[1] == row:
            return False
        self.version += 1
        self._rows.pop(key, None)
        self._gone.pop(key, None)
        self._rows[key] = (self.version, row)
        return True

    def drop(self, key: str) -> bool:
        """Take a row away; whether there was one."""
        if self._rows.pop(key, None) is None:
            return False
        self.version += 1
        self._gone[key] = self.version
        while len(self._gone) > self._most_gone:
            self._floor = self._gone.pop(next(iter(self._gone)))
        return True

    def after(self, version: int | None) -> list[Event]:
        """What came after `version`, in chunks; None, or a version of too long ago: everything."""
        if version is not None and self._floor <= version <= self.version:
            rows = list(self._newer(self._rows, version))
            gone = [key for key, _ in self._newer(self._gone, version)]
            if not rows and not gone:
                return []
            found = [(key, entry[1]) for key, entry in rows]
            return self._chunks(found, gone, False)
        return self._chunks([(key, entry[1]) for key, entry in self._rows.items()], [], True)

    @staticmethod
    def _newer(entries: dict[str, Any], version: int) -> Iterator[tuple[str, Any]]:
        # The newest are at the end: only what is sent is looked at.
        for key in reversed(entries):
            entry = entries[key]
            if (entry if isinstance(entry, int) else entry[0]) <= version:
                return
            yield key, entry

    def _chunks(self, rows: list[tuple[str, Row]], gone: list[str], whole: bool) -> list[Event]:
        shown: list[Row] = [{"key": key, **row} for key, row in rows]
        parts = [shown[at : at + CHUNK] for at in range(0, len(shown), CHUNK)] or [[]]
        last = len(parts) - 1
        return [
            Event(self.version, part, gone if n == 0 else [], whole and n == 0, n < last)
            for n, part in enumerate(parts)
        ]


def resumed(board: Board, text: str) -> int | None:
    """The version that a Last-Event-ID names; None if it is not one of this board."""
    life, dot, version = text.partition(".")
    if life != board.life or not dot or not (version.isascii() and version.isdigit() and len(version) < 16):
        return None
    return int(version)


def steady(before: object, now: float, slack: float = SLACK) -> float:
    """A moment as whole seconds: the one that was told before, if this is the same but for some jitter."""
    if isinstance(before, int | float) and abs(before - now) <= slack:
        return before
    return float(round(now))


def coarse(mebibytes: float) -> int:
    """Memory to about 6 %, so that not every page that a program touches is news."""
    value = max(0, int(mebibytes))
    if value < 16:
        return value
    shift = value.bit_length() - 4
    return value >> shift << shift
