"""Workspaces by the API, behind the real proxy and hub."""

from __future__ import annotations

import json
import os
import signal
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.integration.control_fixtures import Person, kill_control
from tests.support.stack import Stack, wait_for

pytest_plugins = ["control_fixtures"]


@pytest.fixture(scope="module")
def lab(alice: Person) -> dict[str, Any]:
    """A workspace of alice's that runs."""
    return alice.create("lab", displayName="Labor Ü")


def test_what_a_creation_answers(alice: Person, lab: dict[str, Any]) -> None:
    assert lab["name"] == "lab" and lab["displayName"] == "Labor Ü" and lab["owner"] == "alice"
    assert lab["status"] == "running" and lab["containerId"] and lab["operation"] is None
    assert lab["url"].endswith("/user/alice/lab/")
    assert alice.get("workspaces/alice~lab")["workspaceId"] == lab["workspaceId"]
    assert alice.get("workspaces/alice%7Elab")["workspaceId"] == lab["workspaceId"]
    assert lab["workspaceId"] in {w["workspaceId"] for w in alice.get("workspaces")["workspaces"]}


def test_others_see_nothing_of_it(alice: Person, bob: Person, lab: dict[str, Any]) -> None:
    for key in (lab["workspaceId"], "alice~lab"):
        for method, path in (
            ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/start"), ("POST", "/stop"),
            ("POST", "/restart"),
        ):  # fmt: skip
            answer = bob.ask(method, f"workspaces/{key}{path}", {})
            assert answer.status_code == 404, (method, path, answer.text)
    assert {w["owner"] for w in bob.get("workspaces")["workspaces"]} <= {"bob"}
    assert bob.get("workspaces?owner=alice")["workspaces"] == []
    assert alice.status(lab["workspaceId"]) == "running"


def test_an_operator_sees_and_steers(alice: Person, olga: Person, lab: dict[str, Any]) -> None:
    key = lab["workspaceId"]
    assert key in {w["workspaceId"] for w in olga.get("workspaces")["workspaces"]}
    assert olga.ask("DELETE", f"workspaces/{key}").status_code == 403
    assert olga.ask("POST", f"workspaces/{key}/start", {}).status_code == 403
    assert olga.operation(olga.ask("POST", f"workspaces/{key}/stop", {}))["state"] == "done"
    assert alice.status(key) == "stopped"
    assert alice.operation(alice.ask("POST", f"workspaces/{key}/start", {}))["state"] == "done"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"name": "LAB"}, 422),
        ({"name": "l\u0430b"}, 422),
        ({"name": "l%61b"}, 422),
        ({"name": "l-61b "}, 422),
        ({"name": "la\u0301b"}, 422),
        ({"name": "\uff4c\uff41\uff42"}, 422),
        ({"name": "lab\u200b"}, 422),
        ({"name": "lab\n"}, 422),
        ({"name": "../x"}, 422),
        ({"name": "a" * 31}, 422),
        ({"name": "-a"}, 422),
        ({"name": "a--b"}, 422),
        ({"name": 7}, 422),
        ({"name": "x", "owner": "bob"}, 422),
        ({"name": "x", "displayName": "a\u202eb"}, 422),
        ({"name": "x", "resources": {"cpu": 0}}, 422),
        ({"name": "x", "env": {"PTH_RULES": "{}"}}, 422),
        ({"name": "x", "start": False, "source": {"url": "https://h/r"}}, 422),
        ([], 422),
        ({"name": "lab"}, 409),
        ({"name": ""}, 409),
    ],
)
def test_bad_bodies(alice: Person, lab: dict[str, Any], body: Any, status: int) -> None:
    answer = alice.ask("POST", "workspaces", body)
    assert answer.status_code == status, answer.text
    model = answer.json()
    assert set(model) == {"status", "reason", "message", "hint"} and model["message"].endswith(".")


def test_the_same_key_is_one_creation(alice: Person) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"name": "once", "start": False}
    answers: list[requests.Response] = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(alice.ask("POST", "workspaces", body, headers=headers))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {202, 409}
    again = alice.ask("POST", "workspaces", body, headers=headers)
    assert again.status_code == 202
    assert alice.wait(again.json()["operation"]["id"])["state"] == "done"
    other = alice.ask("POST", "workspaces", {"name": "twice", "start": False}, headers=headers)
    assert other.status_code == 422
    assert alice.status("alice~once") == "stopped"
    assert alice.operation(alice.ask("DELETE", "workspaces/alice~once"))["state"] == "done"
    assert alice.status("alice~once") == "gone"


def test_events_go_on_where_they_were(alice: Person, lab: dict[str, Any]) -> None:
    answer = alice.ask("POST", f"workspaces/{lab['workspaceId']}/restart", {})
    operation = answer.json()["operation"]
    stream = alice.ask("GET", f"operations/{operation['id']}/events", stream=True)
    assert stream.headers["Content-Type"] == "text/event-stream"
    text = "".join(chunk.decode() for chunk in stream.iter_content(None))
    numbers = [int(line[4:]) for line in text.splitlines() if line.startswith("id: ")]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= 3
    assert text.rstrip().endswith('{"state": "done"}')
    rest = alice.ask(
        "GET", f"operations/{operation['id']}/events", headers={"Last-Event-ID": str(numbers[-2])}
    ).text
    assert [line for line in rest.splitlines() if line.startswith("id: ")] == [f"id: {numbers[-1]}"]
    bad = alice.ask("GET", f"operations/{operation['id']}/events", headers={"Last-Event-ID": "x"})
    assert bad.status_code == 422


def test_stop_while_starting_and_start_while_stopping(alice: Person, lab: dict[str, Any]) -> None:
    key = lab["workspaceId"]
    alice.operation(alice.ask("POST", f"workspaces/{key}/stop", {}))
    starting = alice.ask("POST", f"workspaces/{key}/start", {}).json()["operation"]["id"]
    assert alice.ask("POST", f"workspaces/{key}/start", {}).json()["operation"]["id"] == starting
    stopping = alice.ask("POST", f"workspaces/{key}/stop", {})
    assert alice.operation(stopping)["state"] == "done"
    assert alice.wait(starting)["state"] in ("cancelled", "done")
    assert alice.status(key) == "stopped"
    alice.operation(alice.ask("POST", f"workspaces/{key}/start", {}))
    stopping = alice.ask("POST", f"workspaces/{key}/stop", {})
    assert alice.operation(alice.ask("POST", f"workspaces/{key}/start", {}))["state"] == "done"
    assert alice.wait(stopping.json()["operation"]["id"])["state"] == "done"
    assert alice.status(key) == "running"


def test_two_deletes_at_once_and_a_delete_during_a_creation(alice: Person) -> None:
    created = alice.ask("POST", "workspaces", {"name": "brief"}).json()
    first = alice.ask("DELETE", "workspaces/alice~brief")
    second = alice.ask("DELETE", "workspaces/alice~brief")
    assert first.status_code == 202
    assert second.status_code == 404 or second.json()["operation"]["id"] == first.json()["operation"]["id"]
    assert alice.operation(first)["state"] == "done"
    assert alice.wait(created["operation"]["id"])["state"] == "cancelled"
    assert alice.status("alice~brief") == "gone"
    assert "brief" not in servers(alice)
    assert alice.ask("DELETE", "workspaces/alice~brief").status_code == 404


def test_many_deletes_at_the_same_moment(alice: Person) -> None:
    assert alice.create("brief", start=False)["status"] == "stopped"
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: alice.ask("DELETE", "workspaces/alice~brief"), range(6)))
    assert {answer.status_code for answer in answers} <= {202, 404}
    begun = {answer.json()["operation"]["id"] for answer in answers if answer.status_code == 202}
    assert len(begun) == 1
    assert alice.wait(begun.pop())["state"] == "done"
    assert alice.status("alice~brief") == "gone" and "brief" not in servers(alice)


def test_a_delete_during_a_start(alice: Person) -> None:
    alice.create("brief", start=False)
    starting = alice.ask("POST", "workspaces/alice~brief/start", {})
    assert starting.status_code == 202
    wait_for(lambda: alice.status("alice~brief") == "starting", 20, "it starts")
    deleting = alice.ask("DELETE", "workspaces/alice~brief")
    assert alice.status("alice~brief") == "deleting"
    for again in ("start", "restart"):
        refused = alice.ask("POST", f"workspaces/alice~brief/{again}", {})
        assert refused.status_code == 409 and "being deleted" in refused.json()["message"]
    assert alice.operation(deleting)["state"] == "done"
    # "done" where it was ready just when the deletion came.
    assert alice.wait(starting.json()["operation"]["id"])["state"] in ("cancelled", "done")
    assert alice.status("alice~brief") == "gone" and "brief" not in servers(alice)


def test_a_token_revoked_in_the_middle(stack: Stack, alice: Person) -> None:
    """Whoever asked may no more: what was asked for fails, nothing stays hidden, everything can go on."""
    session = stack.login("alice")

    def ended(method: str, path: str, body: Any) -> dict[str, Any]:
        """How it ended, when the token is revoked a moment after the request was taken."""
        made = stack.api(session, "POST", "/users/alice/tokens", json={"note": "short"}).json()
        short = Person(stack, "alice")
        short.token = made["token"]
        asked = short.ask(method, path, body)
        assert asked.status_code == 202, asked.text
        service = stack.pid_of("persistent_terminal_hub.control")
        os.kill(service, signal.SIGSTOP)
        try:
            revoked = stack.api(session, "DELETE", f"/users/alice/tokens/{made['id']}")
            assert revoked.status_code == 204
        finally:
            os.kill(service, signal.SIGCONT)
        return alice.wait(asked.json()["operation"]["id"])

    # Registered, or started, or not: whatever the hub had been told by then is what there is.
    created = ended("POST", "workspaces", {"name": "brief"})
    assert created["state"] in ("done", "failed")
    if alice.status("alice~brief") == "gone":
        assert created["state"] == "failed" and "brief" not in servers(alice)
        alice.create("brief")
    assert alice.get("workspaces/alice~brief")["operation"] is None
    alice.ask("POST", "workspaces/alice~brief/start", {})
    wait_for(lambda: alice.status("alice~brief") == "running", 60, "it runs")
    # Its stop takes longer than the moment, so that at least the start is refused.
    again = ended("POST", "workspaces/alice~brief/restart", {})
    assert again["state"] == "failed" and "does not allow" in again["error"], again
    found = alice.get("workspaces/alice~brief")
    assert found["operation"] is None and found["status"] in ("running", "stopping", "stopped")
    assert alice.operation(alice.ask("DELETE", "workspaces/alice~brief"))["state"] == "done"
    assert alice.status("alice~brief") == "gone" and "brief" not in servers(alice)


BIG = "x" * 10 * 1024 * 1024


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "workspaces", {"name": "x", "displayName": BIG}),
        ("POST", "workspaces/clone", {"name": "x", "source": {"url": BIG}}),
        ("PATCH", "workspaces/{lab}", {"displayName": BIG}),
        ("POST", "workspaces/{lab}/stop", {"x": BIG}),
        ("POST", "workspaces/{lab}/execute", {"command": BIG}),
        ("POST", "sessions", {"workspace": "{lab}", "name": BIG}),
        ("PUT", "secrets/BIG", {"value": BIG}),
    ],
)
def test_ten_mebibytes_and_unknown_fields(
    alice: Person, lab: dict[str, Any], method: str, path: str, body: dict[str, Any]
) -> None:
    path = path.replace("{lab}", lab["workspaceId"])
    answer = alice.ask(method, path, body)
    assert answer.status_code == 413, answer.text[:300]
    small = {
        key: value for key, value in json.loads(json.dumps(body).replace(BIG, "x")).items() if key != "x"
    }
    answer = alice.ask(method, path, {**small, "colour": "red"})
    assert answer.status_code == 422 and "colour" in answer.json()["message"], answer.text
    assert alice.status(lab["workspaceId"]) == "running"


def test_a_cancelled_creation_leaves_nothing(alice: Person) -> None:
    created = alice.ask("POST", "workspaces", {"name": "never"}).json()
    identity = created["operation"]["id"]
    assert alice.ask("DELETE", f"operations/{identity}").status_code == 202
    assert alice.wait(identity)["state"] == "cancelled"
    assert alice.status("alice~never") == "gone" and "never" not in servers(alice)
    assert alice.ask("DELETE", f"operations/{identity}").status_code == 409


def test_a_server_made_at_the_hub_is_adopted(stack: Stack, alice: Person) -> None:
    headers = {"Authorization": f"token {alice.token}"}
    url = f"{stack.url}/hub/api/users/alice/servers/byhand"
    assert requests.put(url, headers=headers, json={"display_name": "By hand"}, timeout=10).ok
    model = alice.get("workspaces/alice~byhand")
    assert model["displayName"] == "By hand" and model["status"] == "stopped"
    assert alice.ask("POST", "workspaces", {"name": "byhand"}).status_code == 409
    # Removed at the hub, it is gone here, and its name may be taken again.
    assert requests.delete(url, headers=headers, json={"remove": True}, timeout=10).ok
    assert alice.status("alice~byhand") == "gone"
    again = alice.create("byhand", start=False)
    assert again["workspaceId"] != model["workspaceId"]
    alice.operation(alice.ask("DELETE", "workspaces/alice~byhand"))


def test_a_display_name_changes_also_while_it_runs(alice: Person, lab: dict[str, Any]) -> None:
    answer = alice.ask("PATCH", f"workspaces/{lab['workspaceId']}", {"displayName": "New"})
    assert answer.status_code == 200 and answer.json()["displayName"] == "New"
    assert alice.get(f"workspaces/{lab['workspaceId']}")["displayName"] == "New"


def test_the_service_killed_in_the_middle(stack: Stack, alice: Person) -> None:
    """Whatever was asked for is done when another service goes on; nothing is left in between."""
    asked = []
    for number in range(3):
        answer = alice.ask("POST", "workspaces", {"name": f"k{number}", "start": number == 0})
        assert answer.status_code == 202, answer.text
        asked.append(answer.json()["operation"]["id"])
        kill_control(stack)
        wait_for(lambda: alice.ask("GET", "me").ok, 30, "the service is back")
    assert [alice.wait(identity)["state"] for identity in asked] == ["done"] * 3
    deleting = [alice.ask("DELETE", f"workspaces/alice~k{number}") for number in range(3)]
    kill_control(stack)
    wait_for(lambda: alice.ask("GET", "me").ok, 30, "the service is back")
    for answer in deleting:
        assert alice.wait(answer.json()["operation"]["id"])["state"] == "done"
    assert {name for name in servers(alice) if name.startswith("k")} == set()
    assert {w["name"] for w in alice.get("workspaces")["workspaces"]} & {"k0", "k1", "k2"} == set()


def servers(person: Person) -> set[str]:
    """The names that the hub has."""
    answer = requests.get(
        f"{person.stack.url}/hub/api/users/{person.name}?include_stopped_servers",
        headers={"Authorization": f"token {person.token}"}, timeout=10,
    )  # fmt: skip
    return set(answer.json()["servers"])


# -- from the home page ------------------------------------------------------------------------------------
def test_the_home_page_has_a_workspace_made_with_a_repository(
    stack: Stack, alice: Person, repository: str
) -> None:
    session = stack.login("alice")

    def cards() -> dict[str, Any]:
        found = requests.get(
            f"{stack.url}/hub/persistent-terminals/api/home",
            headers={"Authorization": f"token {alice.token}"}, timeout=30,
        )  # fmt: skip
        return {card["name"]: card for card in found.json()["workspaces"]}

    def ask(name: str, url: str) -> requests.Response:
        fields = {"action": "new", "name": name, "title": "The paper", "url": url, "install": "yes"}
        return stack.post(session, "/hub/home", fields)

    assert ask("paper", repository).ok
    assert cards()["paper"]["badge"] == "Being made" and cards()["paper"]["actions"] == []
    wait_for(lambda: cards()["paper"]["known"] == "told", 90, "the workspace is made")
    # On the card while it runs, in the list also when it was quick.
    wait_for(
        lambda: "setup" in str(cards()["paper"]["sessions"]) + alice.ask("GET", "sessions").text,
        20, "its installation is seen",
    )  # fmt: skip
    assert (
        alice.ask("POST", "workspaces/alice~paper/execute", {"command": "cat repo/README"}).json()["stdout"]
        == "read me\n"
    )
    assert "already" in ask("paper", repository).text
    # What cannot be cloned is taken back, and the page says why.
    assert ask("bad", repository.replace("repo.git", "nothing.git")).ok
    failed = wait_for(lambda: cards().get("bad", {}).get("failed"), 90, "the failure is told")
    assert "clone" in str(failed) or "repository" in str(failed), failed
    assert alice.status("alice~bad") == "gone"
    assert stack.post(session, "/hub/home", {"action": "dismiss", "workspace": "bad"}).ok
    assert "bad" not in cards()
    tokens = stack.api(session, "GET", "/users/alice/tokens").json()["api_tokens"]
    assert not [each for each in tokens if each["note"].startswith("Makes the workspace")]
    assert alice.operation(alice.ask("DELETE", "workspaces/alice~paper"))["state"] == "done"
