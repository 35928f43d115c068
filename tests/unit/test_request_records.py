"""Which of the hub's requests are written down, and as what."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub.apihandlers import default_handlers
from tornado.web import HTTPError

from persistent_terminal_hub import audit
from persistent_terminal_hub.hub import request_records
from persistent_terminal_hub.hub.request_records import described, event_of, recording


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("GET", "api/users/ada/server", None),
        ("GET", "logout", None),  # has a record of its own
        ("POST", "login", None),
        ("POST", "api/oauth2/token", None),
        ("POST", "api/users/ada/activity", None),
        ("POST", "api/proxy", None),
        ("POST", "persistent-terminals/api/lock", None),
        ("POST", "spawn/ada/gpu", None),
        ("POST", "reauth/password", None),
        ("POST", "api/users/ada/server", ("server.start", "ada/")),
        ("POST", "api/users/ada/servers/gpu", ("server.start", "ada/gpu")),
        ("DELETE", "api/users/ada/servers/gpu", ("server.stop", "ada/gpu")),
        ("DELETE", "api/users/a%40b/servers/", ("server.stop", "a@b/")),
        ("PATCH", "api/users/ada/servers/gpu", ("server.change", "ada/gpu")),
        ("POST", "api/users/ada/tokens", ("token.create", "ada")),
        ("DELETE", "api/users/ada/tokens/a12", ("token.revoke", "ada")),
        ("POST", "api/users", ("user.create", "api/users")),
        ("POST", "api/users/ada", ("user.create", "ada")),
        ("DELETE", "api/users/ada", ("user.remove", "ada")),
        ("PATCH", "api/users/ada", ("user.change", "ada")),
        ("POST", "api/groups/data/users", ("group.change", "data")),
        ("POST", "api/shares/ada/gpu", ("share.change", "api/shares/ada/gpu")),
        ("DELETE", "api/users/ada/shared/bob/x", ("share.change", "api/users/ada/shared/bob/x")),
        ("POST", "authorize", ("account.approve", "authorize")),
        ("POST", "change-password", ("account.password", "change-password")),
        ("POST", "change-password/ada", ("account.password", "ada")),
        ("POST", "api/shutdown", ("hub.write", "api/shutdown")),
        ("POST", "persistent-terminals/x", ("hub.write", "persistent-terminals/x")),
        ("DELETE", "nonsense\n", ("hub.write", "nonsense\n")),
    ],
)  # fmt: skip
def test_described(method: str, path: str, found: tuple[str, str] | None) -> None:
    assert described(method, path) == found


def test_every_write_of_the_hubs_api_is_one_or_the_other() -> None:
    """A route that a new JupyterHub brings is written down, if only as a write."""
    for route in default_handlers:
        path = route[0].lstrip("/").replace("([^/]+)", "x").replace("([^/]*)", "y").replace("(?:/y)?", "")
        said = described("POST", path.rstrip("?"))
        quiet = any(word in path for word in ("oauth2", "authorizations", "activity", "proxy"))
        assert (said is None) == quiet, route[0]


def test_starts_are_the_spawners_unless_they_were_refused() -> None:
    assert event_of("POST", "api/users/ada/server", 201, "ada", "::1") is None
    refused = event_of("POST", "api/users/ada/server", 403, "eve", "::1")
    assert refused is not None and (refused["who"], refused["result"], refused["code"]) == (
        "eve",
        "refused",
        403,
    )


class Handler:
    """Of a request that was answered."""

    def __init__(self, path: str, status: int = 204, user: Any = None) -> None:
        self.request = SimpleNamespace(method="DELETE", path=path, remote_ip="192.0.2.7")
        self.settings = {"hub": SimpleNamespace(base_url="/base/hub/")}
        self._status = status
        self._user = user

    def get_status(self) -> int:
        return self._status

    @property
    def current_user(self) -> Any:
        if self._user is None:
            raise HTTPError(403)
        return self._user


async def test_written_down_after_it_was_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[Any] = []
    events: list[Any] = []
    monkeypatch.setattr(request_records.audit, "record", events.append)
    log = recording(logged.append)
    log(Handler("/base/hub/api/users/ada/servers/x", user=SimpleNamespace(name="ada")))
    log(Handler("/base/hub/api/users/ada/servers/x", 403))
    log(Handler("/other/hub/api/users/ada/servers/x"))
    async with asyncio.timeout(5):
        while len(events) < 2:
            await asyncio.sleep(0.01)
    assert len(logged) == 3
    assert sorted((e["who"], e["what"], e["on"], e["result"]) for e in events) == [
        ("", "server.stop", "ada/x", "refused"), ("ada", "server.stop", "ada/x", "ok"),
    ]  # fmt: skip
    assert {name for event in events for name in event} <= audit.FIELDS


@pytest.mark.parametrize(("status", "said"), [(200, 0), (403, 1), (503, 1)])
def test_what_services_ask_all_the_time_is_said_when_it_fails(status: int, said: int) -> None:
    logged: list[Any] = []
    handler = Handler("/base/hub/persistent-terminals/api/running", status)
    handler.request.method = "GET"
    recording(logged.append)(handler)
    assert len(logged) == said
