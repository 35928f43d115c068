"""A day with the hub's pages, the terminal page and the panel: real hub, control service and containers.

One installation, below an address of its own and with a host for each user (other files have neither); one
browser; two devices: a laptop (1280 px) and a tablet (820 px, touch). Each test goes on where the one
before left off.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser.axe import no_serious_violation
from tests.browser.lab import DESKTOP, NO_WEBGL, TABLET, Person, chromium, complaints
from tests.browser.terminal_page import OnPage
from tests.integration.control_fixtures import installation
from tests.support.stack import PASSWORD, Stack, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.browser, pytest.mark.netns, pytest.mark.timeout(240)]

#: Everything is below it; a part of it is called as the hub.
BASE = "/data-team/hub/"
IMAGE = os.environ.get("PTH_TEST_IMAGE", "")
#: Said of a start that takes its way.
WORDS = ("Creating the container…", "Waiting for JupyterLab to answer…")
#: Tells what the page of a start says: it may be there for a second only.
LISTEN = """location.pathname.includes('/spawn-pending/') && new MutationObserver(() => {
  const words = document.getElementById('progress-message')?.textContent.trim();
  if (words && window.saidLast !== words) console.debug('said: ' + (window.saidLast = words));
}).observe(document, {subtree: true, childList: true, characterData: true})"""
COUNT = "clear; i=0; while sleep 0.1; do i=$((i+1)); echo count-$i; done"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    # Half a CPU, so that a start takes long enough to be watched.
    workspace = {"cpu": 0.5, "memory": "1G", "maxMemory": "2G", **({"image": IMAGE} if IMAGE else {})}
    settings = {"workspace": workspace}
    folder = tmp_path_factory.mktemp("stack")
    with installation(folder, ("alice",), settings, "docker", base_url=BASE, subdomains=True) as stack:
        yield stack
        assert "Traceback" not in stack.output()


@pytest.fixture(scope="module")
def browser(stack: Stack) -> Iterator[Browser]:
    with chromium(stack, NO_WEBGL) as browser:
        yield browser


class Device(OnPage, Person):
    """Somebody at one of their devices. What its pages complain about fails the test."""

    def __init__(self, browser: Browser, stack: Stack, user: str, touch: bool) -> None:
        super().__init__(browser, stack, user, TABLET if touch else DESKTOP, has_touch=touch)
        self.touch = touch
        self.said: list[str] = []
        self.context.add_init_script(LISTEN)
        self.page.on("console", lambda told: self.said.append(told.text))
        self.wrong = complaints(self.page)

    def press(self, what: Locator) -> None:
        """A finger or a mouse."""
        (what.tap if self.touch else what.click)()

    # -- home
    def home(self) -> None:
        self.page.goto(f"{self.stack.url}/hub/home")

    def card(self, name: str = "") -> Locator:
        return self.page.locator(f'.pth-card[data-workspace="{name}"]')

    def state(self, state: str, name: str = "") -> None:
        expect(self.card(name)).to_have_attribute("data-state", state, timeout=60_000)

    def waits_for_its_start(self) -> None:
        """The page of a start says in words what is being done, and leads on."""
        self.page.wait_for_url(re.compile("/user/alice/"), timeout=90_000, wait_until="commit")
        for word in WORDS:
            assert f"said: {word}" in self.said, self.said

    # -- the terminal page
    def numbers(self) -> list[int]:
        """Of the counting loop's whole lines that are on the screen."""
        return [int(number) for number in re.findall(r"count-(\d+)(?=\D)", self.rows.inner_text() + "\n")]

    def leave(self) -> None:
        super().leave()
        assert not self.wrong, self.wrong


@pytest.fixture(scope="module")
def device(stack: Stack, browser: Browser) -> Iterator[Callable[..., Device]]:
    """Makes devices of a user, with or without touch."""
    made: list[Device] = []

    def one(user: str, touch: bool) -> Device:
        made.append(Device(browser, stack, user, touch))
        return made[-1]

    yield one
    for item in made:
        item.leave()


@pytest.fixture(scope="module")
def laptop(device: Callable[..., Device]) -> Device:
    return device("alice", touch=False)


@pytest.fixture(scope="module")
def tablet(device: Callable[..., Device]) -> Device:
    return device("alice", touch=True)


@pytest.fixture(scope="module")
def panel(stack: Stack, device: Callable[..., Device]) -> Device:
    """The administrator, on a tablet."""
    admin = device("admin", touch=True)
    admin.login(stack.admin_password)
    return admin


def test_from_the_login_to_a_terminal_in_a_new_workspace(stack: Stack, laptop: Device) -> None:
    laptop.login()
    laptop.home()
    laptop.state("new")
    laptop.page.locator("#pth-new > summary").click()
    laptop.page.locator("#new-title").fill("Spring campaign")
    laptop.page.locator("#new-memory").select_option(label="2 GiB")
    laptop.page.locator("#new-submit").click()
    laptop.state("starting", "spring-campaign")
    expect(laptop.card("spring-campaign").locator(".pth-sentence")).to_have_text(re.compile(r"^[A-Z].+[.…]$"))
    laptop.page.wait_for_url("**/user/alice/**", timeout=90_000, wait_until="commit")
    laptop.home()
    laptop.state("running", "spring-campaign")
    expect(laptop.card("spring-campaign")).to_contain_text("of 2.0 GiB")
    laptop.card("spring-campaign").get_by_role("link", name="Open terminals").click()
    laptop.page.wait_for_url("**/user/alice/spring-campaign/persistent-terminals/**")
    laptop.live()
    laptop.run("echo $(id -u) from-the-$((40+2))-laptop")
    laptop.shows("1000 from-the-42-laptop")
    limit = stack.docker(
        "inspect", "-f", "{{.HostConfig.Memory}}", stack.container("alice", "spring-campaign")
    )
    assert int(limit) == 2 << 30


def test_typing_goes_on_on_the_tablet(laptop: Device, tablet: Device) -> None:
    tablet.login()
    tablet.home()
    tablet.state("running", "spring-campaign")
    tablet.press(tablet.card("spring-campaign").get_by_role("link", name="Open terminals"))
    tablet.live()
    tablet.shows("from-the-42-laptop")
    tablet.run("echo from-the-$((40+3))-tablet")
    for device in (laptop, tablet):
        device.shows("from-the-43-tablet")
    laptop.run("echo again-$((40+4))")
    for device in (laptop, tablet):
        device.shows("again-44")
    # A finger has the keys that a tablet's keyboard lacks.
    tablet.begin("sleep 600")
    tablet.press(tablet.page.get_by_role("button", name="Ctrl"))
    tablet.page.keyboard.press("c")
    tablet.run("echo interrupted-$((2*2))")
    laptop.shows("interrupted-4")


def test_a_flood_stays_interactive_on_both(laptop: Device, tablet: Device) -> None:
    """50 MB, again and again, out of a container with half a CPU; figures are `test_terminal_flood`'s."""
    laptop.run("clear; seq -w 6300000 > big; wc -c < big")
    laptop.shows("50400000")
    for typing, watching in ((laptop, tablet), (tablet, laptop)):
        typing.run("clear; while cat big; do :; done")
        for device in (typing, watching):
            device.shows(re.compile(r"\d{7}\s*\d{7}"))
        typing.page.keyboard.press("Control+c")
        typing.run(f"clear; echo calm-$((40+{int(typing.touch)}))")
        for device in (typing, watching):
            device.shows(f"calm-4{int(typing.touch)}")
            device.live()


def test_a_killed_server_neither_loses_nor_doubles_a_keystroke(
    stack: Stack, laptop: Device, tablet: Device
) -> None:
    container = stack.container("alice", "spring-campaign")
    laptop.run("clear")
    laptop.begin("cat > typed.txt")
    lines = [f"line-{number:03d}" for number in range(40)]
    for number, line in enumerate(lines):
        laptop.run(line)
        if number == 10:
            stack.kill_server("alice", "spring-campaign")
        elif number == 11:  # it is back soon
            expect(laptop.page.locator(".banner")).to_contain_text("typed bytes wait to be sent")
    laptop.live()
    laptop.page.keyboard.press("Control+d")

    def typed() -> bool:
        text = stack.docker("exec", container, "cat", "/workspace/typed.txt", check=False)
        return text.splitlines() == lines

    wait_for(typed, 20, "every keystroke once")
    laptop.run("clear; echo that-is-$((1+1))-all")
    for device in (laptop, tablet):
        device.live()
        device.shows("that-is-2-all")


def test_a_lock_covers_both_and_a_login_opens_both(
    stack: Stack, laptop: Device, tablet: Device, panel: Device
) -> None:
    laptop.run(COUNT)
    tablet.shows("count-3")
    at_home = laptop.context.new_page()
    at_home.goto(f"{stack.url}/hub/home")
    at_home.get_by_role("article", name="Spring campaign").get_by_role("button", name="Lock").click()
    for device in (laptop, tablet):
        expect(device.page.get_by_role("dialog")).to_contain_text("This workspace is locked")
        expect(device.rows).not_to_be_visible()
    locked = at_home.get_by_role("article", name="Spring campaign")
    expect(locked).to_have_attribute("data-state", "locked")
    assert "count-" not in at_home.content()
    # An administrator can ask, and only ask.
    panel.page.goto(f"{stack.url}/services/terminals/admin#workspaces")
    row = panel.page.get_by_role("row", name="Spring campaign")
    expect(row).to_contain_text("locked")
    panel.press(row)
    panel.press(panel.page.get_by_role("button", name="Ask to unlock…"))
    panel.page.get_by_label("Why").fill("the licence server moves at six")
    panel.press(panel.page.get_by_role("button", name="Ask", exact=True))
    expect(panel.page.get_by_text("Its owner was asked to unlock it.")).to_be_visible()
    said = "admin asks you to log in again and unlock it: the licence server moves at six."
    for device in (laptop, tablet):
        expect(device.page.get_by_role("dialog")).to_contain_text(said)
    at_home.reload()
    expect(locked).to_contain_text(said)
    before = max(tablet.numbers(), default=0)
    tablet.press(tablet.page.get_by_role("link", name="Log in in this tab"))
    expect(tablet.page.get_by_role("heading", name="This workspace is locked")).to_be_visible()
    expect(tablet.page.get_by_text(said)).to_be_visible()
    no_serious_violation(tablet.page)
    tablet.press(tablet.page.get_by_role("link", name="Log in again"))
    tablet.page.fill("input[name=password]", PASSWORD)
    tablet.page.press("input[name=password]", "Enter")
    tablet.page.wait_for_url("**/user/alice/spring-campaign/persistent-terminals/**")
    for device in (tablet, laptop):  # the laptop's page opens by itself
        device.live()
        wait_for(lambda: max(device.numbers(), default=0) > before + 5, 20, "it counted on")  # noqa: B023
        numbers = device.numbers()
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), "lines are missing or doubled"
    expect(laptop.page.locator(".xterm-helper-textarea")).to_be_focused()
    laptop.page.keyboard.press("Control+c")
    at_home.close()


def test_the_panel_ends_a_session_and_its_owner_sees_why(panel: Device, laptop: Device) -> None:
    laptop.page.get_by_role("button", name="New session").click()
    laptop.page.get_by_role("textbox", name="Name").fill("training")
    laptop.page.keyboard.press("Enter")
    tab = re.compile(r"^training\b")
    expect(laptop.page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
    laptop.live()
    laptop.run("sleep 600")
    panel.page.goto(f"{panel.stack.url}/services/terminals/admin#sessions")
    row = panel.page.get_by_role("row", name="training")
    expect(row).to_contain_text("active")
    panel.press(row)
    panel.press(panel.page.get_by_role("button", name="End session training", exact=True))
    expect(panel.page.get_by_role("dialog")).to_contain_text("what it has not saved is lost")
    panel.page.get_by_label("Why").fill("the quota is used up")
    panel.press(panel.page.get_by_role("button", name="End session", exact=True))
    expect(panel.page.get_by_text("The session “training” was ended.")).to_be_visible()
    expect(laptop.page.locator("body")).to_contain_text("admin ended this session: the quota is used up")
    expect(laptop.page.locator(".banner")).to_contain_text("This session has ended")


def test_a_stop_from_home(tablet: Device, laptop: Device) -> None:
    for device in (laptop, tablet):
        device.home()
    card = tablet.card("spring-campaign")
    tablet.press(card.get_by_role("button", name="Stop…"))
    tablet.press(card.get_by_role("button", name="Stop it"))
    tablet.state("stopped", "spring-campaign")
    expect(card).to_contain_text("Your files are kept")
    # The default workspace, on the tablet alone.
    tablet.press(tablet.card().get_by_role("link", name="Start"))
    tablet.waits_for_its_start()
    tablet.home()
    tablet.state("running")
    tablet.press(tablet.card().get_by_role("link", name="Open terminals"))
    tablet.live()
    tablet.run("echo here-$((3*3))")
    tablet.shows("here-9")
    stopped = tablet.page.url.partition("/persistent-terminals/")[0] + "/spring-campaign/lab"
    tablet.press(tablet.page.get_by_role("button", name="More", exact=True))
    tablet.press(tablet.page.get_by_role("link", name="All workspaces"))
    tablet.state("stopped", "spring-campaign")
    # An old bookmark of the stopped one arrives at the default one, which says where to go.
    tablet.page.goto(stopped)
    expect(tablet.page.get_by_role("heading", name="There is no such page here")).to_be_visible()
    no_serious_violation(tablet.page)
    tablet.press(tablet.page.get_by_role("link", name="To your workspaces"))
    tablet.page.wait_for_url("**/hub/home")
