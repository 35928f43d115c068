"""Everything that a client of a workspace can be told, as exceptions with a sentence and a hint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from persistent_terminal_hub.protocol.codes import Code

if TYPE_CHECKING:
    from persistent_terminal_hub.protocol.messages import Exit


class ClientError(Exception):
    """Any failure of this client; `str()` is a sentence that a person can act on."""

    usual_hint: ClassVar[str] = ""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.usual_hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class NotConfigured(ClientError):
    """Nobody said where the hub or the workspace is, or with which token."""


class Unreachable(ClientError):
    """The server did not answer, or not as this server does. It may be back in a moment."""


class SignInAgain(ClientError):
    """401 and 4401: the token is missing, wrong or expired."""

    usual_hint = "Get a new token on the hub's page /hub/token."


class NotYours(ClientError):
    """403 and 4403: the token is known, but not allowed to do this."""

    usual_hint = (
        "Is the token yours and does it have the scope access:servers? See the hub's page /hub/token."
    )


class NotFound(ClientError):
    """404: there is nothing of this name that the token may see."""


class NoSuchSession(NotFound):
    """404 and 4404: there is no session of this name or id."""


class NoSuchWorkspace(NotFound):
    """The hub knows no such workspace, or it does not run."""


class SessionEnded(ClientError):
    """410 and 4410: the session is over; `exit` says how, if it is known."""

    def __init__(self, message: str, hint: str = "", exit_: Exit | None = None) -> None:
        super().__init__(message, hint)
        self.exit = exit_


class WorkspaceLocked(ClientError):
    """423 and 4423: the workspace waits for a fresh login."""

    usual_hint = "Unlock it in the browser; attached clients are back by themselves then."


class TakenOver(ClientError):
    """4409: a newer connection with the same client id took this one's place."""


class Conflict(ClientError):
    """409: not now. The name is taken, it runs, it does not run, or something else is under way."""


class Refused(ClientError):
    """The request cannot be done as it was made: 400, 413, 422, 429, or the protocol was broken."""


class OperationFailed(ClientError):
    """What was asked for was begun and did not succeed; `state` is "failed" or "cancelled"."""

    def __init__(self, message: str, hint: str = "", state: str = "failed") -> None:
        super().__init__(message, hint)
        self.state = state


class InputLost(ClientError):
    """Input was given up, because delivering it now could type it twice or into the wrong program."""


_BY_CODE: dict[int, tuple[type[ClientError], str]] = {
    Code.SIGN_IN: (SignInAgain, "The server asks for a new login."),
    Code.FORBIDDEN: (NotYours, "This token may not attach to the session."),
    Code.NO_SESSION: (NoSuchSession, "There is no such session."),
    Code.TAKEN_OVER: (TakenOver, "A newer connection of the same client took over."),
    Code.ENDED: (SessionEnded, "The session has ended."),
    Code.LOCKED: (WorkspaceLocked, "The workspace is locked."),
    Code.PROTOCOL: (Refused, "Client and server do not understand each other; are their versions far apart?"),
    Code.TOO_LARGE: (Refused, "A message was too large for the server."),
}  # fmt: skip

_BY_STATUS: dict[int, type[ClientError]] = {
    401: SignInAgain,
    403: NotYours,
    404: NoSuchSession,
    409: Conflict,
    410: SessionEnded,
    423: WorkspaceLocked,
}


def of_close(code: int | None, message: str = "") -> ClientError:
    """The exception of a close code after which the client does not come back by itself."""
    kind, sentence = _BY_CODE.get(code or 0, (Unreachable, "The connection was closed."))
    # A server that refused a handshake gave no sentence; a browser-like "Forbidden" says less than ours.
    return kind(message if message.endswith((".", "!", "?")) else sentence)


def of_status(status: int, body: Mapping[str, Any]) -> ClientError:
    """The exception of a REST answer, which carries `message` and `hint` if it is ours."""
    if status == 404 and "hint" not in body:  # not an answer of ours
        return NoSuchWorkspace(
            "There are no persistent terminals at this address.",
            "Is it a workspace's, and is the server extension enabled there?",
        )
    message = str(body.get("message") or f"The server answered with status {status}.")
    kind = _BY_STATUS.get(status, Unreachable if status >= 500 or status == 424 else Refused)
    return kind(message, str(body.get("hint") or ""))


def of_exit(exit_: Exit) -> SessionEnded:
    """The end of a session as an exception."""
    return SessionEnded(f"The session has ended ({describe_exit(exit_)}).", exit_=exit_)


def describe_exit(exit_: Exit) -> str:
    """How a session ended, in words."""
    if exit_.code is not None:
        return f"exit status {exit_.code}"
    if exit_.signal is not None:
        return f"signal {exit_.signal}"
    return exit_.reason or "nobody knows how"
