"""Of several attached clients: who answers the terminal's queries, and whose size the PTY has. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

SizePolicy = Literal["latest", "smallest"]

#: Clients that left and whose place is kept; more than may be attached at once.
REMEMBERED: Final = 128


@dataclass(slots=True)
class _Member:
    rows: int
    cols: int
    writes: bool
    visible: bool
    active: int  # the higher, the later it typed or got the focus


class Decision(NamedTuple):
    """The client that answers (None: the server must), and the size to set (None: leave it as it is)."""

    responder: str | None
    size: tuple[int, int] | None


class Arbiter:
    """The attached clients of one session; the host asks `decide()` after every change and applies it.

    A client that is cut keeps its place: when it comes back, whoever typed or got the focus meanwhile is
    before it, and nobody else. The places of the last `REMEMBERED` that left are kept.

    The size is that of the most recent client to type or focus among the visible read-write ones (`latest`),
    or the smallest of theirs in each direction (`smallest`). The responder is the most recent read-write
    client; a visible one is preferred, because browsers slow hidden pages down. Watchers count for neither.
    """

    def __init__(self, policy: SizePolicy = "latest") -> None:
        self.policy: SizePolicy = policy
        self._members: dict[str, _Member] = {}
        self._left: dict[str, int] = {}  # `active` of those who left; the last to leave at the end
        self._clock = 0

    def __len__(self) -> int:
        return len(self._members)

    def join(
        self, client: str, *, rows: int, cols: int, writes: bool, visible: bool, resumed: bool = False
    ) -> None:
        """A client attached. A new one counts as active now; one that only came back keeps its place."""
        before = self._members.pop(client, None)
        left = self._left.pop(client, 0)
        active = (before.active if before else left) if resumed else self._next()
        self._members[client] = _Member(rows, cols, writes, visible, active)

    def leave(self, client: str) -> None:
        """A client is gone."""
        member = self._members.pop(client, None)
        if member is not None:
            self._left.pop(client, None)
            self._left[client] = member.active
            if len(self._left) > REMEMBERED:
                del self._left[next(iter(self._left))]

    def active(self, client: str) -> None:
        """A client typed or got the focus."""
        if member := self._members.get(client):
            member.active = self._next()

    def resize(self, client: str, rows: int, cols: int) -> None:
        """A client's window changed."""
        if member := self._members.get(client):
            member.rows, member.cols = rows, cols

    def visible(self, client: str, visible: bool) -> None:
        """A client's terminal can be seen, or not."""
        if member := self._members.get(client):
            member.visible = visible

    def decide(self) -> Decision:
        """Who answers and what size, as of now."""
        writers = {client: member for client, member in self._members.items() if member.writes}
        responder = max(writers, key=lambda c: (writers[c].visible, writers[c].active), default=None)
        seen = [member for member in writers.values() if member.visible]
        if not seen:
            return Decision(responder, None)
        if self.policy == "smallest":
            return Decision(responder, (min(m.rows for m in seen), min(m.cols for m in seen)))
        latest = max(seen, key=lambda member: member.active)
        return Decision(responder, (latest.rows, latest.cols))

    def _next(self) -> int:
        self._clock += 1
        return self._clock
