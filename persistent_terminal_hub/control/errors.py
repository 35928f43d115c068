"""What the API refuses, and with which words."""

from __future__ import annotations

from http.client import responses
from typing import Any


class ApiError(Exception):
    """An answer that is no success: `{status, reason, message, hint}`.

    `message` says what happened and what was kept; `hint` what to do. `unknown`: what was asked for may
    have been done all the same.
    """

    def __init__(
        self, status: int, message: str, hint: str = "", *, reason: str = "",
        retry_after: float | None = None, unknown: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint
        self.reason = reason or responses.get(status, "Unknown")
        self.retry_after = retry_after
        self.unknown = unknown

    def model(self) -> dict[str, Any]:
        """The answer's body."""
        return {"status": self.status, "reason": self.reason, "message": self.message, "hint": self.hint}


def not_found(what: str) -> ApiError:
    """Also for what exists and belongs to somebody else: whoever may not see it learns nothing of it."""
    return ApiError(404, f"There is no {what} of that name that you may see.")


def locked(workspace: str) -> ApiError:
    """As the workspace itself answers while it is locked."""
    return ApiError(
        423,
        f"The workspace {workspace} is locked. Its programs go on.",
        "Open it in a browser and log in again.",
    )


def hub_away() -> ApiError:
    """The hub did not answer."""
    return ApiError(
        503,
        "The hub does not answer; nothing was changed. Terminals go on running.",
        "Try again in a few seconds.",
        retry_after=5,
    )


def not_answering(workspace: str, *, unknown: bool = True) -> ApiError:
    """The workspace did not answer; it may be alive, and have done what it was asked for, all the same."""
    return ApiError(
        503,
        f"The workspace {workspace} does not answer. Nothing was stopped; its programs may be running on.",
        "Try again; if that goes on for minutes, an administrator should look at its container.",
        retry_after=5,
        unknown=unknown,
    )
