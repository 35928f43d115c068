"""A person in front of JupyterLab: real Chromium through Playwright."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.conftest import CHROMIUM
from tests.support.device import device
from tests.support.stack import PASSWORD, Stack

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
DESKTOP = {"width": 1280, "height": 800}
TABLET = {"width": 820, "height": 1180}

WIDGET = "jupyterapp.shell.currentWidget.content"
# Of our terminals; of JupyterLab's own where our extension is not installed.
TERM = f"({WIDGET} && ({WIDGET}.term ?? {WIDGET}._term))"
VISIBLE = ".jp-Terminal >> visible=true"


#: Without WebGL a terminal's text is text on the page.
NO_WEBGL = "--disable-3d-apis"


#: Milliseconds until a page shows what is expected of it. On a machine that does other things as well, and
#: much comes with a page's next look at a list (4 s) or at a lock (10 s).
PATIENCE = 30_000
expect.set_options(timeout=PATIENCE)


@contextmanager
def plain_chromium(*flags: str, executable: str = CHROMIUM) -> Iterator[Browser]:
    """A headless Chromium on this machine."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def chromium(stack: Stack, *flags: str) -> Iterator[Browser]:
    """The same on a device of its own; `stack.line` is the line between the two."""
    with (
        device(CHROMIUM, stack.port, stack.folder) as (launcher, line),
        plain_chromium(*flags, executable=launcher) as browser,
    ):
        stack.line = line
        yield browser


def let_in(page: Page, server: str) -> bool:
    """Whether the page is at a login of the hub, whose stand-in says yes to whoever comes; then go back."""
    if "/oauth2/authorize" not in page.url:
        return False
    asked = parse_qs(urlsplit(page.url).query)
    page.goto(urljoin(server, f"{asked['redirect_uri'][0]}?code=c&state={asked['state'][0]}"))
    return True


def counted(lines: list[str]) -> list[int]:
    """The numbers of the whole lines of a loop that prints `count-1`, `count-2` and so on."""
    return [int(found[1]) for line in lines if (found := re.fullmatch(r"count-(\d+)", line))]


def complaints(page: Page) -> list[str]:
    """Grows with each error of a script, and with what the Content-Security-Policy refuses."""
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: "Content Security" in said.text and wrong.append(said.text))
    return wrong


# JupyterLab hides its application object from pages; it must be asked before its deferred scripts run.
EXPOSE_APP = """document.addEventListener('readystatechange', () => {
  const data = document.getElementById('jupyter-config-data');
  if (document.readyState === 'interactive' && data)
    data.textContent = JSON.stringify({...JSON.parse(data.textContent), exposeAppInBrowser: true});
});"""


class Person:
    """One browser context, logged in as one user."""

    def __init__(
        self,
        browser: Browser,
        stack: Stack,
        user: str,
        viewport: dict[str, int] | None = None,
        **options: Any,
    ) -> None:
        self.stack = stack
        self.user = user
        self.context: BrowserContext = browser.new_context(viewport=viewport or DESKTOP, **options)  # type: ignore[arg-type]
        self.context.add_init_script(EXPOSE_APP)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)

    def login(self, password: str = PASSWORD) -> None:
        """Log in through the login page."""
        self.page.goto(f"{self.stack.url}/hub/login")
        self.page.fill("input[name=username]", self.user)
        self.page.fill("input[name=password]", password)
        self.page.press("input[name=password]", "Enter")
        self.page.wait_for_url(lambda url: "/hub/login" not in url)

    def open_lab(self, owner: str | None = None) -> None:
        """Open JupyterLab of the default workspace, starting it if needed."""
        self.page.goto(f"{self.stack.url}/hub/spawn/{owner or self.user}")
        self.page.wait_for_url(re.compile(r".*/user/.*/lab.*"), timeout=120_000)
        self.page.wait_for_function("() => window.jupyterapp", timeout=60_000)
        self.page.evaluate("() => jupyterapp.restored")
        self.page.wait_for_selector("#jp-main-dock-panel", timeout=60_000)

    def execute(self, command: str, **arguments: str) -> None:
        """Run a command of JupyterLab to its end.

        What it returns stays in the page: it is often a widget, and Playwright would copy all
        that the widget refers to, which takes seconds or does not end.
        """
        self.page.evaluate(
            "async ([name, args]) => { await jupyterapp.commands.execute(name, args); }", [command, arguments]
        )

    def new_terminal(self) -> str:
        """Open a new terminal by the launcher's card; its name."""
        card = self.page.locator(".jp-LauncherCard[title*='terminal' i] >> visible=true").first
        if not card.count():
            self.execute("launcher:create")
        try:
            card.click(timeout=10_000)
        except PlaywrightTimeout:  # JupyterLab, which still loads, put another tab before it
            self.execute("launcher:create")
            card.click()
        self.wait_terminal()
        return str(self.page.evaluate(f"() => {WIDGET}.session.name"))

    def open_terminal(self, name: str) -> None:
        """Open an existing terminal by name."""
        self.execute("terminal:open", name=name)
        self.wait_terminal()

    def wait_terminal(self) -> None:
        """Wait until the terminal is on the page and has shown something."""
        self.page.wait_for_selector(f"{VISIBLE} >> .xterm-screen")
        self.page.wait_for_function(f"() => {{ const t = {TERM}; return t && t.buffer.active.length > 0; }}")
        self.wait_text(r"\S")

    def type(self, text: str) -> None:
        """Type into the terminal with the keyboard; a newline is Enter."""
        self.page.locator(f"{VISIBLE} >> .xterm-helper-textarea").first.focus()
        for number, line in enumerate(text.split("\n")):
            if number:
                self.page.keyboard.press("Enter")
            self.page.keyboard.type(line)

    def lines(self) -> list[str]:
        """Every logical line of the normal screen with its scrollback."""
        return list(self.page.evaluate(
            f"""() => {{ const b = {TERM}.buffer.normal, out = [];
            for (let i = 0; i < b.length; i++) {{ const l = b.getLine(i), s = l.translateToString(true);
            if (l.isWrapped) out[out.length - 1] += s; else out.push(s); }} return out; }}"""
        ))  # fmt: skip

    def wait_text(self, pattern: str, seconds: float = 20) -> re.Match[str]:
        """Wait until the terminal shows text that matches."""
        waited = 0.0
        while True:
            found = re.search(pattern, "\n".join(self.lines()), re.M)
            if found:
                return found
            if waited > seconds:
                raise AssertionError(
                    f"the terminal never showed {pattern!r}:\n" + "\n".join(self.lines()[-40:])
                )
            self.page.wait_for_timeout(200)
            waited += 0.2

    def screenshot(self, name: str) -> Path:
        """Save what the person sees."""
        folder = Path("test-results/screenshots")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    def leave(self) -> None:
        """Close the browser context, as a laptop that is shut."""
        self.context.close()
