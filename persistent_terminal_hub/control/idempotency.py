"""Idempotency-Key: a POST that is sent again gets the first one's answer, and is done once.

The row is claimed before the work and filled after it. Whoever claims may die in between; the claim then
lapses and the repeated request is worked on anew, which every POST here stands (creations find what is half
there).
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from persistent_terminal_hub.control.database import Database
from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.models import IdempotentRequest

HEADER = "Idempotency-Key"
#: Answers are kept for a day.
KEPT_SECONDS = 86400.0
#: A claim that is not filled after this long belongs to a service that died.
CLAIM_SECONDS = 900.0
_KEY = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and the JSON of the body."""

    status: int
    body: Any


def check_key(key: str) -> str:
    """The header's value if it can be one. Raises ApiError 422."""
    if not _KEY.fullmatch(key):
        raise ApiError(422, f"{HEADER} is 1 to 128 visible ASCII characters, such as a UUID.")
    return key


class IdempotentRequests:
    """The answers given, in the database, so that any instance gives them again."""

    def __init__(self, database: Database, holder: str, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._holder = holder
        self._clock = clock

    async def once(
        self, run: Callable[..., Awaitable[Any]], user: str, route: str, key: str, body: bytes,
        work: Callable[[], Awaitable[Answer]],
    ) -> Answer:  # fmt: skip
        """The first answer to this key, made by `work` if there is none yet.

        `run` takes a blocking call to a thread. Refusals (ApiError) are not kept: they changed nothing.
        """
        digest = hashlib.sha256(body).hexdigest()
        known = await run(self._claim, user, route, check_key(key), digest)
        if known is not None:
            return known
        try:
            answer = await work()
        except BaseException:
            await run(self._let_go, user, route, key)
            raise
        await run(self._keep, user, route, key, answer)
        return answer

    def forget_old(self) -> None:
        """Remove what nobody will ask for again."""
        before = self._clock() - KEPT_SECONDS
        self._database.run(
            lambda session: session.execute(
                delete(IdempotentRequest).where(IdempotentRequest.created < before)
            )
        )

    def _claim(self, user: str, route: str, key: str, digest: str) -> Answer | None:
        for _ in range(3):
            try:
                return self._database.run(lambda session: self._claim_in(session, user, route, key, digest))
            except IntegrityError:  # another instance was quicker; look again
                continue
        raise ApiError(409, f"A request with this {HEADER} is being worked on.", "Wait for its answer.")

    def _claim_in(self, session: Session, user: str, route: str, key: str, digest: str) -> Answer | None:
        now = self._clock()
        row = session.get(IdempotentRequest, (user, route, key), with_for_update=True)
        if row is not None and now - row.created >= KEPT_SECONDS:
            session.delete(row)
            session.flush()
            row = None
        if row is None:
            session.add(
                IdempotentRequest(
                    user=user, route=route, key=key, request=digest, holder=self._holder, created=now
                )
            )
            return None
        if row.request != digest:
            raise ApiError(
                422, f"This {HEADER} was used for another request; nothing was done.", "Use a new key."
            )
        if row.status is not None:
            return Answer(row.status, (row.answer or {}).get("body"))
        if now - row.created < CLAIM_SECONDS:
            raise ApiError(
                409,
                f"A request with this {HEADER} is being worked on.",
                "Wait for its answer.",
                retry_after=2,
            )
        row.holder, row.created = self._holder, now
        return None

    def _keep(self, user: str, route: str, key: str, answer: Answer) -> None:
        values = {"status": answer.status, "answer": {"body": answer.body}}
        self._database.run(lambda session: session.execute(_mine(user, route, key).values(**values)))

    def _let_go(self, user: str, route: str, key: str) -> None:
        self._database.run(
            lambda session: session.execute(
                delete(IdempotentRequest).where(
                    IdempotentRequest.user == user,
                    IdempotentRequest.route == route,
                    IdempotentRequest.key == key,
                    IdempotentRequest.status.is_(None),
                )
            )
        )


def _mine(user: str, route: str, key: str) -> Any:
    return update(IdempotentRequest).where(
        IdempotentRequest.user == user, IdempotentRequest.route == route, IdempotentRequest.key == key
    )
