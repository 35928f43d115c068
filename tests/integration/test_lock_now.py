"""Lock now, by route and command, through a real hub to real workspaces; then the whole way back in."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.integration.hub_fixtures import (
    ROOT,
    Browser,
    Serve,
    local_serve,
    page_text,
    wait_for,
    workspace_processes,
)
from tests.integration.test_reauth_password import PASSWORD, account, audit, prove
from tests.support.reauth_forms import form_with

pytest_plugins = ["tests.integration.hub_fixtures"]

LOCK = "../persistent-terminals/api/lock"


@pytest.fixture(scope="module")
def local_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """A hub of its own: here an administrator locks all that runs."""
    with local_serve(tmp_path_factory.mktemp("lock-now")) as serve:
        yield serve


@pytest.fixture(scope="module")
def admin(local_hub: Serve) -> Browser:
    browser = Browser(local_hub)
    browser.log_in("admin", local_hub.password)
    return browser


@pytest.fixture(scope="module")
def erin(admin: Browser) -> Iterator[Browser]:
    yield account(admin, "erin")


def results(answer: requests.Response) -> dict[str, str]:
    assert answer.status_code == 200, answer.text
    return {f"{item['user']}/{item['workspace']}": item["result"] for item in answer.json()["workspaces"]}


def locked(browser: Browser, user: str) -> bool:
    return browser.open(f"user/{user}/persistent-terminals/api/status").json()["locked"] is True


def unlock(browser: Browser, user: str) -> requests.Response:
    """The password, then what the page's script does: post the token."""
    next_ = f"{browser.serve.base_url}user/{user}/lab"
    form = form_with(prove(browser, PASSWORD, next_=next_), "token")
    return browser.post(browser.serve.origin + form.action, data=form.fields, timeout=30)


def token(browser: Browser, user: str, scopes: list[str] | None = None) -> str:
    body = {"note": "test"} | ({"scopes": scopes} if scopes else {})
    return str(browser.api("POST", f"users/{user}/tokens", json=body).json()["token"])


def test_lock_and_unlock_the_whole_way(local_hub: Serve, erin: Browser) -> None:
    assert not locked(erin, "erin")
    assert results(erin.api("POST", LOCK, json={})) == {"erin/": "locked"}
    assert locked(erin, "erin")
    # 503 while the server, busy with its start, has not heard of the keeper for a moment.
    assert wait_for(lambda: erin.open("user/erin/lab").status_code == 423, 20)
    assert results(erin.api("POST", LOCK, json={"workspace": ""})) == {"erin/": "already"}
    event = [event for event in audit(local_hub) if event["what"] == "lock"][-1]
    assert (event["who"], event["on"], event["result"]) == ("erin", "erin/", "ok")
    back = unlock(erin, "erin")
    assert back.status_code == 200, page_text(back)
    assert back.url.endswith("/user/erin/lab")
    assert not locked(erin, "erin")


def test_an_unlock_token_opens_once(erin: Browser) -> None:
    erin.api("POST", LOCK, json={})
    form = form_with(prove(erin, PASSWORD), "token")
    url = erin.serve.origin + form.action
    assert erin.post(url, data=form.fields, timeout=30).status_code == 200
    erin.api("POST", LOCK, json={})
    assert erin.post(url, data=form.fields, timeout=30).status_code == 403
    assert locked(erin, "erin")
    unlock(erin, "erin")


def test_others_lock_nothing_but_an_administrator_may(admin: Browser, erin: Browser) -> None:
    frank = account(admin, "frank", workspace=False)
    others = ({"user": "erin"}, {"user": "erin", "all": True}, {"user": "nobody"})
    for wish in (*others, {"workspace": "nosuch"}):
        assert frank.api("POST", LOCK, json=wish).status_code == 404, wish
    assert results(frank.api("POST", LOCK, json={"all": True})) == {}
    assert results(frank.api("POST", LOCK, json={})) == {"frank/": "not_running"}
    assert not locked(erin, "erin")
    assert results(admin.api("POST", LOCK, json={"user": "erin"})) == {"erin/": "locked"}
    unlock(erin, "erin")
    assert results(admin.api("POST", LOCK, json={"all": True})) == {"erin/": "locked"}
    unlock(erin, "erin")
    assert not locked(erin, "erin")


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{", b'{"user": 1}', b'{"all": "yes"}', b'{"why": "x"}', b'{"all":true,"workspace":""}'],
)
def test_bad_wishes_are_sentences(erin: Browser, body: bytes) -> None:
    answer = erin.api("POST", LOCK, data=body)
    assert answer.status_code == 400
    assert answer.json()["message"]
    assert not locked(erin, "erin")


def test_only_with_the_right_token_and_not_from_another_site(local_hub: Serve, erin: Browser) -> None:
    url = local_hub.url + "hub/persistent-terminals/api/lock"
    poor = {"Authorization": f"token {token(erin, 'erin', ['read:users!user'])}"}
    assert requests.post(url, json={}, headers=poor, timeout=30).status_code == 403
    assert requests.post(url, json={}, timeout=30).status_code == 403
    assert requests.post(url, json={}, headers={"Authorization": "token x"}, timeout=30).status_code == 403
    assert erin.post(url, json={}, timeout=30).status_code == 403  # the cookie alone, without XSRF
    assert not locked(erin, "erin")


def command(hub: Serve, token_: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PTH_", "JUPYTERHUB_"))}
    return subprocess.run(
        [sys.executable, "-c", "from persistent_terminal_hub.cli import main; main()", "lock", *arguments],
        env=env | {"PTH_TOKEN": token_, "PTH_HUB_URL": hub.url, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_command(local_hub: Serve, admin: Browser, erin: Browser) -> None:
    mine, boss = token(erin, "erin"), token(admin, "admin")
    done = command(local_hub, mine)
    assert done.stdout == "erin/: It is locked; what runs in it goes on.\n", done.stderr
    assert done.returncode == 0
    assert command(local_hub, boss, "erin/").stdout == "erin/: It was locked already.\n"
    unlock(erin, "erin")
    refused = command(local_hub, mine, "admin/")
    assert (refused.returncode, refused.stdout) == (255, "")
    assert "that you may lock" in refused.stderr
    assert command(local_hub, boss, "--all").stdout == "erin/: It is locked; what runs in it goes on.\n"
    unlock(erin, "erin")


def test_a_frozen_workspace_is_locked_when_it_wakes(local_hub: Serve, erin: Browser) -> None:
    status = json.loads(erin.open("user/erin/persistent-terminals/api/status").text)
    assert status["locked"] is False
    servers = [pid for pid in workspace_processes(local_hub) if "singleuser" in cmdline(pid)]
    assert servers
    for pid in servers:
        os.kill(pid, signal.SIGSTOP)
    try:
        answer = results(erin.api("POST", LOCK, json={}))
    finally:
        for pid in servers:
            os.kill(pid, signal.SIGCONT)
    assert answer == {"erin/": "not_answering"}
    assert wait_for(lambda: locked(erin, "erin"), 30)
    unlock(erin, "erin")


# -- the home page -----------------------------------------------------------------------------------------


HOME = "../persistent-terminals/api/home"


def cards(browser: Browser) -> dict[str, dict[str, Any]]:
    answer = browser.api("GET", HOME)
    assert answer.status_code == 200, answer.text
    return {card["name"]: card for card in answer.json()["workspaces"]}


def press(browser: Browser, action: str, **fields: str) -> requests.Response:
    """A button of the home page, as a browser without scripts sends it."""
    return browser.submit("hub/home", action=action, **fields)


def test_home_shows_the_own_workspaces_and_what_runs_in_them(admin: Browser, erin: Browser) -> None:
    mine = {"Authorization": f"token {token(erin, 'erin')}"}
    url = erin.serve.url + "user/erin/persistent-terminals/api/sessions"
    body = {"name": "canary-job", "argv": ["sleep", "600"]}
    assert requests.post(url, json=body, headers=mine, timeout=30).status_code == 201
    try:
        assert wait_for(lambda: "canary-job" in str(cards(erin)[""]["sessions"]), 20)
        card = cards(erin)[""]
        [session] = [each for each in card["sessions"] if each["name"] == "canary-job"]
        assert session["text"] == "dormant, runs sleep" and session["at_work"] is True
        assert (card["badge"], card["known"]) == ("Running", "told")
        assert {meter["label"] for meter in card["meters"]} >= {"Memory"}
        assert "end" in card["expiry"]
        page = erin.open("hub/home")
        assert "canary-job" in page.text and 'action="/pre-fix/hub/home"' in page.text
        xsrf = re.search(r'name="_xsrf" value="([^"]+)"', page.text)
        assert xsrf
        fragment = erin.get(
            erin.serve.url + "hub/persistent-terminals/api/home",
            headers={"Accept": "text/html", "X-XSRFToken": xsrf[1]}, timeout=30,
        )  # fmt: skip
        assert "canary-job" in fragment.text and "<html" not in fragment.text
        assert "canary-job" not in str(cards(admin)) and "canary-job" not in admin.open("hub/home").text
        # What is locked is not told, neither by the page nor by the route.
        assert results(erin.api("POST", LOCK, json={})) == {"erin/": "locked"}
        assert wait_for(lambda: cards(erin)[""]["state"] == "locked", 10)
        locked_card = erin.api("GET", HOME).text + erin.open("hub/home").text
        assert "canary-job" not in locked_card and "1 dormant" in locked_card
        assert "Log in again to open it" in locked_card
        unlock(erin, "erin")
    finally:
        requests.delete(url + "/canary-job", headers=mine, timeout=30)


def test_home_says_which_workspace_does_not_answer_and_does_not_wait(local_hub: Serve, erin: Browser) -> None:
    servers = [pid for pid in workspace_processes(local_hub, "erin") if "singleuser" in cmdline(pid)]
    assert servers and wait_for(lambda: cards(erin)[""]["known"] == "told", 20)
    time.sleep(2.5)  # until what it said is out of date
    for pid in servers:
        os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        page = erin.open("hub/home")
        assert time.monotonic() - began < 3 and page.status_code == 200
        assert wait_for(lambda: cards(erin)[""]["known"] == "silent", 20)
        card = cards(erin)[""]
        assert "not known at the moment" in card["summary"] and "stop" in card["actions"]
    finally:
        for pid in servers:
            os.kill(pid, signal.SIGCONT)
    assert wait_for(lambda: cards(erin)[""]["known"] == "told", 30)


def test_home_is_for_the_owner_with_the_right_token_and_from_the_own_page(erin: Browser) -> None:
    url = erin.serve.url + "hub/persistent-terminals/api/home"
    poor = {"Authorization": f"token {token(erin, 'erin', ['read:servers!user'])}"}
    rich = {"Authorization": f"token {token(erin, 'erin', ['access:servers!user'])}"}
    assert requests.get(url, timeout=30).status_code == 403
    assert requests.get(url, headers=poor, timeout=30).status_code == 403
    assert requests.get(url, headers=rich, timeout=30).json()["workspaces"][0]["known"] == "told"
    # A script of another site has the cookie at most.
    fetched = erin.get(url, headers={"Sec-Fetch-Mode": "cors"}, timeout=30)
    assert fetched.status_code == 403
    home = erin.serve.url + "hub/home"
    for fields in ({"action": "stop", "workspace": ""}, {"action": "new", "name": "evil"}):
        assert erin.post(home, data=fields, timeout=30).status_code == 403
        answer = requests.post(home, data=fields, headers=rich, timeout=30)
        assert answer.status_code == 403, answer.text
    assert set(cards(erin)) == {""} and cards(erin)[""]["state"] == "running"


def test_home_makes_locks_stops_and_deletes(erin: Browser) -> None:
    assert (
        "a-z, 0-9" in page_text(refused := press(erin, "new", name="No Name")) and refused.status_code == 422
    )
    assert 'value="No Name"' in refused.text
    assert "turned that service off" in page_text(press(erin, "new", name="x", url="https://example.org/x"))
    assert "nothing can be chosen" in page_text(press(erin, "new", name="x", cpu="1"))
    made = press(erin, "new", title="Zweites <b>Labor</b>")
    assert made.status_code == 200, made.text
    name = "zweites-b-labor-b"
    assert wait_for(lambda: cards(erin)[name]["known"] == "told", 60)
    assert cards(erin)[name]["title"] == "Zweites <b>Labor</b>"
    assert "<b>Labor" not in erin.open("hub/home").text
    assert press(erin, "lock", workspace=name).status_code == 200
    assert cards(erin)[name]["state"] == "locked" and not locked(erin, "erin")
    assert "Stop it first" in page_text(press(erin, "delete", workspace=name, confirm=name))
    assert press(erin, "stop", workspace=name).status_code == 200
    assert wait_for(lambda: cards(erin)[name]["state"] == "stopped", 20)
    assert press(erin, "delete", workspace=name, confirm="zweites").status_code == 422
    assert name in cards(erin)
    assert press(erin, "delete", workspace=name, confirm=name).status_code == 200
    assert set(cards(erin)) == {""}
    assert press(erin, "stop", workspace="nosuch").status_code == 404
    assert press(erin, "dance", workspace="").status_code == 400
    assert press(erin, "delete", workspace="", confirm="").status_code == 409


def cmdline(pid: int) -> str:
    with open(f"/proc/{pid}/cmdline") as file:
        return file.read()
