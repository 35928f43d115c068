"""The terminal page and JupyterLab."""

from __future__ import annotations

import re
from functools import partial

from playwright.sync_api import Browser, expect

from tests.browser.terminal_page import LIVE
from tests.screenshots.camera import At, Camera
from tests.support.stack import PASSWORD, Stack

#: What a session named `training` runs: something to look at that is the same each time.
TRAINING = r"""
printf '\e[1mfine-tune\e[0m \e[2mrun 41 · 2 GPUs · started 06:02\e[0m\n\n'
for epoch in 1 2 3 4 5 6; do
  for step in 250 500 750 1000; do
    printf '\e[36mepoch %d\e[0m step %4d/1000  loss \e[33m0.%03d\e[0m  lr 3.0e-05  \e[32m%s\e[0m\n' \
      $epoch $step $((900 / (epoch + step / 500) )) "$(printf '%*s' $((step / 50)) '' | tr ' ' '#')"
  done
  printf '\e[1;32m✓\e[0m epoch %d done, checkpoint kept in \e[4mruns/41/epoch-%d\e[0m\n' $epoch $epoch
done
python3 -c 'import time; time.sleep(100000)'
true
"""
PASTE = """text => { const data = new DataTransfer(); data.setData('text/plain', text);
    document.querySelector('.xterm-helper-textarea').dispatchEvent(
        new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true})) }"""


def terminal_page(camera: Camera, browser: Browser, stack: Stack, device: str) -> None:
    """`/user/NAME/persistent-terminals/`."""
    ada = At(camera, browser, stack, "ada", device)
    ada.login()
    root = "/user/ada/persistent-terminals/"

    def show(session: str = "training") -> None:
        ada.go("/hub/health")
        ada.go(f"{root}#{session}")
        expect(ada.page.locator(LIVE)).to_be_visible(timeout=60_000)
        if session == "training":
            expect(ada.page.locator(".xterm-rows")).to_contain_text("epoch 6 done", timeout=20_000)

    def button(name: str) -> None:
        show()
        ada.page.get_by_role("button", name=name, exact=True).click()

    def menu(item: str) -> None:
        button("More")
        ada.page.locator("#menu").get_by_text(item, exact=True).click()

    ada.state("terminal", show)
    ada.state("terminal-menu", partial(button, "More"))
    ada.state("terminal-sessions", partial(button, "Sessions"))
    ada.state("terminal-new", partial(button, "New session"))
    ada.state("terminal-rename", partial(menu, "Rename…"))
    ada.state("terminal-end", partial(menu, "End…"))

    def find() -> None:
        button("Search")
        ada.page.get_by_label("Search the scrollback").fill("checkpoint")

    def paste() -> None:
        show()
        ada.page.evaluate(PASTE, "cd runs/41\nrm -r epoch-1 epoch-2\nls\n")
        expect(ada.page.get_by_role("dialog")).to_be_visible()

    def ended() -> None:
        ada.go("/hub/health")
        ada.go(root)
        ada.page.get_by_role("button", name="Sessions", exact=True).click()
        row = ada.page.get_by_role("dialog").get_by_role("listitem").filter(has_text="etl")
        row.get_by_role("button", name=re.compile("Open|Show")).click()
        expect(ada.page.locator(".banner")).to_contain_text("has ended")

    def lost() -> None:
        show()
        assert stack.line is not None
        stack.line.cut()
        expect(ada.page.locator(".banner")).to_contain_text("connection was lost", timeout=30_000)

    ada.state("terminal-search", find)
    ada.state("terminal-paste", paste)
    ada.state("terminal-ended", ended)
    try:
        ada.state("terminal-lost", lost)
    finally:
        if stack.line is not None:
            stack.line.mend()
    ada.leave()


def lock_over_pages(camera: Camera, browser: Browser, stack: Stack, device: str) -> None:
    """JupyterLab; and the lock over it and over the terminal page, opened again at the end."""
    if not camera.wants("terminal-locked", "lab", "lab-locked"):
        return
    ada = At(camera, browser, stack, "ada", device)
    other = At(camera, browser, stack, "ada", device)
    with camera.trying(f"lab, terminal-locked ({device})"):
        ada.login()
        ada.go("/user/ada/persistent-terminals/#training")
        expect(ada.page.locator(LIVE)).to_be_visible(timeout=60_000)
        other.login()
        other.open_lab()
        other.execute("terminal:open", name="training")
        other.page.wait_for_selector(".jp-Terminal >> visible=true")
        other.page.wait_for_timeout(2000)  # JupyterLab's panels move into their places
        other.shot("lab")
        ada.page.get_by_role("button", name="More", exact=True).click()
        ada.page.locator("#menu").get_by_text("Lock now").click()
        expect(ada.page.get_by_role("dialog")).to_contain_text("Locked since", timeout=20_000)
        ada.shot("terminal-locked")
        locked = other.page.get_by_text(re.compile("workspace is locked", re.I))
        locked.locator("visible=true").first.wait_for()
        other.shot("lab-locked")
    with camera.trying(f"unlocking ({device})"):
        other.go("/user/ada/persistent-terminals/")
        if other.page.get_by_role("link", name="Log in again").count():
            other.page.get_by_role("link", name="Log in again").click()
            other.page.fill("input[name=password]", PASSWORD)
            other.page.press("input[name=password]", "Enter")
            other.page.wait_for_url("**/user/ada/persistent-terminals/**")
    other.leave()
    ada.leave()
