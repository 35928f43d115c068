"""What a server's stream asks its host to do."""

from __future__ import annotations

from dataclasses import dataclass

from .codes import Code
from .messages import Attach, Message


@dataclass(frozen=True, slots=True)
class Send:
    """Send this control message."""

    message: Message


@dataclass(frozen=True, slots=True)
class SendFrame:
    """Send this ready-made binary frame."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class SendData:
    """Read [start, stop) from the journal, send it as one stream frame, then call `sent(stop, now)`.

    If the journal overtook the read, update the view and pull again: the stream sees that it fell out.
    """

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class SendFetched:
    """Read [start, stop), send it as one frame of kind FETCHED, then call `fetched(ok)`."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class RequestKeyframe:
    """Make a keyframe at `near` or as close behind the journal's head as possible; call `keyframe(...)`.

    Call `keyframe_unavailable()` when none can be made. It may take its time: the stream waits, or goes on
    without.
    """

    near: int


@dataclass(frozen=True, slots=True)
class Admit:
    """Check this attach and join it to the session, then call `admit(...)` or `refuse(...)`."""

    request: Attach


@dataclass(frozen=True, slots=True)
class WriteInput:
    """Hand this to the keeper, which drops it if it already has that number of that client.

    `epoch` is the process that it was typed for: a later one must not get it. When the keeper has it, call
    `input_written(seq)`.
    """

    client: str
    epoch: str
    seq: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """The client told something that the arbiter or the host must know: a Resize, Visible, Focus or Token."""

    message: Message


@dataclass(frozen=True, slots=True)
class Shut:
    """Close the connection. Nothing is to be sent or received any more."""

    code: Code
    reason: str


Action = Send | SendFrame | SendData | SendFetched | RequestKeyframe | Admit | WriteInput | Heard | Shut
