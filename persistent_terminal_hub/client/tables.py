"""Figures and tables for people (pure). What others wrote must not drive the terminal that shows it."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def shown(text: object) -> str:
    """As one line without anything that a terminal obeys."""
    return "".join(char if char.isprintable() else "?" for char in str(text))


def width(text: str) -> int:
    """Columns that a terminal needs for it."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines with a head; every column but the last is as wide as its widest cell."""
    cells = [list(head), *([shown(cell) for cell in row] for row in rows)]
    widths = [max(width(row[column]) for row in cells) for column in range(len(head))]
    return [
        "  ".join(cell + " " * (wide - width(cell)) for cell, wide in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def fields(pairs: Sequence[tuple[str, object]]) -> list[str]:
    """One line for each that is not empty."""
    given = [(name, shown(value)) for name, value in pairs if value not in (None, "")]
    wide = max((len(name) for name, _ in given), default=0)
    return [f"{name:<{wide}}  {value}" for name, value in given]


def size(count: float | None) -> str:
    """Bytes, readable: 1536 is 1.5 KiB; None is -."""
    if count is None:
        return "-"
    for unit in _UNITS:
        if abs(count) < 1023.95 or unit == _UNITS[-1]:
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def duration(seconds: float) -> str:
    """Seconds, readable: 3720 is 1h 2m."""
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def ago(moment: str | float | None, now: float) -> str:
    """How long a moment (ISO 8601, or seconds since 1970) is past; - when there is none."""
    if moment is None or moment == "":
        return "-"
    if isinstance(moment, str):
        try:
            at = datetime.fromisoformat(moment)
        except ValueError:
            return moment
        moment = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    past = now - moment
    if past < 60:
        return "just now"
    for seconds, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if past >= seconds:
            return f"{int(past // seconds)} {unit} ago"
    return "just now"
