"""A client's end of `pth.v1`: keeps what was typed, knows what was shown, comes back by itself. Pure.

The host calls a method for everything that happens (with the monotonic time) and does the returned events
in order. It does so for one socket at a time: nothing of an old one after `CloseSocket` or `closed`.
The TypeScript client is the same machine; `tests/vectors/pth.v1` holds both to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from .client_events import (
    CloseSocket,
    Connect,
    DropReason,
    Ended,
    Event,
    FetchDone,
    InputDropped,
    SendBinary,
    SendText,
    State,
    StateChanged,
    StateName,
    Told,
)
from .client_input import InputQueue
from .client_output import OutputState
from .codes import Code, Limits, ProtocolError, UnknownMessage
from .heartbeat import Heartbeat
from .messages import (
    Ack,
    Attach,
    Attached,
    Error,
    Exit,
    Fetch,
    Fetched,
    Focus,
    InputAck,
    Keyframe,
    Locked,
    Message,
    Mode,
    Notice,
    Ping,
    Pong,
    Renamed,
    Reset,
    Resize,
    Responder,
    Size,
    Title,
    Token,
    Unlocked,
    Visible,
    decode_server,
)

DEFAULT_LIMITS: Final = Limits()
Socket = Literal["none", "opening", "attaching", "live"]

_REFUSED: Final = frozenset(
    {Code.PROTOCOL, Code.SIGN_IN, Code.FORBIDDEN, Code.NO_SESSION, Code.TAKEN_OVER, Code.TOO_LARGE}
)
_BY_STATUS: Final = {
    401: Code.SIGN_IN,
    403: Code.FORBIDDEN,
    404: Code.NO_SESSION,
    410: Code.ENDED,
    423: Code.LOCKED,
}  # fmt: skip


def after_close(code: int) -> StateName:
    """What a client does about a close code: everything that may pass by itself is tried again."""
    if code == Code.LOCKED:
        return "locked"
    if code == Code.ENDED:
        return "ended"
    return "refused" if code in _REFUSED else "reconnecting"


def code_of_status(status: int) -> int:
    """The close code that means the same as a handshake answered with this HTTP status."""
    return _BY_STATUS.get(status, Code.TRY_LATER)


class ClientStream:
    """The state machine. `random` returns numbers in [0, 1) and only spreads reconnects."""

    def __init__(
        self,
        client: str,
        *,
        rows: int,
        cols: int,
        random: Callable[[], float],
        mode: Mode = "rw",
        visible: bool = True,
        token: str | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.client = client
        self.mode: Mode = mode
        self.state = State("idle", 0.0)
        self.input = InputQueue(limits)
        self._limits = limits
        self._random = random
        self._token = token
        self._wish = (rows, cols)
        self._visible = visible
        self._focus = False
        self._told: tuple[tuple[int, int], bool] = ((rows, cols), visible)
        # The connection
        self._socket: Socket = "none"
        self._heart: Heartbeat | None = None
        self._connect_by = 0.0
        self._retry_at: float | None = None
        self._attempt = 0
        self._live_since: float | None = None
        self._pings = 0
        self._output = OutputState(limits)

    @property
    def epoch(self) -> str:
        """The process whose output is shown, within which offsets mean something; empty before the first."""
        return self._output.epoch

    @property
    def token(self) -> str | None:
        """The newest attach token: for the next attach, and for a page that wants to keep it."""
        return self._token

    # What the person and the page do ----------------------------------------------------------------

    def start(self, now: float) -> list[Event]:
        """Connect; also after `refused` when the reason may be gone."""
        if self._socket != "none" or self.state.name == "ended":
            return []
        self._attempt = 0
        return [*self._become("connecting", now), *self._connect(now)]

    def stop(self, now: float) -> list[Event]:
        """Leave on purpose; the session goes on."""
        events: list[Event] = [] if self._socket == "none" else [CloseSocket(Code.NORMAL)]
        self._drop_line()
        self._retry_at = None
        return events if self.state.name == "ended" else [*events, *self._become("idle", now)]

    def nudge(self, now: float) -> list[Event]:
        """Something suggests that the line changed: try now, or find out whether it is alive."""
        if self._socket == "none" and self._retry_at is not None:
            return self._connect(now)
        if self._socket == "live" and self._heart is not None:
            self._heart.probe(now)
            return [self._ping()]
        return []

    def type(self, data: bytes) -> list[Event]:
        """The person typed or pasted."""
        if not data:
            return []
        reason: DropReason | None = None
        name = self.state.name
        if name in ("locked", "ended", "refused"):
            reason = name
        elif self.mode != "rw":
            reason = "read_only"
        elif not self.input.put(data):
            reason = "full"
        return self._flush() if reason is None else [InputDropped(len(data), reason)]

    def answer(self, data: bytes, offset: int, generation: int) -> list[Event]:
        """The emulator answers a query that it found in the Output at `offset`."""
        if self.may_answer(offset, generation) and self.mode == "rw" and self.input.put(data, answer=True):
            return self._flush()
        return []

    def may_answer(self, offset: int, generation: int) -> bool:
        """Whether a query whose last byte is at `offset` is this client's to answer, now."""
        return self._output.may_answer(offset, generation)

    def resize(self, rows: int, cols: int) -> list[Event]:
        """The window has this size; the emulator gets its size by SetSize, not from here."""
        self._wish = (rows, cols)
        return self._tell()

    def set_visible(self, visible: bool) -> list[Event]:
        """The terminal can be seen, or not."""
        self._visible = visible
        return self._tell()

    def focus(self) -> list[Event]:
        """The terminal got the keyboard focus."""
        self._focus = True
        return self._tell()

    def fetch(self, start: int, stop: int) -> list[Event]:
        """Ask for bytes that were skipped."""
        return [SendText(Fetch(start, stop))] if self._socket == "live" else []

    def set_token(self, token: str | None) -> list[Event]:
        """A new token, for the next attach and for the live connection."""
        self._token = token
        return [SendText(Token(token))] if token and self._socket == "live" else []

    def parsed(self, offset: int, generation: int, now: float) -> list[Event]:
        """The emulator has parsed everything up to `offset`."""
        return self._ack() if self._output.parsed(offset, generation, now) else []

    # What the socket does ---------------------------------------------------------------------------

    def opened(self, now: float) -> list[Event]:
        """The WebSocket is open."""
        if self._socket != "opening":
            return []
        self._socket = "attaching"
        self._told = (self._wish, self._visible)
        epoch, offset = self._output.point
        return [
            SendText(
                Attach(
                    client=self.client,
                    epoch=epoch,
                    offset=offset,
                    input_seq=self.input.last,
                    rows=self._wish[0],
                    cols=self._wish[1],
                    visible=self._visible,
                    mode=self.mode,
                    token=self._token,
                )
            )
        ]

    def closed(self, code: int, now: float, reason: str = "") -> list[Event]:
        """The WebSocket closed, or could not be opened (then `code_of_status`, or 1006)."""
        return [] if self._socket == "none" else self._lost(code, now, reason)

    def receive(self, frame: str | bytes, now: float) -> list[Event]:
        """A frame from the server."""
        if self._socket not in ("attaching", "live"):
            return []
        if self._heart is not None:
            self._heart.heard(now)
        try:
            if isinstance(frame, bytes):
                return self._output.frame(frame)
            return self._control(decode_server(frame), now)
        except UnknownMessage:
            return []  # the server may be newer than this client
        except ProtocolError as error:
            return [CloseSocket(error.code), *self._lost(Code.INTERNAL, now, str(error))]

    # Time -------------------------------------------------------------------------------------------

    @property
    def wake_at(self) -> float | None:
        """When to call `tick` next; None: never."""
        if self._socket == "none":
            return self._retry_at
        if self._socket != "live" or self._heart is None:
            return self._connect_by
        ack_at = self._output.ack_at
        return self._heart.due if ack_at is None else min(self._heart.due, ack_at)

    def tick(self, now: float) -> list[Event]:
        """The time is `now`."""
        if self._socket == "none":
            return self._connect(now) if self._retry_at is not None and now >= self._retry_at else []
        if self._socket != "live" or self._heart is None:
            if now < self._connect_by:
                return []
            return [CloseSocket(Code.TIMEOUT), *self._lost(Code.TIMEOUT, now, "The server did not answer.")]
        ack_at = self._output.ack_at
        events = self._ack() if ack_at is not None and now >= ack_at else []
        verdict = self._heart.tick(now)
        if verdict == "dead":
            return [
                CloseSocket(Code.TIMEOUT),
                *self._lost(Code.TIMEOUT, now, "Nothing was heard for too long."),
            ]
        if verdict == "ping":
            events.append(self._ping())
        return events

    # What the server said ---------------------------------------------------------------------------

    def _control(self, message: Message, now: float) -> list[Event]:
        output = self._output
        if isinstance(message, InputAck):
            self.input.acked(message.seq)
            return self._flush()
        if isinstance(message, Ping):
            return [SendText(Pong(message.id))]
        if isinstance(message, Pong):
            return []
        if isinstance(message, Attached):
            return self._attached(message, now)
        if isinstance(message, Reset):
            return output.reset(message)
        if isinstance(message, Keyframe):
            return output.keyframe(message)
        if isinstance(message, Size):
            return output.size(message)
        if isinstance(message, Responder):
            output.responder(message)
            return []
        if isinstance(message, Fetched):
            return [FetchDone(message.start, message.stop)]
        if isinstance(message, Exit):
            return [Ended(message), *self._become("ended", now)]
        if isinstance(message, Locked):
            return [Told(message), *self._become("locked", now, Code.LOCKED, message.message)]
        if isinstance(message, Error) and message.code == "read_only":
            self.mode = "watch"
            return [Told(message), *self._dropped(self.input.drop(), "read_only")]
        if isinstance(message, Token):
            self._token = message.token
        if isinstance(message, Title | Renamed | Notice | Error | Unlocked | Token):
            return [Told(message)]
        return []  # skipped: counted from the keyframe's offset

    def _attached(self, message: Attached, now: float) -> list[Event]:
        events = self._output.attached(message)
        self._socket = "live"
        self._live_since = now
        self._heart = Heartbeat(self._limits, now)
        self._retry_at = None
        dropped, restarted = self.input.attached(message.epoch, message.input_ack)
        events.extend(self._dropped(dropped, "restarted" if restarted else "forgotten"))
        if message.mode != self.mode:
            self.mode = message.mode
            events.extend(self._dropped(self.input.drop(), "read_only"))
        return [*self._become("live", now), *events, *self._tell(), *self._flush()]

    # Helpers ----------------------------------------------------------------------------------------

    def _connect(self, now: float) -> list[Event]:
        self._socket = "opening"
        self._retry_at = None
        self._connect_by = now + self._limits.connect_within
        return [Connect()]

    def _lost(self, code: int, now: float, reason: str) -> list[Event]:
        """The line is gone; decide what comes next."""
        if self._live_since is not None and now - self._live_since >= self._limits.stable_after:
            self._attempt = 0
        self._drop_line()
        name: StateName = "ended" if self.state.name == "ended" else after_close(code)
        limits = self._limits
        if name == "locked":
            self._retry_at = now + limits.locked_retry * (0.5 + self._random())
        elif name == "reconnecting":
            if self.state.name in ("connecting", "locked"):
                name = self.state.name  # it was never live, or is still locked as far as anyone knows
            since = now if self.state.name == "live" else self.state.since
            longest = limits.retry_early if now - since < limits.early else limits.retry_late
            pause = min(limits.retry_first * 2.0 ** min(self._attempt, 30), longest)
            self._attempt += 1
            self._retry_at = now + pause * (0.5 + self._random() / 2)
        return self._become(name, now, code, reason)

    def _drop_line(self) -> None:
        self._socket = "none"
        self._heart = self._live_since = None
        self._output.lost()
        self.input.lost()

    def _become(self, name: StateName, now: float, code: int | None = None, message: str = "") -> list[Event]:
        """Change the state; an outage or a lock keeps the time when it began."""
        if name == self.state.name:
            return []
        self.state = State(name, now, code, message)
        return [StateChanged(self.state)]

    def _tell(self) -> list[Event]:
        """Size, visibility and focus, if the server does not know them."""
        if self._socket != "live":
            return []
        events: list[Event] = []
        (size, visible), self._told = self._told, (self._wish, self._visible)
        if size != self._wish:
            events.append(SendText(Resize(*self._wish)))
        if visible != self._visible:
            events.append(SendText(Visible(self._visible)))
        if self._focus:
            self._focus = False
            events.append(SendText(Focus()))
        return events

    def _flush(self) -> list[Event]:
        if self._socket != "live" or self.mode != "rw":
            return []
        return [SendBinary(frame) for frame in self.input.ready()]

    def _ack(self) -> list[Event]:
        return [SendText(Ack(self._output.acknowledge()))]

    def _ping(self) -> Event:
        self._pings += 1
        return SendText(Ping(self._pings))

    @staticmethod
    def _dropped(size: int, reason: DropReason) -> list[Event]:
        return [InputDropped(size, reason)] if size else []
