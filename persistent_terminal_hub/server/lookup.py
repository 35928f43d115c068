"""Which session is meant: by id, name or former name, those included that ended before this start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .errors import SessionError
from .keeper_link import Info
from .past_sessions import PastSession, PastSessions
from .session import PersistentPty, session_model


class Lookup:
    """What the manager knows, for whoever asks."""

    #: Running sessions by name: what stock code looks at.
    terminals: dict[str, PersistentPty]
    #: Every session by id, ended ones included.
    by_id: dict[str, PersistentPty]
    #: What ended before this start of the workspace; None outside a workspace.
    past: PastSessions | None
    #: What the rules say of a session, for the API; set before there is one.
    life: Callable[[Info], dict[str, Any]]

    def models(self) -> list[dict[str, Any]]:
        """Every session that runs, oldest first, then those that ended."""
        ordered = sorted(
            self.by_id.values(), key=lambda session: (not session.info.running, session.info.created)
        )
        return [session.model() for session in ordered]

    async def all_models(self) -> list[dict[str, Any]]:
        """The same, and those that ended before this start of the workspace."""
        if self.past is None:
            return self.models()
        past = await asyncio.to_thread(self.past.others, frozenset(self.by_id))
        return [*self.models(), *(self.past_model(each) for each in past)]

    def past_model(self, session: PastSession) -> dict[str, Any]:
        """One of the latter."""
        return session_model(session.info, "ended", session.stop, self.life(session.info))

    async def find_any(self, key: str) -> PersistentPty | PastSession:
        """As `find`, and then among those that ended before this start of the workspace; raises 404."""
        try:
            return self.find(key)
        except SessionError:
            if self.past is None:
                raise
            found = await asyncio.to_thread(self.past.find, key, frozenset(self.by_id))
            if found is None:
                raise
            return found

    def find_running(self, key: str) -> PersistentPty | None:
        """The running session with this name, id or former name."""
        found = self.terminals.get(key) or self.by_id.get(key)
        if found is not None:
            return found if found.info.running else None
        newest_first = reversed(self.terminals.values())
        return next((s for s in newest_first if key in s.info.meta.get("former", ())), None)

    def find(self, key: str) -> PersistentPty:
        """The session with this id or name, running ones first; raises 404."""
        found = self.find_running(key) or self.by_id.get(key)
        found = found or next((s for s in reversed(self.by_id.values()) if s.term_name == key), None)
        if found is None:
            raise SessionError(404, "There is no such session.", "List the sessions to see which there are.")
        return found
