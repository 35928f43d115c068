"""Names below `localhost` lead to this machine, as browsers have it and the C library does not."""

from __future__ import annotations

import socket
from typing import Any

_real = socket.getaddrinfo


def _with_localhost(host: Any, *args: Any, **kwargs: Any) -> Any:
    ours = isinstance(host, str) and host.endswith(".localhost")
    return _real("127.0.0.1" if ours else host, *args, **kwargs)


def resolve_names_below_localhost() -> None:
    """For this process, from now on."""
    socket.getaddrinfo = _with_localhost  # type: ignore[assignment]
