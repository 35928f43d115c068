"""What an administrator asks the owner of a locked workspace: to log in again. Nobody can do it for them.

Kept in the runtime directory for the lock that it was asked of, so that a server that starts again still
shows it, and the next lock does not.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Final

from persistent_terminal_hub import rules_file

log = logging.getLogger(__name__)

FILE_NAME: Final = "unlock-request.json"
#: The code of the announcement that carries it (`api/warn`).
CODE: Final = "unlock_request"


class UnlockRequest:
    """The last one. Whoever runs code in the workspace can change it: it opens nothing."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._generation, self._text = _read(self._path)

    def make(self, generation: int, text: str) -> None:
        """Ask: `text` is a sentence, and says who asks."""
        self._generation, self._text = generation, text
        try:
            rules_file.write_private(
                self._path, json.dumps({"generation": generation, "text": text}).encode()
            )
        except OSError as error:
            log.error("The request to unlock is shown, but cannot be kept for a restart: %s", error)

    def of(self, generation: int) -> str:
        """What was asked of this lock; empty: nothing."""
        return self._text if generation == self._generation else ""


def _read(path: Path) -> tuple[int, str]:
    try:
        with path.open("rb") as file:
            kept = json.loads(file.read(rules_file.MAX_FILE))
        generation, text = kept["generation"], kept["text"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return -1, ""
    good = isinstance(generation, int) and isinstance(text, str)
    return (generation, text) if good else (-1, "")
