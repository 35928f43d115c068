"""The control service without async: the same calls with the same arguments, for scripts and notebooks.

Callbacks (`on_progress`, `on_output`) are called in the thread that does the work; they must not wait long.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, ParamSpec, Self, TypeVar

from . import control_service, hub_sessions, operations, user_secrets, workspaces
from .sync import Connected, _run

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(call: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    @wraps(call)
    def blocking(*args: P.args, **kwargs: P.kwargs) -> T:
        return _run(call(*args, **kwargs))

    return blocking


def _each(call: Callable[P, AsyncIterator[T]]) -> Callable[P, Iterator[T]]:
    @wraps(call)
    def each(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        items = call(*args, **kwargs)

        async def following() -> tuple[T] | None:
            try:
                return (await anext(items),)
            except StopAsyncIteration:
                return None

        async def done() -> None:
            if (close := getattr(items, "aclose", None)) is not None:
                await close()

        try:
            while (item := _run(following())) is not None:
                yield item[0]
        finally:
            _run(done())

    return each


class Workspaces:
    """See `workspaces.Workspaces`."""

    def __init__(self, inner: workspaces.Workspaces) -> None:
        self.list = _blocking(inner.list)
        self.get = _blocking(inner.get)
        self.create = _blocking(inner.create)
        self.clone = _blocking(inner.clone)
        self.patch = _blocking(inner.patch)
        self.start = _blocking(inner.start)
        self.stop = _blocking(inner.stop)
        self.restart = _blocking(inner.restart)
        self.delete = _blocking(inner.delete)
        self.execute = _blocking(inner.execute)
        self.logs = _blocking(inner.logs)
        self.stats = _blocking(inner.stats)


class Operations:
    """See `operations.Operations`."""

    def __init__(self, inner: operations.Operations) -> None:
        self.get = _blocking(inner.get)
        self.cancel = _blocking(inner.cancel)
        self.wait = _blocking(inner.wait)
        self.follow = _each(inner.follow)


class HubSessions:
    """See `hub_sessions.HubSessions`."""

    def __init__(self, inner: hub_sessions.HubSessions) -> None:
        self.list = _blocking(inner.list)
        self.get = _blocking(inner.get)
        self.create = _blocking(inner.create)
        self.rename = _blocking(inner.rename)
        self.end = _blocking(inner.end)


class UserSecrets:
    """See `user_secrets.UserSecrets`."""

    def __init__(self, inner: user_secrets.UserSecrets) -> None:
        self.list = _blocking(inner.list)
        self.set = _blocking(inner.set)
        self.delete = _blocking(inner.delete)


class ControlService(Connected[control_service.ControlService]):
    """See `control_service.ControlService`; `find_control_service` makes one."""

    def __init__(self, inner: control_service.ControlService) -> None:
        super().__init__(inner)
        self.workspaces = Workspaces(inner.workspaces)
        self.operations = Operations(inner.operations)
        self.sessions = HubSessions(inner.sessions)
        self.secrets = UserSecrets(inner.secrets)
        self.me = _blocking(inner.me)
        self.usage = _blocking(inner.usage)
        self.audit = _blocking(inner.audit)
        self.export_audit = _each(inner.export_audit)

    @classmethod
    def at(cls, url: str, token: str) -> Self:
        """That of the hub at this address."""

        async def make() -> control_service.ControlService:
            return control_service.ControlService(url, token)

        return cls(_run(make()))


def find_control_service(hub: str | None = None) -> ControlService:
    """That of the hub which the argument or PTH_HUB_URL names."""

    async def find() -> control_service.ControlService:
        return control_service.find_control_service(hub)

    return ControlService(_run(find()))
