"""HTTP requests with a time limit, and the ways in which they can fail told apart.

One connection for each request: a thousand workspaces asked once a minute would otherwise be a thousand
connections that somebody has to keep open.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Literal

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import HTTPTimeoutError, SimpleAsyncHTTPClient

#: An answer larger than this is not read: 10,000 sessions' facts have less.
MAX_BODY = 8 * 1024 * 1024
#: Beyond the limit of a request, until it is given up whatever tornado thinks.
GRACE_SECONDS = 1.0

Silence = Literal["timeout", "refused", "broken"]


class NoAnswer(Exception):
    """No whole HTTP answer came: nothing is known."""

    def __init__(self, why: Silence, text: str) -> None:
        super().__init__(text)
        self.why: Silence = why


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, of whatever status."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body; ValueError if it is no JSON."""
        return json.loads(self.body)

    def sentence(self) -> str:
        """What the answer says for people: its `message`, or its status alone."""
        try:
            model = self.json()
        except ValueError:
            return f"HTTP {self.status}"
        message = model.get("message") if isinstance(model, dict) else None
        return f"HTTP {self.status}: {message}"[:300] if isinstance(message, str) else f"HTTP {self.status}"


class Http:
    """Sends requests; counts them."""

    def __init__(self, concurrency: int) -> None:
        # `force_instance`: a cached client would have the limits of whoever made it first.
        self._client = SimpleAsyncHTTPClient(
            force_instance=True, max_clients=concurrency + 8, max_body_size=MAX_BODY
        )
        self.requests = 0

    async def send(
        self, method: str, url: str, *, headers: dict[str, str], body: Any = None, seconds: float
    ) -> Answer:
        """The answer; `NoAnswer` when none came within `seconds`. `body` travels as JSON."""
        self.requests += 1
        request = HTTPRequest(
            url,
            method=method,
            headers={"Accept": "application/json", "Content-Type": "application/json", **headers},
            body=None if body is None else json.dumps(body),
            allow_nonstandard_methods=True,
            follow_redirects=False,
            connect_timeout=seconds,
            request_timeout=seconds,
        )
        try:
            async with asyncio.timeout(seconds + GRACE_SECONDS):
                answer = await self._client.fetch(request, raise_error=False)
        except (TimeoutError, HTTPTimeoutError):
            raise NoAnswer("timeout", f"no answer within {seconds:g} s") from None
        except ConnectionRefusedError:
            raise NoAnswer("refused", "nothing listens at its address") from None
        except (HTTPClientError, OSError, ValueError) as error:
            raise NoAnswer("broken", f"the connection broke ({type(error).__name__})") from None
        return Answer(answer.code, answer.body or b"")

    def close(self) -> None:
        """Close what is open."""
        self._client.close()
