"""Our JupyterLab extension in real Chromium, with a real keeper and a real single-user server."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Request

from tests.browser.lab import TABLET, counted
from tests.browser.workspace_lab import COVERED, DIALOG, Owner, lab_workspace, listed  # noqa: F401 - `workspace`
from tests.integration.lock_fixtures import Hub, LockedWorkspace
from tests.support.stack import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
SHOTS = os.environ.get("PTH_TEST_SHOTS", "")
#: Ten lines a second: in a minute's test fewer than JupyterLab keeps.
COUNT = "i=0; while true; do i=$((i+1)); echo count-$i; sleep 0.1; done"
SECRET = "secret_of_ann"


@pytest.fixture
def ann(browser: Browser, workspace: LockedWorkspace) -> Iterator[Owner]:
    if workspace.status()["locked"]:
        workspace.unlock()
    owner = Owner(browser, workspace)
    yield owner
    owner.leave()


def beacons_of(ann: Owner) -> list[Request]:
    """Grows with each beacon that the page sends."""
    found: list[Request] = []
    ann.page.on("request", lambda asked: "api/presence" in asked.url and found.append(asked))
    return found


def shot(ann: Owner, name: str) -> None:
    if SHOTS:
        ann.page.screenshot(path=str(Path(SHOTS) / f"{name}.png"))


def presence(workspace: LockedWorkspace) -> float:
    """When the keeper last heard of the owner, on its monotonic clock."""
    return float(workspace.control.call("rules_clock").header["presence"][1])


def test_it_is_listed() -> None:
    assert re.search(r"persistent-terminal-hub v\S+ .*enabled.*OK", listed()), listed()


def test_presence_is_input_and_nothing_else(ann: Owner, workspace: LockedWorkspace) -> None:
    sent = beacons_of(ann)
    ann.open_lab()
    # A visible page that nobody touches: also when scripts pretend, and when it moves by itself.
    ann.page.evaluate(
        """() => { for (const name of ['keydown', 'pointerdown', 'pointermove', 'wheel', 'touchstart'])
        document.body.dispatchEvent(new Event(name, {bubbles: true}));
        document.body.click(); window.scrollBy(0, 1); }"""
    )
    ann.page.wait_for_timeout(5_000)
    assert sent == []
    before = presence(workspace)
    ann.page.keyboard.press("Shift")
    wait_for_beacons(ann, sent, 1)
    answer = sent[0].response()
    assert answer is not None and answer.status == 204
    wait_for(lambda: presence(workspace) > before, what="the keeper knows")
    # The next half minute is one.
    ann.page.mouse.move(100, 100)
    ann.page.mouse.move(200, 150)
    ann.page.mouse.wheel(0, 100)
    ann.page.keyboard.type("x")
    ann.page.wait_for_timeout(1_000)
    assert len(sent) == 1
    # A page that is left says what it has not said (the browser sends that when the page is gone).
    before = presence(workspace)
    ann.page.goto("about:blank")
    wait_for(lambda: presence(workspace) > before, what="the keeper knows of the last input")


def wait_for_beacons(ann: Owner, sent: list[Request], count: int) -> None:
    for _ in range(200):
        if len(sent) >= count:
            break
        ann.page.wait_for_timeout(100)
    assert len(sent) == count


def test_touch_counts(browser: Browser, workspace: LockedWorkspace) -> None:
    ann = Owner(browser, workspace, TABLET, has_touch=True)
    try:
        sent = beacons_of(ann)
        ann.open_lab()
        assert sent == []
        ann.page.touchscreen.tap(400, 600)
        wait_for_beacons(ann, sent, 1)
    finally:
        ann.leave()


def test_a_lock_covers_and_all_goes_on_after_it(ann: Owner, workspace: LockedWorkspace) -> None:
    page = ann.page
    ann.open_lab()
    name = ann.new_terminal()
    ann.type(COUNT + "\n")
    ann.wait_text(r"^count-20$")
    terminal = page.evaluate("() => jupyterapp.shell.currentWidget.id")
    ann.new_notebook()
    page.evaluate(
        """([terminal, where]) => { const { shell } = jupyterapp, other = shell.currentWidget;
        const it = [...shell.widgets('main')].find(w => w.id === terminal);
        shell.add(it, 'main', {mode: 'split-right', ref: other.id}); shell.activateById(other.id); }""",
        [terminal, name],
    )
    page.locator(".jp-Notebook .cm-content").first.click()
    page.keyboard.type(f"{SECRET} = 41; print('{SECRET}')")
    page.keyboard.press("Shift+Enter")
    page.wait_for_function(
        f"() => document.querySelector('.jp-OutputArea-output')?.innerText.includes('{SECRET}')"
    )
    page.keyboard.type("# draft of ann")
    shot(ann, "lab-1280-light")
    commands = (
        "() => { window.ran = []; jupyterapp.commands.commandExecuted.connect((_, a) => ran.push(a.id)) }"
    )
    page.evaluate(commands)
    before = page.evaluate(
        """id => { const { term } = [...jupyterapp.shell.widgets('main')].find(w => w.id === id).content,
        { baseY, cursorY } = term.buffer.active; return baseY + cursorY; }""",
        terminal,
    )

    workspace.lock("idle")
    page.wait_for_selector(COVERED)
    dialog = page.get_by_role("alertdialog", name="This workspace is locked")
    dialog.get_by_text("Locked since").wait_for()
    dialog.get_by_text("Nobody used it for a while.").wait_for()
    assert "Processes and output go on" in dialog.inner_text()
    text = page.evaluate("() => document.body.innerText")
    assert SECRET not in text and "count-" not in text and "File" not in text and "draft" not in text
    page.evaluate("() => { document.title = 'plans.ipynb' }")
    page.wait_for_function("() => document.title === 'Locked'")
    # Nothing shines through: the same picture as without all the rest.
    seen = page.screenshot()
    page.evaluate(
        f"""() => {{ window.hiddenOnes = [...document.body.children].filter(e => !e.matches('{DIALOG}'));
        hiddenOnes.forEach(e => e.style.setProperty('opacity', '0', 'important')); }}"""
    )
    assert page.screenshot() == seen
    page.evaluate("() => hiddenOnes.forEach(e => e.style.removeProperty('opacity'))")
    # By keyboard nothing is reached, and no shortcut runs.
    for key in ("Escape", "Escape", "Control+s", "Control+b", "Control+Shift+c", "Shift+Enter"):
        page.keyboard.press(key)
    for _ in range(5):
        page.keyboard.press("Tab")
        assert page.evaluate(f"() => [document.body, null].includes(document.activeElement) "
                             f"|| !!document.activeElement.closest('{DIALOG}')")  # fmt: skip
    assert page.locator(COVERED).count() == 1
    assert page.evaluate("ran") == []

    page.wait_for_timeout(6_000)  # JupyterLab tries to connect meanwhile, and is refused
    assert workspace.unlock().status_code == 303
    page.wait_for_selector(DIALOG, state="detached", timeout=30_000)
    # Unless JupyterLab gave it another one meanwhile.
    assert page.title() in ("plans.ipynb", "Untitled.ipynb - JupyterLab")
    assert page.locator(".jp-Dialog").count() == 0
    # The kernel is alive, the page keeps what was not saved, and the keyboard is where it was.
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.keyboard.type(f"print({SECRET} + 1)")
    page.keyboard.press("Shift+Enter")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.jp-OutputArea-output')].some(e => e.innerText.trim() == '42')",
        timeout=30_000,
    )
    shot(ann, "unlocked-1280-light")
    assert "# draft of ann" in page.locator(".jp-Notebook").inner_text()
    # The terminal shows every number once, also those of the time when it was locked, and goes on.
    ann.open_terminal(name)
    last = counted(ann.lines())[-1]
    ann.wait_text(rf"^count-{last + 20}$", seconds=60)
    numbers = counted(ann.lines())
    assert numbers == list(range(1, numbers[-1] + 1))
    assert numbers[-1] > before + 40  # more than was there before the lock


def test_a_login_in_another_tab(ann: Owner, workspace: LockedWorkspace) -> None:
    ann.open_lab()
    workspace.lock("An administrator says so.")
    ann.page.wait_for_selector(COVERED)
    ann.page.get_by_text("An administrator says so.").wait_for()
    with ann.context.expect_page() as opened:
        ann.page.get_by_role("link", name="Log in again").click()
    tab = opened.value
    tab.get_by_role("heading", name="This workspace is locked").wait_for()
    assert tab.url.startswith(f"{workspace.root}lock?next=%2Fuser%2Fann%2Flab")
    assert tab.evaluate("window.opener") is None
    workspace.unlock()
    wait_for_closed(ann, tab)
    ann.page.wait_for_selector(DIALOG, state="detached", timeout=30_000)


def wait_for_closed(ann: Owner, tab: object) -> None:
    for _ in range(200):
        if tab not in ann.context.pages:
            return
        ann.page.wait_for_timeout(100)
    raise AssertionError("the tab of the login stayed open")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_lock_now_while_the_hub_is_away(ann: Owner, workspace: LockedWorkspace, hub: Hub, theme: str) -> None:
    ann.open_lab()
    ann.command("apputils:change-theme", theme=f"JupyterLab {theme.title()}")
    ann.page.wait_for_selector(f"body[data-jp-theme-name='JupyterLab {theme.title()}']", state="attached")
    hub.stop()
    try:
        ann.page.get_by_role("menuitem", name="File").click()
        ann.page.get_by_text("Lock Workspace Now").click()
        ann.page.wait_for_selector(COVERED)
        ann.page.get_by_text("Its owner locked it.").wait_for()
        ann.page.get_by_text("The hub does not answer").wait_for()
        for size in ({"width": 1280, "height": 800}, TABLET):
            ann.page.set_viewport_size(size)  # type: ignore[arg-type]
            shot(ann, f"hub-away-{size['width']}-{theme}")
            assert ann.page.evaluate("document.querySelector('#pth-lock').scrollWidth <= innerWidth")
    finally:
        hub.start()
    ann.page.get_by_text("The hub does not answer").wait_for(state="hidden", timeout=30_000)
    for size in ({"width": 1280, "height": 800}, TABLET):
        ann.page.set_viewport_size(size)  # type: ignore[arg-type]
        shot(ann, f"locked-{size['width']}-{theme}")
    wait_for(lambda: workspace.unlock().status_code == 303, what="it opens")
    ann.page.wait_for_selector(DIALOG, state="detached", timeout=30_000)
