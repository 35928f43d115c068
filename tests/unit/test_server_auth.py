"""Who comes in while the hub is away, with a hub that does as it is told."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from jupyterhub.httpclient import JupyterHubHTTPClient
from tornado.web import HTTPError

from persistent_terminal_hub.server import auth
from persistent_terminal_hub.server.auth import FILE_NAME, KEY_NAME, KnownUsers, PatientHubOAuth

ANN = {"name": "ann", "scopes": ["access:servers!server=ann/"], "auth_state": {"secret": "s"}}


class Hub:
    """Answers `GET /hub/api/user`."""

    def __init__(self) -> None:
        self.users: dict[str, Any] = {"t0ken": ANN}
        self.status = 200
        self.asked = 0
        self.url = ""
        self.runner: web.AppRunner | None = None
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.status != 200:
            return web.json_response({}, status=self.status)
        user = self.users.get(request.headers["Authorization"].removeprefix("token "))
        return web.json_response(user or {}, status=200 if user else 403)

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/hub/api/user", self.answer)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self.runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}/hub/api"

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    hub = Hub()
    await hub.start()
    yield hub
    await hub.stop()
    await JupyterHubHTTPClient.loop_instance().close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Wall and monotonic time of the module."""
    now = [1000.0]
    monkeypatch.setattr(auth.time, "time", lambda: now[0])
    return now


def new_auth(hub: Hub, directory: Path, monkeypatch: pytest.MonkeyPatch, **env: str) -> PatientHubOAuth:
    """As a server that starts now."""
    monkeypatch.setenv("PTH_RUNTIME_DIR", str(directory))
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return PatientHubOAuth(api_url=hub.url, api_token="x", oauth_client_id="c", cache_max_age=300)


async def who(check: PatientHubOAuth, token: str = "t0ken", *, forget: bool = True) -> str | None:  # noqa: S107
    if forget:  # as if five minutes had passed
        check.cache.clear()
    user = await check.user_for_token(token, session_id="s", sync=False)
    return None if user is None else user["name"]


async def test_the_last_answer_counts_while_the_hub_is_away_also_for_the_next_server(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = new_auth(hub, tmp_path, monkeypatch)
    assert await who(check) == "ann" and await who(check, forget=False) == "ann" and hub.asked == 1
    await hub.stop()
    assert await who(check) == "ann"
    again = new_auth(hub, tmp_path, monkeypatch)
    assert await who(again) == "ann"
    with pytest.raises(HTTPError) as caught:
        await who(again, "other")
    assert caught.value.status_code == 503
    # A token alone is not enough where a session came with it.
    with pytest.raises(HTTPError):
        await again.user_for_token("t0ken", session_id="another", sync=False)


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_hub_that_is_broken_is_away(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    check = new_auth(hub, tmp_path, monkeypatch)
    assert await who(check) == "ann"
    hub.status = status
    assert await who(check) == "ann"
    with pytest.raises(HTTPError):
        await who(check, "other")


@pytest.mark.parametrize("status", [401, 403, 404, 400, 429])
async def test_a_refusal_evicts_at_once(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    check = new_auth(hub, tmp_path, monkeypatch)
    assert await who(check) == "ann"
    hub.status = status
    if status in (401, 403, 404):
        assert await who(check) is None
    else:
        with pytest.raises(HTTPError):
            await who(check)
    await hub.stop()
    for server in (check, new_auth(hub, tmp_path, monkeypatch)):
        with pytest.raises(HTTPError):
            await who(server)
    assert "ann" not in (tmp_path / FILE_NAME).read_text()


async def test_it_is_bounded(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    check = new_auth(hub, tmp_path, monkeypatch, PTH_AUTH_GRACE_SECONDS="1000")
    assert await who(check) == "ann"
    await hub.stop()
    clock[0] += 999
    assert await who(check) == "ann"
    assert await who(new_auth(hub, tmp_path, monkeypatch)) == "ann"
    clock[0] += 2
    for server in (check, new_auth(hub, tmp_path, monkeypatch)):
        with pytest.raises(HTTPError):
            await who(server)


async def test_it_can_be_turned_off(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = new_auth(hub, tmp_path, monkeypatch, PTH_AUTH_GRACE_SECONDS="0")
    assert await who(check) == "ann"
    await hub.stop()
    with pytest.raises(HTTPError):
        await who(check)
    assert not (tmp_path / FILE_NAME).exists()


async def test_a_hub_that_is_back_is_asked_and_obeyed(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = new_auth(hub, tmp_path, monkeypatch)
    assert await who(check) == "ann"
    await hub.stop()
    assert await who(check) == "ann"
    await hub.start()
    hub.users.clear()  # revoked meanwhile
    asked = hub.asked
    assert await who(check) == "ann" and hub.asked == asked, "not asked too often, nobody waits"
    check._ask_again_at = 0
    assert await who(check) == "ann"
    assert check._asking is not None
    await check._asking
    assert hub.asked == asked + 1
    assert await who(check) is None


async def test_what_is_on_file(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = new_auth(hub, tmp_path, monkeypatch)
    await who(check)
    for name in (FILE_NAME, KEY_NAME):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    text = (tmp_path / FILE_NAME).read_text()
    assert "t0ken" not in text and "secret" not in text
    assert hashlib.sha256(b"t0ken").hexdigest() not in text
    assert len(json.loads(text)) == 1


def test_damaged_files_and_many_users(tmp_path: Path) -> None:
    for content in (b"", b"{", b"[1]", b'{"a": 1}', b'{"a": [1]}', b'{"a": ["x", 1]}'):
        (tmp_path / FILE_NAME).write_bytes(content)
        assert KnownUsers(tmp_path, 100).get("a") is None
    (tmp_path / KEY_NAME).write_bytes(b"short")
    known = KnownUsers(tmp_path, 100)
    for number in range(100):
        known.put(str(number), {"name": f"u{number}"})
    assert len(json.loads((tmp_path / FILE_NAME).read_text())) <= 64
    assert KnownUsers(tmp_path, 100).get("99") == {"name": "u99"}
    # Nowhere to keep it: it works for as long as the process lives.
    nowhere = KnownUsers(tmp_path / "missing", 100)
    nowhere.put("a", {"name": "a"})
    assert nowhere.get("a") == {"name": "a"}
