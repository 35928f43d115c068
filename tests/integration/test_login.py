"""Local accounts through a real hub and proxy: log in, sign up, approve, withdraw, change the password."""

from __future__ import annotations

import time

import pytest
import requests

from tests.integration.hub_fixtures import Browser, Serve, page_text

WRONG = "Wrong user name or password."
GOOD = "correct horse battery"


pytest_plugins = ["tests.integration.hub_fixtures"]


@pytest.fixture
def hub(local_hub: Serve) -> Serve:
    return local_hub


@pytest.fixture
def admin(hub: Serve) -> Browser:
    browser = Browser(hub)
    assert "Logout" in page_text(browser.log_in("admin", hub.password))
    return browser


def sign_up(hub: Serve, name: str, password: str = GOOD, again: str | None = None) -> requests.Response:
    return Browser(hub).submit(
        "hub/signup",
        username=name,
        signup_password=password,
        signup_password_confirmation=password if again is None else again,
    )


def test_the_first_password_is_printed_once_and_stored_only_as_a_hash(hub: Serve, admin: Browser) -> None:
    assert hub.log.count(hub.password) == 1
    for path in hub.data.rglob("*"):
        if path.is_file():
            assert hub.password.encode() not in path.read_bytes(), path
    assert (
        hub.data / "jupyterhub.sqlite"
    ).stat().st_mode & 0o077 == 0 or hub.data.stat().st_mode & 0o077 == 0


def test_wrong_password_and_unknown_user_get_the_same_plain_answer(hub: Serve) -> None:
    sign_up(hub, "known")
    answers = {}
    for name in ("known", "nobody-of-this-name"):
        browser = Browser(hub)
        began = time.perf_counter()
        answer = browser.log_in(name, "not the password")
        answers[name] = (answer.status_code, page_text(answer).replace(name, ""))
        assert WRONG in answers[name][1]
        assert "Traceback" not in answer.text
        assert time.perf_counter() - began > 0.1  # a hash was compared in both cases
    assert answers["known"] == answers["nobody-of-this-name"]
    assert answers["known"][0] == 403


def test_approval_is_the_allow_list(hub: Serve, admin: Browser) -> None:
    answer = page_text(sign_up(hub, "Ada"))
    assert "has to approve" in answer
    assert "waits for an administrator" in page_text(Browser(hub).log_in("ada", GOOD))
    assert "waiting" in page_text(admin.open("hub/authorize"))
    assert "ada may log in now" in page_text(admin.submit("hub/authorize", username="ada", action="approve"))
    ada = Browser(hub)
    assert "Logout" in page_text(ada.log_in("ada", GOOD))
    assert ada.open("hub/authorize").status_code in (403, 404)
    # withdrawn: no new login, and the open session is over
    admin.submit("hub/authorize", username="ada", action="withdraw")
    assert "waits for an administrator" in page_text(Browser(hub).log_in("ada", GOOD))
    assert "Logout" not in page_text(ada.open("hub/home"))


def test_nobody_approves_an_account_by_a_link(hub: Serve, admin: Browser) -> None:
    sign_up(hub, "sneaky")
    admin.open("hub/authorize/sneaky")
    admin.open("hub/authorize?username=sneaky&action=approve")
    foreign = admin.post(
        hub.url + "hub/authorize",
        data={"username": "sneaky", "action": "approve"},
        headers={"Sec-Fetch-Site": "cross-site"},
    )
    assert foreign.status_code == 403
    assert "waits for an administrator" in page_text(Browser(hub).log_in("sneaky", GOOD))


@pytest.mark.parametrize(
    ("name", "password", "again", "sentence"),
    [
        ("with space", GOOD, None, "A user name has"),
        ("../etc", GOOD, None, "A user name has"),
        ("shorty", "short", None, "at least 10 characters"),
        ("common", "1234567890", None, "most common"),
        ("longy", "x" * 73, None, "at most 72 bytes"),
        ("differ", GOOD, "another password", "differ"),
        ("admin", GOOD, None, "taken"),
        ("ADMIN", GOOD, None, "taken"),
    ],
)
def test_sign_ups_that_are_refused(
    hub: Serve, name: str, password: str, again: str | None, sentence: str
) -> None:
    answer = sign_up(hub, name, password, again)
    assert answer.status_code == 422
    assert sentence in page_text(answer)


def test_guessing_is_slowed_down_but_only_for_the_guesser(hub: Serve) -> None:
    sign_up(hub, "target")
    browser = Browser(hub)
    codes = [browser.log_in("target", "wrong").status_code for _ in range(6)]
    assert codes == [403] * 5 + [429]
    assert "Too many failed tries" in page_text(browser.log_in("target", GOOD))


def test_changing_the_password_ends_other_sessions(hub: Serve, admin: Browser) -> None:
    sign_up(hub, "changer")
    admin.submit("hub/authorize", username="changer", action="approve")
    here, elsewhere = Browser(hub), Browser(hub)
    for browser in (here, elsewhere):
        browser.log_in("changer", GOOD)
    wrong = here.submit(
        "hub/change-password", old_password="nope", password="a new password", confirmation="a new password"
    )
    assert "present password was not right" in page_text(wrong)
    right = here.submit(
        "hub/change-password", old_password=GOOD, password="a new password", confirmation="a new password"
    )
    assert "was changed" in page_text(right)
    assert "Logout" in page_text(here.open("hub/home"))
    assert "Logout" not in page_text(elsewhere.open("hub/home"))
    assert "Logout" in page_text(Browser(hub).log_in("changer", "a new password"))


def test_every_page_says_that_workspaces_are_not_isolated(hub: Serve, admin: Browser) -> None:
    for path in (
        "hub/home",
        "hub/token",
        "hub/admin",
        "hub/authorize",
        "hub/change-password",
        "hub/nonsense",
    ):
        assert "not isolated from each other" in page_text(admin.open(path)), path
    for path in ("hub/login", "hub/signup"):
        assert "not isolated from each other" in page_text(Browser(hub).open(path)), path
