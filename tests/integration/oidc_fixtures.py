"""A real OpenID Connect provider (npm's oidc-provider) on loopback, and what a person does there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from persistent_terminal_hub.hub.preflight import node_path
from tests.integration.hub_fixtures import Browser, Serve, node_modules, wait_for

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
    accounts: dict[str, dict[str, Any]] = field(default_factory=lambda: dict(ACCOUNTS))

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
        options = json.dumps({"port": self.port, "redirect": self.redirect, "accounts": self.accounts})
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
