"""The keys that sign the hub's tokens, on disk: `<data>/keys/keys.json` (0600, in a directory of 0700).

The hub and the culler are two processes with one store. A new key is published before it signs, so that every
workspace has seen it by then; a replaced key goes on to verify until no token of its can be valid any more.
So two keys are valid at once during each rotation, which happens by itself when the newest key is old enough.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from persistent_terminal_hub.tokens import SigningKey

log = logging.getLogger(__name__)

DAY: Final = 86400.0
#: Seconds from a new key's publication to its first signature: longer than anybody keeps the old JWKS.
PUBLISH_AHEAD: Final = 300.0
#: Seconds that the longest token of the hub is valid (a share), and by how much a clock may differ.
MAX_TOKEN_LIFE: Final = DAY + 60.0
#: Keys that are kept, so that somebody who rotates every minute does not fill the JWKS document.
MAX_KEYS: Final = 8
#: Seconds to wait for another process that is rotating.
PATIENCE: Final = 5.0

FILE: Final = "keys.json"


class KeyStoreError(Exception):
    """The keys cannot be read or written; the text says which file and what to do."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key and its times (wall clock, seconds since 1970)."""

    key: SigningKey
    published: float
    signs_from: float
    #: Until when it verifies; None while no other key has taken its place.
    verifies_until: float | None = None

    def as_json(self) -> dict[str, Any]:
        """As it stands in the file."""
        return {
            "pem": self.key.to_pem().decode("ascii"),
            "published": self.published,
            "signsFrom": self.signs_from,
            "verifiesUntil": self.verifies_until,
        }

    @classmethod
    def of(cls, value: Any) -> StoredKey:
        """From the file; ValueError, TypeError, KeyError for anything that `as_json` did not make."""
        until = value["verifiesUntil"]
        return cls(
            SigningKey.from_pem(value["pem"].encode("ascii")),
            float(value["published"]),
            float(value["signsFrom"]),
            None if until is None else float(until),
        )


class KeyStore:
    """The hub's signing keys. Cheap to ask: the file is read again only when it was replaced.

    `max_age`: seconds until a key is replaced by itself; 0 never.
    """

    def __init__(self, path: Path, *, max_age: float = 30 * DAY) -> None:
        self.path = path
        self._max_age = max_age
        self._keys: list[StoredKey] = []  # oldest first
        self._seen: tuple[int, int, int] | None = None

    def signing(self, now: float | None = None) -> SigningKey:
        """The key to sign with now; the first is made when there is none."""
        clock = time.time() if now is None else now
        return _current(self._up_to_date(clock), clock).key

    def public(self, now: float | None = None) -> dict[str, Ed25519PublicKey]:
        """Every key that may have signed a token that is still valid, and the one that will sign next."""
        clock = time.time() if now is None else now
        return {
            stored.key.kid: stored.key.public
            for stored in self._up_to_date(clock)
            if stored.verifies_until is None or clock < stored.verifies_until
        }

    def rotate(self, now: float | None = None, *, at_once: bool = False) -> StoredKey:
        """Publish a new key, which signs from `PUBLISH_AHEAD` seconds later on; one that waits is kept.

        `at_once`, when a key may have been stolen: the new one signs now, and every other one is thrown away
        with all tokens that it signed.
        """
        clock = time.time() if now is None else now
        with self._exclusive():
            return self._rotate(clock, at_once=at_once)

    # ------------------------------------------------------------------------------------------------

    def _up_to_date(self, now: float) -> list[StoredKey]:
        """The keys, after a rotation if it is time for one."""
        self._load()
        if self._keys and not self._due(now):
            return self._keys
        try:
            with self._exclusive():
                self._load()  # the other process may have been quicker
                if not self._keys:
                    self._rotate(now, at_once=True)
                elif self._due(now):
                    self._rotate(now)
        except KeyStoreError as error:
            if not self._keys:
                raise
            # What there is goes on to work; the next call tries again.
            log.error("The hub's signing key was not replaced. %s", error)
        return self._keys

    def _due(self, now: float) -> bool:
        newest = self._keys[-1]
        return bool(self._max_age) and now - newest.signs_from >= self._max_age

    def _rotate(self, now: float, *, at_once: bool = False) -> StoredKey:
        """Only with the lock."""
        self._load()
        if at_once or not self._keys:
            self._save([StoredKey(SigningKey.generate(), now, now)])
            return self._keys[-1]
        newest = self._keys[-1]
        if now < newest.signs_from <= now + PUBLISH_AHEAD:
            return newest  # published a moment ago: nobody has used it yet
        new = StoredKey(SigningKey.generate(), now, now + PUBLISH_AHEAD)
        kept = [
            replace(old, verifies_until=new.signs_from + MAX_TOKEN_LIFE)
            if old.verifies_until is None
            else old
            for old in self._keys
            if old.verifies_until is None or now < old.verifies_until
        ]
        self._save([*kept, new][-MAX_KEYS:])
        return self._keys[-1]

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One process at a time changes the keys; KeyStoreError when the other does not come to an end."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._broken("written", error) from None
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise KeyStoreError(
                            f"Another process holds {self.path / 'lock'} for too long: is a hub, a culler or "
                            "`rotate-keys` frozen?"
                        ) from None
                    time.sleep(0.01)
            yield
        finally:
            os.close(lock)

    def _load(self) -> None:
        file = self.path / FILE
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._keys, self._seen = [], None
            return
        except OSError as error:
            raise self._broken("read", error) from None
        with os.fdopen(descriptor, "rb") as opened:
            about = os.fstat(descriptor)
            seen = (about.st_ino, about.st_mtime_ns, about.st_size)
            if seen == self._seen:
                return
            if about.st_mode & 0o077:
                log.error(
                    "Others could read %s; that is put right now. If they are not to be trusted, type: "
                    "persistent-terminal-hub rotate-keys --compromised",
                    file,
                )
                os.fchmod(descriptor, 0o600)
            try:
                content = opened.read()
            except OSError as error:
                raise self._broken("read", error) from None
        try:
            keys = [StoredKey.of(value) for value in json.loads(content)["keys"]]
            if not keys:
                raise ValueError("no keys")
        except (ValueError, TypeError, KeyError, AttributeError):
            raise KeyStoreError(
                f"{file} is damaged. Nothing was changed. Restore it from a backup, or remove it: then new "
                "keys are made, and whoever waits for an unlock or uses a shared link starts again."
            ) from None
        self._keys, self._seen = keys, seen

    def _save(self, keys: list[StoredKey]) -> None:
        content = json.dumps({"keys": [stored.as_json() for stored in keys]}, indent=1).encode("ascii")
        temporary = self.path / f".{FILE}.{os.getpid()}"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(temporary, flags, 0o600)
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(descriptor)
            temporary.replace(self.path / FILE)
            directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise self._broken("written", error) from None
        self._keys, self._seen = keys, None

    def _broken(self, done: str, error: OSError) -> KeyStoreError:
        return KeyStoreError(
            f"The signing keys in {self.path} cannot be {done} ({error.strerror}): the directory must belong "
            "to the user that serves, with room on its disk."
        )


def _current(keys: list[StoredKey], now: float) -> StoredKey:
    """The newest key whose time has come; the oldest if the clock was put back before all of them."""
    return next((stored for stored in reversed(keys) if stored.signs_from <= now), keys[0])
