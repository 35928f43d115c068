"""The terminal page in real Chromium, with a real keeper and a real single-user server."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.axe import no_serious_violation
from tests.browser.lab import DESKTOP, PATIENCE, TABLET, complaints, let_in
from tests.integration.lock_fixtures import LockedWorkspace

ROOT = Path(__file__).resolve().parents[2]
SHOTS = os.environ.get("PTH_TEST_SHOTS", "")
SCHEME = os.environ.get("PTH_TEST_SCHEME", "light")
BUILT = ROOT / "share" / "persistent-terminal-hub" / "pages" / "terminal.html"
MARKS = ROOT / "images/workspace/rootfs/usr/local/share/pth/bash-marks.sh"
LIVE = ".status .line[data-condition=live]"

#: What the page is made of, found from React's root: the page itself gives it to nobody.
WORKSPACE = """(() => {
  const root = document.getElementById('root');
  let at = root[Object.keys(root).find(key => key.startsWith('__reactContainer$'))].stateNode.current;
  while (!at.memoizedProps?.workspace) at = at.child;
  return at.memoizedProps.workspace;
})()"""


class OnPage:
    """Somebody in front of it; what is shown is text on the page only without WebGL."""

    page: Page

    def live(self) -> None:
        expect(self.page.locator(LIVE)).to_be_visible(timeout=60_000)

    @property
    def rows(self) -> Locator:
        return self.page.locator("[data-active=true] .xterm-rows")

    def shows(self, text: str | re.Pattern[str], seconds: float = PATIENCE / 1000) -> None:
        expect(self.rows).to_contain_text(text, timeout=seconds * 1000)

    def type(self, text: str) -> None:
        self.page.locator("[data-active=true] .xterm-helper-textarea").focus()
        self.page.keyboard.type(text)

    def run(self, command: str) -> None:
        self.type(command + "\n")

    def begin(self, command: str) -> None:
        """Run a program, and see that it has the keyboard: what is typed before that is the shell's."""
        mark = secrets.token_hex(3)
        self.run(f"sh -c 'echo be''gun-{mark}; exec {command}'")
        self.shows(f"begun-{mark}")

    def tab(self, name: str) -> Locator:
        return self.page.get_by_role("tab", name=re.compile(rf"^{re.escape(name)}\b"))

    def lines(self) -> list[str]:
        """Every logical line of the active terminal with its scrollback."""
        return list(self.page.evaluate(
            f"""() => {{ const w = {WORKSPACE}, b = w.views.get(w.get().active).term.buffer.normal, out = [];
            for (let i = 0; i < b.length; i++) {{ const l = b.getLine(i), s = l.translateToString(true);
            if (l.isWrapped) out[out.length - 1] += s; else out.push(s); }} return out; }}"""
        ))  # fmt: skip


class Device(OnPage):
    """Ann, at one of her devices. Whoever comes to the hub's login page is let in."""

    def __init__(self, browser: Browser, workspace: LockedWorkspace, **options: object) -> None:
        self.workspace = workspace
        options.setdefault("color_scheme", SCHEME)
        self.context = browser.new_context(**options)  # type: ignore[arg-type]
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.wrong = complaints(self.page)

    def open(self, session: str = "", at: str = "", live: bool = True) -> None:
        """Open the page, at another address of the server if one is given."""
        url = at or self.workspace.url
        self.page.goto(f"{url}/persistent-terminals/" + (f"#{session}" if session else ""))
        if let_in(self.page, url) and session:  # which a login forgets
            self.page.goto("about:blank")
            self.page.goto(f"{url}/persistent-terminals/#{session}")
        if live:
            self.live()

    def more(self, what: str) -> None:
        self.page.get_by_role("button", name="More", exact=True).click()
        self.page.locator("#menu").get_by_text(what, exact=True).click()

    def new(self, name: str, **wishes: Any) -> str:
        """A new session, made beside the page; its id."""
        made = self.workspace.http.post(
            self.workspace.root + "api/sessions", json={"name": name, **wishes}, timeout=20
        )
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def look(self) -> None:
        """Have the page ask for the list of sessions now, as when somebody comes back to it."""
        self.page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")

    def accessible(self) -> None:
        """Axe finds nothing serious."""
        no_serious_violation(self.page)

    def shot(self, name: str) -> None:
        if not SHOTS:
            return
        self.page.screenshot(path=str(Path(SHOTS) / f"{name}-{SCHEME}.png"))
        if self.page.viewport_size == DESKTOP:
            self.page.set_viewport_size(TABLET)
            self.page.wait_for_timeout(500)
            self.page.screenshot(path=str(Path(SHOTS) / f"{name}-{SCHEME}-820.png"))
            self.page.set_viewport_size(DESKTOP)

    def leave(self) -> None:
        self.context.close()
        assert not self.wrong, self.wrong
