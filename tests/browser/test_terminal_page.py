"""The terminal page in real Chromium, with a real keeper and a real single-user server."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import requests
from playwright.sync_api import expect

from tests.browser.terminal_page import Device
from tests.integration.lock_fixtures import HTML, LockedWorkspace
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def test_the_page_and_its_files(workspace: LockedWorkspace) -> None:
    stranger = requests.get(workspace.root, headers=HTML, timeout=10, allow_redirects=False)
    assert stranger.status_code == 302 and "oauth2/authorize" in stranger.headers["Location"]
    assert requests.get(workspace.root + "api/layout", timeout=10).status_code == 403
    page = workspace.http.get(workspace.root, headers=HTML, timeout=10)
    policy = page.headers["Content-Security-Policy"]
    assert page.status_code == 200 and "script-src 'self';" in policy and "default-src 'none'" in policy
    assert page.headers["Cache-Control"] == "no-store"
    assert "&quot;baseUrl&quot;: &quot;/user/ann/&quot;" in page.text
    for name in re.findall(r'(?:src|href)="\./(assets/[^"]+)"', page.text):
        plain = requests.get(workspace.root + name, headers={"Accept-Encoding": "gzip;q=0"}, timeout=10)
        packed = requests.get(workspace.root + name, headers={"Accept-Encoding": "br, gzip"}, timeout=10)
        for asset in (plain, packed):
            assert asset.status_code == 200 and "immutable" in asset.headers["Cache-Control"], name
            assert re.match("text/(javascript|css)", asset.headers["Content-Type"])
        assert "Content-Encoding" not in plain.headers and packed.headers["Content-Encoding"] == "gzip"
        assert packed.content == plain.content
        assert 2 * int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"])
    for path in ("assets/terminal.html", "assets/x-12345678.js", "assets/%2e%2e/terminal.html", "assets/"):
        other = requests.get(workspace.root + path, timeout=10, allow_redirects=False)
        assert other.status_code in (302, 403, 404), path


def test_the_layout_is_kept_within_bounds(workspace: LockedWorkspace) -> None:
    http, url = workspace.http, workspace.root + "api/layout"
    assert http.get(url, timeout=10).json() == {}
    assert http.put(url, json={"order": ["a"]}, timeout=10).status_code == 204
    assert http.get(url, timeout=10).json() == {"order": ["a"]}
    for body, status in ((b"[]", 422), (b"{", 400), (b'{"a":"' + b"x" * 40_000 + b'"}', 413)):
        refused = http.put(url, data=body, timeout=10)
        assert refused.status_code == status and refused.json()["message"].endswith("."), body[:9]
    assert http.get(url, timeout=10).json() == {"order": ["a"]}
    (file,) = workspace.home.rglob("terminal-page.json")
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("garbage")
    assert http.get(url, timeout=10).json() == {}


def test_laptop_and_tablet_and_a_killed_server(
    laptop: Device, tablet: Device, workspace: LockedWorkspace
) -> None:
    laptop.open()  # nobody comes to look at nothing: a session is there
    laptop.run("echo from-the-$((40+2))-laptop")
    laptop.shows("from-the-42-laptop")
    tablet.open()
    tablet.shows("from-the-42-laptop")
    tablet.run("echo from-the-$((40+3))-tablet")
    laptop.shows("from-the-43-tablet")
    laptop.shot("terminal-page-laptop")
    tablet.shot("terminal-page-tablet")
    # Typing goes on while the server is killed.
    file = workspace.home / "typed.txt"
    laptop.run(f"clear; cat > {file}")
    wait_for(file.exists)
    lines = [f"line-{number:03d}" for number in range(30)]
    for line in lines[:11]:
        laptop.run(line)
    with workspace.without_server():
        lost = laptop.page.locator(".banner")
        expect(lost).to_contain_text("The connection was lost.")
        laptop.shot("terminal-page-lost")
        for line in lines[11:]:
            laptop.run(line)
        expect(lost).to_contain_text("typed bytes wait to be sent")
    laptop.live()
    laptop.page.keyboard.press("Control+d")
    wait_for(lambda: file.read_text().splitlines() == lines, 20, "every keystroke once")
    laptop.run("echo that-is-$((1+1))-all")
    for device in (laptop, tablet):
        device.live()
        device.shows("that-is-2-all")
        shown = re.findall(r"line-\d{3}", device.rows.inner_text())
        assert shown == lines[-len(shown) :] and len(shown) >= 15
    # The row of keys is there for a finger, and Ctrl holds for the next key.
    expect(laptop.page.get_by_role("toolbar")).to_have_count(0)
    tablet.begin("sleep 600")
    tablet.page.get_by_role("button", name="Ctrl").tap()
    tablet.page.keyboard.press("c")
    tablet.run("echo interrupted-$((2*2))")
    laptop.shows("interrupted-4")


def test_sessions_are_made_renamed_ended_and_arranged(
    laptop: Device, tablet: Device, workspace: LockedWorkspace
) -> None:
    page = laptop.page
    laptop.open()
    page.get_by_role("button", name="New session").click()
    field = page.get_by_role("textbox", name="Name")
    field.fill("not a name")
    expect(page.get_by_role("button", name="Start")).to_be_disabled()
    field.fill("train")
    field.press("Enter")
    expect(laptop.tab("train")).to_have_attribute("aria-selected", "true")
    laptop.live()
    laptop.run("sleep 601")
    expect(laptop.tab("train")).to_contain_text("Busy: sleep runs")
    laptop.more("Rename…")
    page.get_by_role("textbox", name="Name").fill("train.2")
    page.keyboard.press("Enter")
    expect(laptop.tab("train.2")).to_be_visible()
    laptop.more("End…")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("sleep is running")
    laptop.shot("terminal-page-end")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    # Another device shows the same tabs in the same order.
    laptop.page.get_by_role("tab", selected=True).focus()
    page.keyboard.press("Control+ArrowLeft")
    order = page.get_by_role("tab").evaluate_all("tabs => tabs.map(tab => tab.id)")
    assert len(order) >= 2
    wait_for(lambda: workspace.http.get(workspace.root + "api/layout", timeout=5).json().get("order") == [
        name.removeprefix("tab-") for name in order
    ])  # fmt: skip
    tablet.open("train.2")
    expect(tablet.tab("train.2")).to_have_attribute("aria-selected", "true")
    assert tablet.page.get_by_role("tab").evaluate_all("tabs => tabs.map(tab => tab.id)") == order
    # Ended there, it says so here; its output stays, and it can be started again.
    laptop.more("End…")
    page.get_by_role("button", name="End", exact=True).click()
    expect(laptop.tab("train.2")).to_have_count(0)
    expect(tablet.page.locator(".banner")).to_contain_text("This session has ended: somebody ended it.")
    page.get_by_role("button", name="Sessions", exact=True).click()
    row = dialog.get_by_role("listitem").filter(has_text="train.2")
    expect(row).to_contain_text("Ended")
    with page.expect_download() as download:
        row.get_by_text("Download").click()
    assert "sleep 601" in download.value.path().read_text()
    row.get_by_role("button", name="Open").click()
    laptop.shows("sleep 601")
    page.get_by_role("button", name="Start it again").click()
    page.get_by_role("button", name="Start again").click()
    expect(laptop.tab("train.2")).to_contain_text(re.compile("Active|Busy"))
    laptop.live()


def test_pasting_searching_and_the_keyboard(laptop: Device, workspace: LockedWorkspace) -> None:
    laptop.open()
    page = laptop.page
    laptop.run("clear; for i in 1 2 3; do echo needle-$i; done")
    laptop.shows("needle-3")
    page.keyboard.press("Control+Shift+F")
    page.get_by_label("Search the scrollback").fill("needle-2")
    expect(page.locator(".find output")).to_have_text("1 of 1")
    laptop.shot("terminal-page-find")
    page.keyboard.press("Escape")
    file = workspace.home / "pasted.txt"
    paste = """([text]) => { const data = new DataTransfer(); data.setData('text/plain', text);
        document.querySelector('.xterm-helper-textarea').dispatchEvent(
            new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true})) }"""
    page.evaluate(paste, [f"touch {file}\ntouch {file}.2\n"])
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("It has 2 lines")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.locator("[data-active=true] .xterm-helper-textarea")).to_be_focused()
    page.evaluate(paste, [f"touch {file}"])
    page.keyboard.press("Enter")  # one line needs no question
    wait_for(file.exists)
    assert not Path(f"{file}.2").exists()
    page.keyboard.press("Control+Shift+E")
    expect(page.get_by_role("tab", selected=True)).to_be_focused()
    page.keyboard.press("Enter")
    laptop.type("echo back-in-$((3*3))\n")
    laptop.shows("back-in-9")


def test_a_lock_covers_the_page_and_an_unlock_goes_on(laptop: Device, workspace: LockedWorkspace) -> None:
    laptop.open()
    # One program: an interactive bash that is just starting another `sleep` would miss the Ctrl-C.
    count = "i=0; while sleep 0.1; do i=$((i+1)); echo count-$i; done"
    laptop.run(f"clear; echo secret-of-ann; sh -c '{count}'")
    laptop.shows("count-2")
    workspace.lock()
    dialog = laptop.page.get_by_role("dialog")
    expect(dialog).to_contain_text("This workspace is locked")
    expect(laptop.rows).not_to_be_visible()
    laptop.shot("terminal-page-locked")
    again = requests.get(workspace.root, headers=HTML, timeout=10)
    assert again.status_code == 423 and "secret" not in again.text
    time.sleep(0.5)
    workspace.unlock()
    expect(dialog).to_have_count(0)
    laptop.live()
    laptop.shows(re.compile(r"count-[1-9]\d"))
    expect(laptop.page.locator("[data-active=true] .xterm-helper-textarea")).to_be_focused()
    laptop.page.keyboard.press("Control+c")
    laptop.run("echo stopped-$((4*4))")
    laptop.shows("stopped-16")  # and with it all that came before
    counted = [int(number) for number in re.findall(r"count-(\d+)", laptop.rows.inner_text())]
    assert counted == list(range(counted[0], counted[-1] + 1))
