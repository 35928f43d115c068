"""Passkeys in real Chromium, with its virtual authenticator: enrol, then open a locked workspace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, expect

from tests.browser.lab import DESKTOP, PATIENCE, TABLET
from tests.support.stack import PASSWORD, Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    installation = Stack(tmp_path_factory.mktemp("stack"), backend="process")
    # Browsers allow no passkeys at an IP address; the name of loopback will do.
    installation.url = installation.url.replace("127.0.0.1", "localhost")
    installation.start()
    installation.add_user("alice")
    installation.start_workspace(installation.login("alice"), "alice")
    yield installation
    installation.stop()
    installation.remove_everything()


class Alice:
    """Alice at a browser whose device holds passkeys."""

    def __init__(self, stack: Stack, context: BrowserContext) -> None:
        self.stack = stack
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.devtools: CDPSession = context.new_cdp_session(self.page)
        self.devtools.send("WebAuthn.enable")
        made = self.devtools.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
        self.authenticator = made["authenticatorId"]
        self.page.goto(f"{stack.url}/hub/login")
        self.page.fill("input[name=username]", "alice")
        self.page.fill("input[name=password]", PASSWORD)
        self.page.press("input[name=password]", "Enter")
        self.page.wait_for_url(lambda url: "/hub/login" not in url)

    def open(self, path: str) -> Page:
        self.page.goto(self.stack.url + path)
        return self.page

    def verified(self, yes: bool) -> None:
        """Whether the device knows who touches it (PIN, finger, face)."""
        self.devtools.send(
            "WebAuthn.setUserVerified", {"authenticatorId": self.authenticator, "isUserVerified": yes}
        )

    def credentials(self) -> list[dict[str, Any]]:
        """What is on the device."""
        found = self.devtools.send("WebAuthn.getCredentials", {"authenticatorId": self.authenticator})
        return list(found["credentials"])

    def prove_by_password(self) -> None:
        self.page.click("#prove")
        self.page.fill("input[name=password]", PASSWORD)
        self.page.get_by_role("button", name="Confirm").click()
        self.page.wait_for_url(re.compile(r"/hub/passkeys\?done=proven"))

    def enrol(self, name: str) -> None:
        self.open("/hub/passkeys")
        self.prove_by_password()
        self.page.fill("input[name=name]", name)
        self.page.get_by_role("button", name="Add a passkey").click()
        self.page.wait_for_url(re.compile(r"/hub/passkeys\?done=added"))

    def shots(self, name: str) -> None:
        """What she sees, on a desktop and on a tablet."""
        for size in (DESKTOP, TABLET):
            self.page.set_viewport_size(size)  # type: ignore[arg-type]
            self.page.screenshot(path=f"test-results/screenshots/{name}-{size['width']}.png")
            assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@contextmanager
def alice_at(stack: Stack, browser: Browser) -> Iterator[Alice]:
    context = browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]
    try:
        yield Alice(stack, context)
    finally:
        context.close()


@pytest.fixture(scope="module")
def alice(stack: Stack, browser: Browser) -> Iterator[Alice]:
    with alice_at(stack, browser) as person:
        person.open("/hub/passkeys")
        person.shots("passkeys-none")
        person.enrol("Laptop")
        yield person


def lock(stack: Stack) -> None:
    session = stack.login("alice")
    xsrf = next(c.value or "" for c in session.cookies if c.name == "_xsrf" and c.path == "/hub/")
    answer = session.post(
        f"{stack.url}/hub/persistent-terminals/api/lock",
        headers={"X-XSRFToken": xsrf, "Sec-Fetch-Mode": "cors", "Referer": f"{stack.url}/hub/home"},
        json={},
        timeout=30,
    )
    assert answer.ok and answer.json()["workspaces"][0]["result"] in ("locked", "already"), answer.text


def is_locked(stack: Stack) -> bool:
    answer = requests.get(f"{stack.url}/user/alice/persistent-terminals/api/status", timeout=10)
    return bool(answer.json()["locked"])


def test_a_passkey_is_enrolled_and_listed(alice: Alice) -> None:
    assert len(alice.credentials()) == 1
    page = alice.open("/hub/passkeys?done=added")
    expect(page.locator("#passkeys")).to_contain_text("Laptop")
    expect(page.locator("#passkeys")).to_contain_text("never")
    # The proof was for one change: the next one needs another.
    assert page.locator("#prove").count() == 1
    assert page.get_by_role("button", name="Remove Laptop").count() == 0
    alice.shots("passkeys-one")


def test_a_locked_workspace_opens_with_the_passkey(stack: Stack, alice: Alice) -> None:
    lock(stack)
    page = alice.page
    answer = page.goto(f"{stack.url}/user/alice/lab/tree/x?reset")
    assert answer is not None and answer.status == 423
    page.get_by_role("link", name="Log in again").click()
    page.wait_for_url(re.compile(r"/hub/reauth\?"))
    alice.shots("reauth-passkey")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(re.compile(r"/user/alice/lab"))
    assert not is_locked(stack)
    assert alice.credentials()[0]["signCount"] >= 1
    page = alice.open("/hub/passkeys")
    assert "never" not in page.locator("#passkeys").inner_text()


def test_a_device_that_does_not_know_who_touches_it_opens_nothing(stack: Stack, alice: Alice) -> None:
    lock(stack)
    alice.verified(False)
    try:
        page = alice.open("/hub/reauth?workspace=")
        page.get_by_role("button", name="Use a passkey").click()
        expect(page.locator("[data-passkey-says]")).to_contain_text("No passkey was used")
        # A browser that would let it pass: then the hub does not.
        page.evaluate(
            """() => { const form = document.querySelector('form[data-passkey]');
            form.dataset.options = form.dataset.options.replace('"required"', '"discouraged"'); }"""
        )
        with page.expect_navigation() as navigation:
            page.get_by_role("button", name="Use a passkey").click()
        assert navigation.value.status == 403
        expect(page.get_by_role("alert").first).to_contain_text("did not check that it is you")
        alice.shots("reauth-refused")
    finally:
        alice.verified(True)
    assert is_locked(stack)


def test_a_passkey_proves_that_another_one_may_be_added_and_removed(stack: Stack, alice: Alice) -> None:
    page = alice.open("/hub/passkeys")
    page.click("#prove")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(re.compile(r"/hub/passkeys\?done=proven"))
    alice.shots("passkeys-proven")
    page.get_by_role("button", name="Remove Laptop").click()
    page.wait_for_url(re.compile(r"/hub/passkeys\?done=removed"))
    expect(page.locator("#pth-passkeys")).to_contain_text("You have none yet")
    # What was removed is offered no more.
    page = alice.open("/hub/reauth?workspace=")
    assert page.get_by_role("button", name="Use a passkey").count() == 0


def test_without_scripts_the_page_says_what_passkeys_need(stack: Stack, browser: Browser) -> None:
    with alice_at(stack, browser) as person:
        person.enrol("Key")
        state = person.page.context.storage_state()
    context = browser.new_context(java_script_enabled=False, storage_state=state)
    page = context.new_page()
    page.goto(f"{stack.url}/hub/reauth?workspace=")
    expect(page.locator("#pth-reauth-passkey")).to_contain_text("Passkeys need JavaScript")
    assert page.get_by_role("button", name="Use a passkey").is_disabled()
    context.close()
