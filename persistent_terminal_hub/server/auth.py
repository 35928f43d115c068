"""Who may come in while the hub is away: whoever the hub let in before, for a bounded time.

JupyterHub's own check asks the hub for each token and remembers the answer for five minutes; after that, a
hub that is down locks everybody out of workspaces that run. Here:

- an answer of the hub always counts, and a refusal (4xx) at once makes an end of what was remembered;
- only when the hub cannot be asked (no connection, no answer in time, 5xx) the last answer is taken again,
  until it is PTH_AUTH_GRACE_SECONDS old (a day by default; 0 turns this off);
- that survives a restart of this server: kept in the runtime directory are the user's model and a keyed hash
  of the token and session, never the token;
- who is known does not wait for a hub that is away: it is asked again in the background.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
from jupyterhub.httpclient import fetch
from jupyterhub.services.auth import HubOAuth
from jupyterhub.singleuser.extension import JupyterHubIdentityProvider
from tornado.log import app_log
from tornado.web import HTTPError
from traitlets import default

from .hub_http import tls_options

UserModel = dict[str, Any]

DEFAULT_GRACE = 24 * 3600.0
#: Seconds that the hub has for its answer.
HUB_SECONDS = 10.0
#: Seconds between attempts while it is away.
ASK_AGAIN_SECONDS = 15.0
#: An answer is written down again when the one on file is older than this.
FRESH_SECONDS = 60.0
MAX_ENTRIES = 64
FILE_NAME, KEY_NAME = "known-users.json", "known-users.key"
# Of no use to us, and a secret.
_NOT_KEPT = frozenset({"auth_state"})


class HubAway(Exception):
    """The hub could not be asked."""


class HubRefused(Exception):
    """The hub answered with an error of ours (4xx)."""


def grace_seconds() -> float:
    """How long the last answer counts while the hub is away."""
    try:
        return max(0.0, float(os.environ["PTH_AUTH_GRACE_SECONDS"]))
    except (KeyError, ValueError):
        return DEFAULT_GRACE


class KnownUsers:
    """The hub's last answers, in a directory that outlives this process (or, without one, in memory)."""

    def __init__(self, directory: Path | None, grace: float) -> None:
        self._directory = directory
        self._grace = grace
        self._key = self._load_key()
        self._entries: dict[str, tuple[float, UserModel]] = self._load()
        self._written: dict[str, float] = {name: at for name, (at, _) in self._entries.items()}

    def get(self, token_key: str) -> UserModel | None:
        """The user whom the hub named for this token, if that was not too long ago."""
        entry = self._entries.get(self._hash(token_key))
        if entry is None or time.time() - entry[0] >= self._grace:
            return None
        return entry[1]

    def put(self, token_key: str, user: UserModel) -> None:
        """The hub named this user now."""
        if self._grace <= 0:
            return
        name, now = self._hash(token_key), time.time()
        user = {field: value for field, value in user.items() if field not in _NOT_KEPT}
        before = self._entries.get(name)
        self._entries[name] = (now, user)
        stale = now - self._written.get(name, float("-inf")) >= FRESH_SECONDS
        if stale or before is None or before[1] != user:
            self._save()

    def evict(self, token_key: str) -> None:
        """The hub does not know this token (any more)."""
        if self._entries.pop(self._hash(token_key), None) is not None:
            self._save()

    def _hash(self, token_key: str) -> str:
        return hmac.new(self._key, token_key.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    # -- files ---------------------------------------------------------------------------------------
    def _load_key(self) -> bytes:
        if self._directory is not None:
            with suppress(OSError):
                key = (self._directory / KEY_NAME).read_bytes()
                if len(key) == 32:
                    return key
        key = secrets.token_bytes(32)
        self._write(KEY_NAME, key)
        return key

    def _load(self) -> dict[str, tuple[float, UserModel]]:
        if self._directory is None:
            return {}
        try:
            entries = json.loads((self._directory / FILE_NAME).read_bytes())
            return {
                str(name): (float(at), dict(user))
                for name, (at, user) in entries.items()
                if time.time() - float(at) < self._grace
            }
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _save(self) -> None:
        now = time.time()
        newest = sorted(self._entries.items(), key=lambda item: item[1][0], reverse=True)[:MAX_ENTRIES]
        self._entries = {name: entry for name, entry in newest if now - entry[0] < self._grace}
        self._written = {name: at for name, (at, _) in self._entries.items()}
        self._write(FILE_NAME, json.dumps(self._entries).encode())

    def _write(self, name: str, data: bytes) -> None:
        if self._directory is None:
            return
        temporary = self._directory / f".{name}.{os.getpid()}"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            temporary.replace(self._directory / name)
        except OSError as error:
            app_log.warning("Who is known cannot be kept across restarts (%s).", error.strerror)


class PatientHubOAuth(HubOAuth):
    """JupyterHub's check of tokens and cookies, with the hub's last answer while it is away."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        directory = os.environ.get("PTH_RUNTIME_DIR")
        self.known = KnownUsers(Path(directory) if directory else None, grace_seconds())
        self._away = False
        self._ask_again_at = 0.0
        self._asking: asyncio.Future[Any] | None = None

    async def _check_hub_authorization(
        self, url: str, api_token: str, cache_key: str | None = None, use_cache: bool = True
    ) -> UserModel | None:
        """The user of a token, or None. Called by everything that identifies a user."""
        if not use_cache or cache_key is None:
            return await self._ask_or_fail(url, api_token)
        with suppress(KeyError):
            return self.cache[cache_key]
        if self._away:
            known = self.known.get(cache_key)
            if known is not None:
                self._ask_in_background(self._confirm(url, api_token, cache_key))
                return known
        try:
            return await self._confirm(url, api_token, cache_key)
        except HubAway as error:
            known = self.known.get(cache_key)
            if known is None:
                raise _not_now() from error
            if not self._away:
                app_log.warning("The hub cannot be asked who is who (%s); its last answers count.", error)
            self._away = True
            self._ask_again_at = time.monotonic() + ASK_AGAIN_SECONDS
            return known
        except HubRefused as error:
            raise HTTPError(500, f"The hub refused to say who you are ({error}).") from error

    async def _confirm(self, url: str, api_token: str, cache_key: str) -> UserModel | None:
        """Ask the hub and take note of what it says."""
        try:
            user = await self._ask(url, api_token)
        except HubRefused:
            self.known.evict(cache_key)
            raise
        if self._away:
            app_log.info("The hub is back.")
            self._away = False
        if user is None:
            self.known.evict(cache_key)
        else:
            self.known.put(cache_key, user)
        self.cache[cache_key] = user
        return user

    async def ask_again(self, token: str, session_id: str) -> bool | None:
        """Whether the hub lets in who has this token, whatever is cached; None if it cannot be asked."""
        digest = hashlib.sha256(token.encode("utf8", "replace")).hexdigest()
        url = f"{self.api_url.rstrip('/')}/user"
        try:
            # By the same name as JupyterHub's, so that a refusal holds for requests, too, from now on.
            user = await self._confirm(url, token, f"token:{session_id}:{digest}")
        except (HubAway, HubRefused):
            return None
        return user is not None and bool(self.check_scopes(self.access_scopes, user))

    async def answers(self) -> bool:
        """Whether the hub is there at all."""
        try:
            await self._ask(f"{self.api_url.rstrip('/')}/user", "")
        except HubAway:
            return False
        except HubRefused:
            pass
        return True

    def _ask_in_background(self, confirm: Coroutine[Any, Any, Any]) -> None:
        """Ask again, one at a time and not too often."""
        if self._asking is not None or time.monotonic() < self._ask_again_at:
            confirm.close()
            return
        self._ask_again_at = time.monotonic() + ASK_AGAIN_SECONDS

        def done(task: asyncio.Future[Any]) -> None:
            self._asking = None
            if not task.cancelled():
                task.exception()

        self._asking = asyncio.ensure_future(confirm)
        self._asking.add_done_callback(done)

    async def _ask_or_fail(self, url: str, api_token: str) -> UserModel | None:
        try:
            return await self._ask(url, api_token)
        except HubAway as error:
            raise _not_now() from error
        except HubRefused as error:
            raise HTTPError(500, f"The hub refused to say who you are ({error}).") from error

    async def _ask(self, url: str, api_token: str) -> UserModel | None:
        """The hub's answer; None when it does not know the token."""
        options = tls_options(self.certfile, self.keyfile, self.client_ca)
        headers = {"Authorization": f"token {api_token}"}
        try:
            async with asyncio.timeout(HUB_SECONDS):
                response = await fetch(url, raise_for_status=False, headers=headers, **options)
                status, text = response.status, await response.text()
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            raise HubAway(type(error).__name__) from error
        if status in (401, 403, 404):
            return None
        if 400 <= status < 500:
            raise HubRefused(f"status {status}")
        try:
            user = json.loads(text) if status == 200 else None
        except ValueError:
            user = None
        if not isinstance(user, dict) or "name" not in user:
            raise HubAway(f"status {status}")
        return user


def _not_now() -> HTTPError:
    return HTTPError(503, "The hub does not answer, so nobody new can come in. Try again when it is back.")


class PatientIdentityProvider(JupyterHubIdentityProvider):
    """JupyterHub's identity provider on that check."""

    @default("hub_auth")
    def _default_hub_auth(self) -> PatientHubOAuth:
        return PatientHubOAuth(parent=self)
