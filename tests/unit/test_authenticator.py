"""The throttle, and what the authenticators decide, without a hub."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyterhub import orm
from nativeauthenticator.orm import UserInfo
from tornado.web import HTTPError

from persistent_terminal_hub.hub.authenticator import LocalAuthenticator, OAuth2Authenticator
from persistent_terminal_hub.hub.login_throttle import LoginThrottle
from persistent_terminal_hub.settings import AuthSettings, Settings

PASSWORD = "a long password"


# -- the throttle -----------------------------------------------------------------------------------


def test_five_failures_then_a_wait_then_a_fresh_start() -> None:
    throttle = LoginThrottle(allowed=5, wait_seconds=300)
    for second in range(5):
        assert throttle.seconds_to_wait("ada", "ip", second) == 0
        throttle.failed("ada", "ip", second)
    assert throttle.seconds_to_wait("ada", "ip", 4) == 300
    assert throttle.seconds_to_wait("ada", "elsewhere", 4) == 0
    assert throttle.seconds_to_wait("bob", "ip", 4) == 0
    assert throttle.seconds_to_wait("ada", "ip", 303.5) == 1
    assert throttle.seconds_to_wait("ada", "ip", 304) == 0
    throttle.failed("ada", "ip", 304)
    assert throttle.seconds_to_wait("ada", "ip", 304) == 0


def test_many_addresses_are_stopped_too() -> None:
    throttle = LoginThrottle(allowed=5, allowed_everywhere=20)
    for number in range(20):
        throttle.failed("ada", str(number), 0)
    assert throttle.seconds_to_wait("ada", "new", 0) > 0
    throttle.succeeded("ada", "new")
    assert throttle.seconds_to_wait("ada", "new", 0) > 0


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3), st.floats(0, 1e6)), max_size=40))
def test_memory_and_waits_are_bounded(tries: list[tuple[str, str, float]]) -> None:
    throttle = LoginThrottle(allowed=2, capacity=10)
    for user, address, now in sorted(tries, key=lambda item: item[2]):
        throttle.failed(user, address, now)
        assert 0 <= throttle.seconds_to_wait(user, address, now) <= 300
        assert len(throttle._failures) <= 10


# -- local accounts ---------------------------------------------------------------------------------


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)  # the data directory of default settings is below it
    monkeypatch.delenv("PTH_FIRST_PASSWORD_FD", raising=False)
    return orm.new_session_factory(url="sqlite:///:memory:")()


def local(database: Any, **options: Any) -> LocalAuthenticator:
    options = {
        "minimum_password_length": 10,
        "check_common_password": True,
        "allowed_failed_logins": 5,
        "bcrypt_rounds": 4,
        **options,
    }
    return LocalAuthenticator(db=database, **options)


def handler() -> Any:
    return SimpleNamespace(request=SimpleNamespace(remote_ip="127.0.0.1"))


async def try_login(accounts: LocalAuthenticator, username: str, password: str) -> Any:
    return await accounts.get_authenticated_user(handler(), {"username": username, "password": password})


def test_the_first_administrator_is_created_once(database: Any, capfd: pytest.CaptureFixture[str]) -> None:
    local(database)
    first = capfd.readouterr().err
    assert "user admin, password " in first
    password = first.split()[-1]
    account = UserInfo.find(database, "admin")
    assert account.is_authorized
    assert password.encode() not in account.password
    local(database)
    assert capfd.readouterr().err == ""


def test_an_administrator_of_ones_own_name_is_enough(
    database: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    database.add(UserInfo(username="ada", password=b"x", is_authorized=True))
    database.commit()
    local(database, admin_users={"ada"})
    assert UserInfo.find(database, "admin") is None
    assert capfd.readouterr().err == ""


async def test_signing_up_under_an_administrators_name_gives_nothing(database: Any) -> None:
    accounts = local(database, admin_users={"root"})
    assert await accounts.sign_up("root", PASSWORD, PASSWORD) == ""
    assert not UserInfo.find(database, "root").is_authorized
    with pytest.raises(HTTPError) as refused:
        await try_login(accounts, "root", PASSWORD)
    assert refused.value.status_code == 403
    assert "approval" in str(refused.value.log_message)


async def test_approval_lets_in_and_its_withdrawal_keeps_out(database: Any) -> None:
    accounts = local(database)
    await accounts.sign_up("Ada", PASSWORD, PASSWORD)
    accounts.set_approval("ada", True)
    assert (await try_login(accounts, "ADA", PASSWORD))["name"] == "ada"
    assert await accounts.refresh_user(SimpleNamespace(name="ada"))
    accounts.set_approval("ada", False)
    assert not await accounts.refresh_user(SimpleNamespace(name="ada"))
    with pytest.raises(HTTPError):
        await try_login(accounts, "ada", PASSWORD)


async def test_wrong_and_unknown_read_the_same(database: Any) -> None:
    accounts = local(database)
    await accounts.sign_up("ada", PASSWORD, PASSWORD)
    seen = set()
    for name, password in (
        ("ada", "wrong"),
        ("nobody", "wrong"),
        ("ada", "\0"),
        ("ada", "x" * 500),
        ("", ""),
    ):
        with pytest.raises(HTTPError) as refused:
            await try_login(accounts, name, password)
        seen.add((refused.value.status_code, refused.value.log_message))
    assert seen == {(403, "Wrong user name or password.")}


async def test_waiting_sign_ups_are_bounded(database: Any) -> None:
    accounts = local(database, maximum_waiting=1)
    assert await accounts.sign_up("one", PASSWORD, PASSWORD) == ""
    assert "Too many" in await accounts.sign_up("two", PASSWORD, PASSWORD)


def test_only_an_unapproved_account_is_discarded(database: Any) -> None:
    accounts = local(database)
    with pytest.raises(HTTPError):
        accounts.discard("admin")
    with pytest.raises(HTTPError):
        accounts.set_approval("nobody", True)


# -- identity providers -----------------------------------------------------------------------------


def test_the_user_name_and_unverified_addresses() -> None:
    oauth = OAuth2Authenticator(username_claim="email", provider_name="P")
    assert oauth.user_info_to_username({"email": "a@b", "email_verified": True}) == "a@b"
    for info, sentence in (
        ({"email": "a@b"}, "has not verified"),
        ({"email": "a@b", "email_verified": False}, "has not verified"),
        ({"sub": "1"}, "did not tell your user name"),
        ({"email": ["a"]}, "did not tell your user name"),
    ):
        with pytest.raises(HTTPError) as refused:
            oauth.user_info_to_username(info)
        assert sentence in str(refused.value.log_message)


@pytest.mark.parametrize(
    ("info", "groups"),
    [
        ({"groups": ["a", "b", 3]}, {"a", "b"}),
        ({"groups": "a"}, {"a"}),
        ({"groups": None}, set()),
        ({}, set()),
        ({"groups": {"a": 1}}, set()),
    ],
)
async def test_groups(info: dict[str, Any], groups: set[str]) -> None:
    oauth = OAuth2Authenticator(manage_groups=True, auth_state_groups_key="oauth_user.groups")
    assert await oauth.get_user_groups({"oauth_user": info}) == groups


# -- passkeys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [True, False])
def test_passkeys_are_pages_and_a_method_where_they_are_wanted(database: Any, wanted: bool) -> None:
    accounts = local(database, pth_settings=Settings(auth=AuthSettings(passkeys=wanted)))
    accounts.data.prepare()
    routes = [route[0] for route in accounts.get_handlers(None)]
    assert (r"/passkeys" in routes, r"/reauth/passkey" in routes) == (wanted, wanted)
    assert [method.name for method in accounts.reauth.methods] == ["passkey"] * wanted + ["password"]
    assert bool(accounts.reauth.goals) is wanted
