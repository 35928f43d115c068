"""Which subject of the identity provider each user name was at the last login.

A user name is a claim that a provider may give to somebody else; `sub` never changes. Kept in a small file
of the data directory, because the hub's own place for it (auth_state) would also keep the provider's tokens.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from persistent_terminal_hub.hub.data_dir import write_private

log = logging.getLogger(__name__)


class Subjects:
    """User name to (issuer, sub). An unreadable file is an empty one: then names decide, as at login."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = self._read()

    def of(self, user: str, issuer: str) -> str | None:
        """The user's subject at this issuer; None if it was never seen."""
        known_issuer, subject = self._known.get(user, ("", ""))
        return subject if subject and known_issuer == issuer else None

    def remember(self, user: str, issuer: str, subject: str) -> None:
        """Called at each login that was allowed."""
        if self._known.get(user) != (issuer, subject):
            self._known[user] = (issuer, subject)
            self._write()

    def forget(self, user: str) -> None:
        """Called when a user is deleted: whoever has the name next is somebody else."""
        if self._known.pop(user, None) is not None:
            self._write()

    def _read(self) -> dict[str, tuple[str, str]]:
        try:
            value = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            log.warning(
                "%s cannot be read (%s): subjects are learned anew.", self._path, type(error).__name__
            )
            return {}
        pairs = value.items() if isinstance(value, dict) else ()
        return {
            str(user): (entry[0], entry[1])
            for user, entry in pairs
            if isinstance(entry, list) and len(entry) == 2 and all(isinstance(part, str) for part in entry)
        }

    def _write(self) -> None:
        try:
            write_private(self._path, json.dumps(self._known, indent=0, sort_keys=True))
        except OSError as error:
            log.error("%s cannot be written (%s).", self._path, error.strerror)
