"""Idempotency-Key: a POST that is sent again gets the first one's answer, and is done once.

The rows of `claims.py`: one is claimed before the work and filled after it. What the work makes in this
database is noted in the same transaction, which fails for whoever lost the claim meanwhile: neither a service
that is killed nor one that stood still for too long makes anything twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from persistent_terminal_hub.control.claims import (
    KEPT_SECONDS,
    LEASE_SECONDS,
    RENEW_SECONDS,
    UNKNOWN,
    Request,
    Verdict,
    judge,
    stays,
)
from persistent_terminal_hub.control.database import Database
from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.models import IdempotentRequest

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,128}")

Run = Callable[..., Awaitable[Any]]


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


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a request; `noted` is what an attempt before this one made."""

    user: str
    route: str
    key: str
    holder: str
    noted: Mapping[str, Any] = field(default_factory=dict)

    def note(self, session: Session, values: Mapping[str, Any]) -> None:
        """Note what is made, in the transaction that makes it. Raises ApiError 409 for a lost claim."""
        row = self.held(session)
        if row is None:
            raise _busy()
        row.noted = {**(row.noted or {}), **values}

    def unknown(self, session: Session) -> None:
        """From now on nobody can tell whether it was done."""
        self.note(session, {UNKNOWN: True})

    def held(self, session: Session) -> IdempotentRequest | None:
        """The row, locked, while it is ours and unanswered."""
        row = session.get(IdempotentRequest, (self.user, self.route, self.key), with_for_update=True)
        return row if row is not None and row.holder == self.holder and row.status is None else None


def digest_of(body: bytes, salt: str) -> str:
    """What is kept of a body, to know it again. Slow on purpose: whoever reads the database shall not guess
    a short secret in a body by trying. Blocks."""
    return hashlib.scrypt(body, salt=salt.encode(), n=2**13, r=8, p=1, dklen=32).hex()


Work = Callable[[Claim], Awaitable[Answer]]


class IdempotentRequests:
    """The answers given, in the database, so that any instance gives them again."""

    def __init__(self, database: Database, holder: str, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._holder = holder
        self._clock = clock

    async def once(self, run: Run, user: str, route: str, key: str, body: bytes, work: Work) -> Answer:
        """The first answer to this key, made by `work` if there is none yet.

        `run` takes a blocking call to a thread. A refusal (ApiError) is not kept: nothing was changed.
        """
        digest = await run(digest_of, body, "\0".join((user, route, check_key(key))))
        known = await run(self._claim, user, route, key, digest)
        if isinstance(known, Answer):
            return known
        claim: Claim = known
        renewing = asyncio.ensure_future(self._keep_lease(run, claim))
        try:
            answer = await work(claim)
        except BaseException as error:
            refused = isinstance(error, ApiError) and not error.unknown
            # Whatever this cannot write down is cleared up when the lease has run out.
            with contextlib.suppress(SQLAlchemyError):
                await run(self._give_up, claim, refused)
            raise
        finally:
            renewing.cancel()
        await run(self._keep, claim, answer)
        return answer

    def forget_old(self) -> None:
        """Remove what nobody will ask for again."""
        now = self._clock()
        self._database.run(
            lambda session: session.execute(
                delete(IdempotentRequest).where(
                    IdempotentRequest.created < now - KEPT_SECONDS, IdempotentRequest.lease_until < now
                )
            )
        )

    def _claim(self, user: str, route: str, key: str, digest: str) -> Answer | Claim:
        for _ in range(3):
            try:
                return self._database.run(lambda session: self._claim_in(session, user, route, key, digest))
            except IntegrityError:  # another instance was quicker; look again
                continue
        raise _busy()

    def _claim_in(self, session: Session, user: str, route: str, key: str, digest: str) -> Answer | Claim:
        now = self._clock()
        row = session.get(IdempotentRequest, (user, route, key), with_for_update=True)
        verdict = judge(None if row is None else _known(row), digest, now)
        # One process may have two claims to the same request, if it stood still for long.
        claim = Claim(user, route, key, f"{self._holder}:{secrets.token_hex(4)}")
        if row is None or verdict is Verdict.NEW:
            if row is not None:
                session.delete(row)
                session.flush()
            session.add(
                IdempotentRequest(
                    user=user, route=route, key=key, request=digest, holder=claim.holder, created=now,
                    lease_until=now + LEASE_SECONDS,
                )
            )  # fmt: skip
            return claim
        if verdict is Verdict.GO_ON:
            row.holder, row.lease_until = claim.holder, now + LEASE_SECONDS
            return Claim(user, route, key, claim.holder, dict(row.noted or {}))
        if verdict is Verdict.ANSWERED:
            return Answer(row.status or 0, (row.answer or {}).get("body"))
        if verdict is Verdict.OTHER:
            raise ApiError(
                422, f"This {HEADER} was used for another request; nothing was done.", "Use a new key."
            )
        if verdict is Verdict.UNKNOWN:
            raise ApiError(
                409,
                f"An earlier request with this {HEADER} was cut off in the middle: it is not known whether "
                "it was carried out. It was not done again.",
                "Look at what it would have changed; to do it (again), use a new key.",
                reason="Outcome unknown",
            )
        raise _busy()

    async def _keep_lease(self, run: Run, claim: Claim) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            with contextlib.suppress(SQLAlchemyError):
                if not await run(self._renew, claim):
                    return

    def _renew(self, claim: Claim) -> bool:
        until = self._clock() + LEASE_SECONDS
        mine = update(IdempotentRequest).where(
            IdempotentRequest.user == claim.user,
            IdempotentRequest.route == claim.route,
            IdempotentRequest.key == claim.key,
            IdempotentRequest.holder == claim.holder,
            IdempotentRequest.status.is_(None),
        )
        done: Any = self._database.run(lambda session: session.execute(mine.values(lease_until=until)))
        return bool(done.rowcount)

    def _keep(self, claim: Claim, answer: Answer) -> None:
        def work(session: Session) -> None:
            row = claim.held(session)
            if row is not None:
                row.status, row.answer, row.lease_until = answer.status, {"body": answer.body}, 0.0

        self._database.run(work)

    def _give_up(self, claim: Claim, refused: bool) -> None:
        def work(session: Session) -> None:
            row = claim.held(session)
            if row is None:
                return
            if stays(row.noted or {}, refused=refused):
                row.lease_until = 0.0
            else:
                session.delete(row)

        self._database.run(work)


def _known(row: IdempotentRequest) -> Request:
    return Request(row.request, row.created, row.lease_until, row.status is not None, row.noted or {})


def _busy() -> ApiError:
    return ApiError(
        409,
        f"A request with this {HEADER} is being worked on.",
        "Wait for its answer; a service that was killed is taken over from in seconds.",
        reason="In progress",
        retry_after=2,
    )
