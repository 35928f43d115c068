"""Brings what the outbox holds into the audit log, exports signed heads, applies the retention. Blocks.

Any instance may do it, one at a time; what was stored before a kill and not confirmed comes again, and is
known.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from persistent_terminal_hub.audit import AuditError, Outbox
from persistent_terminal_hub.control.audit_log import AuditLog, Entry, HeadSigner
from persistent_terminal_hub.settings import Settings

log = logging.getLogger(__name__)

#: Seconds between two looks into the outbox.
DRAIN_SECONDS = 1.0
#: Batches of one look.
AT_MOST = 50
#: Seconds between two applications of the retention.
RETENTION_SECONDS = 3600.0
HEADS = "heads.jsonl"
HEAD_KEY = "audit-head.pem"


class AuditDrain:
    """The way from the outbox into the log."""

    def __init__(
        self, outbox: Outbox, audit_log: AuditLog, directory: Path, keys: Path, settings: Settings,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._outbox = outbox
        self._log = audit_log
        self._heads = directory / HEADS
        self._key = keys / HEAD_KEY
        self._settings = settings.audit
        self._clock = clock
        self._signer: HeadSigner | None = None
        self._exported = 0
        self._export_at = self._remove_at = 0.0

    def once(self) -> int:
        """One look: how many records were new."""
        added = 0
        for _ in range(AT_MOST):
            try:
                batch = self._outbox.drain()
            except AuditError:
                break  # another instance is at it
            if batch is None:
                break
            with batch:
                added += self._log.append([Entry.of(event) for event in batch.events])
                batch.confirm()
                if batch.torn:
                    log.warning("%d cut-off line(s) of the audit outbox were left out.", batch.torn)
        now = self._clock()
        if now >= self._export_at:
            self._export_at = now + 60.0 * self._settings.head_minutes
            self.export_head()
        if self._settings.retention_days and now >= self._remove_at:
            self._remove_at = now + RETENTION_SECONDS
            removed = self._log.remove_before(now - 86400.0 * self._settings.retention_days)
            if removed:
                log.info("%d audit record(s) were older than the retention and were removed.", removed)
        return added

    def export_head(self) -> bool:
        """Write down where the log ends now, signed; False when that is known already."""
        head = self._log.head()
        if head is None or head.number == self._exported:
            return False
        if self._signer is None:
            self._signer = HeadSigner(self._key)
        line = self._signer.line(head) + "\n"
        self._heads.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._heads, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._exported = head.number
        return True
