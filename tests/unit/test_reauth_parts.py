"""The parts of /hub/reauth that need no hub: values taken once, the way back, subjects, keys."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.web import HTTPError

from persistent_terminal_hub.config.callbacks import note_on_callbacks, reauth_callback_url
from persistent_terminal_hub.hub.oidc_discovery import DiscoveryError, read_document
from persistent_terminal_hub.hub.oidc_keys import BadSignature, KeysAway, ProviderKeys, usable_algorithms
from persistent_terminal_hub.hub.one_time import OneTime, OneTimePerUser, new_id
from persistent_terminal_hub.hub.subjects import Subjects
from persistent_terminal_hub.hub.unlock import WorkspaceAddress, next_within
from persistent_terminal_hub.settings import Settings

# -- values that are taken once -----------------------------------------------------------------------


def test_taken_once_and_not_too_late() -> None:
    kept: OneTime[str] = OneTime(300)
    kept.put("a", "value", 0)
    assert kept.take("b", 1) is None
    assert kept.take("a", 299) == "value"
    assert kept.take("a", 299) is None
    kept.put("a", "value", 0)
    assert kept.take("a", 300) is None
    assert len({new_id() for _ in range(100)}) == 100


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 50)), max_size=60))
def test_memory_is_bounded_and_nothing_old_comes_out(steps: list[tuple[int, float]]) -> None:
    kept: OneTime[float] = OneTime(10, capacity=5)
    now = 0.0
    for id_, pause in steps:
        now += pause
        found = kept.take(str(id_), now)
        assert found is None or now - found < 10
        kept.put(str(id_), now, now)
        assert len(kept) <= 5


def test_nobody_pushes_out_what_another_one_waits_for() -> None:
    kept: OneTimePerUser[str] = OneTimePerUser(300, capacity=3)
    kept.put("alice", "a", "hers", 0)
    for number in range(100):
        kept.put("mallory", str(number), "his", 1)
    assert kept.take("mallory", "a", 2) is None
    assert kept.take("mallory", "99", 2) == "his"
    assert kept.take("mallory", "1", 2) is None
    assert kept.take("alice", "a", 2) == "hers"
    assert kept.take("alice", "a", 2) is None


# -- the way back ---------------------------------------------------------------------------------------

BASE = "/base/user/al%20ice/lab/"


@pytest.mark.parametrize(
    "good", [BASE, BASE + "lab/tree/a%20b?x=1&y=//z#top", BASE + "persistent-terminals/lock"]
)
def test_a_page_of_the_workspace(good: str) -> None:
    assert next_within(good, BASE) == good


@pytest.mark.parametrize(
    "bad",
    [
        "", "/", "/base/user/al%20ice/", "/base/user/al%20ice/lab", "/base/user/al%20ice/lab2/x",
        "https://evil.example" + BASE, "//evil.example" + BASE, "/\\evil.example", BASE + "../x",
        BASE + "%2e%2e/x", BASE + "%2E%2e%2fx", BASE + "a//b", BASE + "a%2f%2fb",
        BASE + "a\\b", BASE + "a%5cb",
        BASE + "a b", BASE + "a\nb", "javascript:" + BASE, BASE + "x" * 3000, "http://[" + BASE,
    ],
)  # fmt: skip
def test_no_page_of_the_workspace(bad: str) -> None:
    assert next_within(bad, BASE) == ""


@given(st.text(max_size=30))
def test_the_way_back_always_begins_with_the_workspace(text: str) -> None:
    for wish in (text, BASE + text):
        found = next_within(wish, BASE)
        assert found == "" or (found == wish and found.startswith(BASE))


def test_forms_may_go_to_the_workspaces_own_origin() -> None:
    plain = WorkspaceAddress("/user/alice/")
    assert (plain.path, plain.form_action) == ("/user/alice/", "'self'")
    own = WorkspaceAddress("https://alice.hub.example:8443/user/alice/")
    assert own.path == "/user/alice/"
    assert own.form_action == "'self' https://alice.hub.example:8443"
    assert own.unlock_url == "https://alice.hub.example:8443/user/alice/persistent-terminals/unlock"


@pytest.mark.parametrize(
    ("login", "reauth"),
    [
        ("https://h.example/hub/oauth_callback", "https://h.example/hub/reauth/callback"),
        ("http://127.0.0.1:8000/a/b/hub/oauth_callback", "http://127.0.0.1:8000/a/b/hub/reauth/callback"),
        ("https://h.example/hub/oauth_callback/", "https://h.example/hub/reauth/callback"),
    ],
)
def test_the_second_callback_is_beside_the_first(login: str, reauth: str) -> None:
    assert reauth_callback_url(login) == reauth


@pytest.mark.parametrize(
    ("auth", "server", "note"),
    [
        ({}, {}, ""),
        (
            {"provider": "oauth2"},
            {"public_url": "https://h.example", "base_url": "/a/"},
            "Register two callbacks at the OpenID Connect provider: https://h.example/a/hub/oauth_callback "
            "(logins) and https://h.example/a/hub/reauth/callback (unlocking)",
        ),
        (
            {"provider": "github"},
            {},
            "Register this callback at GitHub: http://127.0.0.1:8000/hub/oauth_callback",
        ),
        (
            {"provider": "google"},
            {"host": "0.0.0.0"},
            "Register this callback at Google: https://<the hub's address>/hub/oauth_callback",
        ),
    ],
)
def test_what_to_register(auth: dict[str, Any], server: dict[str, Any], note: str) -> None:
    assert note_on_callbacks(Settings.model_validate({"auth": auth, "server": server})) == note


# -- subjects -------------------------------------------------------------------------------------------


def test_subjects_are_kept_per_issuer_and_forgotten_with_the_user(tmp_path: Path) -> None:
    path = tmp_path / "subjects.json"
    subjects = Subjects(path)
    assert subjects.of("alice", "https://a") is None
    subjects.remember("alice", "https://a", "1")
    assert path.stat().st_mode & 0o777 == 0o600
    again = Subjects(path)
    assert again.of("alice", "https://a") == "1"
    assert again.of("alice", "https://b") is None
    again.forget("alice")
    assert Subjects(path).of("alice", "https://a") is None


@pytest.mark.parametrize("garbage", ["", "[]", "{", '{"alice": 1}', '{"alice": ["a", 2]}', "\udce4"])
def test_an_unreadable_file_is_an_empty_one(tmp_path: Path, garbage: str) -> None:
    path = tmp_path / "subjects.json"
    path.write_bytes(garbage.encode(errors="surrogateescape"))
    assert Subjects(path).of("alice", "a") is None


# -- keys -----------------------------------------------------------------------------------------------


def test_only_what_a_public_key_verifies_is_usable() -> None:
    assert usable_algorithms(["none", "HS256", "ES256", "RS256", 1]) == ("RS256", "ES256")
    assert usable_algorithms(None) == ("RS256",)
    assert usable_algorithms(["none", "HS512"]) == ()


@pytest.mark.parametrize("token", [None, 1, "", "a.b.c", "x" * 100_000, "eyJhbGciOiJub25lIn0.e30."])
async def test_what_is_no_token(token: object) -> None:
    async def fetch() -> bytes:
        raise AssertionError("nobody is asked about this")

    with pytest.raises(BadSignature):
        await ProviderKeys(fetch, ["RS256"]).claims_of(token)


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": 1}', b"\xff"])
async def test_keys_that_cannot_be_read_are_nobodys_failure(document: bytes) -> None:
    async def fetch() -> bytes:
        return document

    header = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.e30.AAAA"  # {"alg": "RS256", "kid": "1"}
    with pytest.raises(KeysAway):
        await ProviderKeys(fetch, ["RS256"]).claims_of(header)


async def test_an_unknown_key_id_asks_again_but_not_each_time() -> None:
    asked = 0
    now = 1000.0

    async def fetch() -> bytes:
        nonlocal asked
        asked += 1
        return json.dumps({"keys": [{"kty": "oct", "k": "AAAA", "kid": "1"}, 7, {"kid": "1"}]}).encode()

    keys = ProviderKeys(fetch, ["RS256"], clock=lambda: now)
    token = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.e30.AAAA"
    for expected in (1, 1, 1):
        with pytest.raises(BadSignature):
            await keys.claims_of(token)
        assert asked == expected
    now += 6
    await asyncio.gather(*(keys.claims_of(token) for _ in range(5)), return_exceptions=True)
    assert asked == 2


def test_a_discovery_document_without_safe_keys() -> None:
    document = {
        "issuer": "https://id.example",
        **{f"{name}_endpoint": "https://id.example/x" for name in ("authorization", "token", "userinfo")},
    }
    assert read_document("https://id.example", document).jwks_url == ""
    with pytest.raises(DiscoveryError, match="jwks_uri"):
        read_document("https://id.example", document | {"jwks_uri": "http://id.example/keys"})


# -- who is still allowed -----------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A handler, its authenticator and its user, without a hub."""
    from persistent_terminal_hub.hub import reauth

    account = SimpleNamespace(id=1, name="alice", groups=[SimpleNamespace(name="team")])
    found: dict[str, Any] = {"alice": account}
    monkeypatch.setattr(reauth.orm.User, "find", staticmethod(lambda db, name: found.get(name)))

    async def fresh(*_: object) -> bool:
        return True

    authenticator = SimpleNamespace(
        admin_users=set(), allow_all=False, refresh_user=fresh,
        check_blocked_users=lambda name, login: True,
        check_allowed=lambda name, login: "team" in login["groups"],
    )  # fmt: skip
    handler = SimpleNamespace(
        db=None, current_user=SimpleNamespace(id=1, name="alice"), authenticator=authenticator
    )
    return SimpleNamespace(
        handler=handler, authenticator=authenticator, account=account, found=found, ask=reauth.still_allowed
    )


async def test_an_allowed_user(hub: Any) -> None:
    assert await hub.ask(hub.handler)


async def test_users_who_may_not_any_more(hub: Any) -> None:
    def raises(*_: object) -> bool:
        raise HTTPError(403, "not approved")

    async def stale(*_: object) -> bool:
        return False

    for name, value in (
        ("check_blocked_users", lambda *_: False), ("check_allowed", lambda *_: False),
        ("check_allowed", raises), ("refresh_user", stale),
    ):  # fmt: skip
        was = getattr(hub.authenticator, name)
        setattr(hub.authenticator, name, value)
        assert not await hub.ask(hub.handler), name
        setattr(hub.authenticator, name, was)
    assert await hub.ask(hub.handler)
    hub.account.groups = []
    assert not await hub.ask(hub.handler)
    hub.account.groups = [SimpleNamespace(name="team")]
    hub.account.id = 2  # deleted, and another one made with the same name
    assert not await hub.ask(hub.handler)
    hub.found.clear()
    assert not await hub.ask(hub.handler)
