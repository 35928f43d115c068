"""The administration panel in real Chromium: who sees it, what it shows as it happens, ending a session."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from websockets.sync.client import connect

from tests.browser.axe import no_serious_violation
from tests.browser.lab import Person, chromium
from tests.integration.control_fixtures import Person as Programs
from tests.integration.control_fixtures import installation
from tests.support.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.netns, pytest.mark.timeout(180)]

PANEL = "/services/terminals/admin"

#: Gives the panel this text instead of what the service sends, and keeps the stream open.
NEVER_ENDING = """(() => {
  const real = window.fetch, text = %s;
  window.fetch = async (url, more) => String(url).endsWith('/api/admin/events')
    ? new Response(new ReadableStream({ start: to => to.enqueue(new TextEncoder().encode(text)) }))
    : real(url, more);
})()"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {"control": {"operators": ["olga"]}}
    with installation(tmp_path_factory.mktemp("stack"), ("alice", "bea", "olga"), settings) as stack:
        yield stack
        assert "Traceback" not in stack.output()


@pytest.fixture(scope="module")
def browser(stack: Stack) -> Iterator[Browser]:
    with chromium(stack) as browser:
        yield browser


@pytest.fixture(scope="module")
def alice(stack: Stack) -> Programs:
    """With a workspace that runs."""
    stack.start_workspace(stack.login("alice"), "alice")
    return Programs(stack, "alice")


@pytest.fixture(scope="module")
def panel(stack: Stack, browser: Browser, alice: Programs) -> Iterator[Page]:
    """The administrator's, as opened from the hub's navigation; what it complains about fails the test."""
    admin = Person(browser, stack, "admin")
    said: list[str] = []
    admin.page.on("console", lambda message: message.type == "error" and said.append(message.text))
    admin.page.on("pageerror", lambda error: said.append(str(error)))
    admin.login(stack.admin_password)
    admin.page.get_by_role("link", name="Administration").click()
    yield admin.page
    admin.leave()
    assert not said


def test_a_session_is_ended_by_keyboard_and_its_user_sees_why(panel: Page, alice: Programs) -> None:
    expect(panel.get_by_role("row", name="alice").first).to_contain_text("running")
    made = alice.ask("POST", "sessions", {"workspace": "alice~", "name": "training"}).json()
    alice.ask("POST", "sessions", {"workspace": "alice~", "name": "other"})
    panel.get_by_role("link", name="Sessions").click()
    row = panel.get_by_role("row", name="training")
    expect(row).to_contain_text("dormant")  # by itself: nobody reloads
    with connect(made["webSocketUrl"], subprotocols=["pth.v1"]) as socket:  # type: ignore[list-item]
        hello = {
            "type": "attach", "client": uuid.uuid4().hex, "token": made["token"], "epoch": None, "offset": 0,
            "input_seq": 0, "rows": 24, "cols": 80, "visible": True, "mode": "rw",
        }  # fmt: skip
        socket.send(json.dumps(hello))
        expect(row).to_contain_text("active")
        no_serious_violation(panel)
        panel.get_by_label("Search sessions").fill("train")
        expect(panel.get_by_role("row", name="other")).to_have_count(0)
        # From the search by keyboard alone: the filter, the columns' heads, then the rows.
        for _ in range(9):
            panel.keyboard.press("Tab")
        expect(row).to_be_focused()
        panel.keyboard.press("Enter")
        end = panel.get_by_role("button", name="End session training", exact=True)
        end.focus()
        panel.keyboard.press("Enter")
        no_serious_violation(panel)
        expect(panel.get_by_text("The session “training” of alice ends")).to_be_visible()
        assert alice.get(f"sessions/{made['id']}")["state"] == "active", "nothing happened yet"
        expect(panel.get_by_role("button", name="Back")).to_be_focused()  # Enter twice ends nothing
        panel.keyboard.press("Shift+Tab")
        panel.keyboard.press("Shift+Tab")
        panel.keyboard.type("the quota is used up")
        panel.keyboard.press("Enter")
        expect(panel.get_by_text("The session “training” was ended.")).to_be_visible()
        told = []
        while not told or told[-1]["type"] != "exit":
            message = socket.recv(30)
            if isinstance(message, str) and json.loads(message)["type"] in ("notice", "exit"):
                told.append(json.loads(message))
        assert told[0]["message"] == "admin ended this session: the quota is used up"
    panel.keyboard.press("Escape")
    expect(panel.get_by_text("Nothing matches")).to_be_visible()
    panel.get_by_label("Search sessions").fill("")
    expect(panel.get_by_role("row", name="other")).to_be_visible()
    panel.get_by_role("link", name="Audit log").click()
    expect(panel.get_by_role("row", name="session.end").first).to_contain_text("the quota is used up")
    no_serious_violation(panel)


def test_every_view_in_both_colours(panel: Page) -> None:
    for name, shown in (("Usage", "Largest consumers"), ("Settings", "dataDir:"), ("Users", "olga")):
        panel.get_by_role("link", name=name).click()
        expect(panel.get_by_text(shown).first).to_be_visible()
        no_serious_violation(panel)
        panel.get_by_role("button", name=re.compile("colours")).click()
        no_serious_violation(panel)
    assert panel.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"


def test_every_dialog_says_what_will_be_lost_and_needs_no_mouse(stack: Stack, panel: Page) -> None:
    stack.start_workspace(stack.login("bea"), "bea")
    bea = Programs(stack, "bea")
    bea.ask("POST", "sessions", {"workspace": "bea~", "name": "night", "argv": ["sleep", "600"]})
    panel.get_by_role("link", name="Workspaces").click()
    dialog = panel.get_by_role("dialog")
    panel.get_by_role("row", name="bea").filter(has_text="running").focus()
    panel.keyboard.press("Enter")
    expect(dialog.get_by_text("night")).to_be_visible()
    no_serious_violation(panel)

    def reach(name: str) -> None:
        """By Tab alone, and Enter."""
        button = dialog.get_by_role("button", name=name, exact=True)
        for _ in range(30):
            if button.evaluate("it => it === document.activeElement"):
                break
            panel.keyboard.press("Tab")
        expect(button).to_be_focused()
        panel.keyboard.press("Enter")

    for name, lost in (
        ("Send a message…", "Nothing else changes"), ("Lock…", "Nothing ends"), ("Stop…", "Files stay"),
        ("Send a message to session night", "Nothing else changes"),
        ("Extend session night", "ends later than it would"),
        ("End session night", "Other sessions and all files stay"),
    ):  # fmt: skip
        reach(name)
        expect(dialog).to_contain_text(lost)
        no_serious_violation(panel)
        reach("Back")
    reach("Lock…")
    panel.keyboard.type("The office is closed.")
    panel.keyboard.press("Enter")
    expect(dialog.get_by_text("The workspace is locked.")).to_be_visible()
    reach("Ask to unlock…")
    expect(dialog).to_contain_text("Nothing is lost, and nothing opens")
    no_serious_violation(panel)
    panel.keyboard.type("please")
    panel.keyboard.press("Enter")
    expect(dialog.get_by_text("Its owner was asked")).to_be_visible()
    expect(dialog.get_by_text("Its owner reads:")).to_be_visible()
    no_serious_violation(panel)
    panel.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    status = bea.call("GET", "/user/bea/persistent-terminals/api/status").json()
    assert status["reason"] == "The office is closed. admin asks you to log in again and unlock it: please."


def test_ten_thousand_rows_are_few_on_the_page(stack: Stack, panel: Page) -> None:
    rows = [{"key": f"u:u{n:05}", "user": f"u{n:05}", "admin": False, "groups": [], "lastActivity": None}
            for n in range(10_000)]  # fmt: skip
    event = json.dumps({"rows": rows, "gone": [], "whole": True, "more": False})
    panel.add_init_script(NEVER_ENDING % json.dumps(f"event: board\ndata: {event}\n\n"))
    panel.goto("about:blank")
    panel.goto(f"{stack.url}{PANEL}#users")
    expect(panel.get_by_role("row", name="u00000")).to_be_visible()
    panel.get_by_role("row", name="u00000").focus()
    panel.keyboard.press("End")
    expect(panel.get_by_role("row", name="u09999")).to_be_focused()
    drawn = panel.locator(".rows > .row")
    assert drawn.count() < 60
    panel.get_by_label("Search users").fill("u0777")
    expect(drawn).to_have_count(10)


def test_an_operator_steers_and_opens_nothing(stack: Stack, browser: Browser, alice: Programs) -> None:
    olga = Person(browser, stack, "olga")
    olga.login()
    olga.page.goto(stack.url + PANEL)
    olga.page.get_by_role("row", name="alice").first.click()
    expect(olga.page.get_by_role("button", name="Stop…")).to_be_enabled()
    olga.page.get_by_role("button", name="Send a message…").click()
    olga.page.get_by_label("Message").fill("back in five minutes")
    olga.page.get_by_role("button", name="Send", exact=True).click()
    expect(olga.page.get_by_text("The message was sent.")).to_be_visible()
    olga.page.goto(f"{stack.url}{PANEL}#settings")
    expect(olga.page.get_by_role("alert")).to_contain_text("for administrators")
    answer = olga.page.goto(f"{stack.url}/user/alice/lab")
    assert answer is not None and answer.status in (403, 404), answer
    olga.leave()


def test_anybody_else_is_told_whom_to_ask(stack: Stack, browser: Browser, alice: Programs) -> None:
    person = Person(browser, stack, "alice")
    person.login()
    expect(person.page.get_by_role("link", name="Administration")).to_have_count(0)
    answer = person.page.goto(stack.url + PANEL)
    assert answer is not None and answer.status == 403
    no_serious_violation(person.page)
    person.page.get_by_role("link", name="To your workspaces").click()
    person.page.wait_for_url("**/hub/home")
    person.leave()
