"""Workspaces with a repository in them are made by the control service, which is asked here.

The service makes a workspace, starts it and clones into it as one operation that outlives hub, service and
browser, and takes back what it did when the repository cannot be cloned. It acts with a token of the person,
made for this, that may start and remove workspaces and nothing else, and ends by itself.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from jupyterhub import orm
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from persistent_terminal_hub.hub.control_service import ACCESS, prefix
from persistent_terminal_hub.hub.new_workspace import Wish
from persistent_terminal_hub.settings import Settings

log = logging.getLogger("persistent_terminal_hub")

TIMEOUT_SECONDS: Final = 10.0
#: Longer than a start and a large clone; then what cannot be taken back stays as a stopped workspace.
TOKEN_SECONDS: Final = 6 * 3600
#: A failure is told for so long, in seconds, and nothing is followed for longer than a token lives.
TOLD_SECONDS: Final = 600.0
FRESH_SECONDS: Final = 1.0

WORDS: Final[Mapping[str, str]] = {
    "waiting": "It is being made.",
    "register": "It is being made.",
    "start": "Made; it is starting.",
    "clone": "Started; the repository is being cloned.",
    "finish": "Cloned; almost ready.",
    "undoing": "It could not be made; what was begun is being taken back.",
}


class MakingRefused(Exception):
    """The service did not begin; the text is a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(slots=True)
class Making:
    """One that is under way, or failed not long ago."""

    title: str
    operation: str
    token: str
    revoke: Callable[[], None]
    words: str = WORDS["waiting"]
    failed: str = ""
    asked: float = float("-inf")
    ended: float = 0.0


class Makings:
    """Those of this hub process; after its restart they go on, only nobody is told how far they are."""

    def __init__(self, settings: Settings) -> None:
        self._enabled = settings.control.enabled
        self._url = f"http://127.0.0.1:{settings.control.port}{prefix(settings)}api/"
        self._client: SimpleAsyncHTTPClient | None = None
        self._of: dict[tuple[str, str], Making] = {}

    @property
    def possible(self) -> bool:
        """Whether there is a service that does it."""
        return self._enabled

    async def begin(self, user: Any, wish: Wish) -> None:
        """Have it made. Raises MakingRefused; then nothing is left of it."""
        token = user.new_api_token(
            note=f"Makes the workspace {wish.name}",
            expires_in=TOKEN_SECONDS,
            scopes=[ACCESS, f"servers!user={user.name}"],
        )
        source = {"url": wish.url, "install": wish.install} | ({"branch": wish.branch} if wish.branch else {})
        body: dict[str, Any] = {"name": wish.name, "displayName": wish.title, "source": source}
        options = dict(wish.options)
        resources = {name: options.pop(name) for name in ("cpu", "memory", "pids") if name in options}
        body |= options | ({"resources": resources} if resources else {})
        making = Making(wish.title, "", token, lambda: _revoke(user.db, token))
        try:
            answer = await self._ask("POST", "workspaces/clone", token, body)
            making.operation = str(answer["operation"]["id"])
        except MakingRefused:
            making.revoke()
            raise
        except (KeyError, TypeError):
            making.revoke()
            raise MakingRefused(
                503, "The control service answered something else; its log says what."
            ) from None
        self._of[user.name, wish.name] = making

    async def of(self, user: str) -> dict[str, Making]:
        """What is under way for a person, by name, as of now."""
        mine = {name: making for (owner, name), making in self._of.items() if owner == user}
        await asyncio.gather(*(self._look(user, name, making) for name, making in mine.items()))
        return {name: making for name, making in mine.items() if (user, name) in self._of}

    def dismiss(self, user: str, name: str) -> None:
        """A failure was read."""
        making = self._of.get((user, name))
        if making is not None and making.failed:
            del self._of[user, name]

    async def _look(self, user: str, name: str, making: Making) -> None:
        now = time.monotonic()
        if making.failed:
            if now - making.ended > TOLD_SECONDS:
                self._of.pop((user, name), None)
            return
        if now - making.asked < FRESH_SECONDS:
            return
        making.asked = now
        try:
            found = await self._ask("GET", f"operations/{making.operation}", making.token)
        except MakingRefused as refusal:
            if refusal.status in (401, 403, 404):  # its token ended, or it was forgotten: nothing to tell
                self._of.pop((user, name), None)
            return  # else the service is away, and the last words stand
        state = str(found.get("state"))
        if state in ("done", "cancelled", "failed"):
            making.revoke()
        if state in ("done", "cancelled"):
            self._of.pop((user, name), None)
        elif state == "failed":
            making.failed, making.ended = str(found.get("error") or "It failed.")[:1000], now
        else:
            making.words = WORDS.get(state) or WORDS.get(str(found.get("step"))) or making.words

    async def _ask(self, method: str, path: str, token: str, body: Any = None) -> dict[str, Any]:
        self._client = self._client or SimpleAsyncHTTPClient(force_instance=True)
        request = HTTPRequest(
            self._url + path,
            method=method,
            headers={"Authorization": f"token {token}", "Content-Type": "application/json"},
            body=None if body is None else json.dumps(body),
            connect_timeout=TIMEOUT_SECONDS,
            request_timeout=TIMEOUT_SECONDS,
            follow_redirects=False,
        )
        try:
            answer = json.loads((await self._client.fetch(request)).body)
        except HTTPClientError as error:
            if error.code == 599 or error.response is None:
                raise MakingRefused(503, _AWAY) from None
            raise MakingRefused(error.code, _sentence(error.response.body)) from None
        except (OSError, ValueError):
            raise MakingRefused(503, _AWAY) from None
        return answer if isinstance(answer, dict) else {}


def _revoke(db: Any, token: str) -> None:
    """What it was for is done."""
    found = orm.APIToken.find(db, token)
    if found is not None:
        db.delete(found)
        db.commit()


_AWAY: Final = (
    "The service that clones repositories does not answer. Nothing was made; try again in a minute, or make "
    "the workspace without a repository."
)


def _sentence(body: bytes) -> str:
    try:
        model = json.loads(body)
        return f"{model['message']} {model.get('hint', '')}".strip()
    except (ValueError, KeyError, TypeError, AttributeError):
        return "The service that clones repositories refused; its log says why."
