"""Docker and the hub go away and come back in any order; no running workspace is ever removed.

A real dockerd (live-restore) and a real jupyterhub process, both of the test's own. The tests build on
each other, because starting an engine takes seconds.
"""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import pytest

from persistent_terminal_hub.hub.backend import problem_with_live_restore
from persistent_terminal_hub.settings import DockerSettings
from tests.integration.outage_fixtures import TOKEN, Site, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.netns]
pytest_plugins = ["tests.integration.docker_fixtures", "tests.integration.outage_fixtures"]


@pytest.fixture(scope="module")
def ann(site: Site) -> dict[str, Any]:
    """Ann's container as it was first seen; every test must find the same one."""
    site.spawn("ann")
    inspected = site.container("ann")
    address = next(iter(inspected["NetworkSettings"]["Networks"].values()))["IPAddress"]
    return {"id": inspected["Id"], "address": address, "born": site.ask(address)["born"]}


def same(site: Site, ann: dict[str, Any]) -> None:
    """The very same process still serves."""
    assert site.ask(ann["address"])["born"] == ann["born"]


def test_an_engine_without_live_restore_is_told_about(site: Site, ann: dict[str, Any]) -> None:
    engine = DockerSettings(host=site.socket)
    assert problem_with_live_restore(engine) == ""
    site.live_restore(False)
    try:
        assert "ends all workspaces" in problem_with_live_restore(engine)
    finally:
        site.live_restore(True)  # and the remedy that it names is one that ends nothing
    assert problem_with_live_restore(engine) == ""
    same(site, ann)


def test_docker_stopped_and_started_under_a_running_hub(site: Site, ann: dict[str, Any]) -> None:
    site.stop_docker()
    time.sleep(3)  # some polls
    assert site.ready("ann")
    same(site, ann)
    assert site.log().count("Docker Engine does not answer") == 1

    # A start is refused with a sentence, and a stop does not make the hub forget.
    site.api("POST", "/users/bob")
    site.api("POST", "/users/bob/server")
    wait_for("the refusal", lambda: not site.server("bob").get("pending"))
    assert not site.server("bob")
    for path in ("/users/ann/server", "/users/ann"):  # what cannot be stopped is not deleted either
        refused = site.api("DELETE", path)
        assert refused.status_code == 503 and "could not be stopped" in refused.json()["message"]
        wait_for("ann's record", lambda: site.ready("ann"))
    assert "still recorded as running" in site.log()
    wait_for("ann's record", lambda: site.ready("ann"))

    site.start_docker()
    time.sleep(6.5)  # polls are quiet for five seconds after a failure
    assert site.ready("ann")
    assert site.container("ann")["Id"] == ann["id"]
    same(site, ann)
    site.spawn("bob")
    assert "answers again" in site.log()


def test_the_spawn_page_says_what_is_wrong(site: Site, ann: dict[str, Any]) -> None:
    site.stop_docker(signal.SIGKILL)
    try:
        site.api("POST", "/users/eve")
        first = site.api("POST", "/users/eve/server")
        events = site.api("GET", "/users/eve/server/progress").text
        said = first.text + events
        assert "Docker Engine is not answering" in said
        assert "Nothing was lost" in said
        assert "Traceback" not in said
    finally:
        site.start_docker()
    same(site, ann)


def test_hub_restarted_while_docker_is_down(site: Site, ann: dict[str, Any]) -> None:
    site.stop_docker()
    site.kill_hub()
    site.start_hub()
    assert wait_for("ann's record", lambda: site.ready("ann"))
    same(site, ann)
    site.start_docker()
    time.sleep(6.5)
    assert site.ready("ann")
    assert site.container("ann")["Id"] == ann["id"]
    same(site, ann)


def test_a_container_that_is_frozen_at_hub_start_is_left_alone(site: Site, ann: dict[str, Any]) -> None:
    site.kill_hub()
    site.freeze("ann")
    try:
        site.start_hub()
        assert wait_for("ann's record", lambda: site.ready("ann"))
        assert "does not answer. It is left alone" in site.log()
        state = site.server("ann")["state"]
        assert state["answering"] is False and "left alone" in state["note"]
        assert site.container("ann")["State"]["Running"]
    finally:
        site.thaw()
    same(site, ann)
    wait_for("the answer to be noted", lambda: site.server("ann")["state"]["answering"])
    assert "note" not in site.server("ann")["state"]


def test_a_container_started_while_hub_was_away_gets_a_new_token(site: Site, ann: dict[str, Any]) -> None:
    before = site.ask(site_address(site, "bob"))["token"]
    site.kill_hub()
    site.client().restart(site.container("bob")["Id"], timeout=1)
    site.start_hub()
    address = site_address(site, "bob")

    def token() -> str:
        try:
            return str(site.ask(address)["token"])
        except Exception:
            return ""

    after = wait_for("bob's new token", token)
    assert after != before
    wait_for("bob's record", lambda: site.ready("bob"))


def site_address(site: Site, user: str) -> str:
    networks = site.container(user)["NetworkSettings"]["Networks"]
    return str(next(iter(networks.values()))["IPAddress"])


def test_only_a_deliberate_stop_removes_it(site: Site, ann: dict[str, Any]) -> None:
    same(site, ann)
    assert TOKEN not in json.dumps(site.container("ann"))
    assert site.api("DELETE", "/users/ann/server").status_code in (202, 204)
    wait_for("the end", lambda: not site.container("ann"))
    assert not site.ready("ann")
