"""The terminal page: splits, what happened meanwhile, copying, and the states that people forget."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Route, expect

from tests.browser.lab import DESKTOP, TABLET
from tests.browser.terminal_page import MARKS, Device
from tests.integration.lock_fixtures import Hub, LockedWorkspace, lockable
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

PHONE = {"width": 320, "height": 640}
AGO = 300_000  # milliseconds
#: A command is long from one second on.
SHORT = """if (location.protocol !== 'about:')
    localStorage.setItem('persistent-terminals', JSON.stringify({long: 1}));"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, hub: Hub) -> Iterator[LockedWorkspace]:
    home = tmp_path_factory.mktemp("home")
    with lockable(home, hub, PTH_MAX_SESSIONS="300") as workspace:
        # As in the image, where every interactive bash marks its prompts.
        (home / ".bash_profile").write_text(f". {MARKS}\nPS1='$ '\n")
        yield workspace


def pane(device: Device, name: str) -> Locator:
    return device.page.get_by_role("tabpanel", name=re.compile(rf"^{re.escape(name)}\b"))


def left(device: Device, name: str) -> float:
    box = pane(device, name).bounding_box()
    assert box is not None
    return box["x"]


def test_splits_by_keyboard_and_pointer_on_every_device(device: Callable[..., Device]) -> None:
    laptop = device()
    page = laptop.page
    laptop.new("one")
    two = laptop.new("two")
    laptop.open("one")
    laptop.run("echo this-is-$((0+1))")
    page.keyboard.press("Alt+Shift+D")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Show beside one")
    laptop.accessible()
    dialog.get_by_label("Session").select_option(two)
    page.get_by_role("button", name="Split", exact=True).click()
    expect(pane(laptop, "two")).to_be_visible()
    expect(pane(laptop, "one")).to_be_visible()
    laptop.run("echo this-is-$((1+1))")
    laptop.shows("this-is-2")
    # A new one below it, by the dialog's first choice.
    page.keyboard.press("Alt+Shift+S")
    expect(dialog).to_contain_text("Show below two")
    page.keyboard.press("Enter")
    expect(page.get_by_role("tabpanel")).to_have_count(3)
    expect(dialog).to_have_count(0)
    third = page.get_by_role("tab", selected=True).inner_text().split("\n")[0].split(",")[0]
    laptop.run("echo this-is-$((1+2))")
    laptop.shows("this-is-3")
    laptop.shot("terminal-page-split")
    # The keyboard goes from pane to pane, and what is typed goes there.
    page.keyboard.press("Control+Shift+ArrowLeft")
    expect(laptop.tab("one")).to_have_attribute("aria-selected", "true")
    page.keyboard.type("echo back-in-$((4*4))\n")
    expect(pane(laptop, "one")).to_contain_text("back-in-16")
    page.keyboard.press("Control+Shift+ArrowRight")
    page.keyboard.press("Control+Shift+ArrowUp")
    expect(laptop.tab("two")).to_have_attribute("aria-selected", "true")
    # The edge between them moves by keyboard and by pointer.
    edge = page.get_by_role("separator", name="Size of one")
    before = left(laptop, "two")
    edge.focus()
    page.keyboard.press("ArrowRight")
    expect(edge).to_have_attribute("aria-valuenow", "52")
    assert left(laptop, "two") > before
    laptop.accessible()
    box = edge.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 5, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(DESKTOP["width"] * 0.3, box["y"] + 50, steps=4)
    page.mouse.up()
    expect(edge).to_have_attribute("aria-valuenow", "30")
    # Another device shows the same; where there is room for one pane, that one, and the way to the others.
    wait_for(lambda: '"share":0.3' in json.dumps(kept(laptop), separators=(",", ":")))
    tablet = device(TABLET, has_touch=True)
    tablet.open("two")
    expect(tablet.page.get_by_role("tabpanel")).to_have_count(3)
    assert abs(left(tablet, "two") / TABLET["width"] - 0.3) < 0.01
    tablet.shot("terminal-page-split-tablet")
    phone = device(PHONE, has_touch=True)
    phone.open("two")
    expect(phone.page.get_by_role("tabpanel")).to_have_count(1)
    phone.page.get_by_role("button", name="The next pane").tap()
    expect(pane(phone, third)).to_be_visible()
    phone.shows("this-is-3")
    phone.accessible()
    phone.shot("terminal-page-split-phone")
    # Taken out of the split it keeps its tab; a closed one gives its room to the others.
    laptop.page.get_by_role("button", name="Take one out of the split; it keeps its tab").click()
    expect(page.get_by_role("tabpanel")).to_have_count(2)
    expect(laptop.tab("one")).to_be_visible()
    expect(tablet.page.get_by_role("tabpanel")).to_have_count(2)
    laptop.tab(third).focus()
    page.keyboard.press("Delete")
    expect(page.get_by_role("tabpanel")).to_have_count(1)
    expect(page.get_by_role("separator")).to_have_count(0)


def kept(device: Device) -> Any:
    return device.workspace.http.get(device.workspace.root + "api/layout", timeout=5).json()


def test_what_happened_while_nobody_looked(device: Callable[..., Device]) -> None:
    laptop = device()
    page = laptop.page
    laptop.new("watched")
    laptop.new("beside")
    laptop.open("watched")
    laptop.run("echo before-$((2*21))")
    laptop.shows("before-42")
    go = laptop.workspace.home / "go"
    laptop.run(f"until [ -e {go} ]; do sleep 0.1; done; seq 2000; sleep 600")
    laptop.shows("sleep 600")
    laptop.tab("beside").click()
    laptop.live()
    # As if that were five minutes ago; then the page is opened anew, as on the next morning.
    past = f"""() => {{ const kept = JSON.parse(localStorage.getItem('persistent-terminals-left'));
        for (const one of Object.values(kept)) one.at -= {AGO};
        localStorage.setItem('persistent-terminals-left', JSON.stringify(kept)); }}"""
    page.evaluate(past)
    go.touch()
    wait_for(lambda: laptop.workspace.sessions("GET", "/watched")["bytes_out"] > 8_000)
    page.goto("about:blank")
    laptop.open("watched")
    away = page.locator(".away")
    expect(away).to_have_text(re.compile(r"KiB in [5-7] minutes since you left"))
    laptop.shows("1999")  # which nobody typed
    expect(page.locator(".left-mark")).not_to_be_visible()  # far above
    expect(away.get_by_role("button", name="Go there")).to_be_visible()
    page.keyboard.press("Alt+Shift+M")
    expect(laptop.rows).to_contain_text("before-42")
    expect(page.locator(".left-mark")).to_contain_text("You left here at")
    laptop.accessible()
    laptop.shot("terminal-page-away")
    away.get_by_role("button", name="To the end").click()
    laptop.shows("1999")
    away.get_by_role("button", name="Dismiss").click()
    expect(away).to_have_count(0)
    laptop.type("\x03")


def test_the_end_of_a_long_command_is_told_once(device: Callable[..., Device]) -> None:
    laptop = device()
    page = laptop.page
    page.add_init_script(
        SHORT
        + """window.told = []; window.asked = 0;
        window.Notification = class { constructor(title, {body}) { told.push(title + ': ' + body) } close() {}
          static permission = 'default';
          static async requestPermission() { asked += 1; return (Notification.permission = 'granted') } }"""
    )
    laptop.new("job")
    laptop.new("other")
    laptop.open("job")
    gate = laptop.workspace.home / "gate"
    os.mkfifo(gate)

    def wait_at_the_gate(command: str) -> None:
        """Run one that reads the gate; it is over when somebody writes to it."""
        laptop.run(command)
        wait_for(lambda: laptop.workspace.sessions("GET", "/job")["program"] == "cat")

    wait_at_the_gate("cat gate; (exit 3)")
    laptop.tab("other").click()
    expect(laptop.tab("other")).to_have_attribute("aria-selected", "true")
    time.sleep(1.5)
    gate.write_text("")
    told = re.compile(r"job: cat gate; \(exit 3\) ended after \d+ seconds?, with exit code 3\.")
    toast = page.locator(".toast").filter(has_text=told)
    expect(toast).to_be_visible()
    laptop.accessible()
    laptop.shot("terminal-page-command-ended")
    toast.get_by_role("button", name="Show").click()
    expect(laptop.tab("job")).to_have_attribute("aria-selected", "true")
    # In front of one's eyes nothing is told; by the browser only what a person allowed by a button.
    laptop.run("sleep 1.2; echo seen-$((3*3))")
    laptop.shows(re.compile(r"seen-9\s*\$"))  # and the prompt after it
    expect(page.locator(".toast").filter(has_text="job")).to_have_count(0)
    assert page.evaluate("() => asked") == 0
    page.get_by_role("button", name="More", exact=True).click()
    page.get_by_role("button", name="Also when this page is hidden").click()
    expect(page.locator("#menu")).to_contain_text("Also by the browser when this page is hidden.")
    page.keyboard.press("Escape")
    hide = """hidden => { const get = () => hidden ? 'hidden' : 'visible';
        Object.defineProperty(document, 'visibilityState', {get, configurable: true});
        document.dispatchEvent(new Event('visibilitychange')) }"""
    wait_at_the_gate("cat gate")
    page.evaluate(hide, True)
    time.sleep(1.5)
    gate.write_text("")
    page.wait_for_function("() => told.some(text => text.startsWith('job: cat gate ended'))")
    page.evaluate(hide, False)
    # What is replayed was told before, or by another page.
    page.goto("about:blank")
    laptop.open("other")
    laptop.tab("job").click()
    laptop.shows("seen-9")
    laptop.tab("other").click()
    laptop.run("echo quiet-$((5*5))")
    laptop.shows("quiet-25")
    assert [text for text in page.evaluate("() => told") if "job" in text] == []
    expect(page.locator(".toast").filter(has_text="job")).to_have_count(0)


def test_a_program_without_marks_ends(device: Callable[..., Device]) -> None:
    """A shell that marks nothing: the list says when it is busy no more."""
    laptop = device()
    laptop.page.add_init_script(SHORT)
    laptop.new("plain", argv=["sh"])
    laptop.new("front")
    laptop.open("plain")
    fifo = laptop.workspace.home / "until"
    os.mkfifo(fifo)
    laptop.run(f"cat {fifo}")
    # Not what was typed, but what runs: the page asks for the list only now and then.
    wait_for(lambda: laptop.workspace.sessions("GET", "/plain")["program"] == "cat")
    laptop.tab("front").click()
    laptop.look()
    expect(laptop.tab("plain")).to_contain_text("Busy: cat runs")
    time.sleep(1)
    fifo.write_text("")
    wait_for(lambda: not laptop.workspace.sessions("GET", "/plain")["busy"])
    laptop.look()
    told = laptop.page.locator(".toast").filter(has_text=re.compile(r"plain: cat ended after \d+ seconds?\."))
    expect(told).to_be_visible()


def test_copies_are_one_line_or_as_shown(device: Callable[..., Device]) -> None:
    laptop = device(permissions=["clipboard-read", "clipboard-write"])
    page = laptop.page
    laptop.new("copied")
    laptop.open("copied")
    # Wider than the window, with wide characters at its edge.
    wide = "".join(f"{number}漢字🙂é " for number in range(40))
    file = laptop.workspace.home / "wide.txt"
    file.write_text(f"{wide}x   \nshort\n")
    laptop.run(f"clear; cat {file}; echo end-$((6*6))")
    laptop.shows("end-36")
    select = "() => document.querySelector('[data-active=true] .xterm-helper-textarea').focus()"
    page.evaluate(select)
    rows = laptop.rows.locator("> div")
    first = rows.nth(0).bounding_box()
    assert first is not None
    number = next(at for at in range(9) if rows.nth(at).inner_text().strip() == "short")
    last = rows.nth(number).bounding_box()
    assert last is not None and number >= 2
    page.mouse.move(first["x"] + 1, first["y"] + 5)
    page.mouse.down()
    page.mouse.move(last["x"] + 300, last["y"] + 8, steps=3)
    page.mouse.up()
    page.keyboard.press("Control+Shift+C")
    clipboard = "() => navigator.clipboard.readText()"
    wait_for(lambda: page.evaluate(clipboard) == f"{wide}x\nshort")
    page.mouse.move(first["x"] + 1, first["y"] + 5)
    page.mouse.down()
    page.mouse.move(last["x"] + 300, last["y"] + 8, steps=3)
    page.mouse.up()
    page.keyboard.press("Alt+Shift+C")
    wait_for(lambda: len(page.evaluate(clipboard).split("\n")) == number + 1)
    shown = page.evaluate(clipboard).split("\n")
    assert shown[-1] == "short" and all(row == row.rstrip() for row in shown)
    assert "".join(shown[:-1]).replace(" ", "") == f"{wide}x".replace(" ", "")


def answer(sessions: list[dict[str, Any]]) -> Callable[[Route], None]:
    return lambda route: route.fulfill(json=sessions)


def refuse(route: Route) -> None:
    error = {
        "status": 403,
        "reason": "Forbidden",
        "message": "This workspace is Ann's.",
        "hint": "Ask her for a share.",
    }
    route.fulfill(status=403, json=error)


LIST = re.compile(r"/api/sessions\?")


def test_states_that_people_forget(device: Callable[..., Device]) -> None:
    laptop = device()
    page = laptop.page
    held: list[Route] = []
    page.route(LIST, lambda route: held.append(route))
    laptop.open(live=False)
    expect(page.locator(".skeleton")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("Looking for your sessions")
    laptop.accessible()
    laptop.shot("terminal-page-loading")
    page.route(LIST, refuse)
    wait_for(lambda: page.title() and held, what="the page asks")
    refuse(held.pop())
    expect(page.get_by_role("heading", name="This workspace is Ann's.")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("Ask her for a share.")
    laptop.accessible()
    laptop.shot("terminal-page-forbidden")
    # It answers again: 200 sessions, some with names that nobody should have.
    names = ["x" * 64, "אבגדה-ואז-12", *(f"s{number:03d}" for number in range(198))]
    shown = [
        {"id": f"{at:016x}", "name": name, "state": "dormant", "cwd": "/", "argv": []}
        for at, name in enumerate(names)
    ]
    page.route(LIST, answer(shown))
    laptop.look()
    expect(page.get_by_role("tab")).to_have_count(200)
    expect(page.get_by_role("button", name="Sessions 200")).to_be_visible()
    laptop.accessible()
    laptop.shot("terminal-page-200")
    page.keyboard.press("Alt+Shift+O")
    find = page.get_by_label("Find by name")
    find.fill("s197")
    expect(page.get_by_role("dialog").get_by_role("listitem")).to_have_count(1)
    laptop.accessible()
    find.press("Enter")
    expect(laptop.tab("s197")).to_be_in_viewport()
    expect(laptop.tab("s197")).to_have_attribute("aria-selected", "true")
    # The list fails, the page stays and says how old it is.
    page.route(LIST, lambda route: route.abort())
    page.set_viewport_size(PHONE)
    expect(page.locator(".banner")).to_contain_text("There is no such session.")
    page.route(LIST, answer([]))
    laptop.look()
    expect(page.get_by_role("heading", name="No session is open here")).to_be_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
    laptop.accessible()
    laptop.shot("terminal-page-empty-320")


def test_every_state_of_a_session_is_accessible(
    device: Callable[..., Device], workspace: LockedWorkspace
) -> None:
    laptop = device()
    page = laptop.page
    laptop.new("seen")
    laptop.open("seen")
    laptop.accessible()
    page.get_by_role("button", name="More", exact=True).click()
    laptop.accessible()
    laptop.shot("terminal-page-menu")
    page.keyboard.press("Escape")
    page.keyboard.press("Alt+Shift+H")
    expect(page.get_by_role("dialog")).to_contain_text("Split side by side")
    laptop.accessible()
    laptop.shot("terminal-page-keys")
    page.keyboard.press("Escape")
    page.keyboard.press("Alt+Shift+N")
    laptop.accessible()
    page.keyboard.press("Escape")
    # A narrow page with everything on it.
    page.set_viewport_size(PHONE)
    laptop.accessible()
    laptop.shot("terminal-page-320")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
    page.set_viewport_size(DESKTOP)
    workspace.kill_server()
    expect(page.locator(".banner")).to_contain_text("The connection was lost.")
    laptop.accessible()
    laptop.live()
    laptop.run("exit 5")
    expect(page.locator(".banner")).to_contain_text("This session has ended: exit code 5.")
    laptop.accessible()
    laptop.shot("terminal-page-ended")
    workspace.lock()
    expect(page.get_by_role("dialog")).to_contain_text("This workspace is locked")
    laptop.accessible()
    workspace.unlock()
    expect(page.get_by_role("dialog")).to_have_count(0)
