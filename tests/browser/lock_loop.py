"""A person whose workspace locks: a notebook and a counting terminal, the lock page, the way back in."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, Response

from tests.browser.lab import DESKTOP, WIDGET, Person, counted
from tests.support.stack import PASSWORD, Stack, wait_for

REPO = Path(__file__).resolve().parents[2]
#: PAUSE: seconds between two lines.
COUNT = "i=0; while true; do i=$((i+1)); echo count-$i; sleep PAUSE; done"
#: What must not be read by anybody while the workspace is locked.
CANARY = "canary-in-a-file"
LOCKED = "This workspace is locked"
SESSION = "jupyterapp.shell.currentWidget.context.sessionContext.session"
HAS_KERNEL = SESSION.replace(".", "?.") + "?.kernel"


class Owner(Person):
    """Somebody at work in JupyterLab."""

    terminal = ""
    notebook = "work.ipynb"
    #: Five lines a second: in three minutes fewer than JupyterLab keeps.
    count = COUNT.replace("PAUSE", "0.2")

    def __init__(self, browser: Browser, stack: Stack, user: str) -> None:
        super().__init__(browser, stack, user, DESKTOP)
        self.base = f"{stack.url}/user/{user}/"

    # -- work --------------------------------------------------------------------------------------

    def begin_work(self) -> None:
        """Open JupyterLab; a file, a kernel with a variable, a terminal that counts."""
        self.open_lab()
        self.work()

    def work(self) -> None:
        """The same in JupyterLab that is open."""
        self.page.evaluate(FILES, {"text": CANARY, "path": self.notebook})
        self.page.wait_for_function(f"() => {HAS_KERNEL}", timeout=60_000)
        self.kernel = str(self.page.evaluate(f"() => {SESSION}.kernel.id"))
        assert self.run("answer = 6 * 7; answer") == "42"
        self.execute("terminal:create-new")
        self.wait_terminal()
        self.terminal = str(self.page.evaluate(f"() => {WIDGET}.session.name"))
        self.type(self.count + "\n")
        self.wait_text(r"^count-10$")

    def run(self, code: str) -> str:
        """Run code in the notebook that is shown, as its first cell; what it answers."""
        found = self.page.evaluate(
            """async code => {
                const kernel = jupyterapp.shell.currentWidget.context.sessionContext.session.kernel;
                let said = ''; const future = kernel.requestExecute({code});
                future.onIOPub = m => { if (m.header.msg_type === 'execute_result')
                    said = m.content.data['text/plain'];
                    if (m.header.msg_type === 'error') said = m.content.evalue; };
                await future.done; return said; }""",
            code,
        )
        return str(found)

    def counted(self) -> list[int]:
        """The numbers of the whole lines that the terminal shows."""
        return counted(self.lines())

    # -- the lock ----------------------------------------------------------------------------------

    def status(self) -> dict[str, object]:
        """What everybody may know."""
        answer = self.context.request.get(self.base + "persistent-terminals/api/status")
        found: dict[str, object] = answer.json()
        return found

    @property
    def locked(self) -> bool:
        """Whether the workspace says so."""
        return self.status()["locked"] is True

    def lock_now(self) -> None:
        """By the command, as from another machine."""
        token = self.stack.token(self.stack.login(self.user), self.user)
        env = {key: value for key, value in os.environ.items() if not key.startswith(("PTH_", "JUPYTERHUB_"))}
        command = "from persistent_terminal_hub.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", command, "lock"],
            env=env | {"PTH_TOKEN": token, "PTH_HUB_URL": self.stack.url + "/", "PYTHONPATH": str(REPO)},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert "It is locked" in done.stdout, done.stdout + done.stderr
        assert self.locked

    def wait_locked(self, seconds: float) -> float:
        """Wait until it locks by itself; how long that took."""
        began = time.monotonic()
        wait_for(lambda: self.locked, seconds, "the workspace locks by itself")
        return time.monotonic() - began

    def sees_the_lock(self, page: Page | None = None) -> None:
        """The page is the lock page and nothing else."""
        page = page or self.page
        page.get_by_role("heading", name=LOCKED).wait_for()
        shown = page.inner_text("body") + page.content()
        for secret in ("count-", CANARY, "jp-Notebook", "jupyter-config-data", "xterm"):
            assert secret not in shown, secret

    def is_covered(self) -> None:
        """Nothing of the workspace is readable: by a reload, by address, by any API."""
        answer = self.page.reload()
        assert answer is not None and answer.status == 423
        self.sees_the_lock()
        for path in ("lab", "files/canary.txt", "terminals/" + self.terminal, "tree", "lab/tree/canary.txt"):
            assert status(self.page.goto(self.base + path)) == 423, path
            self.sees_the_lock()
        for path in (
            "api", "api/contents/canary.txt?content=1", "api/terminals", "api/sessions", "api/kernels",
            "api/kernels/" + self.kernel, "files/canary.txt?download=1", "static/favicon.ico", "api/me",
            "persistent-terminals/api/sessions", "persistent-terminals/api/facts", "nbconvert/html/x",
            "lab/api/workspaces/default", "metrics", "api/spec.yaml", "terminals/websocket/" + self.terminal,
            "lsp/status", "custom/custom.css", "login", "logout", "nosuch",
        ):  # fmt: skip
            got = self.context.request.get(self.base + path, max_redirects=0)
            assert got.status == 423, (path, got.status)
            assert CANARY not in got.text() and "count-" not in got.text()
        # From within the page, where the cookies and the origin are right.
        for path in (f"terminals/websocket/{self.terminal}", f"api/kernels/{self.kernel}/channels"):
            heard = self.page.evaluate(SOCKET, self.base.replace("http", "ws", 1) + path)
            assert heard == {"opened": False, "messages": 0}, (path, heard)

    def log_in_again(self, password: str = PASSWORD) -> None:
        """From the lock page by its link, and the password."""
        self.page.get_by_role("link", name="Log in again").click()
        self.page.fill("input[name=password]", password)
        self.page.press("input[name=password]", "Enter")

    def is_back(self, page: Page | None = None) -> None:
        """JupyterLab is there again."""
        page = page or self.page
        page.wait_for_url(lambda url: url.startswith(self.base + "lab"), timeout=30_000)
        page.wait_for_function("() => window.jupyterapp", timeout=60_000)
        page.evaluate("() => jupyterapp.restored")

    def finds_all_as_it_was(self, before: int, kernel: bool = True) -> None:
        """The counter complete and further on, the kernel with its variable, if it is the same."""
        self.open_terminal(self.terminal)
        self.wait_text(rf"^count-{before + 10}$", seconds=60)
        numbers = self.counted()
        assert numbers == list(range(1, numbers[-1] + 1)), f"missing or doubled: {numbers}"
        if kernel:
            self.kernel_is_as_it_was()
            self.open_terminal(self.terminal)

    def kernel_is_as_it_was(self) -> None:
        """The same kernel, with its variable."""
        self.execute("docmanager:open", path=self.notebook)
        self.page.wait_for_function(f"() => {HAS_KERNEL}", timeout=30_000)
        assert self.page.evaluate(f"() => {SESSION}.kernel.id") == self.kernel
        assert self.run("answer + 1") == "43"


class ProvidersOwner(Owner):
    """Somebody whose account is at an identity provider."""

    issuer = ""

    def login(self, password: str = "") -> None:
        """There."""
        self.page.goto(f"{self.stack.url}/hub/oauth_login?next=/hub/home")
        self.answer_as(self.user)

    def lock_now(self) -> None:
        """By the hub's route, from a page of the hub."""
        page = self.context.new_page()
        page.goto(f"{self.stack.url}/hub/home")
        answer = page.evaluate(LOCK_ROUTE)
        assert [item["result"] for item in answer["workspaces"]] == ["locked"], answer
        page.close()

    def ask_the_provider(self) -> None:
        """From the lock page to the provider's own page."""
        self.page.get_by_role("link", name="Log in again").click()
        self.page.get_by_role("button", name="Log in again with").click()
        self.page.wait_for_url(lambda url: url.startswith(self.issuer))

    def answer_as(self, account: str) -> None:
        """Its forms, until it leads back: log in, log somebody else out, agree."""
        for _ in range(6):
            self.page.wait_for_load_state()
            if not self.page.url.startswith(self.issuer):
                return
            if self.page.locator("input[name=login]").count():
                self.page.fill("input[name=login]", account)
                self.page.fill("input[name=password]", "any")
            with self.page.expect_navigation():
                self.page.locator("[type=submit]").first.click()


LOCK_ROUTE = """async () => (await fetch('/hub/persistent-terminals/api/lock', {method: 'POST', body: '{}',
    headers: {'X-XSRFToken': window.jhdata.xsrf_token, 'Content-Type': 'application/json'}})).json()"""

FILES = """async ({text, path}) => {
    const files = jupyterapp.serviceManager.contents;
    await files.save('canary.txt', {type: 'file', format: 'text', content: text});
    await files.save(path, {type: 'notebook', format: 'json', content: {
        cells: [], nbformat: 4, nbformat_minor: 5,
        metadata: {kernelspec: {name: 'python3', display_name: 'Python 3', language: 'python'}}}});
    await jupyterapp.commands.execute('docmanager:open', {path}); }"""

# A WebSocket, for a second: whether it was opened, and what came.
SOCKET = """url => new Promise(done => {
    const heard = {opened: false, messages: 0}, socket = new WebSocket(url);
    socket.onopen = () => heard.opened = true; socket.onmessage = () => heard.messages++;
    socket.onclose = () => done(heard); setTimeout(() => done(heard), 3000); })"""


def status(answer: Response | None) -> int:
    """Of a navigation."""
    return 0 if answer is None else answer.status
