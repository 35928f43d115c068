"""`persistent-terminal-hub audit verify|export`: on the hub's machine, also while nothing of it runs."""

from __future__ import annotations

import sys
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from persistent_terminal_hub.control.audit_chain import Head
from persistent_terminal_hub.control.audit_drain import HEAD_KEY, HEADS
from persistent_terminal_hub.control.audit_log import AuditLog, read_heads
from persistent_terminal_hub.control.database import Database, DatabaseError
from persistent_terminal_hub.sealing import SealingError
from persistent_terminal_hub.sealing_keys import FileKeys
from persistent_terminal_hub.settings import Settings, SettingsError, load_settings

AUDIT_KEYS = "audit-keys.json"


def database_url(settings: Settings) -> str:
    """Where the tables are: what the settings name, else a file in the data directory."""
    url = settings.control.database_url.get_secret_value()
    return url or f"sqlite:///{settings.data_dir.expanduser().absolute() / 'control.sqlite'}"


def verify(config: Path | None, heads: Path | None, public_key: Path | None) -> int:
    """Look at the whole log: 0 whole, 1 not, 2 it could not be looked at."""
    try:
        settings = load_settings(config)
        data = settings.data_dir.expanduser().absolute()
        log = _log(settings)
        known, complaints = _heads(
            heads or data / "audit" / HEADS,
            public_key or (data / "keys" / HEAD_KEY).with_suffix(".pub.pem"),
            asked=heads is not None,
        )
        problems = log.verify(known)
    except (SettingsError, DatabaseError, SealingError, SQLAlchemyError, OSError) as error:
        return _fail(error)
    for complaint in complaints:
        print(complaint)
    for problem in problems:
        print(f"row {problem.number}: {problem.sentence}")
    if problems or complaints:
        print("The audit log is NOT whole.")
        return 1
    head = log.head()
    print(
        f"The audit log is whole: it ends at row {head.number if head else 0}; "
        f"{len(known)} exported head(s) agree with it."
    )
    return 0


def export(config: Path | None) -> int:
    """Every row as a line of JSON."""
    try:
        for line in _log(load_settings(config)).export():
            print(line)
    except BrokenPipeError:
        return 1
    except (SettingsError, DatabaseError, SealingError, SQLAlchemyError, OSError) as error:
        return _fail(error)
    return 0


def _log(settings: Settings) -> AuditLog:
    keys = settings.data_dir.expanduser().absolute() / "keys" / AUDIT_KEYS
    if not keys.exists():
        # Making one now would only hide that the right one is missing.
        raise SealingError(f"There is no {keys}: the control service makes it at its first start.")
    return AuditLog(Database(database_url(settings)), FileKeys(keys))


def _heads(heads: Path, public_key: Path, *, asked: bool) -> tuple[list[Head], list[str]]:
    if not heads.exists() and not asked:
        return [], []
    with heads.open(encoding="utf-8") as lines:
        return read_heads(lines, public_key.read_bytes())


def _fail(error: Exception) -> int:
    problems = error.problems if isinstance(error, SettingsError) else [str(error)]
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 2
