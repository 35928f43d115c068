"""Terminals in containers that outlive a browser, a cut line, a hub, an idle lock and a killed server.

One installation and one browser for all, and each of the two people has one container. Cleo's clock of the
idle lock runs while Alice's tests take their time.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import Error as PlaywrightError

from tests.browser.lab import NO_WEBGL, TABLET, Person, chromium, counted
from tests.browser.lock_loop import COUNT, Owner
from tests.browser.terminal_page import OnPage
from tests.support.stack import Stack, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.browser, pytest.mark.netns, pytest.mark.timeout(300)]

CUT_SECONDS = 30
#: Longer than the cut, and than it takes to come back after it.
IDLE_SECONDS = 60.0

# Numbered lines, each padded by sequences that change nothing: LINES SECONDS SEQUENCES
FLOOD = r"""
import sys, time
lines, seconds, padding = int(sys.argv[1]), float(sys.argv[2]), "\x1b[0m" * int(sys.argv[3])
began = time.monotonic()
for n in range(lines):
    print(f"n={n}.{padding}")
    n % 10 or time.sleep(max(0, began + seconds * n / lines - time.monotonic()))
print("all-" + "told")
"""
#: As many lines as a page keeps, and the bytes that a journal holds: JupyterLab's, the terminal page's.
SLOW, FAST = (900, 0), (9_000, 200)
LOST = re.compile(r"The connection was lost\..*\((\d+) seconds? ago\)")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    rules = [{"users": ["cleo"], "idleLockMinutes": IDLE_SECONDS / 60}]
    installation = Stack(tmp_path_factory.mktemp("stack"), settings={"rules": rules})
    try:
        installation.start()
        for user in ("alice", "cleo"):
            installation.add_user(user)
        yield installation
    finally:
        installation.stop()
        installation.remove_everything()


@pytest.fixture(scope="module")
def browser(stack: Stack) -> Iterator[Browser]:
    with chromium(stack, NO_WEBGL) as browser:
        yield browser


class Terminals(OnPage):
    """The same person's terminal page."""

    def __init__(self, page: Page) -> None:
        self.page = page


@dataclass
class Cleo:
    """At work in JupyterLab and, beside it, on the terminal page."""

    lab: Owner
    terminals: Terminals

    @property
    def pages(self) -> tuple[Page, Page]:
        return self.lab.page, self.terminals.page


@pytest.fixture(scope="module")
def cleo(stack: Stack, browser: Browser) -> Cleo:
    lab = Owner(browser, stack, "cleo")
    lab.login()
    lab.open_lab()
    terminals = Terminals(lab.context.new_page())
    terminals.page.goto(lab.base + "persistent-terminals/")
    terminals.live()
    return Cleo(lab, terminals)


def flooded(lines: list[str]) -> list[int]:
    """The numbers of the flood's whole lines, in the order shown."""
    return [int(found[1]) for line in lines if (found := re.fullmatch(r"n=(\d+)\.", line))]


def pid_shown(page: Terminals) -> str:
    """The shell's own pid."""
    page.run("clear; echo pid=$$ of-the-$((40+2))-shell")
    page.shows("of-the-42-shell")
    return next(line for line in page.lines() if line.endswith("of-the-42-shell"))


def test_a_cut_line_loses_and_doubles_nothing(stack: Stack, cleo: Cleo) -> None:
    lab, terminals = cleo.lab, cleo.terminals
    stack.docker("exec", "-i", stack.container("cleo"), "tee", "/workspace/flood.py", stdin=FLOOD)
    lab.new_terminal()
    floods = {
        page: f"stty -echo; python3 flood.py {lines} {CUT_SECONDS + 6} {padding}; stty echo\n"
        for page, (lines, padding) in ((lab, SLOW), (terminals, FAST))
    }
    terminals.type(floods[terminals])
    lab.type(floods[lab])
    terminals.shows(re.compile(r"n=\d{3,}\."))  # four digits soon
    lab.wait_text(r"^n=20\.$")
    assert stack.line is not None
    stack.line.cut()
    expect(terminals.page.locator(".banner")).to_contain_text("The connection was lost.")
    typed = "echo typed-in-the-$((40+2))-cut\n"
    terminals.type(typed)
    stack.start_meanwhile("alice")
    terminals.page.wait_for_timeout(CUT_SECONDS * 1000)
    told = [
        terminals.page.locator(".banner").inner_text(),
        lab.page.locator(".pth-Terminal-banner:visible").inner_text(),
    ]
    for said in told:
        since = LOST.search(" ".join(said.split()))
        assert since and CUT_SECONDS - 1 <= int(since[1]) <= CUT_SECONDS + 10, said
    assert f"{len(typed)} typed bytes wait to be sent" in told[0]
    for shown, (lines, _) in ((lab.lines(), SLOW), (terminals.lines(), FAST)):
        assert flooded(shown)[-1] < lines / 2, "the line was never cut"
    stack.line.mend()
    with contextlib.suppress(PlaywrightError):  # it tries by itself as well, as JupyterLab's does
        terminals.page.get_by_role("button", name="Try now").click(timeout=1000)
    terminals.live()
    terminals.shows("typed-in-the-42-cut", 60)
    lab.wait_text(r"^all-told$", seconds=60)
    for shown, (lines, _) in ((lab.lines(), SLOW), (terminals.lines(), FAST)):
        assert flooded(shown) == list(range(lines)), "lines are missing or doubled"
    assert terminals.lines().count("typed-in-the-42-cut") == 1
    for page in cleo.pages:
        expect(page.locator("dialog, .jp-Dialog, [role=dialog], [data-skipped]")).to_have_count(0)
        expect(page.locator(".banner, .pth-Terminal-banner:visible")).to_have_count(0)


@dataclass
class Away:
    """What there was when Cleo went away."""

    shell: str
    counted: int
    container: str


@pytest.fixture(scope="module")
def cleo_away(stack: Stack, cleo: Cleo) -> Away:
    """Nobody touches anything of hers from here on, and what prints all the time is no presence."""
    cleo.lab.count = COUNT.replace("PAUSE", "0.4")  # for as long as all the tests here may take
    cleo.lab.work()
    shell = pid_shown(cleo.terminals)
    cleo.terminals.run("clear; " + cleo.lab.count)
    cleo.terminals.shows("count-10")
    return Away(shell, cleo.lab.counted()[-1], stack.container("cleo"))


@dataclass
class Left:
    """What there was when Alice shut her laptop."""

    terminal: str
    pid: str
    counted: int


@pytest.fixture(scope="module")
def left(stack: Stack, browser: Browser) -> Left:
    laptop = Person(browser, stack, "alice")
    laptop.login()
    laptop.open_lab()
    name = laptop.new_terminal()
    laptop.type("echo pid=$$ uid=$(id -u)\n")
    pid = laptop.wait_text(r"^pid=(\d+) uid=1000$")[1]
    laptop.type("i=0; while true; do i=$((i+1)); echo count-$i; sleep 0.1; done\n")
    laptop.wait_text(r"^count-20$")
    before = counted(laptop.lines())[-1]
    laptop.leave()
    return Left(name, pid, before)


@pytest.fixture(scope="module")
def tablet(stack: Stack, browser: Browser) -> Iterator[Person]:
    tablet = Person(browser, stack, "alice", TABLET)
    tablet.login()
    tablet.open_lab()
    yield tablet
    tablet.leave()


@pytest.mark.usefixtures("cleo_away")
def test_a_terminal_outlives_its_browser_and_stays_private(
    stack: Stack, cleo: Cleo, left: Left, tablet: Person
) -> None:
    tablet.open_terminal(left.terminal)
    tablet.wait_text(rf"^count-{left.counted + 40}$")
    tablet.page.keyboard.press("Control+c")
    tablet.type("echo pid=$$ again\n")
    assert tablet.wait_text(r"^pid=(\d+) again$")[1] == left.pid, "another shell answered"
    numbers = counted(tablet.lines())
    assert numbers == list(range(1, numbers[-1] + 1)), "lines are missing or doubled"
    assert numbers[-1] >= left.counted + 40

    hers = cleo.lab.context.new_page()
    answer = hers.goto(f"{stack.url}/user/alice/lab")
    assert answer is not None and answer.status == 403
    hers.close()
    containers = {user: stack.container(user) for user in ("alice", "cleo")}
    assert all(containers.values()) and containers["alice"] != containers["cleo"]
    address = stack.docker(
        "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", containers["alice"]
    ).strip()
    probe = f"import socket; s=socket.socket(); s.settimeout(2); print(s.connect_ex(('{address}', 8888)))"
    assert stack.docker("exec", containers["alice"], "python3", "-c", probe).strip() == "0"
    reached = stack.docker("exec", containers["cleo"], "python3", "-c", probe, check=False).strip()
    assert reached != "0", "cleo's container opened alice's port"


@pytest.mark.usefixtures("cleo_away")
def test_keystrokes_echo_while_the_hub_is_dead(stack: Stack, tablet: Person) -> None:
    tablet.new_terminal()
    tablet.type("echo before-$((40+2))\n")
    tablet.wait_text(r"^before-42$")
    container = stack.container("alice")
    old = stack.kill_hub()
    wait_for(lambda: not Path(f"/proc/{old}").exists(), 5, "the hub is dead")
    tablet.type("echo while-dead-$((40+3))\n")
    tablet.wait_text(r"^while-dead-43$", seconds=10)
    stack.wait_new_hub(old)
    session = stack.login("alice")
    servers = stack.api(session, "GET", "/users/alice").json()["servers"]
    assert servers[""]["ready"] and stack.container("alice") == container
    tablet.type("echo after-$((40+4))\n")
    tablet.wait_text(r"^after-44$")


def answers_locked(owner: Owner) -> bool:
    """Whether the workspace's server answers, and says that it is locked."""
    try:
        return owner.locked
    except (ValueError, KeyError):  # a server that is being started
        return False


def test_an_idle_workspace_locks_on_all_pages_and_one_login_opens_them(
    stack: Stack, cleo: Cleo, cleo_away: Away
) -> None:
    lab, terminals = cleo.lab, cleo.terminals
    lab.wait_locked(IDLE_SECONDS + 20)
    for page in cleo.pages:
        cover = page.locator("dialog[open]")
        expect(cover).to_contain_text("This workspace is locked")
        expect(cover).to_contain_text(re.compile(r"No keyboard, pointer or touch for \d+"))
        expect(page.locator(".xterm-rows >> visible=true")).to_have_count(0)
    lab.is_covered()
    # Killed and started again, its server is as locked as before.
    stack.kill_server("cleo")
    wait_for(lambda: answers_locked(lab), 60, "the server is back")
    lab.page.goto(lab.base + "lab")
    lab.sees_the_lock()
    expect(terminals.page.locator("dialog[open]")).to_contain_text("This workspace is locked")
    lab.log_in_again()
    lab.is_back()
    assert stack.container("cleo") == cleo_away.container
    lab.finds_all_as_it_was(cleo_away.counted, kernel=False)  # kernels are the killed server's children
    # The terminal page, which nobody touched, is open again by itself, and has missed nothing.
    terminals.live()
    expect(terminals.page.locator("dialog")).to_have_count(0)
    last = counted(terminals.lines())[-1]
    terminals.shows(f"count-{last + 5}")
    terminals.type("\x03")
    numbers = counted(terminals.lines())
    assert numbers == list(range(1, numbers[-1] + 1)), "lines are missing or doubled"
    assert pid_shown(terminals) == cleo_away.shell, "another shell answered"
    lab.leave()
