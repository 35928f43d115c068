"""The main job end to end: log in, get a container, keep a terminal that survives the browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.lab import TABLET, Person, chromium, counted
from tests.support.stack import Stack, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.browser, pytest.mark.netns, pytest.mark.timeout(300)]

#: Ten lines a second: until JupyterLab is there again on another device, fewer than it keeps.
COUNT = "i=0; while true; do i=$((i+1)); echo count-$i; sleep 0.1; done"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    installation = Stack(tmp_path_factory.mktemp("stack"))
    installation.start()
    for user in ("alice", "bob"):
        installation.add_user(user)
    yield installation
    installation.stop()
    installation.remove_everything()


def test_a_terminal_outlives_its_browser_and_stays_private(stack: Stack) -> None:
    with chromium(stack) as browser:
        alice = Person(browser, stack, "alice")
        alice.page.goto(f"{stack.url}/hub/login")
        alice.screenshot("login-desktop")
        alice.login()
        alice.page.goto(f"{stack.url}/hub/home")
        alice.screenshot("home-desktop")
        alice.open_lab()
        name = alice.new_terminal()
        alice.type("echo pid=$$ uid=$(id -u)\n")
        pid = alice.wait_text(r"^pid=(\d+) uid=1000$")[1]
        alice.type(COUNT + "\n")
        alice.wait_text(r"^count-20$")
        before = counted(alice.lines())[-1]
        alice.leave()

        time.sleep(3)
        again = Person(browser, stack, "alice", TABLET)
        again.page.goto(f"{stack.url}/hub/login")
        again.screenshot("login-tablet")
        again.login()
        again.page.goto(f"{stack.url}/hub/home")
        again.screenshot("home-tablet")
        again.open_lab()
        again.open_terminal(name)
        again.wait_text(rf"^count-{before + 40}$")
        again.screenshot("terminal-tablet")
        again.page.keyboard.press("Control+c")
        again.type("echo pid=$$ again\n")
        assert again.wait_text(r"^pid=(\d+) again$")[1] == pid, "another shell answered"
        numbers = counted(again.lines())
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), "lines are missing or doubled"
        assert numbers[0] == 1 and numbers[-1] >= before + 40

        bob = Person(browser, stack, "bob")
        bob.login()
        bob.open_lab()
        bob.new_terminal()
        bob.screenshot("terminal-desktop")
        answer = bob.page.goto(f"{stack.url}/user/alice/lab")
        assert answer is not None and answer.status == 403
        bob.screenshot("forbidden-desktop")
        again.leave()
        bob.leave()

    containers = {user: stack.container(user) for user in ("alice", "bob")}
    assert all(containers.values()) and containers["alice"] != containers["bob"]
    address = stack.docker(
        "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", containers["alice"]
    ).strip()
    probe = f"import socket; s=socket.socket(); s.settimeout(3); print(s.connect_ex(('{address}', 8888)))"
    assert stack.docker("exec", containers["alice"], "python3", "-c", probe).strip() == "0"
    reached = stack.docker("exec", containers["bob"], "python3", "-c", probe, check=False).strip()
    assert reached != "0", "bob's container opened alice's port"


def test_keystrokes_echo_while_the_hub_is_dead(stack: Stack) -> None:
    with chromium(stack) as browser:
        alice = Person(browser, stack, "alice")
        alice.login()
        alice.open_lab()
        alice.new_terminal()
        alice.type("echo before-$((40+2))\n")
        alice.wait_text(r"^before-42$")
        container = stack.container("alice")
        old = stack.kill_hub()
        wait_for(lambda: not Path(f"/proc/{old}").exists(), 5, "the hub is dead")
        alice.type("echo while-dead-$((40+3))\n")
        alice.wait_text(r"^while-dead-43$", seconds=10)
        stack.wait_new_hub(old)
        session = stack.login("alice")
        servers = stack.api(session, "GET", "/users/alice").json()["servers"]
        assert servers[""]["ready"] and stack.container("alice") == container
        alice.type("echo after-$((40+4))\n")
        alice.wait_text(r"^after-44$")
        alice.leave()
