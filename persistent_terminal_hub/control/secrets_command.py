"""`persistent-terminal-hub secrets rotate-key`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from persistent_terminal_hub import audit
from persistent_terminal_hub.audit import Outbox
from persistent_terminal_hub.control.audit_command import database_url
from persistent_terminal_hub.control.database import Database, DatabaseError
from persistent_terminal_hub.control.sealing_source import key_source
from persistent_terminal_hub.control.secrets import reseal, when_unused
from persistent_terminal_hub.sealing import KeySource, Sealer, SealingError
from persistent_terminal_hub.sealing_keys import FileKeys
from persistent_terminal_hub.settings import Settings, SettingsError, load_settings


def rotate_key(config: Path | None, forget_old: bool) -> int:
    """Do it and say so; returns the exit code. The service may run or not."""
    try:
        settings = load_settings(config)
        _check_owner(settings)
        database = Database(database_url(settings))
        try:
            database.migrate()
            code = _rotate(database, key_source(settings), forget_old)
            Outbox(settings.data_dir.expanduser().absolute() / "audit").record(
                who=audit.account(), what="keys.rotate", on="secrets", origin=audit.COMMAND_LINE,
                result="failed" if code else "ok",
            )  # fmt: skip
            return code
        finally:
            database.close()
    except (SettingsError, SealingError, DatabaseError) as error:
        return _complain(str(error))
    except OSError as error:
        return _complain(f"The keys cannot be changed ({error.strerror}); nothing is lost. Try again.")


def _rotate(database: Database, keys: KeySource, forget_old: bool) -> int:
    if isinstance(keys, FileKeys):
        print(f"The key {keys.rotate()} seals from now on.")
    else:
        print(f"The newest key is {keys.current()[0]}. A new one is made where the keys are kept, not here.")
    changed, problems = reseal(database, Sealer(keys))
    print(f"{changed} secrets were put under it.")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if isinstance(keys, FileKeys):
        _clean(database, keys, forget_old)
    return 1 if problems else 0


def _clean(database: Database, keys: FileKeys, forget_old: bool) -> None:
    old = [key_id for key_id in keys.ids() if key_id != keys.current()[0]]
    if not forget_old:
        if old:
            print(
                f"Older keys are kept: {', '.join(old)}. Backups of the database need them. "
                "With --forget-old those that seal nothing any more are removed."
            )
        return
    for key_id in old:
        forgotten = when_unused(database, key_id, lambda key_id=key_id: keys.forget(key_id))  # type: ignore[misc]
        print(f"The key {key_id} " + ("was removed." if forgotten else "still seals something and was kept."))


def _check_owner(settings: Settings) -> None:
    """A file of root's would lock the service out of its own keys."""
    data = settings.data_dir.expanduser().absolute()
    try:
        owner = data.stat().st_uid
    except OSError as error:
        raise SealingError(
            f"There is no data directory {data} ({error.strerror}): is dataDir right?"
        ) from None
    if owner != os.geteuid():
        raise SealingError(
            f"The data directory {data} belongs to the user with number {owner}: run this as that user."
        )


def _complain(problem: str) -> int:
    for line in problem.splitlines():
        print(f"error: {line}", file=sys.stderr)
    return 1
