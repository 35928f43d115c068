"""The rules of one workspace as JSON: what the hub gives it (PTH_RULES), and what it was told since.

What it was told is kept in the runtime directory, so that a server that starts again does not go by older
rules, and so that commands inside the workspace know them. It is read here, without the settings' model (see
`config.rules`), because a server's start must not wait for that. Whoever runs code in the workspace can
change both; the culler, which goes by its own copy, holds the limits all the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from persistent_terminal_hub.policy import Rules

ENVIRONMENT = "PTH_RULES"
FILE_NAME = "rules.json"
MAX_FILE = 64 * 1024
_NAMES = [field.name for field in fields(Rules)]

#: Of a server that is no workspace of a hub: nothing ends, nothing locks.
NO_RULES = Rules(
    idle_lock=0.0, reauth_on_reconnect=0.0, ttl=0.0, max_ttl=0.0, max_age=0.0, idle_stop=0.0,
    workspace_max_age=0.0, remove_after=0.0, keep_alive_max=0.0,
)  # fmt: skip


class BadRules(ValueError):
    """What was given are no rules; the text is a sentence."""


def rules_of(model: object) -> Rules:
    """Rules from their JSON; what is missing has its default, what is not known is ignored."""
    if not isinstance(model, dict):
        raise BadRules("Rules are a JSON object.")
    values: dict[str, Any] = {}
    for name in _NAMES:
        value = model.get(name)
        if value is None:
            continue
        usable = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not usable or not 0 <= value <= 1e12:  # NaN is not between anything
            raise BadRules(f"The rule `{name}` is a number of seconds that is not negative.")
        values[name] = float(value)
    return Rules(**values)


def rules_to_json(rules: Rules) -> str:
    """One line of JSON; equal rules give equal text, whoever wrote a number as 30 or as 30.0."""
    values = {name: float(value) for name, value in asdict(rules).items()}
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)


def rules_hash(rules: Rules) -> str:
    """Names these rules; equal rules have equal names."""
    return hashlib.sha256(rules_to_json(rules).encode()).hexdigest()[:16]


def read_rules(directory: Path, environ: Mapping[str, str]) -> tuple[Rules, str]:
    """The rules that hold here, and a sentence about what was wrong with them (empty: nothing).

    A workspace whose rules cannot be read has the default ones: it locks. Without any nothing is limited: no
    hub of ours started this server, so nobody could unlock it.
    """
    trouble = ""
    if ENVIRONMENT not in environ:
        return NO_RULES, ""
    with contextlib.suppress(FileNotFoundError):
        try:
            with (directory / FILE_NAME).open("rb") as file:
                kept = json.loads(file.read(MAX_FILE))
            if isinstance(kept, dict) and kept.get("after") == _given(environ):
                return rules_of(kept["rules"]), ""
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, RecursionError):
            trouble = f"{FILE_NAME} cannot be read; the rules that the hub gave at the start hold."
    try:
        return rules_of(json.loads(environ[ENVIRONMENT])), trouble
    except (ValueError, RecursionError):
        return Rules(), f"{ENVIRONMENT} is not readable; the default rules hold."


def write_rules(directory: Path, rules: Rules, environ: Mapping[str, str]) -> None:
    """Keep rules for the next start of this server. Raises OSError."""
    values = {name: value if math.isfinite(value) else 0.0 for name, value in asdict(rules).items()}
    kept = {"after": _given(environ), "rules": values}
    write_private(directory / FILE_NAME, json.dumps(kept).encode())


def _given(environ: Mapping[str, str]) -> str:
    """Names what the hub gave at the start: a workspace that was started with something else since, in a
    directory that outlived it, goes by that."""
    return hashlib.sha256(environ.get(ENVIRONMENT, "").encode("utf-8", "surrogateescape")).hexdigest()[:16]


def write_private(path: Path, data: bytes) -> None:
    """Replace a file that only its owner may read. Raises OSError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
