"""Sessions that ended before this start of the workspace: what the keeper wrote of them to the volume.

The files are `keeper.history`'s. Everything here blocks on the volume: call it from a thread. A file that is
not what it should be is passed over: it is the user's own, and so is what stands in it.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

from persistent_terminal_hub.keeper.history import MAX_FILES, MAX_HEADER

from .keeper_link import Info

_IDENTITY = re.compile(r"[0-9a-f]{16}")


class PastSession(NamedTuple):
    """One of them; the bytes `[start, stop)` of its output lie in the file from `place` on."""

    info: Info
    path: Path
    place: int
    start: int
    stop: int


class PastSessions:
    """The files of one workspace."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[str, tuple[tuple[int, int], PastSession | None]] = {}

    def others(self, but: Container[str] = ()) -> list[PastSession]:
        """All but those with these ids, the one that ended last first. Blocks."""
        found = {}
        with contextlib.suppress(OSError):
            for path in self._directory.iterdir():
                if _IDENTITY.fullmatch(path.name):
                    with contextlib.suppress(OSError):
                        about = path.stat()
                        found[path.name] = (about.st_mtime_ns, about.st_size)
        newest = sorted(found, key=lambda name: found[name], reverse=True)[:MAX_FILES]
        before, self._known = self._known, {}
        for name in newest:
            stamp, session = before.get(name, (None, None))
            if stamp != found[name]:
                session = read_header(self._directory / name)
            self._known[name] = (found[name], session)
        return [session for _, session in self._known.values() if session and session.info.id not in but]

    def find(self, key: str, but: Container[str] = ()) -> PastSession | None:
        """The one with this id, else the one of this name that ended last. Blocks."""
        sessions = self.others(but)
        by_id = next((session for session in sessions if session.info.id == key), None)
        return by_id or next((session for session in sessions if session.info.name == key), None)

    def forget(self, identity: str) -> None:
        """Remove its file, if there is one. Blocks; raises OSError."""
        if _IDENTITY.fullmatch(identity):
            (self._directory / identity).unlink(missing_ok=True)


def read_header(path: Path) -> PastSession | None:
    """What a file says of its session; None when it is not one of the keeper's."""
    try:
        with path.open("rb") as file:
            line = file.readline(MAX_HEADER)
            size = file.seek(0, 2)
        model = json.loads(line)
        info = Info.from_model(model)
        start = int(model["kept_from"])
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return None
    if not line.endswith(b"\n") or info.exit is None or info.id != path.name or start < 0:
        return None
    return PastSession(info, path, len(line), start, start + size - len(line))
