"""`persistent-terminal-hub passkeys list|reset`, on the data directory; the hub may be running."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from persistent_terminal_hub import audit
from persistent_terminal_hub.audit import Outbox
from persistent_terminal_hub.hub.data_dir import DataDir
from persistent_terminal_hub.hub.passkey_store import Passkey, PasskeyStore, PasskeyStoreError
from persistent_terminal_hub.hub.rotate_keys import complain, problem_with_owner
from persistent_terminal_hub.settings import SettingsError, load_settings


def show(config: Path | None, user: str | None) -> int:
    """Print them; returns the exit code."""
    data = _data(config)
    if data is None:
        return 1
    store = PasskeyStore(data.passkeys)
    try:
        found = store.everybody() if user is None else store.of(user)
    except PasskeyStoreError as error:
        return complain(str(error))
    if not found:
        print(f"{user} has no passkeys." if user is not None else "Nobody has a passkey.")
        return 0
    print("\n".join(_table(found)))
    return 0


def reset(config: Path | None, user: str) -> int:
    """Remove all of a user's, write it down, and say so; returns the exit code."""
    data = _data(config)
    if data is None:
        return 1
    try:
        count = PasskeyStore(data.passkeys).forget(user)
    except PasskeyStoreError as error:
        return complain(str(error))
    if not count:
        return complain(f"{user} has no passkeys: nothing was changed. Is the name right?")
    Outbox(data.audit).record(
        who=audit.account(),
        what="passkey.reset",
        on=user,
        origin=audit.COMMAND_LINE,
        result="ok",
        count=count,
    )
    print(
        f"{count} passkey{'s' if count > 1 else ''} of {user} removed. They open nothing here any more; "
        "sessions and workspaces were left alone."
    )
    return 0


def _data(config: Path | None) -> DataDir | None:
    """The data directory; None when it must not be touched, which has been said then."""
    try:
        data = DataDir(load_settings(config).data_dir)
    except SettingsError as error:
        complain(str(error))
        return None
    if problem := problem_with_owner(data):
        complain(problem)
        return None
    return data


def _table(passkeys: Iterable[Passkey]) -> list[str]:
    rows = [("USER", "NAME", "SITE", "ADDED", "LAST USED")]
    rows += [
        (_shown(item.user), _shown(item.name), item.rp_id, _day(item.created), _day(item.last_used))
        for item in passkeys
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _shown(text: str) -> str:
    """Names are people's own: nothing in them reaches the terminal as a control sequence."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _day(moment: float | None) -> str:
    return "never" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")
