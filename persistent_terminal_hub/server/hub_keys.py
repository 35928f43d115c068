"""The hub's public keys as a workspace knows them, and the check of what the hub has signed.

They are fetched from the hub, kept in memory and in the runtime directory, and go on to count while the hub
is away. They are asked for again when they are old, so that a key that was thrown away stops counting, and
when a token was signed by none of them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from persistent_terminal_hub.tokens import Purpose, TokenError, Verified, jwks, keys_of, verify

from .hub_http import ask_hub, hub_url

log = logging.getLogger(__name__)

#: Where the extension keeps its `HubKeys` among the server's settings; None without a hub.
SETTING: Final = "persistent_terminal_hub_keys"
#: Seconds after which the keys are fetched again before they are relied on.
STALE: Final = 300.0
#: Seconds between two questions to the hub, and until old keys are relied on no longer when it was away.
AGAIN: Final = 5.0
AGAIN_AWAY: Final = 15.0
#: Seconds that the hub has for its answer, and bytes that are read of it.
HUB_SECONDS: Final = 3.0
MAX_DOCUMENT: Final = 64 * 1024
FILE: Final = "jwks.json"

Fetch = Callable[[str], Awaitable[bytes]]


class HubKeys:
    """Verifies what the hub signed for this workspace."""

    def __init__(
        self, url: str, hub_id: str, workspace: str, directory: Path | None, fetch: Fetch | None = None
    ) -> None:
        self.issuer = f"hub:{hub_id}"
        self.audience = f"workspace:{workspace}"
        self._url = url
        self._file = directory / FILE if directory is not None else None
        self._fetch = fetch or _fetch
        self._keys = self._load()
        self._stale_at = self._ask_at = float("-inf")  # monotonic
        self._asking: asyncio.Task[None] | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> HubKeys | None:
        """What the spawner told; None for a server without a hub."""
        api, hub_id, workspace = (
            environ.get(name, "") for name in ("JUPYTERHUB_API_URL", "PTH_HUB_ID", "PTH_WORKSPACE_ID")
        )
        if not (api and hub_id and workspace):
            return None
        directory = environ.get("PTH_RUNTIME_DIR")
        return cls(hub_url(api, "jwks.json"), hub_id, workspace, Path(directory) if directory else None)

    async def verify(
        self, token: object, purpose: Purpose, *, subject: str | None = None, max_lifetime: float = 60.0
    ) -> Verified:
        """What the hub says with this token to this workspace; TokenError, and nothing else, if it does not.

        That a single-use token was used before is the keeper's to know.
        """
        if time.monotonic() >= self._stale_at:
            await self._refresh()
        try:
            return self._verify(token, purpose, subject, max_lifetime)
        except TokenError as error:
            if error.reason != "signature" or not await self._refresh():
                raise
        return self._verify(token, purpose, subject, max_lifetime)

    def _verify(self, token: object, purpose: Purpose, subject: str | None, max_lifetime: float) -> Verified:
        return verify(
            token, self._keys, purpose,
            issuer=self.issuer, audience=self.audience, subject=subject, max_lifetime=max_lifetime,
        )  # fmt: skip

    async def _refresh(self) -> bool:
        """Ask the hub, unless that was done a moment ago. Whether there are other keys now."""
        before = self._keys
        if self._asking is None:
            if time.monotonic() < self._ask_at:
                return False
            self._asking = asyncio.create_task(self._ask())
        # One question at a time; who gives up waiting does not take the answer from the others.
        await asyncio.shield(self._asking)
        return self._keys.keys() != before.keys()

    async def _ask(self) -> None:
        try:
            keys = _keys_in(await self._fetch(self._url))
        except (OSError, aiohttp.ClientError, TimeoutError, TokenError, ValueError) as error:
            now = time.monotonic()
            self._ask_at, self._stale_at = now + AGAIN, now + AGAIN_AWAY
            log.warning(
                "The hub's keys could not be fetched (%s). Those that are known (%d) count on.",
                type(error).__name__,
                len(self._keys),
            )
        else:
            now = time.monotonic()
            self._ask_at, self._stale_at = now + AGAIN, now + STALE
            if keys.keys() != self._keys.keys():
                self._keys = keys
                self._save()
        finally:
            self._asking = None

    def _load(self) -> dict[str, Ed25519PublicKey]:
        if self._file is None:
            return {}
        try:
            return _keys_in(self._file.read_bytes())
        except (OSError, TokenError, ValueError):
            return {}

    def _save(self) -> None:
        if self._file is None:
            return
        temporary = self._file.with_name(f".{FILE}.{os.getpid()}")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            with os.fdopen(os.open(temporary, flags, 0o600), "w") as opened:
                json.dump(jwks(self._keys), opened)
            temporary.replace(self._file)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            log.warning("The hub's keys cannot be kept for the next start (%s).", error.strerror)


def _keys_in(document: bytes) -> dict[str, Ed25519PublicKey]:
    """The keys of a document, at least one."""
    try:
        keys = keys_of(json.loads(document))
    except RecursionError as error:
        raise TokenError("malformed") from error
    if not keys:
        raise TokenError("malformed")  # a hub always has one: this is not its answer
    return keys


async def _fetch(url: str) -> bytes:
    """The body at `url`. OSError, ClientError or TimeoutError when there is none."""
    status, body = await ask_hub(url, seconds=HUB_SECONDS, most=MAX_DOCUMENT)
    if status != 200:
        raise OSError(f"status {status}")
    return body
