"""The command `keep-alive`, run inside a workspace: while a process lives, the workspace is not idle.

It asks the keeper directly, so it works without a network, a token, or the Jupyter server.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from persistent_terminal_hub import policy, rules_file
from persistent_terminal_hub.keeper import wire
from persistent_terminal_hub.keeper.blocking_client import BlockingClient
from persistent_terminal_hub.keeper.channel import KeeperError

_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s?)?", re.ASCII)
#: Without a maximum and without a wish.
MOST = 1e9


class Failed(Exception):
    """It could not be done; the text says what and what to do."""


def seconds_of(text: str) -> float:
    """A duration such as 4h, 1d12h, 90m or 300. Raises Failed."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None or not any(match.groups()):
        raise Failed(f"{text!r} is not a duration. Write it as 4h, 1d12h, 90m or 300 (seconds).")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    if total < 1:
        raise Failed("A process is watched for one second at least.")
    return total


def keep_alive(
    pid: int | None, wish: float | None, session: str | None, environ: Mapping[str, str] = os.environ
) -> str:
    """Watch a process of a session (None: none any more); what was done, as a sentence. Raises Failed."""
    session = session or environ.get("PTH_SESSION_ID")
    runtime = environ.get("PTH_RUNTIME_DIR")
    if not runtime:
        raise Failed("This is not a workspace. Run it in a terminal of the workspace whose process it is.")
    if not session:
        raise Failed("Which session? Run it in one of its terminals, or name it with --session.")
    rules, _ = rules_file.read_rules(Path(runtime), environ)
    most = rules.keep_alive_max or MOST
    granted = min(most, wish or MOST)
    fields: dict[str, Any] = {} if pid is None else {"pid": pid, "max": granted}
    try:
        client = BlockingClient(Path(runtime) / wire.SOCKET_NAME)
        try:
            client.call("watch_pid", session=session, **fields)
        finally:
            client.close()
    except KeeperError as error:
        if error.code == "unknown_op":
            raise Failed("This workspace's keeper is too old for that; restart the workspace.") from None
        raise Failed(str(error)) from None
    except OSError:
        raise Failed("The keeper of this workspace does not answer; try again in a moment.") from None
    if pid is None:
        return "No process keeps this session busy any more, except what runs in its foreground."
    limit = "" if granted >= MOST else f", for {policy.span(granted)} at most"
    shorter = ", which is the administrator's maximum" if wish is not None and wish > granted else ""
    return f"While process {pid} lives, this workspace is not idle{limit}{shorter}. It locks all the same."
