"""Signed tokens (JWT, Ed25519): issue, verify, JWKS. Pure: no clock but the one given, no files, no network.

A token has one purpose, and says it in its `typ` header, so that one kind can never pass for another. The
algorithm is fixed, never taken from the token. Whatever arrives, `verify` answers with a `Verified` or raises
`TokenError` with one of nine reasons; that a single-use token was used before is for its caller to know, who
keeps the `token_id`s.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = [
    "MAX_TOKEN",
    "Purpose",
    "Reason",
    "SigningKey",
    "TokenError",
    "Verified",
    "issue",
    "jwks",
    "keys_of",
    "verify",
]

#: Characters of a token; a longer one is not read.
MAX_TOKEN: Final = 8192
#: Keys of a JWKS document that are read.
MAX_KEYS: Final = 32
#: Characters of a key's id, and of a token's.
MAX_ID: Final = 128

ALGORITHM: Final = "EdDSA"
#: All that a header may have. `jwk`, `jku`, `x5u` and their like would let a token bring its own key.
_HEADERS: Final = frozenset({"alg", "kid", "typ"})
_RESERVED: Final = frozenset({"iss", "aud", "sub", "exp", "iat", "nbf", "jti"})
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SIGNATURES = jwt.PyJWS(algorithms=[ALGORITHM])


class Purpose(StrEnum):
    """What a token is for; one each."""

    ATTACH = "attach"  # a session of a workspace, signed by the workspace
    UNLOCK = "unlock"  # open a locked workspace once, signed by the hub
    SHARE = "share"  # a guest of a session, signed by the hub
    STEER = "steer"  # hub and culler ask a workspace, signed by the hub

    @property
    def type(self) -> str:
        """The header `typ`."""
        return f"pth-{self.value}+jwt"


Reason = Literal[
    "malformed", "signature", "expired", "not_yet", "audience", "issuer", "purpose", "subject", "too_long"
]

_SENTENCES: Final[Mapping[str, str]] = {
    "malformed": "This is not a token of this hub.",
    "signature": "The token was not signed by a key that is known here.",
    "expired": "The token has expired; ask for a new one.",
    "not_yet": "The token is from the future: the clocks of the two machines differ too much.",
    "audience": "The token is for another workspace.",
    "issuer": "The token is from another hub or workspace.",
    "purpose": "The token is for another purpose.",
    "subject": "The token is for another user.",
    "too_long": "The token is valid for longer than is allowed here.",
}


class TokenError(Exception):
    """The token is refused. The text never quotes it."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(_SENTENCES[reason])
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Verified:
    """What a token says, once it is believed. Times are wall-clock seconds since 1970."""

    purpose: Purpose
    subject: str
    issuer: str
    audience: str
    token_id: str
    issued: float
    expires: float
    claims: Mapping[str, Any]  # those that are not part of every token


class SigningKey:
    """A private Ed25519 key. Its id is the thumbprint of its public half (RFC 7638)."""

    __slots__ = ("_private", "kid")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.kid = _thumbprint(private.public_key())

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid!r})"

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, pem: bytes) -> SigningKey:
        """Read what `to_pem` wrote; ValueError for anything else."""
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ValueError("This is not an unencrypted private key in PEM.") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("This is not an Ed25519 key.")  # noqa: TRY004  (the caller's file is wrong)
        return cls(key)

    def to_pem(self) -> bytes:
        """PKCS #8, not encrypted: the file's mode protects it."""
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def public(self) -> Ed25519PublicKey:
        """The half that verifies."""
        return self._private.public_key()

    def public_jwk(self) -> dict[str, str]:
        """The half that verifies, as an entry of a JWKS."""
        return _jwk(self.kid, self.public)

    def sign(self, payload: Mapping[str, Any], purpose: Purpose) -> str:
        """The compact form; `issue` calls it."""
        headers = {"kid": self.kid, "typ": purpose.type}
        return jwt.encode(dict(payload), self._private, algorithm=ALGORITHM, headers=headers)


def issue(
    key: SigningKey,
    purpose: Purpose,
    *,
    issuer: str,
    audience: str,
    subject: str,
    lifetime: float,
    now: float | None = None,
    claims: Mapping[str, Any] | None = None,
) -> str:
    """A signed token that is valid for `lifetime` seconds (rounded up) from `now` (wall clock).

    ValueError when what it shall say could not be verified: that is a mistake of the caller.
    """
    extra = dict(claims or {})
    if _RESERVED & extra.keys():
        raise ValueError(f"Claims that every token has cannot be given: {sorted(_RESERVED & extra.keys())}.")
    if not (issuer and audience and subject and 0 < lifetime < math.inf):
        raise ValueError("A token needs an issuer, an audience, a subject and a lifetime.")
    begin = math.floor(time.time() if now is None else now)
    token = key.sign(
        {
            "iss": issuer,
            "aud": audience,
            "sub": subject,
            "iat": begin,
            "exp": begin + math.ceil(lifetime),
            "jti": secrets.token_urlsafe(16),
            **extra,
        },
        purpose,
    )
    if len(token) > MAX_TOKEN:
        raise ValueError(f"The token would be longer than {MAX_TOKEN} characters.")
    return token


def verify(
    token: object,
    keys: Mapping[str, Ed25519PublicKey],
    purpose: Purpose,
    *,
    issuer: str,
    audience: str,
    subject: str | None = None,
    now: float | None = None,
    leeway: float = 30.0,
    max_lifetime: float,
) -> Verified:
    """What `token` says if it may be believed; else TokenError, and nothing else.

    `leeway` (seconds) is by how much the signer's clock may differ, either way. `subject=None` takes any.
    """
    header, payload = _open(token, keys)
    if header["typ"] != purpose.type:
        raise TokenError("purpose")
    if payload["iss"] != issuer:
        raise TokenError("issuer")
    if payload["aud"] != audience:
        raise TokenError("audience")
    if subject is not None and payload["sub"] != subject:
        raise TokenError("subject")
    issued, expires = float(payload["iat"]), float(payload["exp"])
    if expires - issued > math.ceil(max_lifetime):
        raise TokenError("too_long")
    clock = time.time() if now is None else now
    if max(issued, float(payload.get("nbf", issued))) > clock + leeway:
        raise TokenError("not_yet")
    if clock >= expires + leeway:
        raise TokenError("expired")
    return Verified(
        purpose=purpose,
        subject=payload["sub"],
        issuer=issuer,
        audience=audience,
        token_id=payload["jti"],
        issued=issued,
        expires=expires,
        claims={name: value for name, value in payload.items() if name not in _RESERVED},
    )


def jwks(keys: Mapping[str, Ed25519PublicKey] | Iterable[SigningKey]) -> dict[str, list[dict[str, str]]]:
    """The document that publishes `keys`; private halves never get into it."""
    if isinstance(keys, Mapping):
        return {"keys": [_jwk(kid, key) for kid, key in keys.items()]}
    return {"keys": [key.public_jwk() for key in keys]}


def keys_of(document: object) -> dict[str, Ed25519PublicKey]:
    """The keys of a JWKS document (parsed JSON) by their id.

    Keys of other kinds are left out, and so is an id that two different keys claim. TokenError("malformed")
    when it is not such a document.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise TokenError("malformed")
    found: dict[str, Ed25519PublicKey] = {}
    disputed: set[str] = set()
    for entry in entries[:MAX_KEYS]:
        key = _key_of(entry)
        if key is None:
            continue
        kid: str = entry["kid"]
        if kid in found and found[kid].public_bytes_raw() != key.public_bytes_raw():
            disputed.add(kid)
        found[kid] = key
    return {kid: key for kid, key in found.items() if kid not in disputed}


def _open(token: object, keys: Mapping[str, Ed25519PublicKey]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and payload of a token whose signature is right and whose shape is ours."""
    if not isinstance(token, str) or len(token) > MAX_TOKEN or not token.isascii():
        raise TokenError("malformed")
    parts = token.split(".")
    if len(parts) != 3:
        raise TokenError("malformed")
    header = _object(_decode(parts[0]))
    if header.keys() != _HEADERS or not all(isinstance(value, str) for value in header.values()):
        # Without a `kid` there is no key to check it with: that is `alg=none` and its friends, too.
        raise TokenError("malformed")
    if header["alg"] != ALGORITHM:
        raise TokenError("signature")
    key = keys.get(header["kid"])
    if not isinstance(key, Ed25519PublicKey):
        raise TokenError("signature")
    _decode(parts[2])
    try:
        raw: bytes = _SIGNATURES.decode(token, key, algorithms=[ALGORITHM])
    except jwt.InvalidSignatureError as error:
        raise TokenError("signature") from error
    except jwt.PyJWTError as error:
        raise TokenError("malformed") from error
    if raw != _decode(parts[1]):
        raise TokenError("malformed")
    payload = _object(raw)
    if not _is_ours(payload):
        raise TokenError("malformed")
    return header, payload


def _is_ours(payload: Mapping[str, Any]) -> bool:
    """Whether the claims that every token has are there, of the right kind."""
    if not all(isinstance(payload.get(name), str) and payload[name] for name in ("iss", "aud", "sub", "jti")):
        return False
    if not _ID.fullmatch(payload["jti"]):
        return False
    times = [payload.get("iat"), payload.get("exp"), payload.get("nbf", 0)]
    # `True` is a number to Python; a number beyond a double's range is infinite after parsing.
    if not all(type(moment) in (int, float) and _is_time(moment) for moment in times):
        return False
    return bool(payload["iat"] < payload["exp"])


def _is_time(moment: Any) -> bool:
    return bool(-1e12 < moment < 1e12)  # also refuses NaN


def _decode(part: str) -> bytes:
    """base64url, without padding, in its one canonical form: a token has no second spelling."""
    try:
        raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise TokenError("malformed") from error
    if _encode(raw) != part:
        raise TokenError("malformed")
    return raw


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _object(raw: bytes) -> dict[str, Any]:
    """A JSON object in which no name stands twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = dict(pairs)
        if len(names) != len(pairs):
            raise ValueError("a name stands twice")
        return names

    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise TokenError("malformed") from error
    if not isinstance(value, dict):
        raise TokenError("malformed")
    return value


def _thumbprint(key: Ed25519PublicKey) -> str:
    members = {"crv": "Ed25519", "kty": "OKP", "x": _encode(key.public_bytes_raw())}
    text = json.dumps(members, separators=(",", ":"), sort_keys=True)
    return _encode(hashlib.sha256(text.encode("ascii")).digest())


def _jwk(kid: str, key: Ed25519PublicKey) -> dict[str, str]:
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": _encode(key.public_bytes_raw()),
        "kid": kid,
        "use": "sig",
        "alg": ALGORITHM,
    }


def _key_of(entry: object) -> Ed25519PublicKey | None:
    """A JWKS entry's key, if it is one for our signatures."""
    if not isinstance(entry, dict) or (entry.get("kty"), entry.get("crv")) != ("OKP", "Ed25519"):
        return None
    kid, x = entry.get("kid"), entry.get("x")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_ID or not isinstance(x, str) or not x.isascii():
        return None
    if entry.get("alg", ALGORITHM) != ALGORITHM or entry.get("use", "sig") != "sig":
        return None
    try:
        return Ed25519PublicKey.from_public_bytes(_decode(x))
    except (TokenError, ValueError):
        return None
