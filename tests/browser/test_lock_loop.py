"""Lock, log in again, go on: a notebook and a counting terminal in real Chromium, on a real hub."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.lab import Person, chromium
from tests.browser.lock_loop import CANARY, LOCKED, Owner
from tests.support.stack import PASSWORD, Stack

pytestmark = [pytest.mark.browser, pytest.mark.netns, pytest.mark.timeout(300)]

#: Longer than JupyterLab takes to load on a busy machine.
IDLE_SECONDS = 30.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Plain processes for speed; the lock is the same code."""
    rules = [
        {"users": ["ida"], "idleLockMinutes": IDLE_SECONDS / 60},
        {"users": ["wanda"], "ttlSeconds": 60, "warnSeconds": 55},  # warned after half of it
    ]
    installation = Stack(tmp_path_factory.mktemp("stack"), backend="process", settings={"rules": rules})
    installation.start()
    for user in ("ada", "bob", "ida", "wanda"):
        installation.add_user(user)
    yield installation
    assert "Traceback" not in installation.output()
    installation.stop()
    installation.remove_everything()


@pytest.fixture(scope="module")
def browser(stack: Stack) -> Iterator[Browser]:
    with chromium(stack) as browser:
        yield browser


@pytest.fixture(scope="module")
def ida(stack: Stack, browser: Browser) -> tuple[Owner, int]:
    """At work, and then nobody touches anything: her clock runs while another test waits for its own."""
    ida = Owner(browser, stack, "ida")
    ida.login()
    ida.begin_work()
    return ida, ida.counted()[-1]


def test_an_end_is_announced_and_nothing_is_typed(
    stack: Stack, browser: Browser, ida: tuple[Owner, int]
) -> None:
    wanda = Owner(browser, stack, "wanda")
    wanda.login()
    wanda.open_lab()
    wanda.execute("terminal:create-new")
    wanda.wait_terminal()
    wanda.type("stty -echo; echo begin; od -c; echo end\n")
    wanda.wait_text(r"^begin$")
    shown = wanda.lines()
    stack.start_meanwhile("ada")
    notice = wanda.page.locator(".Toastify__toast", has_text="ends in")
    notice.wait_for(timeout=90_000)
    assert notice.get_by_role("button", name="Extend").is_visible()
    wanda.screenshot("lock-loop-warned")
    assert wanda.lines() == shown
    # What the program got as input: what is typed now, and nothing before it.
    wanda.type("mine\n")
    wanda.page.keyboard.press("Control+d")
    wanda.wait_text(r"^end$")
    read = re.findall(r"^0000000 +(.*)$", "\n".join(wanda.lines()), re.M)
    assert read == [r"m   i   n   e  \n"]
    wanda.leave()


def test_idle_locks_by_itself_and_goes_on(ida: tuple[Owner, int]) -> None:
    owner, before = ida
    # Its tab is open and its terminal prints all the time: that is no presence.
    owner.wait_locked(IDLE_SECONDS + 20)
    owner.is_covered()
    assert re.search(r"No keyboard, pointer or touch for \d+", owner.page.inner_text("body"))
    owner.page.goto(owner.base + "lab")
    owner.log_in_again()
    owner.is_back()
    owner.finds_all_as_it_was(before)
    owner.leave()


@pytest.fixture(scope="module")
def ada(stack: Stack, browser: Browser) -> Iterator[Owner]:
    ada = Owner(browser, stack, "ada")
    ada.login()
    ada.page.goto(ada.base + "files/canary.txt")  # 404 by now; later a step of the history
    ada.begin_work()
    yield ada
    ada.leave()


def test_lock_now_and_back_in_with_the_password(stack: Stack, browser: Browser, ada: Owner) -> None:
    second = ada.context.new_page()
    second.goto(f"{ada.base}lab/workspaces/second/tree/{ada.notebook}")  # of its own, or it is led elsewhere
    second.wait_for_function("() => window.jupyterapp", timeout=60_000)
    second.evaluate("() => jupyterapp.restored")
    third = ada.context.new_page()
    assert CANARY in third.goto(ada.base + "files/canary.txt").text()  # type: ignore[union-attr]
    third.goto(f"{stack.url}/hub/home")
    before = ada.counted()[-1]
    ada.lock_now()
    ada.is_covered()
    ada.screenshot("lock-loop-locked")
    # A step back shows no copy of what was read before.
    third.go_back()
    ada.sees_the_lock(third)
    # Nobody else's cookie and no other password opens it.
    somebody_else_is_refused(stack, browser, "bob", PASSWORD)
    somebody_else_is_refused(stack, browser, "admin", stack.admin_password)
    ada.page.goto(ada.base + "lab")
    for wrong in ("not it", stack.admin_password):
        ada.page.goto(ada.base + "lab")
        ada.log_in_again(wrong)
        ada.page.get_by_text("That was not your password").wait_for()
        assert ada.locked
    ada.screenshot("lock-loop-wrong-password")
    ada.page.goto(ada.base + "lab")
    ada.log_in_again()
    ada.is_back()
    assert not ada.locked
    ada.finds_all_as_it_was(before)
    ada.screenshot("lock-loop-back")
    # The tab that stood there all the time, and the one with the lock page, which finds back by itself.
    third.wait_for_function("text => document.body.innerText.includes(text)", arg=CANARY, timeout=30_000)
    second.bring_to_front()
    second.reload()
    second.wait_for_function("() => window.jupyterapp", timeout=60_000)
    second.evaluate("() => jupyterapp.restored")
    second.locator(".jp-DirListing-item").get_by_text("canary.txt").wait_for()
    ada.page.close()
    third.close()
    ada.page = second
    ada.kernel_is_as_it_was()  # first: its address puts the notebook in front
    ada.finds_all_as_it_was(before)


def somebody_else_is_refused(stack: Stack, browser: Browser, user: str, password: str) -> None:
    """With a login of their own at the hub: they see that it is locked, and that only its owner opens it."""
    other = Person(browser, stack, user)
    other.login(password)
    assert other.page.goto(f"{stack.url}/user/ada/files/canary.txt").status == 423  # type: ignore[union-attr]
    assert CANARY not in other.page.content()
    other.page.get_by_role("heading", name=LOCKED).wait_for()
    other.page.get_by_role("link", name="Log in again").click()
    other.page.get_by_text("only its owner can unlock it").wait_for()
    assert other.page.locator("input[name=password]").count() == 0
    other.screenshot(f"lock-loop-somebody-else-{user}")
    other.leave()


def test_the_back_button_after_unlocking_breaks_nothing(ada: Owner) -> None:
    ada.lock_now()
    ada.page.goto(ada.base + "lab")
    ada.log_in_again()
    ada.is_back()
    for _ in range(3):
        ada.page.go_back()
        ada.page.wait_for_load_state()
        assert not ada.locked
        assert "used before" not in ada.page.content()
    ada.page.goto(ada.base + "lab")
    ada.is_back()
