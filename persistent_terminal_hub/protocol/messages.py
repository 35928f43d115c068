"""Control messages of `pth.v1`: frozen models, a strict and bounded decoder, an encoder.

Unknown fields are ignored, so that a newer side may say more; an unknown type or a field of a wrong type or
range is a `ProtocolError`. A field that is null counts as absent. Plain dataclasses: this is the hot path.
`docs/reference/protocol.md` says what each message means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Final, Literal, TypeVar, cast

from .codes import MAX_COLS, MAX_CONTROL, MAX_OFFSET, MAX_ROWS, Code, ProtocolError, UnknownMessage

Mode = Literal["rw", "watch"]
ResetReason = Literal["fresh", "epoch", "gone", "future", "width", "lag", "overtaken"]

Check = Callable[[object], bool]


@dataclass(frozen=True, slots=True)
class _Rule:
    """How one field is checked, what an error says of it, its name on the wire if Python forbids that."""

    check: Check
    wants: str
    wire: str | None = None


def _int(low: int, high: int, wire: str | None = None) -> dict[str, _Rule]:
    def check(value: object) -> bool:
        return type(value) is int and low <= value <= high

    return {"rule": _Rule(check, f"a whole number from {low} to {high}", wire)}


def _text(limit: int, pattern: str | None = None, wants: str | None = None) -> dict[str, _Rule]:
    match = re.compile(pattern).fullmatch if pattern else None

    def check(value: object) -> bool:
        return isinstance(value, str) and len(value) <= limit and (match is None or match(value) is not None)

    return {"rule": _Rule(check, wants or f"a text of at most {limit} characters")}


def _one_of(*choices: str) -> dict[str, _Rule]:
    def check(value: object) -> bool:
        return isinstance(value, str) and value in choices

    return {"rule": _Rule(check, f"one of {', '.join(choices)}")}


def _seconds() -> dict[str, _Rule]:
    def check(value: object) -> bool:
        return type(value) in (int, float) and 0 <= cast(float, value) <= 1e10

    return {"rule": _Rule(check, "a number of seconds")}


_OFFSET: Final = _int(0, MAX_OFFSET)
_FROM: Final = _int(0, MAX_OFFSET, "from")
_TO: Final = _int(0, MAX_OFFSET, "to")
_NUMBER: Final = _int(0, MAX_OFFSET)
_ROWS: Final = _int(1, MAX_ROWS)
_COLS: Final = _int(1, MAX_COLS)
_BOOL: Final = {"rule": _Rule(lambda value: isinstance(value, bool), "true or false")}
_MODE: Final = _one_of("rw", "watch")
_CLIENT: Final = _text(32, "[0-9a-f]{32}", "32 hexadecimal digits in lower case")
_EPOCH: Final = _text(32, "[0-9a-f]{0,32}", "at most 32 hexadecimal digits in lower case")
_WORD: Final = _text(64, "[a-z0-9_.-]*", "a short word in lower case")
_SENTENCE: Final = _text(2000)
_NAME: Final = _text(1000)


class Message:
    """Any control message."""

    __slots__ = ()
    type: ClassVar[str]


M = TypeVar("M", bound=Message)


# From the client ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attach(Message):
    """The first message of a connection. `epoch` is empty when the client has nothing of the stream."""

    type: ClassVar[str] = "attach"
    client: str = field(metadata=_CLIENT)
    rows: int = field(metadata=_ROWS)
    cols: int = field(metadata=_COLS)
    epoch: str = field(default="", metadata=_EPOCH)
    offset: int = field(default=0, metadata=_OFFSET)
    input_seq: int = field(default=0, metadata=_NUMBER)  # the highest number that this client ever used
    visible: bool = field(default=True, metadata=_BOOL)
    mode: Mode = field(default="rw", metadata=_MODE)
    token: str | None = field(default=None, metadata=_text(8192), repr=False)


@dataclass(frozen=True, slots=True)
class Ack(Message):
    """The client's emulator has parsed everything before `offset`."""

    type: ClassVar[str] = "ack"
    offset: int = field(metadata=_OFFSET)


@dataclass(frozen=True, slots=True)
class Resize(Message):
    """The client's window has this size now; what the PTY gets is the size policy's decision."""

    type: ClassVar[str] = "resize"
    rows: int = field(metadata=_ROWS)
    cols: int = field(metadata=_COLS)


@dataclass(frozen=True, slots=True)
class Visible(Message):
    """The client's terminal can be seen, or not any more."""

    type: ClassVar[str] = "visible"
    visible: bool = field(metadata=_BOOL)


@dataclass(frozen=True, slots=True)
class Focus(Message):
    """The client's terminal got the keyboard focus."""

    type: ClassVar[str] = "focus"


@dataclass(frozen=True, slots=True)
class Fetch(Message):
    """Send these bytes of the journal again, beside the stream."""

    type: ClassVar[str] = "fetch"
    start: int = field(metadata=_FROM)
    stop: int = field(metadata=_TO)


# Both ways ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ping(Message):
    type: ClassVar[str] = "ping"
    id: int = field(metadata=_NUMBER)


@dataclass(frozen=True, slots=True)
class Pong(Message):
    type: ClassVar[str] = "pong"
    id: int = field(metadata=_NUMBER)


@dataclass(frozen=True, slots=True)
class Token(Message):
    """A renewed attach token: from the server to keep, from the client to prove itself again."""

    type: ClassVar[str] = "token"
    token: str = field(metadata=_text(8192), repr=False)
    expires_in: float | None = field(default=None, metadata=_seconds())


# From the server ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attached(Message):
    """The answer to an attach. Without `start` a reset and a keyframe come first."""

    type: ClassVar[str] = "attached"
    epoch: str = field(metadata=_EPOCH)
    end: int = field(metadata=_OFFSET)
    input_ack: int = field(metadata=_NUMBER)
    answer_from: int = field(metadata=_OFFSET)
    responder: bool = field(metadata=_BOOL)
    rows: int = field(metadata=_ROWS)
    cols: int = field(metadata=_COLS)
    resumed: bool = field(metadata=_BOOL)
    mode: Mode = field(default="rw", metadata=_MODE)
    start: int | None = field(default=None, metadata=_OFFSET)
    reason: ResetReason | None = field(default=None, metadata=_WORD)


@dataclass(frozen=True, slots=True)
class Reset(Message):
    """Forget the screen: what follows does not continue what was shown."""

    type: ClassVar[str] = "reset"
    reason: ResetReason = field(metadata=_WORD)


@dataclass(frozen=True, slots=True)
class Keyframe(Message):
    """The next `size` bytes, in frames of kind 1, recreate the terminal as it was at `offset`."""

    type: ClassVar[str] = "keyframe"
    offset: int = field(metadata=_OFFSET)
    size: int = field(metadata=_int(0, 2**31))
    rows: int = field(metadata=_ROWS)
    cols: int = field(metadata=_COLS)
    begin: int | None = field(default=None, metadata=_OFFSET)  # nothing printed before is on its lines
    own: int | None = field(default=None, metadata=_OFFSET)  # so many bytes at its end are the output's own


@dataclass(frozen=True, slots=True)
class InputAck(Message):
    """The keeper has all input up to this number; the client need not keep it."""

    type: ClassVar[str] = "input_ack"
    seq: int = field(metadata=_NUMBER)


@dataclass(frozen=True, slots=True)
class Size(Message):
    """From `offset` on the PTY has this size; the emulator follows exactly there."""

    type: ClassVar[str] = "size"
    rows: int = field(metadata=_ROWS)
    cols: int = field(metadata=_COLS)
    offset: int = field(metadata=_OFFSET)


@dataclass(frozen=True, slots=True)
class Responder(Message):
    """From `start` on this client answers the terminal's queries, or does not any more."""

    type: ClassVar[str] = "responder"
    responder: bool = field(metadata=_BOOL)
    start: int = field(metadata=_FROM)


@dataclass(frozen=True, slots=True)
class Skipped(Message):
    """These bytes will not come by themselves; while the journal holds them they can be fetched."""

    type: ClassVar[str] = "skipped"
    start: int = field(metadata=_FROM)
    stop: int = field(metadata=_TO)


@dataclass(frozen=True, slots=True)
class Fetched(Message):
    """The end of the answer to a fetch: what was sent, in frames of kind 2; nothing if `from` equals `to`."""

    type: ClassVar[str] = "fetched"
    start: int = field(metadata=_FROM)
    stop: int = field(metadata=_TO)


@dataclass(frozen=True, slots=True)
class Exit(Message):
    """The session ended, after its last byte: an exit code, a signal, or a reason without a process."""

    type: ClassVar[str] = "exit"
    code: int | None = field(default=None, metadata=_int(0, 255))
    signal: int | None = field(default=None, metadata=_int(1, 128))
    reason: str | None = field(default=None, metadata=_WORD)


@dataclass(frozen=True, slots=True)
class Locked(Message):
    """The workspace is locked; the connection closes with 4423."""

    type: ClassVar[str] = "locked"
    message: str = field(default="", metadata=_SENTENCE)


@dataclass(frozen=True, slots=True)
class Unlocked(Message):
    """Reserved: the workspace is open again."""

    type: ClassVar[str] = "unlocked"


@dataclass(frozen=True, slots=True)
class Error(Message):
    """Something the client asked for was refused; the connection goes on."""

    type: ClassVar[str] = "error"
    code: str = field(metadata=_WORD)
    message: str = field(metadata=_SENTENCE)
    hint: str = field(default="", metadata=_SENTENCE)


@dataclass(frozen=True, slots=True)
class Renamed(Message):
    """The session has this name now."""

    type: ClassVar[str] = "renamed"
    name: str = field(metadata=_NAME)


@dataclass(frozen=True, slots=True)
class Title(Message):
    """The terminal's title, for a client that does not read it from the stream."""

    type: ClassVar[str] = "title"
    title: str = field(metadata=_NAME)


@dataclass(frozen=True, slots=True)
class Notice(Message):
    """Something a person should know, such as the end of a TTL; never typed into the terminal."""

    type: ClassVar[str] = "notice"
    code: str = field(metadata=_WORD)
    message: str = field(metadata=_SENTENCE)
    seconds: float | None = field(default=None, metadata=_seconds())


_CLIENT_MESSAGES: Final[tuple[type[Message], ...]] = (
    Attach, Ack, Resize, Visible, Focus, Fetch, Ping, Pong, Token,
)  # fmt: skip
_SERVER_MESSAGES: Final[tuple[type[Message], ...]] = (
    Attached, Reset, Keyframe, InputAck, Size, Responder, Skipped, Fetched, Exit, Locked, Unlocked, Error,
    Renamed, Title, Notice, Ping, Pong, Token,
)  # fmt: skip

_Field = tuple[str, str, Check, str, bool]  # attribute, name on the wire, check, what it wants, required


def _plan(cls: type[Message]) -> tuple[_Field, ...]:
    plan: list[_Field] = []
    for item in fields(cast(Any, cls)):
        rule: _Rule = item.metadata["rule"]
        plan.append((item.name, rule.wire or item.name, rule.check, rule.wants, item.default is MISSING))
    return tuple(plan)


_PLANS: Final = {cls: _plan(cls) for cls in {*_CLIENT_MESSAGES, *_SERVER_MESSAGES}}
_FROM_CLIENT: Final = {cls.type: cls for cls in _CLIENT_MESSAGES}
_FROM_SERVER: Final = {cls.type: cls for cls in _SERVER_MESSAGES}


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


_loads: Final = json.JSONDecoder(parse_constant=_no_constant).decode


def _decode(text: str, known: dict[str, type[Message]]) -> Message:
    if len(text) > MAX_CONTROL:
        raise ProtocolError(f"A control message may have at most {MAX_CONTROL} characters.", Code.TOO_LARGE)
    try:
        raw = _loads(text)
    except (ValueError, RecursionError):
        raise ProtocolError("A text frame must be one JSON object.") from None
    if not isinstance(raw, dict):
        raise ProtocolError("A text frame must be one JSON object.")
    kind = raw.get("type")
    cls = known.get(kind) if isinstance(kind, str) else None
    if cls is None:
        # What was sent is not repeated: it may be anything, and errors get logged.
        raise UnknownMessage("A control message of a type that is not part of pth.v1 in this direction.")
    values: dict[str, object] = {}
    for name, wire, check, wants, required in _PLANS[cls]:
        value = raw.get(wire)
        if value is None:
            if required:
                raise ProtocolError(f"{cls.type}: {wire} is missing; it must be {wants}.")
        elif check(value):
            values[name] = value
        else:
            raise ProtocolError(f"{cls.type}: {wire} must be {wants}.")
    return cls(**values)


def decode_client(text: str) -> Message:
    """A control message that a client sent."""
    return _decode(text, _FROM_CLIENT)


def decode_server(text: str) -> Message:
    """A control message that a server sent."""
    return _decode(text, _FROM_SERVER)


def encode(message: Message) -> str:
    """The text frame of a message; absent values are left out."""
    if type(message) is Ack:
        return f'{{"type":"ack","offset":{message.offset}}}'
    if type(message) is InputAck:
        return f'{{"type":"input_ack","seq":{message.seq}}}'
    out: dict[str, object] = {"type": message.type}
    for name, wire, _, _, _ in _PLANS[type(message)]:
        value = getattr(message, name)
        if value is not None:
            out[wire] = value
    text = json.dumps(out, separators=(",", ":"))
    if len(text) > MAX_CONTROL:
        raise ValueError(f"a {message.type} message of {len(text)} characters would not be accepted")
    return text
