# ruff: noqa: E501 - a script for the page
"""The lock page in real Chromium: what a person sees, with and without scripts, and how it comes back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.lab import DESKTOP, TABLET
from tests.integration.lock_fixtures import Hub, LockedWorkspace, lockable

pytestmark = pytest.mark.browser
SHOTS = os.environ.get("PTH_TEST_SHOTS", "")
NOTICE = "Workspaces are plain processes here, not isolated from each other."


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, hub: Hub) -> Iterator[LockedWorkspace]:
    with lockable(tmp_path_factory.mktemp("home"), hub, PTH_WORKSPACE_NOTICE=NOTICE) as workspace:
        yield workspace


@contextlib.contextmanager
def page_of(browser: Browser, said: list[str], **options: object) -> Iterator[Page]:
    """A page; what its console says goes to `said`."""
    context = browser.new_context(**options)  # type: ignore[arg-type]
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    context.close()


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, TABLET], ids=["1280", "820"])
@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_the_page_stands_alone(
    browser: Browser, workspace: LockedWorkspace, scheme: str, size: dict[str, int], script: bool
) -> None:
    workspace.lock()
    said: list[str] = []
    asked: list[str] = []
    options = {"viewport": size, "color_scheme": scheme, "java_script_enabled": script}
    with page_of(browser, said, **options) as page:
        page.on("request", lambda request: asked.append(request.url))
        answer = page.goto(f"{workspace.url}/lab/tree/a%20b.ipynb?x=1")
        assert answer is not None and answer.status == 423
        page.get_by_role("heading", name="This workspace is locked").wait_for()
        login = page.get_by_role("link", name="Log in again")
        assert login.get_attribute("href") == (
            "/hub/reauth?workspace=ann%2F&next=%2Fuser%2Fann%2Flab%2Ftree%2Fa%2520b.ipynb%3Fx%3D1"
        )
        assert page.get_by_role("note").inner_text() == NOTICE
        shot(page, f"locked-{size['width']}-{scheme}-{'script' if script else 'plain'}")
        # Text and ground differ enough for everybody (WCAG AA), and nothing is wider than the window.
        if script:
            contrast = page.evaluate(CONTRAST)
            assert min(contrast.values()) >= 4.5, contrast
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            # The notice's style attribute is allowed, and no other.
            bar = page.locator("#pth-workspace-notice")
            assert bar.evaluate("e => getComputedStyle(e).position") == "fixed"
            style = "e => { e.setAttribute('style', 'color: red'); return getComputedStyle(e).color }"
            assert page.locator("h1").evaluate(style) != "rgb(255, 0, 0)"
            said = [
                text for text in said if "color: red" not in text and "Content Security Policy" not in text
            ]
        assert [url for url in asked if "api/status" not in url] == [answer.url]
        refused = [text for text in said if "423" not in text]
        assert not refused, refused


# The relative luminance of WCAG 2: what is read, on what it stands on.
CONTRAST = """() => {
  const parts = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = colour => parts(colour).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = e => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(c) && c !== 'transparent') return c } return 'rgb(255,255,255)' };
  const found = {};
  for (const e of document.querySelectorAll('h1, p, a')) {
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
    found[e.tagName + ' ' + e.className + ' ' + e.textContent.slice(0, 20)] = (a + .05) / (b + .05);
  }
  return found; }"""


def test_it_comes_back_by_itself(browser: Browser, workspace: LockedWorkspace) -> None:
    if workspace.status()["locked"]:
        workspace.unlock()
    workspace.lock("The administrator locked all workspaces.")
    said: list[str] = []
    with page_of(browser, said, viewport=DESKTOP) as page:
        page.goto(f"{workspace.url}/lab")
        page.get_by_text("The administrator locked all workspaces.").wait_for()
        workspace.unlock()
        # In another tab; this one asks, and goes where it would have gone: to a login, as nobody is logged in.
        page.wait_for_url(lambda url: "oauth2/authorize" in url, timeout=20_000)


def test_a_lock_page_while_the_hub_is_away(browser: Browser, workspace: LockedWorkspace, hub: Hub) -> None:
    workspace.lock()
    said: list[str] = []
    hub.stop()
    try:
        for scheme in ("light", "dark"):
            with page_of(browser, said, viewport=DESKTOP, color_scheme=scheme) as page:
                page.goto(f"{workspace.url}/lab")
                if page.get_by_text("The hub does not answer").count() == 0:  # it did, a moment ago
                    page.get_by_text("The hub does not answer").wait_for(timeout=20_000)
                assert page.get_by_role("link", name="Try again").get_attribute("href") == "/user/ann/lab"
                shot(page, f"hub-away-1280-{scheme}")
                if scheme == "dark":
                    hub.start()
                    page.get_by_text("The hub does not answer").wait_for(state="detached", timeout=30_000)
    finally:
        with contextlib.suppress(OSError):
            hub.start()


def test_a_refused_unlock_says_why(browser: Browser, workspace: LockedWorkspace, hub: Hub) -> None:
    workspace.lock()
    said: list[str] = []
    form = f"""<form method=post action="{workspace.root}unlock"><input name=token value="{hub.token(subject="bob")}">
      <input name=next value="/user/ann/lab"><button>Unlock</button></form>"""
    with page_of(browser, said, viewport=TABLET) as page:
        page.set_content(form)
        page.get_by_role("button").click()
        page.get_by_role("alert").wait_for()
        assert "another user" in page.get_by_role("alert").inner_text()
        shot(page, "refused-820-light")
