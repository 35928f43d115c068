"""Requests that cannot be done, as HTTP says it and as a person understands it."""

from __future__ import annotations

from tornado import web

from persistent_terminal_hub.keeper.channel import KeeperError

_STATUS = {
    "exists": 409,
    "invalid_name": 422,
    "invalid": 422,
    "start_failed": 422,
    "not_found": 404,
    "ended": 410,
    "running": 409,
    "limit": 429,
    "ending": 503,
    "not_signalled": 409,
    "not_watched": 422,
    "not_locked": 409,
    "used": 403,
    "not_recorded": 503,
    "unknown_op": 503,
}


class SessionError(web.HTTPError):
    """A request that cannot be done: a status, a sentence, and what to do about it."""

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        # log_message is a %-format.
        super().__init__(status, message.replace("%", "%%"))
        self.message = message
        self.hint = hint


def refusal(error: Exception) -> SessionError:
    """The keeper refused, or was not there."""
    if isinstance(error, KeeperError):
        return SessionError(_STATUS.get(error.code, 500), str(error))
    return SessionError(
        503,
        "The keeper of this workspace's terminals does not answer.",
        "Try again in a moment; if that does not help, restart the workspace.",
    )
