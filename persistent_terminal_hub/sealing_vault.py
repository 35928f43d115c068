"""Sealing keys kept by HashiCorp Vault, through `hvac`.

Two ways: the KV engine (version 2) holds the keys themselves; the transit engine holds a key that never
leaves Vault and wraps ours, which then stand in a file (`sealing_keys.FileKeys`).
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import hvac
import requests
from hvac.exceptions import VaultError

from persistent_terminal_hub.sealing import SealingError, UnknownKey, check_key, check_key_id, decode_key

T = TypeVar("T")

#: Seconds until a rotation made in Vault is seen.
KEPT_SECONDS = 60.0
TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class VaultPlace:
    """Where Vault is and what is used of it. `token` is a secret."""

    address: str
    token: str
    mount: str
    #: KV: the path of the secret. Transit: the name of the key.
    name: str
    namespace: str = ""
    #: A file with the certificates that vouch for Vault; empty: the system's.
    ca_file: str = ""

    def client(self) -> hvac.Client:
        """A client; nothing is sent yet."""
        return hvac.Client(
            url=self.address,
            token=self.token,
            namespace=self.namespace or None,
            verify=self.ca_file or True,
            timeout=TIMEOUT_SECONDS,
        )


class VaultKeys:
    """Keys in a KV secret with the fields `current` (an id) and one field per id with the key in base64."""

    def __init__(self, place: VaultPlace, clock: Callable[[], float] = time.monotonic) -> None:
        self._place = place
        self._client = place.client()
        self._clock = clock
        self._read_at: float | None = None
        self._current = ""
        self._keys: dict[str, bytes] = {}

    def current(self) -> tuple[str, bytes]:
        """The one that `current` names."""
        self._refresh()
        return self._current, self._keys[self._current]

    def key(self, key_id: str) -> bytes:
        """One of the secret's fields; Vault is asked again for one that was not there."""
        if key_id not in self._keys:
            self._refresh(force=True)
        if key_id not in self._keys:
            raise UnknownKey(key_id)
        return self._keys[key_id]

    def _refresh(self, *, force: bool = False) -> None:
        now = self._clock()
        if not force and self._read_at is not None and now - self._read_at < KEPT_SECONDS:
            return
        try:
            fields = _ask(self._place, self._read)
        except SealingError:
            # Keys do not change behind an id, so what was read goes on to serve while Vault is away.
            if self._read_at is None:
                raise
            self._read_at = now
            return
        current = fields.pop("current", None)
        keys = {check_key_id(key_id): decode_key(str(key)) for key_id, key in fields.items()}
        if not isinstance(current, str) or current not in keys:
            raise SealingError(
                f"The secret {self._place.name} in Vault has no field `current` that names one of its keys."
            )
        self._current, self._keys, self._read_at = current, keys, now

    def _read(self) -> dict[str, Any]:
        answer = self._client.secrets.kv.v2.read_secret_version(
            path=self._place.name, mount_point=self._place.mount, raise_on_deleted_version=True
        )
        return dict(answer["data"]["data"])


class TransitWrapper:
    """Wraps keys with Vault's transit engine; a `sealing_keys.Wrapper`."""

    def __init__(self, place: VaultPlace) -> None:
        self._place = place
        self._transit = place.client().secrets.transit

    def wrap(self, key: bytes) -> str:
        """Vault's ciphertext, `vault:v1:...`."""
        plain = base64.b64encode(key).decode()
        answer = _ask(
            self._place,
            lambda: self._transit.encrypt_data(
                name=self._place.name, plaintext=plain, mount_point=self._place.mount
            ),
        )
        return str(answer["data"]["ciphertext"])

    def unwrap(self, wrapped: str) -> bytes:
        """The key again."""
        answer = _ask(
            self._place,
            lambda: self._transit.decrypt_data(
                name=self._place.name, ciphertext=wrapped, mount_point=self._place.mount
            ),
        )
        return check_key(base64.b64decode(answer["data"]["plaintext"]))


def _ask(place: VaultPlace, question: Callable[[], T]) -> T:
    try:
        return question()
    except VaultError as error:
        # hvac's own text quotes the request's path and Vault's answer, nothing of ours; the kind is enough.
        raise SealingError(
            f"Vault at {place.address} refused {place.mount}/{place.name} ({type(error).__name__}): "
            "check the token's policy, the mount and the name."
        ) from None
    except requests.RequestException as error:
        raise SealingError(
            f"Vault at {place.address} does not answer ({type(error).__name__}): "
            "secrets stay sealed until it does."
        ) from None
    except (KeyError, TypeError, ValueError):
        raise SealingError(f"Vault at {place.address} answered something that is not understood.") from None
