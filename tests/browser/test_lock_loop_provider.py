"""The same loop of lock and login with an identity provider.

A file of its own: it starts a browser, and a process has one at a time.
"""

from __future__ import annotations

import json

import pytest

from tests.browser.lab import plain_chromium
from tests.browser.lock_loop import ProvidersOwner
from tests.integration.oidc_fixtures import Provider
from tests.integration.oidc_fixtures import settings as oidc_settings
from tests.support.stack import Stack, free_ports

pytestmark = [pytest.mark.browser, pytest.mark.netns, pytest.mark.timeout(300)]


@pytest.mark.oidc
def test_with_an_identity_provider(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its own session there opens nothing, nor does another account; a login again does."""
    (port,) = free_ports(1)
    auth = json.loads(oidc_settings(f"http://127.0.0.1:{port}"))["auth"]
    stack = Stack(tmp_path_factory.mktemp("oidc"), backend="process", settings={"auth": auth})
    provider = Provider(tmp_path_factory.mktemp("provider"), port, f"{stack.url}/hub/oauth_callback")
    try:
        provider.start()
        stack.start()
        with plain_chromium() as browser:
            member = ProvidersOwner(browser, stack, "member")
            member.issuer = provider.issuer
            member.login()
            member.begin_work()
            before = member.counted()[-1]
            member.lock_now()
            member.is_covered()
            member.page.goto(member.base + "lab")
            member.ask_the_provider()
            assert member.page.locator("input[name=login]").count() == 1  # although it has a session there
            member.screenshot("lock-loop-provider")
            member.page.goto(member.base + "lab")
            member.sees_the_lock()
            member.ask_the_provider()
            member.answer_as("boss")
            member.page.get_by_text("you are still member here").wait_for()
            member.screenshot("lock-loop-another-account")
            assert member.locked
            member.page.goto(member.base + "lab")
            member.ask_the_provider()
            member.answer_as("member")
            member.is_back()
            member.finds_all_as_it_was(before)
    finally:
        stack.stop()
        stack.remove_everything()
        provider.stop()
