"""/hub/reauth with a real OpenID Connect provider (npm's oidc-provider): what a person can and cannot do."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests

from tests.integration.hub_fixtures import (
    Browser,
    Serve,
    free_ports,
    page_text,
    wait_for,
    workspace_processes,
)
from tests.integration.oidc_fixtures import Provider, log_in, settings
from tests.integration.test_reauth_password import audit, unlock_token
from tests.support.reauth_forms import form_with, forms

pytestmark = pytest.mark.oidc


@dataclass
class Site:
    provider: Provider
    hub: Serve
    browser: Browser

    def begin(self) -> requests.Response:
        """Press the button; what the provider shows."""
        page = self.browser.open("hub/reauth?next=/user/member/lab")
        form = form_with(page, "challenge")
        return self.browser.post(self.hub.origin + form.action, data=form.fields, timeout=30)

    def answer(self, page: requests.Response, account: str) -> requests.Response:
        """Type the account's name at the provider, agree if asked; where that leads."""
        for _ in range(5):  # its forms: log in; log the other account out (submits itself); agree
            form = forms(page)[0]
            fields = form.fields | {"login": account, "password": "any"}
            page = self.browser.post(form.action, data=fields, timeout=30)
            if page.url.startswith(self.hub.origin):
                break
        return page

    def last(self) -> tuple[str, str]:
        event = [event for event in audit(self.hub) if event["what"] == "reauth"][-1]
        return event["result"], str(event.get("reason", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    ports = free_ports(4)
    provider = Provider(
        tmp_path_factory.mktemp("provider"), ports[3], f"http://127.0.0.1:{ports[0]}/hub/oauth_callback"
    )
    provider.start()
    hub = Serve(tmp_path_factory.mktemp("oidc") / "data", settings(provider.issuer), ports=ports[:3])
    hub.start().wait_ready()
    browser, page = log_in(hub, "member")
    assert page.status_code == 200, page_text(page)
    assert browser.api("POST", "users/member/server").status_code in (201, 202)
    assert wait_for(lambda: browser.api("GET", "users/member").json()["servers"][""]["ready"], 60)
    yield Site(provider, hub, browser)
    assert "Traceback" not in hub.log
    hub.stop()
    provider.stop()
    for pid in workspace_processes(hub):
        os.kill(pid, signal.SIGKILL)


def is_login_form(page: requests.Response) -> bool:
    return 'name="prompt" value="login"' in page.text


def test_an_existing_session_at_the_provider_is_not_enough(site: Site) -> None:
    # It has one: another login at the hub goes through without a question.
    hop = Browser(site.hub)
    hop.cookies.update(site.browser.cookies)
    hop.cookies.clear("127.0.0.1", "/hub/")
    assert "Logout" in page_text(hop.open("hub/oauth_login?next=/hub/home"))
    # A fresh login is asked for all the same, and walking away from it proves nothing.
    shown = site.begin()
    assert shown.url.startswith(site.provider.issuer)
    assert is_login_form(shown)
    assert "reauth" not in [event["what"] for event in audit(site.hub)]


def test_a_fresh_login_is_a_proof(site: Site) -> None:
    answer = site.answer(site.begin(), "member")
    assert answer.status_code == 200, page_text(answer)
    assert unlock_token(site.hub, answer, "member").subject == "member"
    assert form_with(answer, "token").fields["next"] == "/user/member/lab"
    assert site.last() == ("ok", "")


def test_prompt_taken_out_on_the_way_is_noticed(site: Site) -> None:
    """Whoever sits at the browser can change the URL that it is sent to: auth_time tells."""
    # The login that the provider remembers is made old by waiting; six seconds are more than the leeway.
    time.sleep(6.5)
    form = form_with(site.browser.open("hub/reauth"), "challenge")
    asked = site.browser.post(
        site.hub.origin + form.action, data=form.fields, allow_redirects=False, timeout=30
    ).headers["Location"]
    tampered = asked.replace("prompt=login", "prompt=none").replace("max_age=0", "max_age=9999")
    assert tampered != asked
    answer = site.browser.get(tampered, timeout=30)
    assert answer.url.startswith(site.hub.origin)
    assert answer.status_code == 403
    assert site.last() == ("refused", "old_login")
    assert not [form for form in forms(answer) if "token" in form.fields]


def test_another_account_opens_nothing_and_the_browser_stays_who_it_was(site: Site) -> None:
    answer = site.answer(site.begin(), "boss")
    assert answer.status_code == 403
    assert "you are still member here" in page_text(answer)
    assert site.last() == ("refused", "subject")
    assert site.browser.api("GET", "user").json()["name"] == "member"


def test_cancelling_at_the_provider_is_no_failure(site: Site) -> None:
    shown = site.begin()
    cancel = re.search(r'href="([^"]*/abort)"', shown.text)
    assert cancel, shown.text
    answer = site.browser.get(
        cancel[1] if "://" in cancel[1] else site.provider.issuer + cancel[1], timeout=30
    )
    assert answer.status_code == 403
    assert "You did not log in" in page_text(answer)
    assert site.last() == ("refused", "cancelled")


def test_a_user_who_is_no_longer_allowed_cannot_unlock(site: Site) -> None:
    """Taken out of the group at the provider: the hub's own session is still good, a fresh login is not."""
    site.provider.stop()
    site.provider.accounts = site.provider.accounts | {
        "member": {"preferred_username": "Member", "groups": ["other"]}
    }
    site.provider.start()
    answer = site.answer(site.begin(), "member")
    assert answer.status_code == 403
    assert "you are not allowed on this hub" in page_text(answer)
    assert site.last() == ("refused", "not_allowed")


def test_a_deleted_user_cannot_unlock(site: Site) -> None:
    site.provider.stop()
    site.provider.accounts = site.provider.accounts | {
        "member": {"preferred_username": "Member", "groups": ["team"]}
    }
    site.provider.start()
    shown = site.begin()
    boss, _ = log_in(site.hub, "boss")
    assert boss.api("DELETE", "users/member/server").status_code in (202, 204)
    assert wait_for(lambda: not boss.api("GET", "users/member").json()["servers"], 30)
    assert boss.api("DELETE", "users/member").status_code == 204
    answer = site.answer(shown, "member")
    assert answer.status_code == 400
    assert not [form for form in forms(answer) if "token" in form.fields]
    assert "member" not in (site.hub.data / "oidc-subjects.json").read_text()
