"""Volumes that should be gone and are not yet, because Docker did not answer when their owner was deleted.

JupyterHub forgets a user whatever `delete_forever` says. Without a note, somebody who is later given the
same name would find the predecessor's files.
"""

from __future__ import annotations

import contextlib
from pathlib import Path


class Tombstones:
    """One empty file for each volume that has still to be removed."""

    def __init__(self, data_dir: Path) -> None:
        self._dir = data_dir / "to-remove"

    def add(self, volume: str) -> None:
        """Note that this volume has to go."""
        self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._dir / volume).touch(mode=0o600)

    def has(self, volume: str) -> bool:
        """Whether this volume has to go before its name is used again."""
        return (self._dir / volume).exists()

    def clear(self, volume: str) -> None:
        """It is gone."""
        with contextlib.suppress(FileNotFoundError):
            (self._dir / volume).unlink()
