"""The control service behind the real proxy and hub: who it takes its callers for; what operators do."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from websockets.sync.client import connect

from tests.integration.control_fixtures import Person
from tests.support.stack import Stack

pytest_plugins = ["control_fixtures"]

ME = "/services/terminals/api/me"


@pytest.fixture(scope="module")
def lab(alice: Person) -> str:
    """The id of a workspace of alice's that runs."""
    return str(alice.create("lab")["workspaceId"])


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


# -- steering ----------------------------------------------------------------------------------------------
@contextmanager
def attached(made: dict[str, Any]) -> Iterator[Any]:
    """A client of the session that was just created."""
    hello = {
        "type": "attach", "client": uuid.uuid4().hex, "token": made["token"], "epoch": None, "offset": 0,
        "input_seq": 0, "rows": 24, "cols": 80, "visible": True, "mode": "rw",
    }  # fmt: skip
    with connect(made["webSocketUrl"], subprotocols=["pth.v1"]) as socket:  # type: ignore[list-item]
        socket.send(json.dumps(hello))
        yield socket


def told(socket: Any, kind: str) -> dict[str, Any]:
    """The next message of that type."""
    while True:
        message = socket.recv(10)
        if isinstance(message, str) and json.loads(message)["type"] == kind:
            return dict(json.loads(message))


def test_warn_extend_and_end_as_an_operator(alice: Person, bob: Person, olga: Person, lab: str) -> None:
    made = alice.ask("POST", "sessions", {"workspace": lab, "name": "watched"}).json()
    session = f"sessions/{made['id']}"
    with attached(made) as socket:
        for path in (f"workspaces/{lab}/warn", f"{session}/warn"):
            assert bob.ask("POST", path, {"message": "x"}).status_code == 404
            assert olga.ask("POST", path, {"message": " "}).status_code == 422
            assert olga.ask("POST", path, {"message": "a\nb"}).status_code == 422
            assert olga.ask("POST", path, {"message": "please save"}).json() == {"warned": True}
            assert told(socket, "notice")["message"] == "olga: please save"
        assert bob.ask("POST", f"{session}/extend", {"seconds": 60}).status_code == 404
        # The longest time by default: the refusal is a sentence.
        refused = olga.ask("POST", f"{session}/extend", {"seconds": 60})
        assert refused.status_code == 409 and "administrator allows" in refused.json()["message"]
        assert olga.ask("POST", f"{session}/extend", {"seconds": 0}).status_code == 422
        assert olga.ask("DELETE", f"{session}?message=quota%20reached").status_code == 204
        assert told(socket, "notice")["message"] == "olga ended this session: quota reached"
        assert told(socket, "exit")["reason"] == "terminated"
    (left,) = [
        each for each in alice.get(f"sessions?workspace={lab}")["sessions"] if each["id"] == made["id"]
    ]
    assert left["exit"]["message"] == "olga ended it: quota reached", "who comes later reads it, too"
    records = olga.get("audit?who=olga&on=alice%2Flab&limit=20")["records"]
    found = {(r["record"]["what"], r["record"].get("reason", "")) for r in records}
    assert {("warn", "please save"), ("session.end", "quota reached")} <= found


def test_lock_as_an_operator(alice: Person, bob: Person, olga: Person) -> None:
    other = alice.create("locked")["workspaceId"]
    path = f"workspaces/{other}/lock"
    assert bob.ask("POST", path, {}).status_code == 404
    assert olga.ask("POST", path, {"reason": "x" * 300}).status_code == 422
    assert olga.ask("POST", path, {"reason": "left open"}).json() == {"locked": True, "already": False}
    assert olga.ask("POST", path, {}).json() == {"locked": True, "already": True}
    command = {"command": "true"}
    assert alice.ask("POST", f"workspaces/{other}/execute", command).status_code == 423
    assert alice.operation(alice.ask("DELETE", f"workspaces/{other}"))["state"] == "done"
    assert olga.ask("POST", path, {}).status_code == 404


# -- the panel ---------------------------------------------------------------------------------------------
class Panel:
    """A panel's stream: `rows` are what it shows."""

    def __init__(self, person: Person, after: str = "") -> None:
        headers = {"Last-Event-ID": after} if after else {}
        self.answer = person.ask("GET", "admin/events", headers=headers, stream=True)
        assert self.answer.status_code == 200, self.answer.text
        self.lines = self.answer.iter_lines(chunk_size=1)
        self.rows: dict[str, Any] = {}
        self.version = ""

    def until(self, check: Callable[[dict[str, Any]], Any], seconds: float = 20) -> Any:
        """Read on until the rows are as wanted."""
        end = time.monotonic() + seconds
        while not check(self.rows):
            assert time.monotonic() < end, self.rows
            line = next(self.lines).decode()
            if line.startswith("id: "):
                self.version = line[4:]
            if line.startswith("data: "):
                event = json.loads(line[6:])
                if event["whole"]:
                    self.rows.clear()
                self.rows.update({row["key"]: row for row in event["rows"]})
                for key in event["gone"]:
                    self.rows.pop(key, None)
        return check(self.rows)


def test_a_panel_sees_what_happens(alice: Person, bob: Person, olga: Person, admin: Person, lab: str) -> None:
    assert bob.ask("GET", "admin/events").status_code == 403
    panel = Panel(olga)
    row = panel.until(lambda rows: (rows.get("w:alice/lab") or {}).get("answers") and rows["w:alice/lab"])
    assert row["id"] == lab and row["status"] == "running" and row["locked"] is False
    assert {"u:alice", "u:bob", "u:olga", "u:admin", "hub"} <= set(panel.rows)
    made = alice.ask("POST", "sessions", {"workspace": lab, "name": "seen"}).json()

    def shows(rows: dict[str, Any]) -> bool:
        return made["sessionId"] in {session["id"] for session in rows["w:alice/lab"]["sessions"]}

    panel.until(shows)
    panel.answer.close()
    # It comes back, and gets only what is new; then another one, which gets all.
    assert olga.ask("DELETE", f"sessions/{made['id']}").status_code == 204
    again = Panel(olga, panel.version)
    again.rows = dict(panel.rows)
    again.until(lambda rows: not shows(rows))
    again.answer.close()
    other = Panel(admin, "00000000.5")
    other.until(lambda rows: "w:alice/lab" in rows)
    other.answer.close()


def test_the_settings_are_shown_without_secrets(
    stack: Stack, alice: Person, olga: Person, admin: Person
) -> None:
    for person in (alice, olga):
        assert person.ask("GET", "admin/settings").status_code == 403
    text = admin.get("admin/settings")["yaml"]
    assert f"dataDir: {stack.data}" in text and "olga" in text
    assert stack.admin_password not in text


def test_the_page_and_who_may_open_it(stack: Stack, admin: Person) -> None:
    address = f"{stack.url}/services/terminals/admin"
    for name, password, status in (
        ("alice", "", 403),
        ("olga", "", 200),
        ("admin", stack.admin_password, 200),
    ):
        browser = stack.login(name, password) if password else stack.login(name)
        page = browser.get(address, timeout=10)
        assert page.status_code == status
        assert "unsafe" not in page.headers["Content-Security-Policy"]
        assert ("To your workspaces" in page.text) == (status == 403)
        link = 'href="/services/terminals/admin"'
        assert (link in browser.get(f"{stack.url}/hub/home", timeout=10).text) == (status == 200)
    assert "/hub/login" in stack.session().get(address, timeout=10).url
    style = re.findall(r'href="\./(assets/[^"]+[.]css)"', page.text)[0]
    asset = requests.get(f"{stack.url}/services/terminals/{style}", timeout=10)
    assert asset.status_code == 200 and "immutable" in asset.headers["Cache-Control"]
    assert asset.headers["Content-Encoding"] == "gzip" and "--body" in asset.text
    for wrong in ("assets/nothing.js", "assets/..%2fadmin.html", "assets/../admin.html/x"):
        assert requests.get(f"{stack.url}/services/terminals/{wrong}", timeout=10).status_code == 404


def test_hub_killed_service_goes_on(stack: Stack) -> None:
    token = stack.token(stack.login("alice"), "alice")
    headers = {"Authorization": f"token {token}"}
    assert requests.get(stack.url + ME, headers=headers, timeout=10).status_code == 200
    before = stack.pid_of("persistent_terminal_hub.control")
    old = stack.kill_hub()
    stack.wait_new_hub(old)
    assert stack.pid_of("persistent_terminal_hub.control") == before
    assert requests.get(stack.url + ME, headers=headers, timeout=10).status_code == 200
