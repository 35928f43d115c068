"""Requests to the control service: each is sent until it is known how it went, and is done once.

A POST carries an Idempotency-Key that stays the same when it is sent again, so an answer that was lost on the
way is no reason to do something twice. What cannot be sent again without a risk is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import httpx
from pydantic import BaseModel, ValidationError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_delay
from tenacity.wait import wait_random_exponential

from . import errors
from .api import TIMEOUT, _Http
from .errors import ClientError, Unreachable
from .place import Place

API: Final = "services/terminals/api/"
KEY: Final = "Idempotency-Key"
#: Seconds for which a request is sent again; a service that was killed is back in less.
PATIENCE: Final = 20.0
#: Seconds without a byte after which a stream counts as cut.
SILENCE: Final = 45.0
#: Seconds that a server may ask us to wait.
LONGEST_PAUSE: Final = 5.0

M = TypeVar("M", bound=BaseModel)
Query = Mapping[str, str | int | None]

_backoff = wait_random_exponential(multiplier=0.2, max=3.0)


class _Again(Exception):
    """It may be sent again; `error` is what is said when that does not help."""

    def __init__(self, error: ClientError, pause: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.pause = pause


class ControlHttp(_Http):
    """The service under the hub's address."""

    def __init__(
        self,
        place: Place,
        tls: ssl.SSLContext | None = None,
        *,
        patience: float = PATIENCE,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(place, tls, transport=transport)
        self.patience = patience
        self.sleep = sleep
        self._reached = False

    async def ask(
        self, method: str, path: str, body: object = None, *, query: Query | None = None, seconds: float = 0.0
    ) -> Any:
        """The answer's JSON, None without one. `path` is below the API; `seconds` is what it may take more.

        Raises ClientError.
        """
        headers = {KEY: str(uuid.uuid4())} if method == "POST" else {}
        request = self._client.build_request(
            method,
            API + path,
            json=body,
            params=_given(query),
            headers=headers,
            timeout=httpx.Timeout(TIMEOUT, read=TIMEOUT + seconds),
        )
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_Again),
            stop=stop_after_delay(self.patience),
            wait=_pause,
            sleep=self.sleep,
            reraise=True,
        )
        try:
            return await retrying(self._send, request)
        except _Again as again:
            raise again.error from None

    async def ask_for(
        self, model: type[M], method: str, path: str, body: object = None, *, query: Query | None = None
    ) -> M:
        """The answer as a `model`."""
        return self.parse(model, await self.ask(method, path, body, query=query))

    def parse(self, model: type[M], value: object) -> M:
        """JSON as a `model`. Raises Unreachable when it is something else."""
        try:
            return model.model_validate(value)
        except ValidationError:
            raise Unreachable(
                f"{self.place.url} answers, but not as this version of the client understands.",
                "Are client and hub of the same version?",
            ) from None

    @contextlib.asynccontextmanager
    async def stream(
        self, method: str, path: str, body: object = None, *, query: Query | None = None,
        headers: Mapping[str, str] | None = None, silence: float = SILENCE,
    ) -> AsyncIterator[httpx.Response]:  # fmt: skip
        """An answer that comes in pieces; it is sent once. Raises ClientError, also for a cut."""
        request = self._client.build_request(
            method, API + path, json=body, params=_given(query), headers=dict(headers or {}),
            timeout=httpx.Timeout(TIMEOUT, read=silence),
        )  # fmt: skip
        try:
            response = await self._client.send(request, stream=True)
            try:
                self._reached = True
                if not response.is_success:
                    await response.aread()
                    try:
                        self._judge(response)
                    except _Again as again:
                        raise again.error from None
                yield response
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise self._silent(error) from None
        except httpx.InvalidURL:
            raise self._no_address() from None

    async def _send(self, request: httpx.Request) -> Any:
        try:
            response = await self._client.send(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            # An address that never answered is more likely wrong than away.
            if self._reached:
                raise _Again(self._silent(error)) from None
            raise self._silent(error) from None
        except httpx.HTTPError as error:
            if request.method != "DELETE":
                raise _Again(self._silent(error)) from None
            raise Unreachable(
                f"{self.place.url} did not answer; it may have been done all the same.",
                "Look before you ask again.",
            ) from None
        except httpx.InvalidURL:
            raise self._no_address() from None
        self._reached = True
        return self._judge(response)

    def _judge(self, response: httpx.Response) -> Any:
        status = response.status_code
        try:
            value = response.json() if response.content else None
        except ValueError:
            value = None
        if response.is_success:
            if value is None and response.content:
                raise Unreachable(f"{self.place.url} answers, but not as a Persistent Terminal Hub does.")
            return value
        if response.is_redirect:
            raise Unreachable(
                f"{self.place.url} sends elsewhere ({response.headers.get('location', '?')[:200]}).",
                "Is the address right, https included?",
            )
        error = _refusal(response, value if isinstance(value, dict) else {})
        pause = response.headers.get("Retry-After", "")
        wait = min(float(pause), LONGEST_PAUSE) if pause.isascii() and pause.isdigit() else None
        # 409 with a time: our own request is still being worked on, and its answer will be ours.
        later = status in (502, 503, 504) or (status == 409 and wait is not None)
        # A proxy says 503 also for an answer that was lost, and a second DELETE forgets an ended session.
        if later and response.request.method != "DELETE":
            raise _Again(error, wait)
        raise error

    def _silent(self, error: Exception) -> Unreachable:
        return Unreachable(f"{self.place.url} does not answer ({str(error) or type(error).__name__}).")

    def _no_address(self) -> ClientError:
        return errors.NotConfigured(f"{self.place.url} is not an address.")


def _refusal(response: httpx.Response, body: Mapping[str, Any]) -> ClientError:
    status = response.status_code
    if "hint" not in body and status in (404, 405):  # the hub's own page, or another program's
        return Unreachable(
            f"There is no control service below {response.request.url.host}.",
            "Is this a Persistent Terminal Hub, and is control.enabled on?",
        )
    if status == 404:
        resource = response.request.url.path.partition(API)[2].partition("/")[0]
        kind = {"workspaces": errors.NoSuchWorkspace, "sessions": errors.NoSuchSession}
        return kind.get(resource, errors.NotFound)(str(body.get("message")), str(body.get("hint") or ""))
    if "hint" not in body and status in (502, 503, 504):
        return Unreachable(
            "The control service does not answer; nothing that runs is disturbed by that.",
            "Try again in a few seconds.",
        )
    return errors.of_status(status, body)


def _given(query: Query | None) -> dict[str, str | int] | None:
    found = {name: value for name, value in (query or {}).items() if value not in (None, "")}
    return {name: value for name, value in found.items() if value is not None} or None


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.pause if isinstance(error, _Again) else None
    return _backoff(state) if asked is None else max(asked, 0.2)
