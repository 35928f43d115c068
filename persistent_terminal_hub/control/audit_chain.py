"""The audit log as a chain of records, pure: links, anchors, heads, and what is wrong with a chain.

    mac(n) = HMAC-SHA256(key(n), "link" | n | mac(n - 1) | record(n))        mac(0) = 32 zero bytes

So whoever cannot use the key cannot change, add, remove or reorder a row unnoticed. Rows cut off at the end
leave a valid shorter chain: against that, heads (the last number and mac, signed) are exported at intervals
to where the database's owner does not rule. Rows past the retention go at the beginning, and an anchor says
so.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

MAC_BYTES: Final = 32
START: Final = bytes(MAC_BYTES)
#: Problems that are told one by one; one broken key would otherwise fill the screen.
MAX_PROBLEMS: Final = 100


class Keys(Protocol):
    """The HMAC keys by id; see `sealing.KeySource`."""

    def key(self, key_id: str) -> bytes:
        """Raises `sealing.UnknownKey`, a LookupError in this module's sense."""


@dataclass(frozen=True, slots=True)
class Link:
    """A row of the log."""

    number: int
    record: str
    key: str
    mac: bytes


@dataclass(frozen=True, slots=True)
class Anchor:
    """The last row that retention removed. `number` 0 with START: nothing was removed yet."""

    number: int = 0
    mac: bytes = START
    at: float = 0.0
    key: str = ""
    seal: bytes = b""


@dataclass(frozen=True, slots=True)
class Head:
    """An exported end of the chain, its signature checked already."""

    number: int
    mac: bytes
    at: float


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that does not hold; `number` is the row where it shows."""

    number: int
    sentence: str


def canonical(record: Mapping[str, Any]) -> str:
    """The one spelling of a record that the chain covers."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def link_mac(key: bytes, number: int, previous: bytes, record: str) -> bytes:
    """The mac of a row."""
    return _mac(key, b"link", _number(number), previous, record.encode("utf-8", "surrogatepass"))


def anchor_seal(key: bytes, number: int, mac: bytes, at: float) -> bytes:
    """What proves an anchor."""
    return _mac(key, b"anchor", _number(number), mac, repr(at).encode())


def head_message(number: int, mac: bytes, at: float) -> bytes:
    """What the signature of an exported head covers."""
    return b"pth audit head\0" + _number(number) + mac + repr(at).encode()


def verify(
    links: Iterable[Link],
    keys: Keys,
    anchor: Anchor = Anchor(),
    heads: Iterable[Head] = (),
) -> Iterator[Problem]:
    """Everything that does not hold, in the order of the rows. `links` must be in the order of their numbers.

    Reads `links` once and keeps none of them: a log of any length.
    """
    wanted = {head.number: head for head in sorted(heads, key=lambda head: head.at)}
    if anchor.number and not _anchored(anchor, keys):
        yield Problem(anchor.number, "The record of where the log begins was changed.")
    number, previous, problems = anchor.number, anchor.mac, 0
    for link in links:
        for problem in _check(link, number, previous, keys, wanted.pop(link.number, None)):
            problems += 1
            yield problem
        if problems >= MAX_PROBLEMS:
            yield Problem(
                link.number, f"More than {MAX_PROBLEMS} rows are wrong; the rest was not looked at."
            )
            return
        # Go on from what stands there, so that one change is told once.
        number, previous = link.number, link.mac
    for head in wanted.values():
        if head.number > number:
            yield Problem(
                number,
                f"The log ends at row {number}, but row {head.number} was exported: its end was cut off.",
            )
            return


def _check(link: Link, number: int, previous: bytes, keys: Keys, head: Head | None) -> Iterator[Problem]:
    if link.number != number + 1:
        missing = link.number - number - 1
        yield Problem(
            link.number,
            f"{missing} row(s) before row {link.number} are missing."
            if missing > 0
            else f"Row {link.number} stands where row {number + 1} belongs.",
        )
        # The mac covers a row that is not there; nothing can be said of this one but by the next.
        return
    try:
        key = keys.key(link.key)
    except Exception:  # a source's own error; which one does not matter here
        yield Problem(link.number, f"The key {link.key} of row {link.number} is not available.")
        return
    if not hmac.compare_digest(link_mac(key, link.number, previous, link.record), link.mac):
        yield Problem(link.number, f"Row {link.number} was changed.")
    elif head is not None and not hmac.compare_digest(head.mac, link.mac):
        yield Problem(
            link.number, f"Row {link.number} is not the one that was exported: the log was rewritten."
        )


def _anchored(anchor: Anchor, keys: Keys) -> bool:
    try:
        key = keys.key(anchor.key)
    except Exception:
        return False
    return hmac.compare_digest(anchor_seal(key, anchor.number, anchor.mac, anchor.at), anchor.seal)


def _number(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _mac(key: bytes, *parts: bytes) -> bytes:
    message = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hmac.new(key, message, hashlib.sha256).digest()
