"""Verifies the signature of ID tokens with the provider's published keys."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import jwt

#: Those that a public key verifies. `none` and HS* are not among them: the first proves nothing, and with
#: the others whoever knows our client secret could sign.
ASYMMETRIC: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
#: Keys are asked for anew after this long, so that one which the provider withdrew stops verifying.
MAX_AGE_SECONDS: Final = 3600.0
#: An unknown key id asks again, but at most this often.
MIN_AGE_SECONDS: Final = 5.0
#: Characters of an ID token that are read.
MAX_TOKEN: Final = 64 * 1024
_MAX_KEYS: Final = 100


class KeysAway(Exception):
    """The provider's keys cannot be had now; the login may be fine."""


class BadSignature(Exception):
    """The token was not signed by the provider, or not in a way that is accepted."""


def usable_algorithms(announced: object) -> tuple[str, ...]:
    """What of the discovery document's `id_token_signing_alg_values_supported` is accepted here."""
    if not isinstance(announced, list):
        return ("RS256",)  # what every provider must support
    return tuple(name for name in ASYMMETRIC if name in announced)


class ProviderKeys:
    """The provider's JWKS, cached. `fetch` returns the document's text."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[bytes]],
        algorithms: Iterable[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._algorithms = frozenset(algorithms) & frozenset(ASYMMETRIC)
        self._clock = clock
        self._keys: list[Mapping[str, Any]] = []
        self._fetched = -math.inf
        self._lock = asyncio.Lock()

    async def claims_of(self, token: object) -> dict[str, Any]:
        """The claims of a token whose signature holds; nothing in them has been judged.

        Raises BadSignature or KeysAway.
        """
        if not isinstance(token, str) or not token or len(token) > MAX_TOKEN:
            raise BadSignature("no token")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise BadSignature("not a token") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self._algorithms:
            raise BadSignature("algorithm")
        # Other kinds of tokens (access, logout) name themselves; extensions that must be understood are not.
        if "crit" in header or str(header.get("typ", "JWT")).upper() not in ("JWT", "APPLICATION/JWT"):
            raise BadSignature("kind")
        for key in await self._candidates(kid, str(algorithm)):
            try:
                claims = jwt.decode(
                    token,
                    key,
                    algorithms=[str(algorithm)],
                    # The claims are judged by a pure function, all of them.
                    options={
                        "verify_signature": True, "verify_exp": False, "verify_nbf": False,
                        "verify_iat": False, "verify_aud": False, "verify_iss": False,
                        "verify_sub": False, "verify_jti": False,
                    },
                )  # fmt: skip
            except (jwt.PyJWTError, ValueError, TypeError):
                continue
            return dict(claims)
        raise BadSignature("signature")

    async def _candidates(self, kid: object, algorithm: str) -> list[jwt.PyJWK]:
        async with self._lock:
            age = self._clock() - self._fetched
            if age > MAX_AGE_SECONDS:
                await self._refresh()
            found = self._matching(kid, algorithm)
            if not found and self._clock() - self._fetched >= MIN_AGE_SECONDS:
                await self._refresh()  # the provider may have begun to sign with a new key
                found = self._matching(kid, algorithm)
            return found

    async def _refresh(self) -> None:
        try:
            document = json.loads(await self._fetch())
        except (OSError, ValueError) as error:
            raise KeysAway(type(error).__name__) from None
        keys = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(keys, list):
            raise KeysAway("no keys in the answer")
        self._keys = [key for key in keys[:_MAX_KEYS] if isinstance(key, dict)]
        self._fetched = self._clock()

    def _matching(self, kid: object, algorithm: str) -> list[jwt.PyJWK]:
        """The keys that may have signed: by id, or, for a token that names none, all that fit."""
        found = []
        for key in self._keys:
            if kid is not None and key.get("kid") != kid:
                continue
            if key.get("use", "sig") != "sig" or key.get("alg", algorithm) != algorithm:
                continue
            if key.get("kty") not in _KEY_TYPES[algorithm[:2]]:
                continue  # never a secret (oct), never another family
            try:
                found.append(jwt.PyJWK(dict(key), algorithm))
            except (jwt.PyJWTError, ValueError, TypeError):
                continue  # a kind of key that we do not know
        return found


_KEY_TYPES: Final = {"RS": ("RSA",), "PS": ("RSA",), "ES": ("EC",), "Ed": ("OKP",)}
