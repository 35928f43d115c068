"""The hub's keys in a workspace: fetched, kept, asked for again, counted on while the hub is away."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from persistent_terminal_hub.server import hub_keys
from persistent_terminal_hub.server.hub_keys import HubKeys
from persistent_terminal_hub.tokens import Purpose, SigningKey, TokenError, issue, jwks


class Hub:
    """What the workspace fetches."""

    def __init__(self) -> None:
        self.keys = [SigningKey.generate()]
        self.answer: Any = None
        self.asked = 0
        self.slow = 0.0

    async def fetch(self, url: str) -> bytes:
        assert url == "http://hub:8081/pre/hub/persistent-terminals/jwks.json"
        self.asked += 1
        await asyncio.sleep(self.slow)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer if isinstance(self.answer, bytes) else json.dumps(jwks(self.keys)).encode()

    def token(self, number: int = -1, **changes: Any) -> str:
        said = {
            "issuer": "hub:0123456789ab", "audience": "workspace:ann/", "subject": "ann", "lifetime": 60,
        } | changes  # fmt: skip
        return issue(self.keys[number], said.pop("purpose", Purpose.UNLOCK), **said)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(hub_keys, "time", SimpleNamespace(monotonic=lambda: now[0]))  # not the loop's clock
    return now


def workspace(hub: Hub, folder: Path | None) -> HubKeys:
    url = "http://hub:8081/pre/hub/persistent-terminals/jwks.json"
    return HubKeys(url, "0123456789ab", "ann/", folder, hub.fetch)


async def refused(keys: HubKeys, token: object, **options: Any) -> str:
    with pytest.raises(TokenError) as caught:
        await keys.verify(token, Purpose.UNLOCK, **options)
    return caught.value.reason


async def test_it_verifies(tmp_path: Path, clock: list[float]) -> None:
    hub = Hub()
    keys = workspace(hub, tmp_path)
    found = await keys.verify(hub.token(), Purpose.UNLOCK, subject="ann")
    assert (found.subject, found.audience) == ("ann", "workspace:ann/") and hub.asked == 1
    assert await refused(keys, hub.token(audience="workspace:ann/lab")) == "audience"
    assert await refused(keys, hub.token(issuer="hub:ffffffffffff")) == "issuer"
    assert await refused(keys, hub.token(purpose=Purpose.STEER)) == "purpose"
    assert await refused(keys, hub.token(), subject="bob") == "subject"
    assert await refused(keys, hub.token(lifetime=61)) == "too_long"
    assert await refused(keys, hub.token(now=1)) == "expired"
    assert await refused(keys, "garbage") == "malformed" and hub.asked == 1
    assert stat.S_IMODE((tmp_path / "jwks.json").stat().st_mode) == 0o600


async def test_a_new_key_is_fetched_when_it_is_first_seen_but_not_too_often(clock: list[float]) -> None:
    hub = Hub()
    keys = workspace(hub, None)
    await keys.verify(hub.token(), Purpose.UNLOCK)
    hub.keys.append(SigningKey.generate())
    assert await refused(keys, hub.token()) == "signature" and hub.asked == 1, "asked a moment ago"
    clock[0] += 5
    assert (await keys.verify(hub.token(), Purpose.UNLOCK)).subject == "ann" and hub.asked == 2
    stranger = Hub()
    for _ in range(50):
        assert await refused(keys, stranger.token()) == "signature"
    assert hub.asked == 2
    clock[0] += 5
    hub.slow = 0.01
    answers = await asyncio.gather(*(refused(keys, stranger.token()) for _ in range(20)))
    assert set(answers) == {"signature"} and hub.asked == 3, "one question at a time"


async def test_a_key_that_was_thrown_away_stops_counting(clock: list[float]) -> None:
    hub = Hub()
    keys = workspace(hub, None)
    stolen = hub.keys[0]
    await keys.verify(hub.token(), Purpose.UNLOCK)
    hub.keys = [SigningKey.generate()]
    clock[0] += hub_keys.STALE
    hub.keys.insert(0, stolen)
    token = hub.token(0)
    hub.keys.remove(stolen)
    assert await refused(keys, token) == "signature"


@pytest.mark.parametrize("answer", [OSError("away"), TimeoutError(), b"", b"<html>", b"{}", b'{"keys": []}',
    b"[" * 60_000, b"\xff"])  # fmt: skip
async def test_while_the_hub_is_away_the_known_keys_count(
    tmp_path: Path, clock: list[float], answer: Any
) -> None:
    hub = Hub()
    await workspace(hub, tmp_path).verify(hub.token(), Purpose.UNLOCK)
    hub.answer = answer
    restarted = workspace(hub, tmp_path)  # the server was killed meanwhile
    for _ in range(20):
        assert (await restarted.verify(hub.token(), Purpose.UNLOCK)).subject == "ann"
    assert hub.asked == 2, "it is not asked for each"
    clock[0] += 15
    assert (await restarted.verify(hub.token(), Purpose.UNLOCK)).subject == "ann" and hub.asked == 3
    # One that never knew a key refuses, and asks again soon.
    empty = workspace(hub, None)
    assert await refused(empty, hub.token()) == "signature"
    hub.answer = None
    clock[0] += 5
    assert (await empty.verify(hub.token(), Purpose.UNLOCK)).subject == "ann"


async def test_a_damaged_or_missing_place(tmp_path: Path, clock: list[float]) -> None:
    hub = Hub()
    (tmp_path / "jwks.json").write_bytes(b"\xff")
    assert await workspace(hub, tmp_path).verify(hub.token(), Purpose.UNLOCK)
    assert await workspace(hub, tmp_path / "missing").verify(hub.token(), Purpose.UNLOCK)


def test_from_the_environment(tmp_path: Path) -> None:
    env = {
        "JUPYTERHUB_API_URL": "http://hub:8081/pre/hub/api",
        "PTH_HUB_ID": "ab",
        "PTH_WORKSPACE_ID": "ann/",
    }
    keys = HubKeys.from_environment({**env, "PTH_RUNTIME_DIR": str(tmp_path)})
    assert keys is not None and keys._url == "http://hub:8081/pre/hub/persistent-terminals/jwks.json"
    assert (keys.issuer, keys.audience) == ("hub:ab", "workspace:ann/")
    for name in env:
        assert HubKeys.from_environment({**env, name: ""}) is None
