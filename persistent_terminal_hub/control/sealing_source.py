"""Where the sealing keys are, as the settings say."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from persistent_terminal_hub.sealing import KeySource, SealingError
from persistent_terminal_hub.sealing_keys import ENVIRONMENT, EnvironmentKeys, FileKeys
from persistent_terminal_hub.settings import Settings


def key_file(settings: Settings) -> Path:
    """The file of the keys, when there is one."""
    return settings.data_dir.expanduser().absolute() / "keys" / "sealing.json"


def key_source(settings: Settings) -> KeySource:
    """The keys. May ask Vault, or make the first key; raises SealingError."""
    chosen = settings.secrets.key_source
    try:
        if chosen == "file":
            return FileKeys(key_file(settings))
        if chosen == "env":
            return EnvironmentKeys(os.environ.get(ENVIRONMENT, ""))
        return _vault(settings)
    except OSError as error:
        raise SealingError(
            f"The sealing keys in {key_file(settings)} cannot be made or read ({error.strerror}): "
            "the directory must belong to the hub's user."
        ) from None


def _vault(settings: Settings) -> KeySource:
    # Imported here because hvac is slow to import and most sites have no Vault.
    from persistent_terminal_hub.sealing_vault import TransitWrapper, VaultKeys, VaultPlace

    vault = settings.secrets.vault
    token = vault.token.get_secret_value()
    if not vault.address or not token:
        raise SealingError("secrets.keySource is vault: set secrets.vault.address and secrets.vault.token.")
    place = VaultPlace(vault.address, token, vault.mount, vault.name, vault.namespace, vault.ca_file)
    if vault.engine == "kv":
        return VaultKeys(place)
    return FileKeys(key_file(settings), TransitWrapper(place))


class LateKeys:
    """The keys, reached when they are first needed: a service without them still serves everything else."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._source: KeySource | None = None

    def current(self) -> tuple[str, bytes]:
        """See `sealing.KeySource`. Blocks; raises SealingError, and tries again the next time."""
        return self._keys().current()

    def key(self, key_id: str) -> bytes:
        """See `sealing.KeySource`."""
        return self._keys().key(key_id)

    def _keys(self) -> KeySource:
        with self._lock:
            if self._source is None:
                self._source = key_source(self._settings)
            return self._source
