"""Passkeys through a real hub whose provider proves no fresh login: nothing else opens a workspace there."""

from __future__ import annotations

import html
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import requests

from persistent_terminal_hub.hub.passkey_store import PasskeyStore
from tests.integration.hub_fixtures import Browser, Serve, page_text, wait_for, workspace_processes
from tests.integration.oidc_fixtures import SECRET, settings
from tests.integration.test_reauth_password import audit, unlock_token
from tests.support.authenticator import PRESENT, Authenticator
from tests.support.fake_provider import FakeProvider
from tests.support.reauth_forms import form_with, forms


class LocalHub(Serve):
    """Reached by the name of loopback: browsers allow no passkeys at an IP address."""

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.ports[0]}"


@dataclass
class Site:
    hub: LocalHub
    provider: FakeProvider

    def person(self, name: str) -> Person:
        """Logged in anew, in a browser of their own."""
        self.provider.userinfo = {"sub": f"sub-of-{name}", "email": name, "email_verified": True}
        browser = Browser(self.hub)
        landed = browser.open("hub/oauth_login?next=/hub/home")
        assert "Logout" in page_text(landed), landed.text
        return Person(self, name, browser)

    @property
    def store(self) -> PasskeyStore:
        return PasskeyStore(self.hub.data / "passkeys.sqlite")


@dataclass
class Person:
    site: Site
    name: str
    browser: Browser

    def device(self, **how: Any) -> Authenticator:
        """A new passkey, not enrolled yet."""
        return Authenticator(self.site.hub.origin, "localhost", **how)

    def post(self, page: requests.Response, credential: str, **fields: str) -> requests.Response:
        """Send the page's passkey form."""
        form = form_with(page, "credential")
        url = self.site.hub.origin + form.action
        return self.browser.post(url, data=form.fields | {"credential": credential} | fields, timeout=30)

    def enrol(self, device: Authenticator, name: str = "Key") -> requests.Response:
        page = self.browser.open("hub/passkeys")
        return self.post(page, device.create(options(page)), name=name)

    def reauth(self, workspace: str = "") -> requests.Response:
        return self.browser.open("hub/reauth", params={"workspace": workspace})

    def prove(self, device: Authenticator, workspace: str = "") -> requests.Response:
        page = self.reauth(workspace)
        return self.post(page, device.get(options(page)))

    def refusal(self, what: str = "reauth") -> str:
        """Why the last one was refused, as the audit has it."""
        last = [event for event in audit(self.site.hub) if event["what"] == what][-1]
        assert last["who"] == self.name
        return str(last.get("reason", ""))


def options(page: requests.Response) -> dict[str, Any]:
    """What the page asks the browser's WebAuthn for."""
    found = re.search(r'data-options="([^"]*)"', page.text)
    assert found, page_text(page)
    value: dict[str, Any] = json.loads(html.unescape(found[1]))
    return value


def opened(page: requests.Response) -> bool:
    return any("token" in form.fields for form in forms(page))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    provider = FakeProvider("pth", SECRET)
    hub = LocalHub(tmp_path_factory.mktemp("passkeys") / "data")
    values = json.loads(
        settings(
            provider.issuer, provider="google", allowedUsers=["named", "other", "clumsy"],
            adminUsers=["boss"], allowedGroups=[], adminGroups=[],
        )
    )  # fmt: skip
    values |= {"server": {"publicUrl": hub.origin}, "session": {"idleLockMinutes": 30}}
    hub.settings = json.dumps(values)
    try:
        hub.start().wait_ready()
        yield Site(hub, provider)
        assert "Traceback" not in hub.log
    finally:
        hub.stop()
        provider.stop()
        for pid in workspace_processes(hub):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def named(site: Site) -> Person:
    return site.person("named")


@pytest.fixture(scope="module")
def key(named: Person) -> Authenticator:
    """Named's passkey; the workspace runs."""
    refused = named.browser.api("POST", "users/named/server")
    assert refused.status_code == 409, refused.text
    said = refused.json()["message"]
    assert "only a passkey of named" in said and "/hub/passkeys" in said
    page = named.browser.open("hub/spawn/named")
    assert page.status_code == 409 and 'href="/hub/passkeys"' in page.text
    assert "Nothing was started" in page_text(page)

    device = named.device()
    before = named.browser.open("hub/passkeys"), named.browser.open("hub/passkeys")
    added = named.post(before[0], device.create(options(before[0])), name="First")
    assert added.url.endswith("/hub/passkeys?done=added"), page_text(added)
    # Of two pages that were open the second comes too late: by now the first passkey must prove it.
    second = named.post(before[1], named.device().create(options(before[1])))
    assert second.status_code == 403 and "first prove that it is you" in page_text(second)
    assert named.refusal("passkey.add") == "no_proof"
    assert [item.name for item in named.site.store.of("named")] == ["First"]

    assert named.browser.api("POST", "users/named/server").status_code in (201, 202)
    assert wait_for(lambda: named.browser.api("GET", "users/named").json()["servers"][""]["ready"], 60)
    return device


@pytest.fixture(autouse=True)
def proves(named: Person, key: Authenticator) -> Iterator[None]:
    """After each test the right passkey still opens; that also forgets counted failures."""
    yield
    assert opened(named.prove(key))


def test_the_passkey_gives_a_token_for_this_user_and_workspace(
    site: Site, named: Person, key: Authenticator
) -> None:
    page = named.reauth()
    asked = options(page)
    assert asked["userVerification"] == "required" and asked["rpId"] == "localhost"
    answer = named.post(page, key.get(asked))
    assert unlock_token(site.hub, answer, "named").audience == "workspace:named/"
    event = [event for event in audit(site.hub) if event["what"] == "reauth"][-1]
    assert (event["method"], event["result"], event["on"]) == ("passkey", "ok", "named/")
    # The same answer once more: the challenge was taken.
    again = named.post(page, key.get(asked))
    assert again.status_code == 409 and not opened(again)


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ({"origin": "https://evil.example"}, "origin"),
        ({"rp_id": "evil.example"}, "rp_id"),
        ({"flags": PRESENT}, "user_verification"),
        ({"flags": 0}, "presence"),
        ({"client": {"challenge": "AAAA"}}, "challenge"),
        ({"client": {"type": "webauthn.create"}}, "kind"),
        ({"user_handle": b"somebody"}, "account"),
        ({"key": Authenticator("", "").key}, "signature"),
        ({"id": b"nobody's"}, "unknown"),
        ({"sign_count": 0, "step": 0}, "sign_count"),
        ({"sign_count": 0, "step": 1}, "sign_count"),
    ],
)
def test_a_lie_opens_nothing_and_has_one_reason(
    named: Person, key: Authenticator, lie: dict[str, Any], reason: str
) -> None:
    while key.sign_count < 2:
        assert opened(named.prove(key))
    answer = named.prove(replace(key, **lie))
    assert answer.status_code == 403 and not opened(answer)
    assert named.refusal() == reason
    assert "Your workspace stays locked" in page_text(answer)


@pytest.mark.parametrize(
    "answer", ["", "null", "{}", "\x00", "{" * 9_000, "x" * 40_000, '{"id":"a","rawId":"a","response":{}}']
)
def test_garbage_opens_nothing(named: Person, answer: str) -> None:
    page = named.post(named.reauth(), answer)
    assert page.status_code == 403 and not opened(page)
    assert named.refusal() == "garbage"


def test_an_old_answer_to_a_new_question(named: Person, key: Authenticator) -> None:
    first, second = named.reauth(), named.reauth()
    old = key.get(options(first))
    answer = named.post(second, old)
    assert answer.status_code == 403 and named.refusal() == "challenge"


def test_somebody_elses_passkey_and_challenge(site: Site, named: Person, key: Authenticator) -> None:
    other = site.person("other")
    theirs = other.device()
    assert "done=added" in other.enrol(theirs).url
    # Named's browser with other's passkey; other's browser with named's challenge.
    page = named.reauth()
    answer = named.post(page, theirs.get(options(page)))
    assert answer.status_code == 403 and named.refusal() == "unknown"
    mine = form_with(named.reauth(), "credential")
    form = form_with(other.browser.open("hub/reauth", params={"workspace": ":passkeys"}), "credential")
    stolen = other.browser.post(
        site.hub.origin + form.action,
        data=form.fields | {"challenge": mine.fields["challenge"], "credential": "{}"},
        timeout=30,
    )
    assert stolen.status_code == 409
    # A credential is enrolled once, by whomever.
    assert "done=proven" in other.prove(theirs, ":passkeys").url
    taken = other.enrol(replace(key))
    assert taken.status_code == 409 and other.refusal("passkey.add") == "enrolled"


def test_a_stolen_login_cookie_enrols_nothing(site: Site) -> None:
    other = site.person("other")
    site.store.forget("other")
    assert options(other.browser.open("hub/passkeys"))
    thief = Browser(site.hub)
    for cookie in other.browser.cookies:
        if cookie.name == "jupyterhub-hub-login":
            thief.cookies.set_cookie(cookie)
    page = thief.open("hub/passkeys")
    assert "within ten minutes after you logged in" in page_text(page)
    assert "data-options" not in page.text and not any("credential" in form.fields for form in forms(page))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda device: replace(device, origin="https://evil.example"), "origin"),
        (lambda device: replace(device, rp_id="evil.example"), "rp_id"),
        (lambda device: replace(device, flags=PRESENT), "user_verification"),
        (lambda device: replace(device, client={"challenge": "AAAA"}), "challenge"),
    ],
)
def test_a_lie_enrols_nothing(
    site: Site, spoil: Callable[[Authenticator], Authenticator], reason: str
) -> None:
    other = site.person("other")
    site.store.forget("other")
    answer = other.enrol(spoil(other.device()))
    assert answer.status_code == 403 and "None was added" in page_text(answer)
    assert other.refusal("passkey.add") == reason
    garbage = other.post(other.browser.open("hub/passkeys"), "{}")
    assert garbage.status_code == 403 and other.refusal("passkey.add") == "garbage"
    assert site.store.of("other") == []
    assert "done=added" in other.enrol(other.device()).url  # and failures are forgotten


def test_adding_and_removing_need_a_proof_each(site: Site, named: Person, key: Authenticator) -> None:
    page = named.browser.open("hub/passkeys")
    assert "data-options" not in page.text and not any("id" in form.fields for form in forms(page))
    assert "done=proven" in named.prove(key, ":passkeys").url
    assert "done=added" in named.enrol(named.device(), "<b>Second</b>\x1b").url
    page = named.browser.open("hub/passkeys")
    assert "&lt;b&gt;Second&lt;/b&gt;" in page.text and "data-options" not in page.text

    assert "done=proven" in named.prove(key, ":passkeys").url
    page = named.browser.open("hub/passkeys")
    rows = [form for form in forms(page) if form.fields.get("action") == "remove"]
    assert len(rows) == 2
    # In another browser of the same user it counts for nothing.
    other = site.person("named")
    assert not [form for form in forms(other.browser.open("hub/passkeys")) if "id" in form.fields]
    gone = named.browser.post(site.hub.origin + rows[1].action, data=rows[1].fields, timeout=30)
    assert "done=removed" in gone.url
    again = named.browser.post(site.hub.origin + rows[0].action, data=rows[0].fields, timeout=30)
    assert again.status_code == 403 and named.refusal("passkey.remove") == "no_proof"
    assert [item.name for item in site.store.of("named")] == ["First"]
    events = [event for event in audit(site.hub) if event["what"] in ("passkey.add", "passkey.remove")]
    done = [(event["what"], event["name"]) for event in events if event["result"] == "ok"]
    assert done[-2:] == [("passkey.add", "<b>Second</b>"), ("passkey.remove", "<b>Second</b>")]


def test_failures_are_slowed_down(site: Site, named: Person, key: Authenticator) -> None:
    clumsy = site.person("clumsy")
    device = clumsy.device()
    assert "done=added" in clumsy.enrol(device).url
    for _ in range(5):
        assert clumsy.prove(replace(device, flags=PRESENT), ":passkeys").status_code == 403
    waiting = clumsy.reauth(":passkeys")
    assert waiting.status_code == 429 and "Too many failed tries" in page_text(waiting)
    assert "Nothing was changed" in page_text(waiting) and "locked" not in page_text(waiting)


def test_a_reset_counts_at_once_and_a_deleted_user_has_none(site: Site) -> None:
    boss = site.person("boss")
    device = boss.device()
    assert "done=added" in boss.enrol(device).url
    environment = {**os.environ, "PTH_DATA_DIR": str(site.hub.data)}
    command = [sys.executable, "-c", "from persistent_terminal_hub.cli import main; main()", "passkeys"]
    done = subprocess.run(
        [*command, "reset", "boss", "--config", str(site.hub.config)],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "1 passkey of boss removed" in done.stdout, done.stderr
    event = [event for event in audit(site.hub) if event["what"] == "passkey.reset"][-1]
    assert event["on"] == "boss"
    refused = boss.browser.api("POST", "users/boss/server")
    assert refused.status_code == 409 and "only a passkey of boss" in refused.json()["message"]

    # A name that is passed on has no passkeys behind it: neither after a new name nor after the user's end.
    changes: list[tuple[str, dict[str, Any]]] = [("PATCH", {"json": {"name": "another"}}), ("DELETE", {})]
    for method, what in changes:
        other = site.person("other")
        site.store.forget("other")
        assert "done=added" in other.enrol(other.device()).url
        assert boss.browser.api(method, "users/other", **what).status_code in (200, 204)
        assert site.store.of("other") == []


def test_passkeys_that_cannot_be_read_are_a_sentence(site: Site, named: Person, key: Authenticator) -> None:
    boss = site.person("boss")
    page = named.reauth()
    kept = site.store.path.read_bytes()
    site.store.path.write_bytes(b"x" * 5000)
    try:
        away = "The hub cannot read its passkeys just now"
        answer = named.post(page, key.get(options(page)))
        assert answer.status_code == 503 and away in page_text(answer)
        assert named.refusal() == "unavailable"
        for open_ in (lambda: named.browser.open("hub/passkeys"), named.reauth):
            shown = open_()
            assert shown.status_code in (200, 503) and away in page_text(shown)
        started = boss.browser.api("POST", "users/boss/server")
        assert started.status_code == 503 and away in started.json()["message"]
    finally:
        site.store.path.write_bytes(kept)
