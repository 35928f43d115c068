"""Talking to the Docker Engine without ever blocking the event loop.

A few worker threads, each with a client of its own (docker-py's are not made for sharing), and a time
limit on every call. Every failure becomes an :class:`EngineError` that says of what kind it is, because
what follows depends on that alone: "I cannot reach it" must never be taken for "it is gone".
"""

from __future__ import annotations

import asyncio
import enum
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import docker
import requests
from docker.errors import APIError, DockerException
from docker.utils import kwargs_from_env

T = TypeVar("T")

DEFAULT_TIMEOUT = 30.0
DEFAULT_THREADS = 8
# After a call found no engine, polls do not ask again for this long: hundreds of them would fill the threads.
QUIET_SECONDS = 5.0


class Kind(enum.Enum):
    """What went wrong, as far as a caller must know."""

    UNREACHABLE = "unreachable"  # no answer: nothing is known about any container
    NOT_FOUND = "not found"  # Docker itself says that there is no such object
    CONFLICT = "conflict"  # Docker itself says that the object's state does not allow it
    NO_SPACE = "no space"
    OVERLAP = "overlap"  # the subnet is in use
    FAILED = "failed"  # Docker answered that it could not; its own words are in the text


class EngineError(Exception):
    """A call to Docker failed."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


def classify(error: BaseException) -> EngineError:
    """Say of what kind an exception of docker-py or requests is (pure)."""
    if isinstance(error, EngineError):
        return error
    if isinstance(error, APIError):
        detail = _one_line(str(error.explanation or error))
        status = error.status_code or 0
        lowered = detail.lower()
        if "no space left on device" in lowered or "disk quota exceeded" in lowered:
            return EngineError(Kind.NO_SPACE, detail)
        if "pool overlaps" in lowered or "conflicts with network" in lowered:
            return EngineError(Kind.OVERLAP, detail)
        if status == 404:
            return EngineError(Kind.NOT_FOUND, detail)
        if status in (304, 409):
            return EngineError(Kind.CONFLICT, detail)
        if status in (502, 503, 504):
            return EngineError(Kind.UNREACHABLE, detail)
        return EngineError(Kind.FAILED, detail)
    if isinstance(error, (requests.RequestException, DockerException, OSError, TimeoutError)):
        # docker-py wraps a refused connection, a missing socket and a broken answer into these.
        return EngineError(Kind.UNREACHABLE, _one_line(str(error)) or type(error).__name__)
    return EngineError(Kind.FAILED, f"{type(error).__name__}: {_one_line(str(error))}")


def _one_line(text: str, limit: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


class DockerEngine:
    """One engine, reached through a bounded number of threads."""

    def __init__(
        self,
        host: str = "",
        *,
        timeout: float = DEFAULT_TIMEOUT,
        threads: int = DEFAULT_THREADS,
        log: logging.Logger | logging.LoggerAdapter[Any] | None = None,
    ) -> None:
        self.host = host
        self.timeout = timeout
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pth-docker")
        self._local = threading.local()
        self._log = log or logging.getLogger(__name__)
        self._answers = True
        self._quiet_until = 0.0

    def client(self) -> docker.APIClient:
        """This thread's client. Asks the engine for its version, so it blocks: only for worker threads."""
        client = getattr(self._local, "client", None)
        if client is None:
            kwargs: dict[str, Any] = {"base_url": self.host} if self.host else kwargs_from_env()
            client = docker.APIClient(version="auto", timeout=self.timeout, **kwargs)
            self._local.client = client
        return client

    def _forget_client(self) -> None:
        client = getattr(self._local, "client", None)
        self._local.client = None
        if client is not None:
            client.close()

    @property
    def quiet(self) -> bool:
        """Whether the engine was found not to answer a moment ago."""
        return time.monotonic() < self._quiet_until

    async def run(self, job: Callable[[docker.APIClient], T]) -> T:
        """Run ``job(client)`` in a worker thread; failures become :class:`EngineError`."""

        def work() -> T:
            try:
                return job(self.client())
            except Exception as error:
                problem = classify(error)
                if problem.kind is Kind.UNREACHABLE:
                    self._forget_client()  # the engine that comes back may be another version
                raise problem from None

        try:
            result = await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except EngineError as problem:
            self._note(problem.kind is not Kind.UNREACHABLE, problem.detail)
            raise
        self._note(True, "")
        return result

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of docker-py's ``APIClient`` by name."""
        return await self.run(lambda client: getattr(client, method)(*args, **kwargs))

    def _note(self, answers: bool, detail: str) -> None:
        """Log once when the engine goes away and once when it is back."""
        if not answers:
            self._quiet_until = time.monotonic() + QUIET_SECONDS
            if self._answers:
                self._log.warning(
                    "Docker Engine does not answer (%s). Until it does, workspaces are taken to run on.",
                    detail,
                )
        else:
            self._quiet_until = 0.0
            if not self._answers:
                self._log.warning("Docker Engine answers again.")
        self._answers = answers

    def close(self) -> None:
        """Let the threads end when their calls have."""
        self._pool.shutdown(wait=False, cancel_futures=True)


_engines: dict[tuple[str, float, int], DockerEngine] = {}


def shared_engine(host: str, timeout: float, threads: int, log: Any = None) -> DockerEngine:
    """The engine of this process for these settings: all spawners share its threads."""
    key = (host, timeout, threads)
    if key not in _engines:
        _engines[key] = DockerEngine(host, timeout=timeout, threads=threads, log=log)
    return _engines[key]
