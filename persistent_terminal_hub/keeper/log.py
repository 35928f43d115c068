"""Lines on standard error that can never block the keeper.

Under Docker the log is a pipe. While the daemon is away nobody empties it, and a plain ``write`` would
then stop every terminal of the workspace. So: write only what fits, drop the rest, count the drops.
"""

from __future__ import annotations

import os
import select
import time

# POSIX: a pipe that polls as writable takes this many bytes without blocking, in one piece.
PIPE_BUF = 4096

_fd = 2
_dropped = 0
_dropped_total = 0


def setup() -> None:
    """Get a non-blocking description of standard error of our own, where the system lets us.

    Setting O_NONBLOCK on the inherited one would change it for every process that shares it.
    """
    global _fd
    try:
        _fd = os.open("/proc/self/fd/2", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        _fd = 2  # a socket, or a pipe of another uid: poll() before each write does it there


def write_raw(data: bytes) -> bool:
    """Write ``data`` to the log if that is possible at once; say whether it was."""
    global _dropped, _dropped_total
    poller = select.poll()
    poller.register(_fd, select.POLLOUT)
    done = 0
    try:
        while done < len(data):
            if not any(event & select.POLLOUT for _, event in poller.poll(0)):
                break
            done += os.write(_fd, data[done : done + PIPE_BUF])
    except OSError:  # full after all, or nobody is there to read it
        pass
    if done < len(data):
        _dropped += len(data) - done
        _dropped_total += len(data) - done
    return done == len(data)


def say(message: str) -> None:
    """Log one line. Never pass anything a user typed, a program printed, or a secret."""
    global _dropped
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    lost, _dropped = _dropped, 0
    note = f" [{lost} bytes of log were dropped before this line]" if lost else ""
    line = f"[keeper {stamp}Z] {message}{note}\n".encode("utf-8", "replace")
    if not write_raw(line):
        _dropped += lost


def dropped_total() -> int:
    """Bytes of log that nobody will see, since the start."""
    return _dropped_total
