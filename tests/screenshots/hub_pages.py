"""The hub's pages: login, home, starts, errors, the lock page and the login again."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable
from functools import partial

from playwright.sync_api import Browser, Route, expect

from tests.screenshots.camera import At, Camera
from tests.support.stack import PASSWORD, Stack, wait_for


def before_login(camera: Camera, browser: Browser, stack: Stack, device: str) -> None:
    """What a stranger sees."""
    at = At(camera, browser, stack, "ada", device)
    at.state("login", lambda: at.go("/hub/login"))

    def wrong() -> None:
        at.go("/hub/login")
        at.page.fill("input[name=username]", "ada")
        at.page.fill("input[name=password]", "not it")
        at.page.press("input[name=password]", "Enter")
        expect(at.page.locator(".login_error")).to_be_visible()

    at.state("login-refused", wrong)
    at.state("signup", lambda: at.go("/hub/signup"))
    at.state("not-found", lambda: at.go("/hub/no-such-page"))
    at.leave()


def home(camera: Camera, browser: Browser, stack: Stack, device: str) -> None:
    """The home page of somebody without a workspace, and of somebody with many."""
    neo = At(camera, browser, stack, "neo", device)
    neo.login()
    neo.state("home-empty", lambda: neo.go("/hub/home"))
    neo.state("not-running", lambda: neo.go("/user/neo/lab"))

    def new() -> None:
        neo.go("/hub/home")
        neo.page.locator("#pth-new > summary").click()
        neo.page.locator("#new-title").fill("Autumn campaign")

    def wrong() -> None:
        new()
        neo.page.locator("#new-name").fill("Autumn Campaign!")
        neo.page.locator("#new-submit").click()

    neo.state("home-new", new)
    neo.state("home-new-wrong", wrong)
    neo.leave()
    ada = At(camera, browser, stack, "ada", device)
    ada.login()

    def cards() -> None:
        ada.go("/hub/home")
        expect(ada.page.locator('.pth-card[data-state="locked"]')).to_have_count(1, timeout=20_000)
        expect(ada.page.get_by_text("busy with").first).to_be_visible(timeout=20_000)
        expect(ada.page.get_by_text("Asking for its sessions")).to_have_count(0, timeout=20_000)
        ada.page.evaluate("scrollTo(0, 0)")

    ada.state("home", cards)

    def stop() -> None:
        cards()
        ada.page.locator("#ask-stop-_").click()

    def delete() -> None:
        cards()
        ada.page.locator('[id^="ask-delete-"]').first.click()

    ada.state("home-stop", stop)
    ada.state("home-delete", delete)

    ada.state("forbidden", lambda: ada.go("/user/alan/held/lab"))
    ada.state("not-found-in-workspace", lambda: ada.go("/user/ada/arabic/lab"))
    ada.state("token-page", lambda: ada.go("/hub/token"))
    ada.state("passkeys", lambda: ada.go("/hub/passkeys"))
    ada.state("change-password", lambda: ada.go("/hub/change-password"))
    ada.leave()
    admin = At(camera, browser, stack, "admin", device)
    admin.login(stack.admin_password)
    admin.state("accounts", lambda: admin.go("/hub/authorize"))
    admin.leave()


def starting(camera: Camera, browser: Browser, stack: Stack, device: str) -> None:
    """A start under way, and one that failed: the hub's events are made up, so that they hold still."""
    page = At(camera, browser, stack, "alan", device)
    page.login()
    done = [
        "Looking for your workspace…",
        "Preparing a network of its own…",
        "Creating the container…",
        "Waiting for JupyterLab to answer…",
    ]
    events = [{"progress": 20 * n, "message": text} for n, text in enumerate(done, 1)]
    failed = {
        "progress": 100,
        "failed": True,
        "message": "The image registry.example.org/team/lab:2027 is not there. "
        "Ask an administrator to build or pull it, then try again.",
    }

    def held(*more: object) -> Callable[[Route], None]:
        text = "".join(f"data: {json.dumps(event)}\n\n" for event in (*events, *more))
        return lambda route: route.fulfill(body=text, content_type="text/event-stream")

    def pending(*more: object) -> None:
        page.page.route("**/progress*", held(*more))
        # The page of a start that is over leads on: it is shown as it was.
        page.page.route(
            "**/hub/spawn-pending/alan/held",
            lambda route: route.fulfill(body=template, content_type="text/html; charset=utf-8"),
        )
        page.go("/hub/spawn-pending/alan/held")
        expect(page.page.locator("#progress-message")).to_have_text(
            str((more[-1] if more else events[-1])["message"])
        )  # type: ignore[index]

    template = pending_page(stack)
    page.state("spawn-progress", pending)
    page.page.unroute_all(behavior="ignoreErrors")
    page.state("spawn-failed", partial(pending, failed))
    page.leave()


@functools.cache
def pending_page(stack: Stack) -> str:
    """The page of a start under way, as the hub makes it."""
    alan = stack.login("alan")
    body = {"display_name": "Spring campaign"}
    work = threading.Thread(
        target=stack.api, args=(alan, "POST", "/users/alan/servers/held"), kwargs={"json": body}
    )
    work.start()
    looking = stack.login("alan")

    def page() -> str:
        text = looking.get(f"{stack.url}/hub/spawn-pending/alan/held", timeout=30).content.decode()
        return text if "progress-message" in text else ""

    found = wait_for(page, 20, "the page of a start")
    work.join()
    return str(found)


def locked(camera: Camera, browser: Browser, stack: Stack, device: str) -> None:
    """The lock page, with a request to unlock, and the login again."""
    ada = At(camera, browser, stack, "ada", device)
    ada.login()
    ada.state("lock-page", lambda: ada.go("/user/ada/spring/lab"))

    def again() -> None:
        ada.go("/user/ada/spring/lab")
        ada.page.get_by_role("link", name="Log in again").click()
        expect(ada.page.locator("input[name=password]")).to_be_visible()

    def wrong() -> None:
        again()
        ada.page.fill("input[name=password]", PASSWORD[1:])
        ada.page.press("input[name=password]", "Enter")
        expect(ada.page.get_by_role("alert")).to_be_visible()

    ada.state("login-again", again)
    ada.state("login-again-refused", wrong)
    ada.leave()


def hub_away(camera: Camera, browser: Browser, stack: Stack, device: str) -> None:
    """While no hub runs: the proxy's page, and the lock page that says so."""
    at = At(camera, browser, stack, "ada", device)
    at.state("hub-away", lambda: at.go("/hub/home"))

    def page() -> None:
        at.go("/user/ada/spring/lab")
        expect(at.page.get_by_text("The hub does not answer")).to_be_visible(timeout=30_000)

    at.state("lock-page-hub-away", page)
    at.leave()
