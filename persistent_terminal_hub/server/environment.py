"""The environment of a session's program. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SECRET_NAMES = frozenset({"JPY_API_TOKEN", "CONFIGPROXY_AUTH_TOKEN", "JUPYTER_TOKEN", "JUPYTER_PASSWORD"})
_HUB_SECRET = re.compile(r"JUPYTERHUB_.*(?:TOKEN|SECRET|PASSWORD|CRYPT|KEY|COOKIE|CLIENT_ID|OAUTH|SSL).*")
# Of this process's own start, wrong or misleading in a terminal.
_NOT_OURS = frozenset({"COLUMNS", "LINES", "TERMCAP", "WINDOWID", "TMUX", "TMUX_PANE", "NOTIFY_SOCKET"})


def is_secret(name: str) -> bool:
    """Whether an environment variable carries a secret between the hub and this server."""
    return name in _SECRET_NAMES or _HUB_SECRET.fullmatch(name) is not None


def session_environment(
    inherited: Mapping[str, str],
    extra: Mapping[str, str | None],
    asked: Mapping[str, str],
    *,
    name: str,
) -> dict[str, str]:
    """What the session's program gets.

    `inherited` is this server's environment and loses the hub's secrets; `extra` is the server's addition
    (None removes); `asked` is what the person who creates the session wants and comes as it is. The keeper
    adds PTH_SESSION_ID.
    """
    env = {key: value for key, value in inherited.items() if not is_secret(key) and key not in _NOT_OURS}
    # What xterm.js can do.
    env |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    for key, value in extra.items():
        if value is None:
            env.pop(key, None)
        elif not is_secret(key):
            env[key] = value
    env.update(asked)
    env.pop("PTH_SESSION_ID", None)
    env["PTH_SESSION"] = name
    return env
