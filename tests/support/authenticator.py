"""An authenticator in software, and the browser around it: honest unless told otherwise."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, encode_cbor

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


@dataclass
class Authenticator:
    """One passkey at one site. What stands here is what it says, true or not."""

    origin: str
    rp_id: str
    flags: int = PRESENT | VERIFIED
    sign_count: int = 0
    #: Added to the counter at each use.
    step: int = 1
    id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    user_handle: bytes = b""
    #: Of the client data, to lie about.
    client: dict[str, Any] = field(default_factory=dict)

    @property
    def public_key(self) -> bytes:
        """COSE, as the hub keeps it."""
        point = self.key.public_key().public_numbers()
        return encode_cbor(
            {1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")}
        )

    def create(self, options: str | dict[str, Any]) -> str:
        """What the page sends after `navigator.credentials.create(options)`."""
        asked = json.loads(options) if isinstance(options, str) else options
        self.user_handle = base64url_to_bytes(asked["user"]["id"])
        data = self._data(ATTESTED) + bytes(16) + len(self.id).to_bytes(2, "big") + self.id + self.public_key
        return self._answer(
            asked,
            "webauthn.create",
            attestationObject=encode_cbor({"fmt": "none", "attStmt": {}, "authData": data}),
        )

    def get(self, options: str | dict[str, Any]) -> str:
        """What the page sends after `navigator.credentials.get(options)`."""
        asked = json.loads(options) if isinstance(options, str) else options
        self.sign_count += self.step
        data = self._data(0)
        client = self._client_data(asked, "webauthn.get")
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return self._answer(
            asked, "webauthn.get", authenticatorData=data, signature=signature,
            **({"userHandle": self.user_handle} if self.user_handle else {}),
        )  # fmt: skip

    def _data(self, flags: int) -> bytes:
        rp = hashlib.sha256(self.rp_id.encode()).digest()
        return rp + bytes([self.flags | flags]) + self.sign_count.to_bytes(4, "big")

    def _client_data(self, asked: dict[str, Any], kind: str) -> bytes:
        client = {"type": kind, "challenge": asked["challenge"], "origin": self.origin, "crossOrigin": False}
        return json.dumps(client | self.client).encode()

    def _answer(self, asked: dict[str, Any], kind: str, **response: bytes) -> str:
        response["clientDataJSON"] = self._client_data(asked, kind)
        id_ = bytes_to_base64url(self.id)
        encoded = {name: bytes_to_base64url(value) for name, value in response.items()}
        return json.dumps({"id": id_, "rawId": id_, "type": "public-key", "response": encoded})
