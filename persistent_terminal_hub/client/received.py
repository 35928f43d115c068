"""What a client received lately, by offset. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

#: CSI, OSC, other strings, two-byte escapes, and what a terminal does not show.
_ESCAPES = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]"
    rb"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
    rb"|\x1b[PX^_][^\x1b]*\x1b\\"
    rb"|\x1b[ -/]*[0-~]"
    rb"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)


def plain(data: bytes) -> str:
    """The text without escape sequences, with line ends as `\\n`. It is no emulator."""
    return _ESCAPES.sub(b"", data).replace(b"\r\n", b"\n").decode("utf-8", "replace")


class Chunk(NamedTuple):
    """Bytes of the stream from `start` on; `lost` bytes before them were asked for and are not held."""

    start: int
    data: bytes
    lost: int

    @property
    def stop(self) -> int:
        """The offset behind the last byte: where to go on reading."""
        return self.start + len(self.data)

    @property
    def text(self) -> str:
        """The bytes as readable text."""
        return plain(self.data)


class Received:
    """The newest bytes of one stream without a gap, at most `limit` of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self.start = 0  # offset of the first byte that is held

    @property
    def stop(self) -> int:
        """Offset behind the last byte."""
        return self.start + len(self._data)

    def restart(self, offset: int) -> None:
        """The stream goes on elsewhere."""
        self._data.clear()
        self.start = offset

    def append(self, offset: int, data: bytes) -> None:
        """These bytes came; a place that does not follow begins anew."""
        if offset != self.stop:
            self.restart(offset)
        self._data += data
        # Cut rarely: deleting from the front moves everything.
        if len(self._data) > 2 * self._limit:
            drop = len(self._data) - self._limit
            del self._data[:drop]
            self.start += drop

    def since(self, offset: int, most: int | None = None) -> Chunk:
        """What is held from `offset` on."""
        begin = min(max(offset, self.start), self.stop)
        at = begin - self.start
        end = None if most is None else at + most
        return Chunk(begin, bytes(memoryview(self._data)[at:end]), max(0, begin - offset))

    def find(self, pattern: re.Pattern[bytes], offset: int) -> tuple[int, int, re.Match[bytes]] | None:
        """The first match behind `offset`: where it begins and ends in the stream."""
        at = min(max(offset - self.start, 0), len(self._data))
        # A copy, because a match that points into the array would keep it from growing.
        match = pattern.search(bytes(memoryview(self._data)[at:]))
        if match is None:
            return None
        base = self.start + at
        return base + match.start(), base + match.end(), match
