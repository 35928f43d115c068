"""Keeps the attach token of one live connection fresh, and ends the connection when the hub says no."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from persistent_terminal_hub.protocol.codes import Code
from persistent_terminal_hub.protocol.messages import Token

from .attach_tokens import AttachTokens, Person, Refused

#: Seconds from the attach to the first token: after what the person waits for.
FIRST: Final = 0.5
#: Seconds between two attempts while the hub does not answer, in parts of the time between renewals.
_SPREAD: Final = 0.1


class Renewal:
    """One connection. `tell` sends a message, `shut` closes; both may be called when it is closed already."""

    def __init__(
        self,
        tokens: AttachTokens,
        session: str,
        person: Person,
        tell: Callable[[Token], None],
        shut: Callable[[Code, str], None],
    ) -> None:
        self.person = person
        self._tokens = tokens
        self._session = session
        self._tell = tell
        self._shut = shut
        self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """The connection is over."""
        self._task.cancel()

    def presented(self, token: str) -> None:
        """The client proves itself again, on the live connection."""
        try:
            person = self._tokens.verify(token, self._session)
        except Refused as error:
            self._shut(error.code, str(error))
            return
        if person.user != self.person.user:
            self._shut(Code.FORBIDDEN, "The token is for another user.")
        elif self.person.until is not None:
            self.person = person

    async def _run(self) -> None:
        await asyncio.sleep(FIRST)
        if self.person.until is None:
            self._give()  # the hub was asked at the handshake
            await self._pause()
        while await self._renew():
            await self._pause()

    async def _renew(self) -> bool:
        """Once; whether the connection goes on."""
        verdict = await self._tokens.ask(self.person)
        if verdict == "no":
            self._shut(Code.SIGN_IN, "The hub does not let you in any more. Sign in again.")
            return False
        if verdict == "yes":
            self.person = replace(self.person, confirmed=time.time())
        if verdict == "yes" or (verdict == "away" and self._tokens.within_grace(self.person)):
            self._give()
        elif self.person.until is not None and time.time() >= self.person.until:
            self._shut(Code.SIGN_IN, "Your token has expired. Sign in again.")
            return False
        return True

    def _give(self) -> None:
        token = self._tokens.issue(self.person, self._session)
        if self.person.until is not None:
            self.person = replace(self.person, until=time.time() + self._tokens.lifetime)
        self._tell(Token(token, self._tokens.lifetime))

    async def _pause(self) -> None:
        pause = self._tokens.lifetime / 3 * random.uniform(1 - _SPREAD, 1 + _SPREAD)  # noqa: S311 (spreads load)
        if self.person.until is not None:
            # Not later than its end, at which it is either renewed or over.
            pause = min(pause, max(0.05, self.person.until - time.time()))
        await asyncio.sleep(pause)
