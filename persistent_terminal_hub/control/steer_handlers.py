"""What administrators and operators do to a running workspace: lock it, tell its owner, give a session time.

The workspace is asked with a token of the hub's, because its owner's rights are not theirs, and because it
must be possible while the workspace is locked.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from persistent_terminal_hub.control.documented import documented
from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.idempotency import Answer
from persistent_terminal_hub.control.rights import Action
from persistent_terminal_hub.control.session_handlers import SessionsBase
from persistent_terminal_hub.control.web import Body, Reply
from persistent_terminal_hub.control.workspaces import Row

#: What a person's words are announced as.
CODE = "administrator"
UNLOCK_REQUEST = "unlock_request"
#: Seconds by which a session's end may be put off at once: a month.
MOST_SECONDS = 31 * 86400.0


def _line(value: str) -> str:
    if not value.isprintable():
        raise ValueError("A message is one line of printable characters.")
    return value.strip()


class LockBody(Body):
    """Why, for its owner to read."""

    reason: str = Field("", max_length=200)

    _clean = field_validator("reason")(_line)


class WarnBody(Body):
    """What its owner is told."""

    message: str = Field(min_length=1, max_length=300)

    @field_validator("message")
    @classmethod
    def _clean(cls, value: str) -> str:
        if not _line(value):
            raise ValueError("The message is empty.")
        return _line(value)


class AskBody(Body):
    """Why, for its owner to read."""

    message: str = Field("", max_length=300)

    _clean = field_validator("message")(_line)


class ExtendBody(Body):
    """How much later it is to end."""

    seconds: float = Field(gt=0, le=MOST_SECONDS)


class Locked(Reply):
    """The workspace is locked."""

    locked: bool
    already: bool = Field(description="it was before")


class Warned(Reply):
    """The owner was told: in every page and client that is open now."""

    warned: bool


class Asked(Reply):
    """Its owner reads it on every page of the workspace, and on the home page, until it is opened."""

    asked: bool


class Extended(Reply):
    """How much time was granted; the administrator's maximum counts."""

    granted: float
    expires_in: float | None = Field(None, description="seconds until it ends; null: never")


class SteerHandler(SessionsBase):
    """What all of them share."""

    async def steered(self, row: Row, path: str, action: str, body: Any) -> Any:
        """Ask the workspace; the panels look again at once."""
        answer = await self.control.workspaces.ask(
            row.owner, row.name, "POST", path, action, actor=self.caller.name, body=body
        )
        self.control.gathering.hurry()
        return answer


class LockHandler(SteerHandler):
    """The lock of a workspace."""

    @documented(body=LockBody, answers={200: Locked}, refuses=(409,), idempotent=True)
    async def post(self, key: str) -> None:
        """Lock it: its owner logs in again to go on. Nothing ends."""
        body = self.body(LockBody)
        row, _ = await self.found(key, Action.STEER)

        async def work(_claim: object) -> Answer:
            try:
                wish = {"reason": body.reason} if body.reason else {}
                answer = await self.steered(row, "lock", "lock", wish)
                already = bool(answer and answer.get("already"))
            except ApiError as error:
                if error.status != 423:
                    raise
                already = True
            await self.audit("lock", f"{row.owner}/{row.name}", reason=body.reason)
            return Answer(200, Locked(locked=True, already=already))

        await self.once(work)


class WarnHandler(SteerHandler):
    """Words to the owner."""

    @documented(body=WarnBody, answers={200: Warned}, refuses=(409,), idempotent=True)
    async def post(self, key: str) -> None:
        """Show a message in every session of the workspace."""
        body = self.body(WarnBody)
        row, _ = await self.found(key, Action.STEER)
        await self.once(lambda _claim: self._told(row, None, body.message))

    async def _told(self, row: Row, session: str | None, message: str) -> Answer:
        wish = {"code": CODE, "seconds": 0, "session": session, "reason": f"{self.caller.name}: {message}"}
        await self.steered(row, "warn", "warn", wish)
        more = {} if session is None else {"session": session}
        await self.audit("warn", f"{row.owner}/{row.name}", reason=message, **more)
        return Answer(200, Warned(warned=True))


class UnlockRequestHandler(SteerHandler):
    """A request to its owner. Nobody else can open a workspace, whatever their rights."""

    @documented(body=AskBody, answers={200: Asked}, refuses=(409,), idempotent=True)
    async def post(self, key: str) -> None:
        """Ask its owner to log in again; 409 when it is open."""
        body = self.body(AskBody)
        row, _ = await self.found(key, Action.STEER)
        place, actor = f"{row.owner}/{row.name}", self.caller.name

        async def work(_claim: object) -> Answer:
            why = f": {body.message}" if body.message else ""
            text = f"{actor} asks you to log in again and unlock it{why}"
            text += "" if text[-1] in ".!?…" else "."
            wish = {"code": UNLOCK_REQUEST, "seconds": 0, "session": None, "reason": text}
            await self.steered(row, "warn", "warn", wish)
            await self.audit("unlock.request", place, reason=body.message)
            return Answer(200, Asked(asked=True))

        await self.once(work)


class WarnSessionHandler(WarnHandler):
    """Words to who looks at one session."""

    @documented(body=WarnBody, answers={200: Warned}, refuses=(409, 410), idempotent=True)
    async def post(self, key: str) -> None:
        """Show a message in the session."""
        body = self.body(WarnBody)
        row, _, session = await self.found_session(key, Action.STEER)
        await self.once(lambda _claim: self._told(row, session, body.message))


class ExtendHandler(SteerHandler):
    """The life of a session."""

    @documented(body=ExtendBody, answers={200: Extended}, refuses=(409, 410), idempotent=True)
    async def post(self, key: str) -> None:
        """Put its end off, within the maximum of the workspace's rules."""
        body = self.body(ExtendBody)
        row, _, session = await self.found_session(key, Action.STEER)

        async def work(_claim: object) -> Answer:
            wish = {"seconds": body.seconds}
            answer = await self.steered(row, f"sessions/{session}/extend", "extend", wish)
            granted = float(answer.get("granted") or 0)
            await self.audit("session.extend", f"{row.owner}/{row.name}", session=session, seconds=granted)
            return Answer(200, Extended(granted=granted, expires_in=answer.get("expiresIn")))

        await self.once(work)


def routes() -> list[tuple[Any, ...]]:
    """Relative to the service's prefix."""
    return [
        (r"api/workspaces/([^/]+)/lock", LockHandler),
        (r"api/workspaces/([^/]+)/warn", WarnHandler),
        (r"api/workspaces/([^/]+)/unlock-request", UnlockRequestHandler),
        (r"api/sessions/([^/]+)/warn", WarnSessionHandler),
        (r"api/sessions/([^/]+)/extend", ExtendHandler),
    ]
