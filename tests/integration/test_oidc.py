"""Login through a real OpenID Connect provider (npm's oidc-provider), with PKCE, end to end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.integration.hub_fixtures import Browser, Serve, free_ports, page_text, wait_for
from tests.integration.oidc_fixtures import SECRET, Provider, log_in, settings

pytestmark = pytest.mark.oidc


@pytest.fixture(scope="module")
def provider_and_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Provider, Serve]]:
    ports = free_ports(4)
    provider = Provider(
        tmp_path_factory.mktemp("provider"), ports[3], f"http://127.0.0.1:{ports[0]}/hub/oauth_callback"
    )
    provider.start()
    hub = Serve(tmp_path_factory.mktemp("oidc") / "data", settings(provider.issuer), ports=ports[:3])
    hub.start().wait_ready()
    yield provider, hub
    hub.stop()
    provider.stop()


def test_the_login_asks_with_pkce_and_names_the_provider(provider_and_hub: tuple[Provider, Serve]) -> None:
    _, hub = provider_and_hub
    assert "Sign in with 127.0.0.1" in page_text(Browser(hub).open("hub/login"))
    answer = Browser(hub).open("hub/oauth_login", allow_redirects=False)
    asked = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["code_challenge"][0]) == 43
    assert asked["scope"] == ["openid profile email"]
    assert SECRET not in hub.log


@pytest.mark.parametrize(
    ("account", "user", "admin"),
    [("member", "member", False), ("named", "named", False), ("boss", "boss", True)],
)
def test_who_is_allowed_gets_in(
    provider_and_hub: tuple[Provider, Serve], account: str, user: str, admin: bool
) -> None:
    _, hub = provider_and_hub
    browser, page = log_in(hub, account)
    assert page.status_code == 200, page_text(page)
    me = browser.api("GET", "user").json()
    assert (me["name"], me["admin"]) == (user, admin)


def test_who_is_not_allowed_reads_why(provider_and_hub: tuple[Provider, Serve]) -> None:
    _, hub = provider_and_hub
    for account, sentence in (
        ("stranger", "knows you, but you are not allowed"),
        ("nameless", "did not tell your user name"),
    ):
        browser, page = log_in(hub, account)
        assert page.status_code == 403
        assert sentence in page_text(page)
        assert "Traceback" not in page.text
        assert "Logout" not in page_text(browser.open("hub/home"))
    assert "Traceback" not in hub.log


def test_an_answer_nobody_asked_for_is_refused(provider_and_hub: tuple[Provider, Serve]) -> None:
    _, hub = provider_and_hub
    page = Browser(hub).open("hub/oauth_callback?code=stolen&state=e30=")
    assert page.status_code == 400
    assert "Traceback" not in page.text


def test_provider_away_at_start(provider_and_hub: tuple[Provider, Serve], tmp_path: Path) -> None:
    provider, hub = provider_and_hub
    new = Serve(tmp_path / "data", settings("http://127.0.0.1:9"))
    new.start()
    assert wait_for(lambda: not new.running, 20)
    assert "nothing is known from an earlier start" in new.log
    assert "Traceback" not in new.log
    # This one was started before: it comes up, warns, and a login is refused with a sentence.
    hub.stop()
    provider.stop()
    began = time.monotonic()
    hub.start().wait_ready()
    assert "using what it said last time" in hub.log, time.monotonic() - began
    provider.start()
    assert log_in(hub, "member")[1].status_code == 200
