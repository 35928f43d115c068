"""Hub, proxy, Docker, the hub's database and the machine fail in random order; no session is lost by it.

A walk: each step breaks or mends one thing, and now and then everything is mended and people come back.
What must hold is asserted after each step. PTH_TEST_OUTAGE_STEPS makes it longer, PTH_TEST_OUTAGE_SEED
another one; the steps are in the message of what fails.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import docker
import pytest

from tests.integration.outage_fixtures import running, short_root, wait_for
from tests.integration.outage_world import World, born, neighbours, outer_pid
from tests.support.kept_image import build_kept

STEPS = int(os.environ.get("PTH_TEST_OUTAGE_STEPS", "12"))
SEED = int(os.environ.get("PTH_TEST_OUTAGE_SEED", "1"))
STEPS_BETWEEN_REPAIRS = 4
PEOPLE = ("ann", "bob")

pytestmark = [pytest.mark.docker, pytest.mark.netns, pytest.mark.timeout(240 + 20 * STEPS)]
pytest_plugins = ["tests.integration.docker_fixtures"]


@dataclass
class Workspace:
    """One person's running workspace, as it was first seen."""

    user: str
    container: str
    started_at: str
    shell: dict[str, Any]
    pid: int  # of the shell, on this machine
    born: str
    routed: bool = True  # the proxy has had its route since everything was last well
    frozen: bool = False


def look(world: World, user: str) -> Workspace:
    shell = wait_for(f"{user}'s shell", lambda: world.visit(user, "shell"))
    inspected = world.container(user)
    pid = outer_pid(shell["pid"], inspected["State"]["Pid"])
    return Workspace(user, inspected["Id"], inspected["State"]["StartedAt"], shell, pid, born(pid))


class Walk:
    """The state of the world as it should be, and the steps that change it."""

    def __init__(self, world: World, dice: random.Random) -> None:
        self.world = world
        self.dice = dice
        self.hub = self.proxy = self.docker = True
        self.hangs = False  # Docker is there and says nothing
        self.waits = False  # the hub was started while the proxy is away, and waits for it
        self.recorded = True  # the hub's database knows the running workspaces
        self.workspaces = [look(world, user) for user in PEOPLE]
        self.steps: list[str] = []

    # -- the steps
    def possible(self) -> list[Callable[[], None]]:
        steps: list[Callable[[], None]] = []
        running = self.hub or self.waits
        steps += [self.hub_killed, self.hub_stopped] if running else [self.hub_starts, self.hub_starts]
        steps += [self.proxy_killed] if self.proxy else [self.proxy_starts]
        steps += (
            [self.docker_killed, self.docker_stopped, self.docker_hangs]
            if self.docker
            else [self.docker_starts]
        )
        frozen = any(workspace.frozen for workspace in self.workspaces)
        steps += [self.thawed] if frozen else [self.frozen]
        if not running:
            steps.append(self.database_lost)
        if self.hub and self.proxy and not self.docker and not self.hangs and self.recorded:
            steps.append(self.stop_refused)
        return steps

    def step(self) -> None:
        chosen = self.dice.choice(self.possible())
        self.steps.append(chosen.__name__)
        chosen()
        self.check()

    def hub_killed(self) -> None:
        self.world.kill_hub()
        self.hub = self.waits = False

    def hub_stopped(self) -> None:
        self.world.stop_hub()
        self.hub = self.waits = False

    def hub_starts(self) -> None:
        self.world.launch_hub()
        self.waits = True
        if self.proxy:
            self.hub_answers()

    def hub_answers(self) -> None:
        if self.world.hub is None or self.world.hub.poll() is not None:
            self.world.launch_hub()  # it gave up; the supervisor starts another
        self.world.await_hub()
        self.hub, self.waits = True, False
        if not self.recorded:
            for workspace in self.workspaces:
                workspace.routed = False  # the hub removes routes that it does not know
            return
        for workspace in self.workspaces:
            wait_for(f"{workspace.user}'s record", lambda user=workspace.user: self.world.ready(user))
            assert self.answering(workspace) is not workspace.frozen, "'not answering' is not shown as it is"

    def answering(self, workspace: Workspace) -> bool:
        return bool(self.world.server(workspace.user)["state"]["answering"])

    def proxy_killed(self) -> None:
        self.world.kill_proxy()
        self.proxy = False
        for workspace in self.workspaces:
            workspace.routed = False

    def proxy_starts(self) -> None:
        self.world.start_proxy()
        self.proxy = True
        if self.waits:
            self.hub_answers()
        if self.hub:
            self.world.give_routes_back()
            for workspace in self.workspaces:
                workspace.routed = self.recorded

    def docker_killed(self) -> None:
        self.world.stop_docker(signal.SIGKILL)
        self.docker = False

    def docker_stopped(self) -> None:
        self.world.stop_docker()
        self.docker = False

    def docker_hangs(self) -> None:
        self.world.hold_docker()
        self.docker, self.hangs = False, True

    def docker_starts(self) -> None:
        if self.hangs:
            self.world.release_docker()
        else:
            self.world.start_docker()
        self.docker, self.hangs = True, False

    def frozen(self) -> None:
        workspace = self.dice.choice(self.workspaces)
        self.world.stop_processes(workspace.pid)
        workspace.frozen = True

    def thawed(self) -> None:
        self.world.thaw()
        for workspace in self.workspaces:
            workspace.frozen = False

    def database_lost(self, name: str = "") -> None:
        """Restored from a backup: of before the workspaces were started, or of after."""
        name = name or self.dice.choice(("before", "after"))
        self.steps[-1:] = [f"database_lost({name})"]
        self.world.restore_database(name)
        self.recorded = name == "after"

    def stop_refused(self) -> None:
        """Somebody presses Stop while Docker is away: nothing is stopped, and they are told so."""
        user = self.dice.choice(self.workspaces).user
        answer = self.world.api("DELETE", f"/users/{user}/server")
        assert answer.status_code == 503 and "could not be stopped" in answer.json()["message"]
        wait_for(f"{user}'s record", lambda: self.world.ready(user))

    # -- what holds
    def check(self) -> None:
        """After each step."""
        for workspace in self.workspaces:
            assert born(workspace.pid) == workspace.born, f"{workspace.user}'s shell is dead"
            if self.docker:
                state = self.world.client().inspect_container(workspace.container)["State"]
                assert (state["Running"], state["StartedAt"]) == (True, workspace.started_at)
            if self.proxy and workspace.routed and not workspace.frozen:
                wait_for(f"{workspace.user}'s page", lambda each=workspace: self.same_shell(each), 5)

    def same_shell(self, workspace: Workspace) -> bool:
        shell = self.world.visit(workspace.user, "shell")
        assert shell in ({}, workspace.shell)
        return bool(shell)

    def mend(self) -> None:
        """Everything comes back in some order, and then people do."""
        self.steps.append("mend")
        missing: list[Callable[[], None]] = []
        if not self.hub and not self.waits:
            missing.append(self.hub_starts)
        if not self.docker:
            missing.append(self.docker_starts)
        if not self.proxy:
            missing.append(self.proxy_starts)
        if any(workspace.frozen for workspace in self.workspaces):
            missing.append(self.thawed)
        self.dice.shuffle(missing)
        for repair in missing:
            self.steps.append(repair.__name__)
            repair()
            self.check()
        if not self.recorded:
            for workspace in self.workspaces:
                self.come_back(workspace)
            self.recorded = True
        for workspace in self.workspaces:
            self.well(workspace)

    def come_back(self, workspace: Workspace) -> None:
        """The hub does not know the workspace: the culler reports the orphan, or its owner presses Start."""
        user = workspace.user
        if self.dice.random() < 0.5:
            self.steps.append(f"{user} presses Start")
            assert self.world.api("POST", f"/users/{user}/server").status_code in (201, 202)
        else:
            self.steps.append(f"{user}'s is adopted")
            self.world.adopt(user)

    def well(self, workspace: Workspace) -> None:
        """As if nothing had happened."""
        world, user = self.world, workspace.user
        wait_for(f"{user}'s record", lambda: world.ready(user))
        wait_for(f"{user}'s page", lambda: self.same_shell(workspace), 45)
        wait_for(f"the hub to know {user}'s token", lambda: world.visit(user, "hub") == {"status": 200}, 45)
        wait_for(f"{user}'s to answer", lambda: self.answering(workspace))
        assert world.container(user)["Id"] == workspace.container
        workspace.routed = True


@pytest.fixture(scope="module")
def world(engine: docker.APIClient, tiny_image: str) -> Iterator[World]:
    world = World(short_root(), build_kept(engine, tiny_image))
    with running(world, engine):
        for user in PEOPLE:
            world.api("POST", f"/users/{user}")
        world.kill_hub()
        world.keep_database("before")
        world.start_hub()
        for user in PEOPLE:
            world.spawn(user)
        world.kill_hub()
        world.keep_database("after")
        world.start_hub()
        world.give_routes_back()
        yield world


def test_any_order(world: World) -> None:
    walk = Walk(world, random.Random(SEED))
    try:
        for number in range(1, STEPS + 1):
            walk.step()
            if number % STEPS_BETWEEN_REPAIRS == 0:
                walk.mend()
        walk.mend()
    except BaseException:
        print(f"seed {SEED}: {', '.join(walk.steps)}\n{world.log()[-6000:]}")
        raise


def test_a_backup_older_than_the_last_token(world: World) -> None:
    """Each adoption gives a workspace a new token, which an older database does not know."""
    walk = Walk(world, random.Random(SEED))
    for name in ("before", "after"):
        walk.hub_killed()
        walk.database_lost(name)
        walk.mend()


def test_a_container_that_died_while_the_proxy_was_away(world: World) -> None:
    world.kill_proxy()
    world.client().kill(world.container("bob")["Id"])
    time.sleep(3)  # some polls
    world.start_proxy()
    world.give_routes_back()
    wait_for("the hub to see it", lambda: not world.server("bob"), 60)
    world.spawn("bob")
    wait_for("bob's page", lambda: world.visit("bob", "shell"))


def test_the_machine_fails(world: World) -> None:
    """Its processes are gone, and the sessions with them; files and the lock are not."""
    before = look(world, "ann")
    assert world.visit("ann", "lock") == {"locked": True}
    assert len(neighbours(before.pid)) > 2
    world.lose_machine()
    assert not born(before.pid)

    world.start_containerd()
    world.launch_hub()  # before Docker, as it may happen
    world.start_proxy()
    world.await_hub()
    assert world.ready("ann")  # nobody knows better yet
    world.start_docker()
    wait_for("the hub to see it", lambda: not world.server("ann"))
    world.spawn("ann")
    after = wait_for("ann's shell", lambda: world.visit("ann", "shell"))
    assert after["file"] == "kept" and after["locked"]
    assert after["session"] != before.shell["session"]
