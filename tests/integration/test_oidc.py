"""Login through a real OpenID Connect provider (npm's oidc-provider), with PKCE, end to end."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from persistent_terminal_hub.hub.preflight import node_path
from tests.integration.hub_fixtures import Browser, Serve, free_ports, node_modules, page_text, wait_for

pytestmark = pytest.mark.oidc

SOURCE = Path(__file__).parent / "oidc_provider"
SECRET = "secret-of-the-test-client"

ACCOUNTS = {
    "member": {"preferred_username": "Member", "groups": ["team", "other"]},
    "boss": {"preferred_username": "boss", "groups": ["leads"]},
    "named": {"preferred_username": "named"},
    "stranger": {"preferred_username": "stranger", "groups": ["elsewhere"]},
    "nameless": {"groups": ["team"]},
}


@dataclass
class Provider:
    """The running provider."""

    folder: Path
    port: int
    redirect: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        try:
            return requests.get(self.issuer + "/.well-known/openid-configuration", timeout=2).ok
        except requests.RequestException:
            return False

    def start(self) -> None:
        node = shutil.which("node", path=node_path())
        assert node, "Node is missing: `make test` installs it"
        # Node looks for packages beside the script that imports them.
        shutil.copy(SOURCE / "server.mjs", self.folder)
        if not (self.folder / "node_modules").exists():
            (self.folder / "node_modules").symlink_to(node_modules())
        options = json.dumps({"port": self.port, "redirect": self.redirect, "accounts": ACCOUNTS})
        self.process = subprocess.Popen(
            [node, "server.mjs", options],
            cwd=self.folder,
            env={**os.environ, "CLIENT_SECRET": SECRET},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert wait_for(self.answers, 20)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)


def settings(issuer: str, **auth: object) -> str:
    values = {
        "provider": "oauth2",
        "issuer": issuer,
        "clientId": "pth",
        "clientSecret": SECRET,
        "allowedUsers": ["named"],
        "allowedGroups": ["team"],
        "adminGroups": ["leads"],
        **auth,
    }
    return json.dumps({"auth": values, "workspace": {"backend": "process"}})


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


def log_in(hub: Serve, account: str) -> tuple[Browser, requests.Response]:
    """What a person does: follow the button, type the name at the provider, agree."""
    browser = Browser(hub)
    page = browser.open("hub/oauth_login?next=/hub/home")
    for _ in range(2):  # the provider's login form, then its consent form
        form = re.search(r'action="([^"]+)"', page.text)
        assert form and page.url.startswith("http://127.0.0.1"), page.text
        name = re.search(r'name="prompt" value="(\w+)"', page.text)
        assert name, page.text
        fields = {"prompt": name[1], "login": account, "password": "any"}
        page = browser.post(form[1], data=fields, timeout=30)
        if page.url.startswith(hub.origin):
            break
    return browser, page


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
    hub.start().wait_ready(2)
    assert "using what it said last time" in hub.log, time.monotonic() - began
    provider.start()
    assert log_in(hub, "member")[1].status_code == 200
