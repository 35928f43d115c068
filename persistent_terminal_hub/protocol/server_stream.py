"""One client's connection as the server sees it: a cursor into the journal, input, a heartbeat.

Pure: no socket, no clock of its own, no copy of the journal. The host feeds what arrives (`receive`), the
time (`tick`, at `wake_at`) and what it found out (`admit`, `keyframe`, `input_written`), and does what is
returned. Output is pulled: while `pull(view, now)` returns an action, the host does it. One pull is one
frame, so that a host can take turns between sessions; what other methods return goes out at once.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

from .codes import Code, Limits, ProtocolError
from .frames import decode_input
from .heartbeat import Heartbeat
from .journal_view import JournalView, decide_attach
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
    Ping,
    Pong,
    Reset,
    Resize,
    Responder,
    Token,
    Visible,
    decode_client,
)
from .server_actions import (
    Action,
    Admit,
    Heard,
    Send,
    SendFetched,
    Shut,
    WriteInput,
)
from .server_cursor import Cursor

DEFAULT_LIMITS: Final = Limits()
Phase = Literal["waiting", "admitting", "live", "closed"]


class ServerStream:
    """The state machine; its methods may be called in whatever order the host meets events."""

    def __init__(self, now: float, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self.phase: Phase = "waiting"
        self._attach_by = now + limits.attach_within
        self._heart = Heartbeat(limits, now)
        self._pings = 0
        self._tokens = limits.control_burst
        self._tokens_at = now
        # Who
        self.request: Attach | None = None
        self.mode: Mode = "watch"
        self.responder = False
        self._epoch = ""
        # Output
        self.cursor = Cursor(limits)
        # Input
        self._seq = 0  # the highest number handed to the keeper on this connection
        self._written = 0
        self._unwritten: deque[tuple[int, int]] = deque()
        self._unwritten_bytes = 0
        # Fetch
        self._fetch: Fetch | None = None
        self._fetch_ping: int | None = None  # the pong that proves that the last fetched bytes were read

    # What arrives -----------------------------------------------------------------------------------

    def receive(self, frame: str | bytes, now: float) -> list[Action]:
        """A text or binary frame from the client."""
        if self.phase == "closed":
            return []
        self._heart.heard(now)
        try:
            if isinstance(frame, str):
                return self._control(decode_client(frame), now)
            return self._input(*decode_input(frame), now)
        except ProtocolError as error:
            return self._shut(error.code, str(error))

    def _control(self, message: Message, now: float) -> list[Action]:
        if isinstance(message, Ack) and self.phase == "live" and self.cursor.ack(message.offset, now):
            return []  # progress is free: its number is bounded by the bytes that were sent
        self._spend(now)
        if isinstance(message, Ping):
            return [Send(Pong(message.id))]
        if isinstance(message, Pong):
            if message.id == self._fetch_ping:
                self._fetch_ping = None
            return []
        if isinstance(message, Attach):
            if self.phase != "waiting":
                raise ProtocolError("A connection attaches once.")
            self.phase = "admitting"
            self.request = message
            return [Admit(message)]
        if self.phase != "live":
            raise ProtocolError("The first message of a connection must be attach, and its answer awaited.")
        if isinstance(message, Fetch):
            return self._want(message)
        if isinstance(message, Resize | Visible | Focus | Token):
            return [Heard(message)]
        return []  # an acknowledgement without progress

    def _input(self, seq: int, data: bytes, now: float) -> list[Action]:
        if self.phase != "live" or self.request is None:
            raise ProtocolError("Input before the attach was answered.")
        if self.mode != "rw":
            self._spend(now)
            return [Send(Error("read_only", "You are watching this session; what you typed was not sent."))]
        if seq <= self._seq:
            self._spend(now)
            return [Send(InputAck(self._written))]
        self._seq = seq
        self._unwritten.append((seq, len(data)))
        self._unwritten_bytes += len(data)
        limits = self._limits
        if self._unwritten_bytes > limits.input_unwritten or len(self._unwritten) > limits.input_frames:
            raise ProtocolError("More input than the program reads; wait for input_ack.", Code.FLOOD)
        if data:
            self.cursor.typed(now)
        return [WriteInput(self.request.client, self._epoch, seq, data)]

    def _want(self, fetch: Fetch) -> list[Action]:
        if self._fetch is not None:
            return [Send(Error("busy", "One fetch at a time.", "Wait for its answer, then ask again."))]
        if fetch.stop < fetch.start:
            raise ProtocolError("fetch: from must not be after to.")
        self._fetch = fetch
        return []

    def _spend(self, now: float) -> None:
        """One control message of the client's allowance."""
        limits = self._limits
        self._tokens = min(limits.control_burst, self._tokens + (now - self._tokens_at) * limits.control_rate)
        self._tokens_at = now
        self._tokens -= 1
        if self._tokens < 0:
            raise ProtocolError("Too many control messages.", Code.FLOOD)

    # What the host found out ------------------------------------------------------------------------

    def admit(self, view: JournalView, *, mode: Mode, input_ack: int, responder: bool) -> list[Action]:
        """The attach is allowed. `input_ack`: the last number of this client that the keeper has."""
        if self.phase != "admitting" or self.request is None:
            return []
        request = self.request
        self.phase = "live"
        self.mode = mode
        self.responder = responder
        self._epoch = view.epoch
        self._seq = self._written = input_ack
        start = decide_attach(request, view, self._limits.replay_whole)
        at = view.head if start.offset is None else start.offset
        size = view.size_at(at)[0]
        had = request.offset if request.epoch == view.epoch and start.reason != "future" else None
        self.cursor.begin(start, had, (size.rows, size.cols))
        actions: list[Action] = [
            Send(
                Attached(
                    epoch=view.epoch,
                    start=start.offset,
                    end=view.head,
                    input_ack=input_ack,
                    # Everything before was answered when it was printed, by another client or the server.
                    answer_from=view.head,
                    responder=responder,
                    rows=size.rows,
                    cols=size.cols,
                    resumed=start.resumed,
                    mode=mode,
                    reason=start.reason,
                )
            )
        ]
        if start.offset is not None and start.reason is not None:
            actions.append(Send(Reset(start.reason)))
        return actions

    def refuse(self, code: Code, reason: str) -> list[Action]:
        """The attach is not allowed, or the connection must end now for another reason."""
        return self._shut(code, reason)

    def lock(self, message: str) -> list[Action]:
        """The workspace is locked."""
        return [] if self.phase == "closed" else [Send(Locked(message)), *self._shut(Code.LOCKED, message)]

    def end(self, exit_: Exit) -> None:
        """The session ended; the client is told after its last byte, by `pull`."""
        self.cursor.exit = exit_

    def input_written(self, seq: int) -> list[Action]:
        """The keeper has all input of this client up to `seq`."""
        if self.phase != "live" or seq <= self._written:
            return []
        self._written = seq
        while self._unwritten and self._unwritten[0][0] <= seq:
            self._unwritten_bytes -= self._unwritten.popleft()[1]
        return [Send(InputAck(seq))]

    def set_mode(self, mode: Mode) -> None:
        """The client's right changed while it is attached."""
        self.mode = mode

    def set_responder(self, responder: bool, view: JournalView) -> list[Action]:
        """The arbiter chose: from the journal's head on this client answers queries, or does not."""
        # A stream of an older process is about to be closed; offsets of the new one mean nothing in it.
        if self.phase != "live" or responder == self.responder or view.epoch != self._epoch:
            return []
        self.responder = responder
        return [Send(Responder(responder, view.head))]

    def keyframe(self, keyframe: Keyframe, data: bytes, view: JournalView) -> None:
        """The keyframe that was asked for, and its bytes; then pull."""
        self.cursor.keyframe(keyframe, data, view)

    def keyframe_unavailable(self) -> None:
        """No keyframe can be made; then pull."""
        self.cursor.keyframe_unavailable()

    def fetched(self, ok: bool) -> list[Action]:
        """The fetched bytes were sent, or the journal no longer held them."""
        fetch = self._fetch
        if fetch is None or self.phase != "live":
            return []
        self._fetch = None
        ping = self._ping()
        self._fetch_ping = self._pings
        return [Send(Fetched(fetch.start, fetch.stop if ok else fetch.start)), ping]

    # Output -----------------------------------------------------------------------------------------

    def pull(self, view: JournalView, now: float) -> Action | None:
        """The next thing to send, or None. A read is offered again until the host says that it was sent."""
        if self.phase != "live":
            return None
        if view.epoch != self._epoch:  # the same session, but another process with another stream
            self.phase = "closed"
            return Shut(Code.REATTACH, "The session's process was restarted.")
        action = self.cursor.pull(view, now)
        if action is None:
            return self._pull_fetch(view)
        if isinstance(action, Shut):
            self.phase = "closed"
        return action

    def sent(self, stop: int, now: float) -> None:
        """The host sent a SendData."""
        self.cursor.sent(stop, now)

    def _pull_fetch(self, view: JournalView) -> Action | None:
        """Fetched bytes go out when the stream itself has nothing to send or no room."""
        fetch = self._fetch
        if fetch is None or self._fetch_ping is not None:  # the next one waits until the last was read
            return None
        start = max(fetch.start, view.floor)
        stop = min(fetch.stop, view.head, start + self._limits.fetch)
        if start >= stop:
            self._fetch = None
            return Send(Fetched(fetch.start, fetch.start))
        self._fetch = Fetch(start, stop)
        return SendFetched(start, stop)

    # Time -------------------------------------------------------------------------------------------

    @property
    def wake_at(self) -> float:
        """When to call `tick`, and `pull` after it, if nothing happens before."""
        due = self._heart.due
        if self.phase == "waiting":
            return min(due, self._attach_by)
        return due if self.cursor.due is None else min(due, self.cursor.due)

    def tick(self, now: float) -> list[Action]:
        """The time is `now`."""
        if self.phase == "closed":
            return []
        if self.phase == "waiting" and now >= self._attach_by:
            return self._shut(Code.TIMEOUT, "No attach message came.")
        verdict = self._heart.tick(now)
        if verdict == "dead":
            return self._shut(Code.TIMEOUT, "Nothing was heard from the client for too long.")
        return [self._ping()] if verdict == "ping" else []

    def _ping(self) -> Action:
        self._pings += 1
        return Send(Ping(self._pings))

    def _shut(self, code: Code, reason: str) -> list[Action]:
        if self.phase == "closed":
            return []
        self.phase = "closed"
        return [Shut(code, reason)]
