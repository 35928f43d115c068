"""/hub/reauth with local accounts, through a real hub and proxy, up to the token that the workspace gets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from persistent_terminal_hub import tokens
from persistent_terminal_hub.signing_keys import KeyStore
from tests.integration.hub_fixtures import Browser, Serve, page_text, wait_for
from tests.support.reauth_forms import form_with, forms

pytest_plugins = ["tests.integration.hub_fixtures"]

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def admin(local_hub: Serve) -> Browser:
    browser = Browser(local_hub)
    assert "Logout" in page_text(browser.log_in("admin", local_hub.password))
    return browser


def account(admin: Browser, name: str, workspace: bool = True) -> Browser:
    """An approved account, logged in, with its default workspace marked as running."""
    hub = admin.serve
    answer = Browser(hub).submit(
        "hub/signup", username=name, signup_password=PASSWORD, signup_password_confirmation=PASSWORD
    )
    assert "approve" in page_text(answer), page_text(answer)
    admin.submit("hub/authorize", username=name, action="approve")
    browser = Browser(hub)
    assert "Logout" in page_text(browser.log_in(name, PASSWORD))
    if workspace:
        assert browser.api("POST", f"users/{name}/server").status_code in (201, 202)
        assert wait_for(lambda: browser.api("GET", f"users/{name}").json()["servers"][""]["ready"], 60)
    return browser


@pytest.fixture(scope="module")
def alice(admin: Browser) -> Iterator[Browser]:
    yield account(admin, "alice")


def page(browser: Browser, workspace: str = "", next_: str = "") -> requests.Response:
    return browser.open("hub/reauth", params={"workspace": workspace, "next": next_})


def prove(browser: Browser, password: str, **place: str) -> requests.Response:
    """Fill in the page's password form."""
    shown = page(browser, **place)
    form = form_with(shown, "password")
    return browser.post(
        browser.serve.origin + form.action, data=form.fields | {"password": password}, timeout=30
    )


def unlock_token(hub: Serve, answer: requests.Response, user: str, workspace: str = "") -> tokens.Verified:
    """What the workspace would find in the token."""
    form = form_with(answer, "token")
    return tokens.verify(
        form.fields["token"],
        KeyStore(hub.data / "keys").public(),
        tokens.Purpose.UNLOCK,
        issuer=f"hub:{(hub.data / 'hub-id').read_text().strip()}",
        audience=f"workspace:{user}/{workspace}",
        subject=user,
        max_lifetime=60,
    )


def audit(hub: Serve) -> list[dict[str, str]]:
    """Everything in the outbox, oldest first."""
    files = sorted((hub.data / "audit").glob("*.jsonl"), key=lambda path: path.name == "current.jsonl")
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def counted(admin: Browser, method: str, result: str) -> float:
    token = admin.api("POST", "users/admin/tokens", json={"note": "metrics"}).json()["token"]
    text = requests.get(
        admin.serve.url + "hub/metrics", headers={"Authorization": f"token {token}"}, timeout=10
    ).text
    for line in text.splitlines():
        if line.startswith("pth_reauth_total{") and f'"{method}"' in line and f'"{result}"' in line:
            return float(line.rsplit(" ", 1)[1])
    return 0.0


def test_the_right_password_gives_a_token_for_this_user_and_workspace(
    local_hub: Serve, admin: Browser, alice: Browser
) -> None:
    before = counted(admin, "password", "ok")
    cookies = dict(alice.cookies)
    base = local_hub.base_url + "user/alice/"
    answer = prove(alice, PASSWORD, next_=base + "lab/tree/a%20b?x=1#y")
    assert answer.status_code == 200, page_text(answer)
    said = unlock_token(local_hub, answer, "alice")
    assert 0 < said.expires - said.issued <= 60
    form = form_with(answer, "token")
    assert form.action == base + "persistent-terminals/unlock"
    assert form.fields["next"] == base + "lab/tree/a%20b?x=1#y"
    # Nowhere but in the form's body, and not kept by anybody.
    assert answer.headers["Cache-Control"] == "no-store"
    policy = answer.headers["Content-Security-Policy"]
    assert "form-action 'self'" in policy and "default-src 'none'" in policy
    assert form.fields["token"] not in local_hub.log
    assert answer.text.count(form.fields["token"]) == 1
    assert "token" not in answer.url
    # Still the same person, and no new login.
    assert {name: alice.cookies.get(name) for name in cookies if "hub" in name} == {
        name: value for name, value in cookies.items() if "hub" in name
    }
    assert counted(admin, "password", "ok") == before + 1
    event = [event for event in audit(local_hub) if event["what"] == "reauth"][-1]
    assert {key: event.get(key) for key in ("who", "what", "on", "method", "result")} == {
        "who": "alice", "what": "reauth", "on": "alice/", "method": "password", "result": "ok",
    }  # fmt: skip
    assert event["origin"]


def test_a_challenge_is_answered_once(alice: Browser) -> None:
    form = form_with(page(alice), "password")
    data = form.fields | {"password": PASSWORD}
    url = alice.serve.origin + form.action
    assert alice.post(url, data=data, timeout=30).status_code == 200
    again = alice.post(url, data=data, timeout=30)
    assert again.status_code == 409
    assert "used already" in page_text(again)
    assert not [form for form in forms(again) if "token" in form.fields]
    assert form_with(again, "password").fields["challenge"] != form.fields["challenge"]


def test_another_browser_of_the_same_user_cannot_answer_it(alice: Browser) -> None:
    form = form_with(page(alice), "password")
    other = Browser(alice.serve)
    other.log_in("alice", PASSWORD)
    mine = form_with(page(other), "password")
    stolen = mine.fields | {"challenge": form.fields["challenge"], "password": PASSWORD}
    assert other.post(alice.serve.origin + mine.action, data=stolen, timeout=30).status_code == 409


def test_who_is_not_logged_in_logs_in_and_then_proves_it_again(local_hub: Serve, alice: Browser) -> None:
    browser = Browser(local_hub)
    login = page(browser, next_=local_hub.base_url + "user/alice/lab")
    assert "/hub/login?next=" in login.url
    form = form_with(login, "password")
    landed = browser.post(
        local_hub.origin + form.action,
        data=form.fields | {"username": "alice", "password": PASSWORD},
        timeout=30,
    )
    assert "/hub/reauth?" in landed.url
    assert form_with(landed, "challenge").fields["challenge"]
    assert not [form for form in forms(landed) if "token" in form.fields]


def test_only_own_workspaces(admin: Browser, alice: Browser) -> None:
    other = page(alice, "admin/")
    assert other.status_code == 403
    assert "only its owner can unlock" in page_text(other)
    assert page(admin, "alice/").status_code == 403  # an administrator neither
    missing = page(alice, "nosuch")
    assert missing.status_code == 404
    assert "no workspace of this name" in page_text(missing)
    assert page(alice, "alice/").status_code == 200


@pytest.mark.parametrize(
    "next_",
    [
        "https://evil.example/", "//evil.example/", "/pre-fix/user/bob/lab", "/pre-fix/hub/logout",
        "/pre-fix/user/alice/../bob/", "/pre-fix/user/alice/%2e%2e/bob/", "javascript:alert(1)",
        "/pre-fix/user/alice/\\evil", "/pre-fix/user/alice//evil.example",
    ],
)  # fmt: skip
def test_the_way_back_stays_within_the_workspace(alice: Browser, next_: str) -> None:
    form = form_with(page(alice, next_=next_), "password")
    assert "next=" not in form.action


def test_a_form_of_another_site_is_refused(alice: Browser) -> None:
    form = form_with(page(alice), "password")
    data = {"challenge": form.fields["challenge"], "password": PASSWORD}
    url = alice.serve.origin + form.action
    assert alice.post(url, data=data, timeout=30).status_code == 403
    cross = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert alice.post(url, data=data, headers=cross, timeout=30).status_code == 403


def test_wrong_passwords_and_other_peoples_are_refused_and_slowed_down(
    local_hub: Serve, admin: Browser
) -> None:
    bob = account(admin, "bob")
    before = counted(admin, "password", "wrong_password")
    # Right for admin, whose name is sent along: the hub asks for bob's.
    form = form_with(page(bob), "password")
    data = form.fields | {"username": "admin", "password": local_hub.password}
    answers = [bob.post(local_hub.origin + form.action, data=data, timeout=30)]
    answers += [prove(bob, wrong) for wrong in ("not it", PASSWORD + " ", "x" * 5000, "x\0y")]
    assert [answer.status_code for answer in answers] == [403] * 5, [page_text(a) for a in answers]
    for answer in answers:
        assert "not your password" in page_text(answer)
        assert "Traceback" not in answer.text
        assert not [form for form in forms(answer) if "token" in form.fields]
    assert counted(admin, "password", "wrong_password") == before + 5
    waiting = page(bob)
    assert waiting.status_code == 429
    assert "Too many failed tries" in page_text(waiting)
    assert not [form for form in forms(waiting) if "password" in form.fields]
    refused = [event for event in audit(local_hub) if event.get("who") == "bob" and event["what"] == "reauth"]
    assert [event["result"] for event in refused] == ["refused"] * 5
    assert {event["reason"] for event in refused} == {"wrong_password"}
    assert PASSWORD not in (local_hub.data / "audit" / "current.jsonl").read_text()


def test_a_user_whose_approval_was_withdrawn_cannot_unlock(local_hub: Serve, admin: Browser) -> None:
    carol = account(admin, "carol")
    form = form_with(page(carol), "password")
    admin.submit("hub/authorize", username="carol", action="withdraw")
    answer = carol.post(local_hub.origin + form.action, data=form.fields | {"password": PASSWORD}, timeout=30)
    assert answer.status_code == 403
    assert not [form for form in forms(answer) if "token" in form.fields]


def test_a_workspace_that_does_not_run_needs_no_unlocking(admin: Browser) -> None:
    dora = account(admin, "dora", workspace=False)
    answer = page(dora)
    assert answer.status_code == 409
    assert "not running" in page_text(answer)


def test_logins_are_audited_without_what_was_typed_wrongly(local_hub: Serve, admin: Browser) -> None:
    Browser(local_hub).log_in("my-password-typed-as-name", "x")
    Browser(local_hub).log_in("admin", "wrong")
    logins = [event for event in audit(local_hub) if event["what"] == "login"]
    assert [(event.get("who", ""), event["result"]) for event in logins[-2:]] == [
        ("", "refused"), ("admin", "refused"),
    ]  # fmt: skip
    assert ("admin", "ok") in [(event.get("who"), event["result"]) for event in logins]
    assert "my-password" not in Path(local_hub.data / "audit" / "current.jsonl").read_text()


@pytest.fixture(scope="module", autouse=True)
def no_stack_trace(local_hub: Serve) -> Iterator[None]:
    yield
    assert "Traceback" not in local_hub.log
