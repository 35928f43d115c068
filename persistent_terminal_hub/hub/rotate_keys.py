"""`persistent-terminal-hub rotate-keys`."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from persistent_terminal_hub import audit
from persistent_terminal_hub.audit import Outbox
from persistent_terminal_hub.hub.data_dir import DataDir
from persistent_terminal_hub.settings import SettingsError, load_settings
from persistent_terminal_hub.signing_keys import KeyStore, KeyStoreError


def rotate(config: Path | None, compromised: bool) -> int:
    """Do it and say so; returns the exit code."""
    try:
        settings = load_settings(config)
    except SettingsError as error:
        return complain(str(error))
    data = DataDir(settings.data_dir)
    if problem := problem_with_owner(data):
        return complain(problem)
    try:
        new = KeyStore(data.keys).rotate(at_once=compromised)
    except KeyStoreError as error:
        return complain(str(error))
    Outbox(data.audit).record(
        who=audit.account(), what="keys.rotate", on="signing", origin=audit.COMMAND_LINE, result="ok",
        reason="compromised" if compromised else "", name=new.key.kid,
    )  # fmt: skip
    if compromised:
        print(
            f"The key {new.key.kid} signs from now on; every other key was thrown away. "
            "Who waits for an unlock or uses a shared link starts again. Running workspaces learn it within "
            "five minutes; those that cannot reach the hub, when they can."
        )
    else:
        moment = datetime.fromtimestamp(new.signs_from, UTC).isoformat(timespec="seconds")
        print(f"The key {new.key.kid} is published, and signs from {moment} on.")
    return 0


def problem_with_owner(data: DataDir) -> str:
    """Why the files of this directory should not be touched by this process; empty when they may."""
    try:
        owner = data.path.stat().st_uid
    except OSError as error:
        return f"There is no data directory {data.path} ({error.strerror}): is dataDir right?"
    if owner != os.geteuid():
        # A file of root's would lock the hub out of its own data.
        return (
            f"The data directory {data.path} belongs to the user with number {owner}: run this as that user."
        )
    return ""


def complain(problem: str) -> int:
    """Say on standard error what went wrong; returns the exit code."""
    for line in problem.splitlines():
        print(f"error: {line}", file=sys.stderr)
    return 1
