"""JupyterLab's terminals on our client, the side panel, and what runs from a notebook: real Chromium."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Locator, expect

from tests.browser.axe import no_serious_violation
from tests.browser.lab import DESKTOP, TABLET, Person
from tests.browser.workspace_lab import Owner, lab_workspace  # noqa: F401 - `workspace`
from tests.integration.lock_fixtures import LockedWorkspace
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
SHOTS = os.environ.get("PTH_TEST_SHOTS", "")
BANNER = ".pth-Terminal-banner >> visible=true"
THEME = "getComputedStyle(document.querySelector('.pth-Terminal-place')).backgroundColor"


def terminal_of(name: str) -> str:
    """The widget that shows this session, as JavaScript."""
    return f"[...jupyterapp.shell.widgets('main')].find(w => w.content?.session?.name === '{name}')"


class Ann(Owner):
    """What she sees of her terminals."""

    def live(self) -> None:
        self.page.wait_for_selector(".pth-Terminal[data-condition=live] >> visible=true")

    def banner(self) -> Locator:
        return self.page.locator(BANNER)

    def panel(self) -> Locator:
        """The side panel, open."""
        found = self.page.locator("#pth-panel")
        if not found.is_visible():
            self.page.get_by_role("tab", name="Persistent terminals").click()
        return found

    def row(self, name: str) -> Locator:
        named = self.page.locator("bdi").get_by_text(name, exact=True)
        return self.panel().get_by_role("listitem").filter(has=named)

    def menu(self, name: str, what: str) -> None:
        """By keyboard alone."""
        self.row(name).get_by_role("button", name="What can be done").press("Enter")
        item = self.page.locator(".lm-Menu .lm-Menu-item", has_text=what)
        item.wait_for()
        for _ in range(8):
            if "lm-mod-active" in (item.get_attribute("class") or ""):
                break
            self.page.keyboard.press("ArrowDown")
        self.page.keyboard.press("Enter")

    def titles(self) -> list[str]:
        """Of the tabs of the main area."""
        return self.page.locator("#jp-main-dock-panel .lm-TabBar-tabLabel").all_inner_texts()

    def shown(self, name: str) -> str:
        """What the terminal of this session shows, whichever widget is the current one."""
        return str(
            self.page.evaluate(
                f"""() => {{ const b = {terminal_of(name)}?.content.term?.buffer.normal; let out = '';
                for (let i = 0; i < (b?.length ?? 0); i++)
                out += b.getLine(i).translateToString(true) + '\\n'; return out; }}"""
            )
        )

    def wait_shown(self, name: str, pattern: str) -> None:
        # The page gets its turn while it is asked.
        wait_for(lambda: re.search(pattern, self.shown(name)), 20, pattern)

    def shot(self, name: str) -> None:
        if SHOTS:
            for size in (DESKTOP, TABLET):
                self.page.set_viewport_size(size)  # type: ignore[arg-type]
                self.page.wait_for_timeout(300)
                self.page.screenshot(path=str(Path(SHOTS) / f"{name}-{size['width']}.png"))
            self.page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]


@pytest.fixture
def ann(browser: Browser, workspace: LockedWorkspace) -> Iterator[Ann]:
    owner = Ann(browser, workspace)
    wrong: list[str] = []
    ours = "labextensions/persistent-terminal-hub"
    owner.page.on(
        "pageerror", lambda error: wrong.extend([error.stack or ""] * (ours in (error.stack or "")))
    )
    yield owner
    owner.leave()
    wait_for(lambda: forget_all(workspace), what="no session is left")
    assert not wrong


def forget_all(workspace: LockedWorkspace) -> bool:
    """End those that run, forget those that have ended; whether none is left."""
    for session in sessions(workspace):
        workspace.http.delete(f"{workspace.root}api/sessions/{session['id']}", timeout=20)
    return not sessions(workspace)


def sessions(workspace: LockedWorkspace, **wanted: object) -> list[dict[str, object]]:
    found = workspace.http.get(workspace.root + "api/sessions", timeout=10).json()
    return [one for one in found if all(one[key] == value for key, value in wanted.items())]


def running(workspace: LockedWorkspace) -> list[str]:
    """As JupyterLab lists them."""
    found = workspace.http.get(workspace.url + "/api/terminals", timeout=10).json()
    return sorted(one["name"] for one in found)


def test_what_jupyterlab_offers_with_terminals_goes_on_working(ann: Ann, workspace: LockedWorkspace) -> None:
    page = ann.page
    ann.open_lab()
    assert Person.new_terminal(ann) == "1"  # by the launcher's card
    ann.live()
    ann.type("echo first-$((40+2))\n")
    ann.wait_text("^first-42$")
    page.get_by_role("menuitem", name="File").click()
    page.locator(".lm-Menu-itemLabel", has_text="New").first.hover()
    page.locator(".lm-Menu-item[data-command='terminal:create-new']").click()
    page.wait_for_function("() => jupyterapp.shell.currentWidget.content.session?.name === '2'")
    ann.live()
    assert running(workspace) == ["1", "2"] and ann.titles() == ["Terminal 1", "Terminal 2"]
    # Its colours and letters.
    assert page.evaluate(THEME) == "rgb(255, 255, 255)"
    ann.execute("apputils:change-theme", theme="JupyterLab Dark")
    page.wait_for_function(f"() => {THEME} !== 'rgb(255, 255, 255)'")
    ann.execute("apputils:change-theme", theme="JupyterLab Light")
    ann.execute("terminal:set-theme", theme="dark")
    page.wait_for_function(f"() => {THEME} === 'rgb(0, 0, 0)'")
    ann.execute("terminal:set-theme", theme="inherit")
    font = "jupyterapp.shell.currentWidget.content.term.options.fontSize"
    before = page.evaluate(font)
    ann.execute("terminal:increase-font")
    page.wait_for_function(f"() => {font} === {before + 1}")
    ann.execute("terminal:decrease-font")
    # Ctrl+F finds in the scrollback.
    ann.type("clear; for i in 1 2 3; do echo needle-$i; done\n")
    ann.wait_text("^needle-3$")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")  # twice: the keyboard leaves the terminal
    expect(page.locator(".pth-Terminal >> visible=true")).to_be_focused()
    page.keyboard.press("Control+f")
    page.locator(".jp-DocumentSearch-input").first.fill("needle-[12]$")
    page.locator("button[title='Use Regular Expression']").click()
    expect(page.locator(".jp-DocumentSearch-index-counter")).to_have_text("1/2")
    page.keyboard.press("Escape")
    # Loaded anew: the same terminals, and nothing twice.
    kept = f"{workspace.url}/lab/api/workspaces/default"
    wait_for(lambda: all(f"terminal:{n}" in workspace.http.get(kept, timeout=5).text for n in "12"))
    page.reload()
    page.wait_for_function("() => window.jupyterapp")
    page.evaluate("() => jupyterapp.restored")
    ann.open_terminal("1")
    ann.live()
    ann.wait_text("^first-42$")
    assert sum("first-42" in line for line in ann.lines()) == 1
    assert running(workspace) == ["1", "2"] and ann.titles() == ["Terminal 1", "Terminal 2"]
    # The panel of what runs: one is shut down, then all.
    page.get_by_role("tab", name="Running Terminals and Kernels").click()
    item = page.locator(".jp-RunningSessions-item", has_text="terminals/2")
    item.hover()
    item.locator(".jp-RunningSessions-itemShutdown").click()
    wait_for(lambda: running(workspace) == ["1"])
    expect(page.locator("#jp-main-dock-panel .lm-TabBar-tabLabel", has_text="Terminal 2")).to_have_count(0)
    (ended,) = wait_for(lambda: sessions(workspace, name="2", state="ended"))
    assert "terminated" in str(ended["exit"])
    ann.execute("terminal:create-new")
    ann.live()
    ann.execute("terminal:shut-down")
    wait_for(lambda: running(workspace) == ["1"])
    expect(page.locator("#jp-main-dock-panel .lm-TabBar-tabLabel")).to_have_text(["Terminal 1"])
    page.locator(".jp-RunningSessions-shutdownAll >> visible=true").last.click()
    page.get_by_role("dialog").get_by_role("button", name="Shut Down All").click()
    wait_for(lambda: running(workspace) == [])


def test_a_killed_server_an_end_and_a_new_start(ann: Ann, workspace: LockedWorkspace) -> None:
    page = ann.page
    ann.open_lab()
    ann.new_terminal()
    ann.live()
    file = workspace.home / "typed.txt"
    ann.type(f"clear; cat > {file}\n")
    wait_for(file.exists)
    lines = [f"line-{number:02d}" for number in range(20)]
    for line in lines[:6]:
        ann.type(line + "\n")
    with workspace.without_server():
        expect(ann.banner()).to_contain_text("The connection was lost.")
        expect(ann.banner()).to_contain_text(re.compile(r"\(\d+ seconds? ago\)"))
        for line in lines[6:]:
            ann.type(line + "\n")
        expect(ann.banner()).to_contain_text("typed bytes wait to be sent")
        ann.shot("lab-lost")
    ann.live()
    expect(ann.banner()).to_have_count(0)
    assert page.locator(".jp-Dialog").count() == 0
    page.keyboard.press("Control+d")
    wait_for(lambda: file.read_text().splitlines() == lines, 20, "every keystroke once")
    ann.wait_text("^line-19$")
    assert [line for line in ann.lines() if line.startswith("line-")] == lines
    # It ends: that is said, and it can be started again in its place.
    ann.type("echo last-$((1+1))-words; exit 3\n")
    expect(ann.banner()).to_contain_text("This session has ended: exit code 3.")
    ann.wait_text("^last-2-words$")
    ann.shot("lab-ended")
    # Also for who comes later.
    (ended,) = sessions(workspace, state="ended")
    page.get_by_role("button", name="Close the tab").click()
    ann.execute("terminal:create-new", name=str(ended["name"]), session=str(ended["id"]))
    expect(ann.banner()).to_contain_text("exit code 3")
    ann.wait_text("^last-2-words$")
    page.get_by_role("button", name="Start it again").click()
    ann.live()
    assert ann.titles().count("Terminal 1") == 1 and running(workspace) == [ended["name"]]


def test_the_side_panel_shows_and_does_all(ann: Ann, workspace: LockedWorkspace) -> None:
    page = ann.page
    session = {"id": "0a1b", "name": "fit", "state": "busy", "text": "busy with python for 3 minutes"}
    workspace.hub.workspaces = [
        {"name": "", "title": "Default workspace", "url": "/user/ann/", "state": "running", "sessions": []},
        {"name": "gpu", "title": "GPU", "url": "/user/ann/gpu/", "state": "running", "badge": "Running",
         "summary": "1 session: 1 busy.", "sessions": [session]},
        {"name": "old", "title": "Old", "url": "/user/ann/old/", "state": "stopped", "badge": "Stopped"},
    ]  # fmt: skip
    ann.open_lab()
    panel = ann.panel()
    expect(panel).to_contain_text("There is no session yet.")
    others = panel.get_by_role("region", name="Other workspaces")
    expect(others).to_contain_text("busy with python for 3 minutes")
    links = others.get_by_role("link").evaluate_all("all => all.map(each => each.getAttribute('href'))")
    assert links[:3] == [
        "/user/ann/gpu/persistent-terminals/",
        "/user/ann/gpu/persistent-terminals/#0a1b",
        "/user/ann/old/",
    ]
    panel.get_by_role("button", name="New session").click()
    field = page.get_by_role("dialog").get_by_role("textbox")
    field.fill("not a name")
    field.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("Use letters, digits")
    page.get_by_role("dialog").get_by_role("textbox").fill("train")
    page.keyboard.press("Enter")
    ann.live()
    expect(ann.row("train")).to_contain_text("Active")
    ann.type("sleep 601\n")
    expect(ann.row("train")).to_contain_text("Busy: sleep runs")
    expect(panel.get_by_role("status")).to_contain_text("train: Busy")
    workspace.create(name="elsewhere")
    expect(ann.row("elsewhere")).to_contain_text("Dormant")
    ann.menu("train", "Rename")
    field = page.get_by_role("dialog").get_by_role("textbox")
    field.fill("train.2")
    field.press("Enter")
    expect(ann.row("train.2")).to_contain_text("Busy")
    expect(page.locator("#jp-main-dock-panel .lm-TabBar-tabLabel", has_text="train.2")).to_be_visible()
    for theme in ("Dark", "Light"):
        ann.execute("apputils:change-theme", theme=f"JupyterLab {theme}")
        page.wait_for_selector(f"body[data-jp-theme-name='JupyterLab {theme}']", state="attached")
        no_serious_violation(page, "#pth-panel")
        ann.shot(f"lab-panel-{theme.lower()}")
    # Opening what is open shows it; there is one of it.
    ann.execute("launcher:create")
    ann.row("train.2").get_by_role("button", name="train.2").first.press("Enter")
    ann.live()
    assert ann.titles().count("Terminal train.2") == 1
    ann.menu("train.2", "End")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("sleep is running")
    dialog.get_by_role("button", name="Cancel").click()
    ann.menu("train.2", "End")
    dialog.get_by_role("button", name="End").click()
    ended = panel.get_by_text("Ended (1)")
    ended.click()
    expect(ann.row("train.2")).to_contain_text("Ended: somebody ended it")
    expect(page.locator("#jp-main-dock-panel .lm-TabBar-tabLabel", has_text="train.2")).to_have_count(0)
    ann.menu("train.2", "Restart")
    dialog.get_by_role("button", name="Restart").click()
    ann.live()
    assert "train.2" in running(workspace)
    # The workspace does not answer: the list stays, and says how old it is; that is said without a dialog.
    page.route("**/api/**", lambda route: route.abort())
    panel.get_by_role("button", name="Look again").click()
    expect(panel.get_by_role("alert")).to_contain_text("The workspace does not answer.")
    expect(panel.get_by_role("alert")).to_contain_text("The list is as it was")
    expect(ann.row("elsewhere")).to_be_visible()
    page.evaluate("() => { void jupyterapp.serviceManager.sessions.refreshRunning().catch(() => 0) }")
    said = page.locator(".Toastify__toast", has_text="The workspace does not answer.")
    expect(said).to_be_visible()
    ann.shot("lab-away")
    assert page.locator(".jp-Dialog").count() == 0
    page.unroute("**/api/**")
    expect(said).to_have_count(0)  # by itself
    expect(panel.get_by_role("alert")).to_have_count(0)


def test_a_cell_and_a_selection_run_in_a_session(ann: Ann, workspace: LockedWorkspace) -> None:
    page = ann.page
    ann.open_lab()
    ann.new_notebook()
    page.keyboard.type("%%bash\nfor i in 1 2; do\necho cell-$((i*21))\n")
    page.keyboard.press("Shift+Tab")
    page.keyboard.type("done")
    page.locator("[data-jp-item-name='run-in-terminal'] :is(button, jp-button)").first.click()
    (made,) = wait_for(lambda: sessions(workspace, name="notebook"), what="a session")
    ann.wait_shown("notebook", "cell-42")
    assert "bash" not in ann.shown("notebook")
    # The keyboard is still in the notebook, and the terminal beside it.
    assert page.evaluate("() => jupyterapp.shell.currentWidget.content.activeCell !== undefined")
    assert page.evaluate(f"() => {terminal_of('notebook')}.isVisible")
    ann.panel()
    expect(ann.row("notebook")).to_be_visible()
    ann.shot("lab-run")
    # Only what is selected, in the same session, without a question.
    page.locator(".jp-Notebook .cm-content").first.click()
    page.keyboard.press("Control+a")
    page.keyboard.type("echo no; echo selected-$((40+3))")
    for _ in range(len("echo selected-$((40+3))")):
        page.keyboard.press("Shift+ArrowLeft")
    page.locator(".jp-Notebook .cm-content").first.click(button="right", position={"x": 150, "y": 10})
    page.locator(".lm-Menu-item[data-command='persistent-terminals:run']").click()
    ann.wait_shown("notebook", "selected-43")
    assert "\nno\n" not in ann.shown("notebook")
    assert running(workspace) == ["notebook"]
    # A program that wants pastes marked gets one; and while it runs, the command asks first.
    ann.execute("terminal:open", name="notebook")
    ann.live()
    ann.type("printf '\\033[?2004h'; cat -v\n")
    expect(ann.row("notebook")).to_contain_text("Busy: cat runs")
    ann.command("docmanager:open", path="Untitled.ipynb")
    page.locator(".jp-Notebook .cm-content").first.click()
    page.keyboard.press("Control+a")
    page.keyboard.type("one\ntwo")
    ann.command("persistent-terminals:run")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("In notebook a program runs now")
    dialog.get_by_role("button", name="Run").click()
    ann.wait_shown("notebook", r"\^\[\[200~one\n(?:.*\n)*two\^\[\[201~")
    # And in a file.
    (workspace.home / "job.sh").write_text("echo a-line-$((30+1))\necho another\n")
    ann.command("docmanager:open", path="job.sh")
    page.locator(".jp-FileEditor .cm-content").click(position={"x": 30, "y": 8})
    ann.command("persistent-terminals:run-elsewhere")
    dialog.locator("select").select_option("A new session")
    dialog.get_by_role("button", name="Run").click()
    ann.wait_shown("notebook-2", "a-line-31")
    assert made["id"] != sessions(workspace, name="notebook-2")[0]["id"]


def test_an_announced_end_is_put_off(ann: Ann, workspace: LockedWorkspace) -> None:
    rules = {"ttl": 24.0, "max_ttl": 3600.0}  # half of that before its end it is announced
    requests.put(
        f"{workspace.root}api/rules", json=rules, headers=workspace.hub.steer("rules"), timeout=10
    ).raise_for_status()
    try:
        ann.open_lab()
        made = workspace.create(name="train")  # its time begins now
        ann.execute("terminal:open", name="train")
        ann.live()
        # Told by the terminal's own connection: the page looks at the list once a minute.
        notice = ann.page.locator(".Toastify__toast", has_text="Terminal session train ends in")
        expect(notice).to_be_visible()
        ann.shot("lab-extend")
        notice.get_by_role("button", name="Extend").click()
        expect(ann.page.locator(".Toastify__toast", has_text="train was extended")).to_be_visible()
        assert workspace.sessions("GET", "/" + str(made["id"]))["expiresIn"] > 100
    finally:
        requests.put(f"{workspace.root}api/rules", json={}, headers=workspace.hub.steer("rules"), timeout=10)
