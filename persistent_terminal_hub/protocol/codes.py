"""Names, close codes and bounds of `pth.v1`, and the one exception that its decoders raise."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

SUBPROTOCOL: Final = "pth.v1"

MAX_CONTROL: Final = 16 * 1024  # characters of one text frame; an attach with a token is the largest
MAX_INPUT: Final = 64 * 1024  # payload bytes of one input frame
MAX_OUTPUT: Final = 1024 * 1024  # payload bytes of one frame from the server, whatever its kind
MAX_OFFSET: Final = 2**53 - 1  # what a JavaScript number holds exactly: 8 PiB of output
MAX_ROWS: Final = 1000
MAX_COLS: Final = 2000


class Code(IntEnum):
    """Why a connection was closed; what a client does about it is `client_stream.after_close`."""

    NORMAL = 1000  # the client left on purpose
    GOING_AWAY = 1001
    INTERNAL = 1011
    REATTACH = 1012  # the server stops, or the session's process was restarted: come back at once
    TRY_LATER = 1013
    PROTOCOL = 4400  # a message that this protocol does not know or allow
    SIGN_IN = 4401
    FORBIDDEN = 4403
    NO_SESSION = 4404
    TIMEOUT = 4408  # nothing was heard for too long
    TAKEN_OVER = 4409  # a newer connection of the same client took its place
    ENDED = 4410
    TOO_LARGE = 4413
    LOCKED = 4423
    FLOOD = 4429  # more messages, or more unwritten input, than a client may have


class ProtocolError(Exception):
    """The other side broke the protocol; `code` is what to close the connection with."""

    def __init__(self, message: str, code: Code = Code.PROTOCOL) -> None:
        super().__init__(message)
        self.code = code


class UnknownMessage(ProtocolError):
    """A message of an unknown type: a server refuses it, a client may be the older side and ignores it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Every number of the two state machines, in bytes and seconds; tests shrink them, nobody else should."""

    chunk: int = 64 * 1024  # largest data frame
    window_min: int = 16 * 1024
    window_max: int = 1024 * 1024
    window_start: int = 128 * 1024  # until the first measurement, one round trip later
    window_seconds: float = 0.1  # what may be on its way beyond the round trip itself
    replay_whole: int = 64 * 1024  # a journal that is complete and no longer than this needs no keyframe
    fetch: int = 256 * 1024  # most bytes that one fetch returns
    lag_seconds: float = 0.25  # a client that typed may lag this long
    lag_hopeless: float = 0.05  # the same when its measured rate says that it cannot catch up in time
    lag_min: int = 64 * 1024  # less than this is not worth a keyframe
    keyframe_patience: float = 2.0  # then the stream goes on without one
    keyframe_retries: int = 3  # keyframes that the journal had already overtaken when they arrived
    attach_within: float = 10.0
    heartbeat: float = 5.0
    dead_after: float = 20.0
    probe: float = 3.0  # the answer to a ping that was sent to find out whether the line is alive
    control_rate: float = 100.0  # control messages a second, in the long run
    control_burst: float = 500.0
    input_unwritten: int = 256 * 1024  # input bytes that the server holds for one client
    input_frames: int = 4096  # and frames
    input_frame: int = 16 * 1024  # what the client puts into one frame
    input_window: int = 64 * 1024  # what the client sends ahead of acknowledgements
    input_kept: int = 4 * 1024 * 1024  # what the client keeps while it cannot send
    ack_bytes: int = 4 * 1024  # the client acknowledges after this much, or after
    ack_seconds: float = 0.02
    connect_within: float = 15.0
    retry_first: float = 0.1
    retry_early: float = 1.0  # the longest pause in the first `early` seconds of an outage: a server restarts
    retry_late: float = 10.0
    early: float = 20.0
    stable_after: float = 5.0  # a connection that lived this long starts the next outage from the first pause
    locked_retry: float = 10.0
