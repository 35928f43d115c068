"""The hub's pages in real Chromium: sessions appear, lock, a stop that names what ends, a new workspace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Locator, expect

from tests.browser.axe import no_serious_violation
from tests.browser.lab import Person, chromium
from tests.support.stack import Stack
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.netns, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Plain processes for speed; the pages are the same."""
    installation = Stack(
        tmp_path_factory.mktemp("stack"), backend="process", settings={"control": {"enabled": False}}
    )
    installation.start()
    installation.add_user("ada")
    yield installation
    assert "Traceback" not in installation.output()
    installation.stop()
    installation.remove_everything()


@pytest.fixture(scope="module")
def browser(stack: Stack) -> Iterator[Browser]:
    with chromium(stack) as browser:
        yield browser


class AtHome(Person):
    """Somebody on the home page."""

    def card(self, name: str = "") -> Locator:
        return self.page.locator(f'.pth-card[data-workspace="{name}"]')

    def wait_state(self, state: str, name: str = "", seconds: float = 60) -> None:
        self.page.wait_for_selector(
            f'.pth-card[data-workspace="{name}"][data-state="{state}"]', timeout=seconds * 1000
        )

    def session(self, token: str, **body: Any) -> None:
        """A session, as another device makes it."""
        url = f"{self.stack.url}/user/{self.user}/persistent-terminals/api/sessions"
        answer = requests.post(url, json=body, headers={"Authorization": f"token {token}"}, timeout=30)
        assert answer.status_code == 201, answer.text


def test_home_from_start_to_stop(stack: Stack, browser: Browser) -> None:
    token = stack.token(stack.login("ada"), "ada")
    ada = AtHome(browser, stack, "ada")
    problems: list[str] = []
    ada.page.on("pageerror", lambda error: problems.append(str(error)))
    for path in ("login", "signup", "no-such-page"):
        ada.page.goto(f"{stack.url}/hub/{path}")
        no_serious_violation(ada.page)
    ada.login()
    for path in ("passkeys", "change-password", "token"):
        ada.page.goto(f"{stack.url}/hub/{path}")
        no_serious_violation(ada.page)
    ada.page.goto(f"{stack.url}/hub/home")
    ada.wait_state("new")
    stack.start_workspace(stack.login("ada"), "ada")
    # The page finds out by itself; a tab that comes back to the front looks at once.
    ada.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    ada.wait_state("running")
    ada.card().get_by_text("No sessions.").wait_for()
    ada.session(token, name="training", argv=["sleep", "600"])
    for number in range(12):
        ada.session(token, name=f"spare-{number:02}")
    ada.page.locator("#ask-stop-_").focus()
    ada.card().get_by_text("13 sessions:").wait_for()
    assert ada.page.evaluate("document.activeElement.id") == "ask-stop-_", "the refresh took the focus away"
    # Work comes first, the rest is folded away, and stays unfolded.
    first = ada.card().locator(".pth-session").first
    assert first.inner_text().split() == ["training", "dormant,", "runs", "sleep"]
    assert ada.card().locator(".pth-session >> visible=true").count() == 4
    ada.card().get_by_text("9 more").click()
    assert ada.card().locator(".pth-session >> visible=true").count() == 13
    ada.screenshot("home-sessions")
    no_serious_violation(ada.page)

    # Lock: nothing of it is shown any more, and the card says so to a screen reader.
    ada.card().get_by_role("button", name="Lock").click()
    ada.wait_state("locked")
    assert "training" not in ada.page.inner_text("body") and "training" not in ada.page.content()
    expect(ada.page.locator("#pth-changes")).to_contain_text("Default workspace: Locked")
    ada.screenshot("home-locked")
    no_serious_violation(ada.page)
    ada.card().get_by_role("link", name="Log in again to open it").click()
    no_serious_violation(ada.page)
    ada.page.fill("input[name=password]", "correct horse battery staple 7")
    ada.page.press("input[name=password]", "Enter")
    ada.page.wait_for_url(f"{stack.url}/user/ada/**")
    ada.page.goto(f"{stack.url}/hub/home")
    ada.wait_state("running")

    # Stop, by keyboard alone: what ends is named, and nothing is done before it was confirmed.
    ada.page.locator("#ask-stop-_").focus()
    ada.page.keyboard.press("Enter")
    dialog = ada.page.locator("#confirm-stop-_")
    dialog.get_by_text("This is at work and ends with it").wait_for()
    assert dialog.locator("li").all_inner_texts() == ["training, dormant, runs sleep"]
    assert "12 more" in dialog.inner_text()
    ada.screenshot("home-stop")
    no_serious_violation(ada.page)
    ada.page.keyboard.press("Escape")
    assert ada.page.evaluate("document.activeElement.id") == "ask-stop-_"
    assert ada.card().get_attribute("data-state") == "running"
    ada.page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Stop it").click()
    ada.wait_state("stopped")
    ada.card().get_by_text("Your files are kept").wait_for()
    assert not problems, problems
    ada.leave()


def told_by_the_other_one(stack: Stack, ada: AtHome) -> None:
    """A workspace's server tells its owner what runs in the others, until they are locked."""
    login = stack.login("ada")
    token = stack.token(login, "ada")
    stack.start_workspace(login, "ada")
    ada.session(token, name="training", argv=["sleep", "600"])
    headers = {"Authorization": f"token {token}"}

    def others() -> Any:
        url = f"{stack.url}/user/ada/spring/persistent-terminals/api/elsewhere"
        answer = requests.get(url, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()["workspaces"]

    wait_for(lambda: others()[0]["sessions"], 30, "the session is known")
    (default,) = others()
    assert (default["name"], default["title"], default["state"]) == ("", "Default workspace", "running")
    assert default["url"] == "/user/ada/"
    (session,) = default["sessions"]
    assert (session["name"], session["text"]) == ("training", "dormant, runs sleep")
    requests.post(
        f"{stack.url}/hub/persistent-terminals/api/lock", json={"workspace": ""}, headers=headers, timeout=30
    ).raise_for_status()
    wait_for(lambda: others()[0]["state"] == "locked", 30, "the lock is known")
    assert others()[0]["sessions"] == [] and "training" not in str(others())


def test_a_new_workspace_and_its_end(stack: Stack, browser: Browser) -> None:
    ada = AtHome(browser, stack, "ada", {"width": 320, "height": 640})
    ada.login()
    ada.page.goto(f"{stack.url}/hub/home")
    ada.page.locator("#pth-new > summary").click()
    assert ada.page.locator("#new-url").count() == 0, "nothing clones here"
    title, name = ada.page.locator("#new-title"), ada.page.locator("#new-name")
    title.fill("Spring Campaign")
    assert name.input_value() == "spring-campaign"
    name.fill("Spring!")
    no_serious_violation(ada.page)
    assert "a-z, 0-9" in ada.page.inner_text("#name-problem") and name.get_attribute("aria-invalid") == "true"
    ada.page.locator("#new-submit").click()
    assert ada.page.url.endswith("/hub/home"), "what is wrong is not sent"
    name.fill("spring")
    assert not ada.page.inner_text("#name-problem")
    title.fill("تجربة الربيع")
    ada.page.keyboard.press("Enter")
    ada.page.wait_for_url(lambda url: "spawn-pending" in url or "/user/ada/spring/" in url)
    ada.page.wait_for_url(f"{stack.url}/user/ada/spring/**", timeout=90_000)
    told_by_the_other_one(stack, ada)
    ada.page.goto(f"{stack.url}/hub/home")
    assert ada.card("spring").locator("h2").inner_text() == "تجربة الربيع"
    assert ada.page.evaluate("document.documentElement.scrollWidth") <= 320
    ada.page.locator("#ask-stop-spring").click()
    ada.page.locator("#stop-spring").click()
    ada.wait_state("stopped", "spring")
    ada.page.locator("#ask-delete-spring").click()
    ada.page.locator("#name-spring").fill("wrong")
    ada.page.locator("#delete-spring").click()
    ada.page.get_by_text("That is not its name").wait_for()
    ada.page.locator("#ask-delete-spring").click()
    ada.page.locator("#name-spring").fill("spring")
    ada.page.locator("#delete-spring").click()
    ada.card("spring").wait_for(state="detached")
    ada.leave()
