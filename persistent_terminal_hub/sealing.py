"""AES-256-GCM envelopes around secrets at rest, and what a source of keys must offer.

An envelope says which key sealed it and is bound to an owner and a purpose: moved to another row, it does not
open. The keys come from `sealing_keys` (a file, the environment) or `sealing_vault` (HashiCorp Vault).

    "pth1." key id "." base64url(nonce, 12 bytes) "." base64url(ciphertext and tag)
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
#: Of the plain text. A secret is a password, a token, a key file; not a data set.
MAX_PLAIN: Final = 256 * 1024
VERSION: Final = "pth1"

_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


class SealingError(Exception):
    """Something cannot be sealed or opened; the sentence never quotes a key or a plain text."""


class UnknownKey(SealingError):
    """The key that sealed an envelope is not there (any more)."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"The key {key_id} that sealed this secret is not available: give it back to the key source, "
            "or set the secret anew."
        )
        self.key_id = key_id


class Tampered(SealingError):
    """The envelope was changed, or belongs to another owner or purpose."""

    def __init__(self) -> None:
        super().__init__(
            "A sealed secret does not open: it was changed, or belongs to somebody or something else. "
            "Nothing of it was used; set the secret anew."
        )


class KeySource(Protocol):
    """Where the keys are."""

    def current(self) -> tuple[str, bytes]:
        """The id and the 32 bytes of the key to seal with."""

    def key(self, key_id: str) -> bytes:
        """The 32 bytes of a key to open with. Raises UnknownKey."""


class Sealer:
    """Seals and opens with the keys of a source. Holds nothing else and may be shared by threads."""

    def __init__(self, keys: KeySource) -> None:
        self._keys = keys

    def seal(self, plain: bytes, *, owner: str, purpose: str) -> str:
        """An envelope that opens only for this owner and purpose. Raises SealingError above MAX_PLAIN."""
        if len(plain) > MAX_PLAIN:
            raise SealingError(f"A secret has at most {MAX_PLAIN} bytes; this one has {len(plain)}.")
        key_id, key = self._keys.current()
        # Random: a key would have to seal 2**32 secrets before a repeated nonce became a concern.
        nonce = os.urandom(NONCE_BYTES)
        sealed = AESGCM(key).encrypt(nonce, plain, _context(key_id, owner, purpose))
        return ".".join((VERSION, key_id, _encode(nonce), _encode(sealed)))

    def open(self, envelope: str, *, owner: str, purpose: str) -> bytes:
        """The plain text. Raises Tampered or UnknownKey."""
        key_id, nonce, sealed = _parts(envelope)
        try:
            return AESGCM(self._keys.key(key_id)).decrypt(nonce, sealed, _context(key_id, owner, purpose))
        except InvalidTag:
            raise Tampered from None

    def is_current(self, envelope: str) -> bool:
        """Whether the newest key sealed it; otherwise it is due for `reseal`."""
        return _parts(envelope)[0] == self._keys.current()[0]

    def reseal(self, envelope: str, *, owner: str, purpose: str) -> str:
        """The same secret under the newest key; the very envelope when it is under that key already."""
        if self.is_current(envelope):
            return envelope
        return self.seal(self.open(envelope, owner=owner, purpose=purpose), owner=owner, purpose=purpose)


def check_key_id(key_id: str) -> str:
    """The id of a key if it may stand in an envelope. Raises SealingError."""
    if not _KEY_ID.fullmatch(key_id):
        raise SealingError("The id of a key has 1 to 64 letters, digits, '-' or '_'.")
    return key_id


def check_key(key: bytes) -> bytes:
    """The key if AES-256 takes it. Raises SealingError."""
    if len(key) != KEY_BYTES:
        raise SealingError(f"A sealing key has {KEY_BYTES} bytes; this one has {len(key)}.")
    return key


def decode_key(text: str) -> bytes:
    """A key as base64 or base64url, with or without padding. Raises SealingError."""
    cleaned = text.strip().rstrip("=").replace("+", "-").replace("/", "_")
    try:
        return check_key(_decode(cleaned))
    except Tampered:
        raise SealingError("A sealing key is 32 bytes in base64; this is no base64.") from None


def encode_key(key: bytes) -> str:
    """The form that `decode_key` reads."""
    return _encode(key)


def _context(key_id: str, owner: str, purpose: str) -> bytes:
    """What the tag covers besides the text. Lengths first, so that no two triples look alike."""
    fields = [field.encode("utf-8", "surrogatepass") for field in (VERSION, key_id, owner, purpose)]
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


def _parts(envelope: str) -> tuple[str, bytes, bytes]:
    version, _, rest = envelope.partition(".")
    parts = rest.split(".")
    if version != VERSION or len(parts) != 3 or not _KEY_ID.fullmatch(parts[0]):
        raise Tampered
    nonce, sealed = _decode(parts[1]), _decode(parts[2])
    if len(nonce) != NONCE_BYTES or len(sealed) < TAG_BYTES:
        raise Tampered
    return parts[0], nonce, sealed


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    if not _BASE64URL.fullmatch(text):
        raise Tampered
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise Tampered from None
    if _encode(data) != text:  # a second spelling of the same bytes is a change too
        raise Tampered
    return data
