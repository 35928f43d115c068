"""Waiting for what a process does, and ports for it to do it on."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import requests


def free_ports(count: int) -> list[int]:
    """TCP ports on loopback that were free a moment ago, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]


def wait_for(
    check: Callable[[], Any],
    seconds: float = 20,
    what: str = "what a test waits for",
    *,
    passing: tuple[type[Exception], ...] = (requests.RequestException, OSError),
) -> Any:
    """The first true value of `check()`; fails with `what` after `seconds`. Errors in `passing` are false."""
    deadline = time.monotonic() + seconds
    last: object = None
    while True:
        try:
            if value := check():
                return value
        except passing as error:
            last = error
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s ({last})"
        time.sleep(0.1)
