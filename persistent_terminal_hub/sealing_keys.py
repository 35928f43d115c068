"""Sealing keys from a file made on first run, or from the environment.

The file is `{"current": ID, "keys": {ID: KEY, ...}}`, 0600. With a wrapper (Vault's transit engine) the keys
in it are wrapped: the file alone opens nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from persistent_terminal_hub.sealing import (
    KEY_BYTES,
    SealingError,
    UnknownKey,
    check_key_id,
    decode_key,
    encode_key,
)

ENVIRONMENT = "PTH_SEALING_KEYS"


class Wrapper(Protocol):
    """Encrypts keys before they are written to a file."""

    def wrap(self, key: bytes) -> str:
        """The wrapped key."""

    def unwrap(self, wrapped: str) -> bytes:
        """The 32 bytes again."""


class _Plain:
    def wrap(self, key: bytes) -> str:
        return encode_key(key)

    def unwrap(self, wrapped: str) -> bytes:
        return decode_key(wrapped)


class EnvironmentKeys:
    """Keys out of `PTH_SEALING_KEYS`: `ID:BASE64`, several with commas between, the first one seals."""

    def __init__(self, text: str) -> None:
        self._keys: dict[str, bytes] = {}
        for number, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
            key_id, colon, key = entry.partition(":")
            if not colon:
                raise SealingError(f"Entry {number} of {ENVIRONMENT} is not of the form ID:BASE64.")
            if check_key_id(key_id.strip()) in self._keys:
                raise SealingError(f"Entry {number} of {ENVIRONMENT} repeats the id {key_id.strip()}.")
            self._keys[key_id.strip()] = decode_key(key)
        if not self._keys:
            raise SealingError(f"{ENVIRONMENT} holds no key: give it ID:BASE64 of 32 random bytes.")

    def current(self) -> tuple[str, bytes]:
        """The first one."""
        return next(iter(self._keys.items()))

    def key(self, key_id: str) -> bytes:
        """Any of them."""
        if key_id not in self._keys:
            raise UnknownKey(key_id)
        return self._keys[key_id]


class FileKeys:
    """Keys in a private file, made with one key if there is none. Safe for several processes.

    What another process rotated is seen at the next use.
    """

    def __init__(self, path: Path, wrapper: Wrapper | None = None) -> None:
        self._path = path
        self._wrapper: Wrapper = wrapper or _Plain()
        self._seen: tuple[int, int, int] | None = None
        self._current = ""
        self._wrapped: dict[str, str] = {}
        self._keys: dict[str, bytes] = {}
        with self._locked():
            if not path.exists():
                self._add()
        self._load()

    def current(self) -> tuple[str, bytes]:
        """The newest one."""
        self._load()
        return self._current, self._open(self._current)

    def key(self, key_id: str) -> bytes:
        """One that is in the file."""
        if key_id not in self._wrapped:
            self._load()
        return self._open(key_id)

    def ids(self) -> list[str]:
        """The ids of all keys, the oldest first."""
        self._load()
        return list(self._wrapped)

    def rotate(self) -> str:
        """Add a key, which seals from now on; the others still open. Returns its id."""
        with self._locked():
            self._load()
            self._add()
        self._load()
        return self._current

    def forget(self, key_id: str) -> None:
        """Remove a key when nothing is sealed with it any more. Raises SealingError for the newest one."""
        with self._locked():
            self._load()
            if key_id == self._current:
                raise SealingError("The newest key cannot be removed: rotate first.")
            if self._wrapped.pop(key_id, None) is None:
                raise UnknownKey(key_id)
            self._write()
        self._keys.pop(key_id, None)

    # -- the file --------------------------------------------------------------------------------------
    def _add(self) -> None:
        key_id = f"{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(4)}"
        self._wrapped[key_id] = self._wrapper.wrap(secrets.token_bytes(KEY_BYTES))
        self._current = key_id
        self._write()

    def _open(self, key_id: str) -> bytes:
        if key_id not in self._keys:
            if key_id not in self._wrapped:
                raise UnknownKey(key_id)
            self._keys[key_id] = self._wrapper.unwrap(self._wrapped[key_id])
        return self._keys[key_id]

    def _load(self) -> None:
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise SealingError(
                f"The sealing keys in {self._path} cannot be read ({error.strerror}): restore the file from "
                "your backup; without it sealed secrets are lost."
            ) from None
        with os.fdopen(fd, "rb") as file:
            info = os.fstat(fd)
            if stat.S_IMODE(info.st_mode) & 0o077:
                raise SealingError(f"{self._path} is open to others; make it private: chmod 600 {self._path}")
            # Every change is a new file, so these three tell it.
            seen = (info.st_ino, info.st_mtime_ns, info.st_size)
            if seen == self._seen:
                return
            content = file.read()
        self._current, self._wrapped = _parse(content, self._path)
        self._keys = {key_id: key for key_id, key in self._keys.items() if key_id in self._wrapped}
        self._seen = seen

    def _write(self) -> None:
        text = json.dumps({"current": self._current, "keys": self._wrapped}, indent=1)
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(fd)
        temporary.replace(self._path)
        # A key that sealed something must not vanish with a power cut.
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = self._path.with_name(f".{self._path.name}.lock")
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _parse(content: bytes, path: Path) -> tuple[str, dict[str, str]]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, Mapping):
        current, keys = document.get("current"), document.get("keys")
        if (
            isinstance(current, str)
            and isinstance(keys, dict)
            and current in keys
            and all(isinstance(key, str) for key in keys.values())
        ):
            return current, {check_key_id(key_id): key for key_id, key in keys.items()}
    raise SealingError(
        f"{path} does not hold sealing keys: restore it from your backup; without it sealed secrets are lost."
    )
