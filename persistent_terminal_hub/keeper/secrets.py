"""Secrets that arrive in a file: wait for it, read it, check it, delete it.

The hub writes ``$PTH_RUNTIME_DIR/secrets.json`` = ``{"env": {NAME: VALUE, ...}}`` through ``docker exec``,
by a rename, so a file that is there is complete. What it says goes into the environment of the Jupyter
server and nowhere else. No message made here contains a value.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path

FILE_NAME = "secrets.json"
MAX_BYTES = 1024 * 1024


class SecretsError(Exception):
    """The file is there and unusable; the text says why, without quoting it."""


def take(path: Path) -> dict[str, str] | None:
    """Read and delete the file; None when there is none. Raises :class:`SecretsError`.

    The file is deleted even when it is refused: what is in it may be secret all the same.
    """
    try:
        # Not following links, not waiting for a FIFO's writer: the name is in a directory that the
        # user's own programs may write to.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise SecretsError(f"{path} cannot be opened ({os.strerror(error.errno or 0)})") from None
    try:
        raw = _read_checked(fd, path)
    finally:
        os.close(fd)
        with contextlib.suppress(OSError):
            path.unlink()
    return _parse(raw, path)


def _read_checked(fd: int, path: Path) -> bytes:
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode):
        raise SecretsError(f"{path} is not a regular file")
    if info.st_uid not in (os.geteuid(), 0):
        raise SecretsError(f"{path} belongs to uid {info.st_uid}, not to uid {os.geteuid()}")
    if info.st_mode & 0o077:
        raise SecretsError(
            f"{path} is readable by others (mode {stat.S_IMODE(info.st_mode):04o}); write it 0600"
        )
    chunks = []
    size = 0
    while chunk := os.read(fd, 65536):
        size += len(chunk)
        if size > MAX_BYTES:
            raise SecretsError(f"{path} is larger than {MAX_BYTES} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _parse(raw: bytes, path: Path) -> dict[str, str]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise SecretsError(f"{path} is not valid JSON") from None
    env = document.get("env") if isinstance(document, dict) else None
    if not isinstance(env, dict):
        raise SecretsError(f'{path} is not of the form {{"env": {{NAME: VALUE}}}}')
    for number, (name, value) in enumerate(env.items()):
        if not name or "=" in name or "\0" in name:
            raise SecretsError(f"{path}: entry {number} of env has no usable name")
        if not isinstance(value, str) or "\0" in value:
            raise SecretsError(f"{path}: the value of entry {number} of env is not a text without NUL")
    return dict(env)
