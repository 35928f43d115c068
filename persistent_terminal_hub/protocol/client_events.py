"""What a client's stream asks its host to do, and what it tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .codes import Code
from .messages import Exit, Message

StateName = Literal["idle", "connecting", "live", "reconnecting", "locked", "ended", "refused"]
DropReason = Literal["restarted", "forgotten", "read_only", "full", "locked", "ended", "refused"]


@dataclass(frozen=True, slots=True)
class State:
    """The honest state of the connection, and since when; `reconnecting` since the line was lost."""

    name: StateName
    since: float
    code: int | None = None  # the close code behind `locked`, `ended`, `refused` and `reconnecting`
    message: str = ""


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a WebSocket with subprotocol pth.v1; call `opened` or `closed`."""


@dataclass(frozen=True, slots=True)
class CloseSocket:
    """Close the WebSocket, and deliver nothing more of it, not even its close."""

    code: Code


@dataclass(frozen=True, slots=True)
class SendText:
    """Send this control message as a text frame."""

    message: Message


@dataclass(frozen=True, slots=True)
class SendBinary:
    """Send this binary frame."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class StateChanged:
    """Show this state."""

    state: State


@dataclass(frozen=True, slots=True)
class ClearScreen:
    """Reset the emulator: what follows does not continue what it shows."""

    reason: str
    generation: int


@dataclass(frozen=True, slots=True)
class SetSize:
    """Give the emulator this size, in order between the outputs before and after."""

    rows: int
    cols: int


@dataclass(frozen=True, slots=True)
class Output:
    """Parse these bytes of the stream, then call `parsed(offset + len(data), generation, now)`.

    `may_answer(offset, generation)`, asked while parsing, says whether queries in it are to be answered;
    it is the same for all bytes of one Output.
    """

    offset: int
    data: bytes
    generation: int


@dataclass(frozen=True, slots=True)
class KeyframePart:
    """Parse these bytes, answering nothing; after the last part call `parsed(offset, generation, now)`."""

    data: bytes
    offset: int
    last: bool
    generation: int


@dataclass(frozen=True, slots=True)
class SkippedOutput:
    """These bytes of the stream will not come by themselves; `fetch` may still get them."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class FetchedOutput:
    """Bytes that were asked for with `fetch`."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class FetchDone:
    """The answer to a fetch is complete; it held [start, stop), which may be less than was asked for."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class InputDropped:
    """This much input was not and will not be delivered, and a person should know."""

    size: int
    reason: DropReason


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over."""

    exit: Exit


@dataclass(frozen=True, slots=True)
class Told:
    """A Title, Renamed, Notice, Error, Locked, Unlocked or Token message, for the host to show or keep."""

    message: Message


Event = (
    Connect
    | CloseSocket
    | SendText
    | SendBinary
    | StateChanged
    | ClearScreen
    | SetSize
    | Output
    | KeyframePart
    | SkippedOutput
    | FetchedOutput
    | FetchDone
    | InputDropped
    | Ended
    | Told
)
