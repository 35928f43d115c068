"""JupyterLab of a lockable workspace in real Chromium, with our extension as it was built."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.lab import DESKTOP, Person, let_in
from tests.integration.lock_fixtures import BASE, Hub, LockedWorkspace, lockable

REPO = Path(__file__).resolve().parents[2]
BUILT = REPO / "share" / "jupyter"
EXTENSION = BUILT / "labextensions" / "persistent-terminal-hub" / "package.json"

DIALOG = "#pth-lock"
COVERED = f"{DIALOG}[open]"


def labextensions() -> dict[str, str]:
    """What makes JupyterLab find the extension that this checkout has built, whatever is installed."""
    assert EXTENSION.exists(), "The JupyterLab extension is not built: run `make ui`."
    return {"JUPYTER_PATH": str(BUILT)}


def listed() -> str:
    """What `jupyter labextension list` says."""
    command = [sys.executable, "-m", "jupyter", "labextension", "list"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, **labextensions()}, check=True
    )
    return done.stdout + done.stderr


@pytest.fixture(scope="module", name="workspace")
def lab_workspace(tmp_path_factory: pytest.TempPathFactory, hub: Hub) -> Iterator[LockedWorkspace]:
    """`workspace`: its JupyterLab has the extension, and remembers nothing of another page's layout."""
    with lockable(tmp_path_factory.mktemp("home"), hub, **labextensions()) as workspace:
        yield workspace


class Owner(Person):
    """Ann, in front of her workspace. The hub's login page is not part of this: who comes is let in."""

    stack: Any

    def __init__(
        self,
        browser: Browser,
        workspace: LockedWorkspace,
        viewport: dict[str, int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(browser, workspace, "ann", viewport or DESKTOP, **options)  # type: ignore[arg-type]
        self.workspace = workspace

    def open_lab(self, owner: str | None = None) -> None:
        """Open JupyterLab."""
        self.page.goto(f"{self.workspace.url}/lab?reset")
        let_in(self.page, self.workspace.url)
        self.page.wait_for_url(f"**{BASE}lab**")
        self.page.wait_for_function("() => window.jupyterapp", timeout=60_000)
        self.page.evaluate("() => jupyterapp.restored")
        self.page.wait_for_selector("#jp-main-dock-panel", timeout=60_000)

    def command(self, name: str, **arguments: Any) -> None:
        """Run a command of JupyterLab."""
        self.page.evaluate(
            "([name, args]) => { void jupyterapp.commands.execute(name, args) }", [name, arguments]
        )

    def new_terminal(self) -> str:
        """Open a new terminal; its name."""
        self.command("terminal:create-new")
        self.wait_terminal()
        return str(self.page.evaluate("() => jupyterapp.shell.currentWidget.content.session.name"))

    def new_notebook(self) -> None:
        """Open a new notebook with its kernel; the keyboard is in its first cell."""
        self.command("notebook:create-new", kernelName="python3")
        self.page.wait_for_selector(".jp-Notebook .cm-content")
        self.page.wait_for_function(
            """() => { const c = jupyterapp.shell.currentWidget.context?.sessionContext;
            return c?.session?.kernel?.status === 'idle' }""",
            timeout=60_000,
        )
        self.page.locator(".jp-Notebook .cm-content").first.click()

    def outputs(self) -> list[str]:
        """Texts of all outputs of the notebook."""
        return self.page.locator(".jp-Notebook .jp-OutputArea-output").all_inner_texts()
