"""The control service behind the real proxy and hub: who it takes its callers for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.support.stack import Stack, wait_for

ME = "/services/terminals/api/me"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings: dict[str, dict[str, Any]] = {"culler": {"enabled": False}, "control": {"operators": ["olga"]}}
    stack = Stack(tmp_path_factory.mktemp("control"), backend="process", settings=settings)
    try:
        stack.start()
        stack.add_user("alice")
        stack.add_user("olga")
        wait_for(
            lambda: requests.get(stack.url + ME, timeout=5).status_code == 401, 30, "the service answers"
        )
        yield stack
    finally:
        stack.stop()


def me(stack: Stack, user: str, password: str | None = None) -> dict[str, Any]:
    session = stack.login(user, password) if password else stack.login(user)
    token = stack.token(session, user)
    answer = requests.get(stack.url + ME, headers={"Authorization": f"token {token}"}, timeout=10)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_nobody_and_a_stranger(stack: Stack) -> None:
    for headers in ({}, {"Authorization": "token abc"}, {"Authorization": "Bearer x.y.z"}):
        answer = requests.get(stack.url + ME, headers=headers, timeout=10)
        assert answer.status_code == 401
        assert answer.json()["hint"]
        assert answer.headers["Cache-Control"] == "no-store"


def test_by_token(stack: Stack) -> None:
    assert me(stack, "alice") == {
        "name": "alice", "kind": "user", "groups": [], "seesAll": False, "steersAll": False,
        "version": me(stack, "alice")["version"],
    }  # fmt: skip
    assert me(stack, "olga")["seesAll"] and me(stack, "olga")["steersAll"]
    admin = me(stack, "admin", stack.admin_password)
    assert admin["seesAll"] and admin["steersAll"]


def test_a_token_for_less_does_not_get_in(stack: Stack) -> None:
    session = stack.login("alice")
    body = {"scopes": ["read:users:name!user=alice"]}
    made = stack.api(session, "POST", "/users/alice/tokens", json=body)
    token = made.json()["token"]
    answer = requests.get(stack.url + ME, headers={"Authorization": f"token {token}"}, timeout=10)
    assert answer.status_code == 403


def test_by_browser(stack: Stack) -> None:
    session = stack.login("alice")
    page = session.get(f"{stack.url}/services/terminals/", timeout=10)
    assert page.status_code == 200 and "alice" in page.text
    assert re.search(r"/services/terminals/$", page.url)
    xsrf = session.cookies.get("_xsrf", path="/services/terminals/")
    answer = session.get(stack.url + ME, headers={"X-XSRFToken": str(xsrf)}, timeout=10)
    assert answer.status_code == 200 and answer.json()["name"] == "alice"
    refused = session.delete(stack.url + ME, timeout=10)
    assert refused.status_code == 403 and "XSRF" in refused.json()["message"]


def test_anything_else_is_a_404_with_words(stack: Stack) -> None:
    for path in ("api/nothing", "nothing", "api/me/more"):
        answer = requests.get(f"{stack.url}/services/terminals/{path}", timeout=10)
        assert answer.status_code == 404 and answer.json()["message"]
    assert requests.delete(stack.url + ME, timeout=10).status_code == 401
    token = stack.token(stack.login("alice"), "alice")
    answer = requests.delete(stack.url + ME, headers={"Authorization": f"token {token}"}, timeout=10)
    assert answer.status_code == 405
    answer = stack.login("alice").delete(stack.url + ME, timeout=10)
    assert answer.status_code in (401, 403)


def test_hub_killed_service_goes_on(stack: Stack) -> None:
    token = stack.token(stack.login("alice"), "alice")
    headers = {"Authorization": f"token {token}"}
    assert requests.get(stack.url + ME, headers=headers, timeout=10).status_code == 200
    before = stack.pid_of("persistent_terminal_hub.control")
    old = stack.kill_hub()
    stack.wait_new_hub(old)
    assert stack.pid_of("persistent_terminal_hub.control") == before
    assert requests.get(stack.url + ME, headers=headers, timeout=10).status_code == 200
