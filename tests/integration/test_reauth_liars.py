"""/hub/reauth against a provider that lies, through a real hub: no lie opens anything, each has a reason."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization

from tests.integration.hub_fixtures import Browser, Serve, page_text, wait_for, workspace_processes
from tests.integration.oidc_fixtures import SECRET, settings
from tests.integration.test_reauth_password import audit, unlock_token
from tests.support.fake_provider import Claims, FakeProvider, rsa_key
from tests.support.reauth_forms import form_with, forms


@dataclass
class Site:
    hub: Serve
    provider: FakeProvider
    browser: Browser

    def start(self) -> requests.Response:
        """Press the button; the redirect to the provider, not followed."""
        page = self.browser.open("hub/reauth?workspace=&next=/user/named/lab")
        form = form_with(page, "challenge")
        return self.browser.post(
            self.hub.origin + form.action, data=form.fields, allow_redirects=False, timeout=30
        )

    def prove(self) -> requests.Response:
        """Press the button and follow to the end."""
        return self.browser.get(self.start().headers["Location"], timeout=30)

    def reason(self) -> str:
        """Why the last proof was refused, as the audit has it; "" when it was not."""
        last = [event for event in audit(self.hub) if event["what"] == "reauth"][-1]
        assert last["method"] == "oidc"
        return str(last.get("reason", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    import os
    import signal

    provider = FakeProvider("pth", SECRET)
    hub = Serve(tmp_path_factory.mktemp("liars") / "data", settings(provider.issuer))
    hub.start().wait_ready()
    browser = Browser(hub)
    landed = browser.open("hub/oauth_login?next=/hub/home")
    assert "Logout" in page_text(landed), landed.text
    assert browser.api("POST", "users/named/server").status_code in (201, 202)
    assert wait_for(lambda: browser.api("GET", "users/named").json()["servers"][""]["ready"], 60)
    yield Site(hub, provider, browser)
    assert "Traceback" not in hub.log
    assert SECRET not in hub.log
    for token in provider.issued:
        assert token not in hub.log
    hub.stop()
    provider.stop()
    for pid in workspace_processes(hub):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(autouse=True)
def honest(site: Site) -> Iterator[None]:
    """Each test begins with an honest provider and no failures counted."""
    site.provider.be_honest()
    yield
    site.provider.be_honest()
    assert unlock_token(site.hub, site.prove(), "named").subject == "named"


def test_the_request_forces_a_login_and_is_bound(site: Site) -> None:
    first, second = (parse_qs(urlsplit(site.start().headers["Location"]).query) for _ in range(2))
    assert first["prompt"] == ["login"]
    assert first["max_age"] == ["0"]
    assert first["code_challenge_method"] == ["S256"]
    assert first["redirect_uri"] == [site.hub.url + "hub/reauth/callback"]
    assert "openid" in first["scope"][0].split()
    for fresh in ("state", "nonce", "code_challenge"):
        assert first[fresh] != second[fresh]
        assert len(first[fresh][0]) >= 43


def test_a_proof_gives_a_token_and_changes_nobodys_login(site: Site) -> None:
    before = dict(site.browser.cookies)
    answer = site.prove()
    assert form_with(answer, "token").fields["next"] == "/user/named/lab"
    assert unlock_token(site.hub, answer, "named").audience == "workspace:named/"
    for name in ("jupyterhub-hub-login", "jupyterhub-session-id"):
        assert site.browser.cookies.get(name) == before.get(name)
    assert form_with(answer, "token").fields["token"] not in site.hub.log


def without(name: str) -> Callable[[Claims], Claims]:
    return lambda claims: {key: value for key, value in claims.items() if key != name}


def with_(**changes: Any) -> Callable[[Claims], Claims]:
    return lambda claims: claims | changes


def earlier(name: str, seconds: float) -> Callable[[Claims], Claims]:
    return lambda claims: claims | {name: claims[name] - seconds}


@pytest.mark.parametrize(
    ("twist", "reason"),
    [
        (without("auth_time"), "no_auth_time"),
        (earlier("auth_time", 60), "old_login"),
        (with_(auth_time="now"), "no_auth_time"),
        (with_(auth_time=True), "no_auth_time"),
        (with_(auth_time=4e9), "future_login"),
        (with_(sub="somebody-else"), "subject"),
        (without("sub"), "subject"),
        (without("nonce"), "nonce"),
        (with_(nonce="of another login"), "nonce"),
        (earlier("exp", 600), "expired"),
        (earlier("iat", 600), "issued"),
        (with_(iss="http://127.0.0.1:1"), "issuer"),
        (with_(aud="another-client"), "audience"),
        (with_(aud=["pth", "another-client"]), "party"),
        (with_(azp="another-client"), "party"),
        (lambda claims: None, "signature"),  # no ID token at all
    ],
)  # fmt: skip
def test_claims_that_lie(site: Site, twist: Callable[[Claims], Claims | None], reason: str) -> None:
    site.provider.twist = twist
    answer = site.prove()
    assert answer.status_code == 403, page_text(answer)
    assert site.reason() == reason
    assert not [form for form in forms(answer) if "token" in form.fields]
    assert "stays locked" in page_text(answer) or reason == "no_auth_time"
    assert form_with(answer, "challenge")  # and may try again


def unsigned(claims: Claims) -> str:
    return jwt.encode(claims, None, "none")


def by_a_stranger(claims: Claims) -> str:
    return jwt.encode(claims, rsa_key(), "RS256", headers={"kid": "first"})


def by_an_unknown_key(claims: Claims) -> str:
    return jwt.encode(claims, rsa_key(), "RS256", headers={"kid": "second"})


def by_our_secret(claims: Claims) -> str:
    return jwt.encode(claims, SECRET, "HS256", headers={"kid": "first"})


def test_signatures_that_lie(site: Site) -> None:
    def confused(claims: Claims) -> str:
        # The public key as an HMAC secret; PyJWT refuses to make such a token, so by hand.
        import hashlib
        import hmac

        pem = site.provider.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        encode = lambda value: base64.urlsafe_b64encode(value).rstrip(b"=")  # noqa: E731
        head = encode(json.dumps({"alg": "HS256", "kid": "first", "typ": "JWT"}).encode())
        body = head + b"." + encode(json.dumps(claims).encode())
        return (body + b"." + encode(hmac.digest(pem, body, hashlib.sha256))).decode()

    for sign in (unsigned, by_a_stranger, confused, by_our_secret, by_an_unknown_key):
        site.provider.be_honest()
        assert form_with(site.prove(), "token")  # failures are forgotten
        site.provider.sign = sign
        answer = site.prove()
        assert answer.status_code == 403, sign
        assert site.reason() == "signature", sign
    site.provider.be_honest()
    site.prove()
    for sign in (lambda claims: "no.token.at-all", lambda claims: "x" * 70_000):
        site.provider.sign = sign
        assert site.prove().status_code == 403
        assert site.reason() == "signature"


def test_an_old_id_token_is_refused(site: Site) -> None:
    site.prove()
    old = site.provider.issued[-1]
    site.provider.sign = lambda claims: old
    assert site.prove().status_code == 403
    assert site.reason() == "nonce"


def test_a_new_key_of_the_provider_is_learned(site: Site) -> None:
    site.prove()
    before = site.provider.jwks_requests
    time.sleep(5.1)  # unknown keys are asked for every five seconds at most
    site.provider.key, site.provider.kid = rsa_key(), "third"
    assert form_with(site.prove(), "token")
    assert site.provider.jwks_requests == before + 1


@pytest.mark.parametrize(
    "userinfo",
    [
        {"sub": "sub-of-named", "preferred_username": "boss"},
        {"sub": "another", "preferred_username": "named"},
        {"preferred_username": "named"},
        {"sub": "sub-of-named"},
        [],
    ],
)
def test_another_account_is_refused_and_the_browser_stays_who_it_was(site: Site, userinfo: Any) -> None:
    site.provider.userinfo = userinfo
    answer = site.prove()
    assert answer.status_code == 403, page_text(answer)
    assert site.reason() == "account"
    assert site.browser.api("GET", "user").json()["name"] == "named"


def test_an_answer_counts_once_and_for_its_browser_only(site: Site) -> None:
    location = site.start().headers["Location"]
    callback = site.browser.get(location, allow_redirects=False, timeout=30).headers["Location"]
    stranger = Browser(site.hub)
    stray = stranger.get(callback, timeout=30)
    assert stray.status_code == 400
    assert "belongs to no login" in page_text(stray)
    assert form_with(site.browser.get(callback, timeout=30), "token")
    replayed = site.browser.get(callback, timeout=30)
    assert replayed.status_code == 400
    assert not [form for form in forms(replayed) if "token" in form.fields]
    for query in ("", "?state=", "?code=x&state=x", "?error=access_denied"):
        assert site.browser.open("hub/reauth/callback" + query).status_code == 400
    # The same user in another browser has a session of its own.
    other = Browser(site.hub)
    other.open("hub/oauth_login?next=/hub/home")
    location = site.start().headers["Location"]
    callback = site.browser.get(location, allow_redirects=False, timeout=30).headers["Location"]
    assert other.get(callback, timeout=30).status_code == 400


@pytest.mark.parametrize(
    ("error", "status", "sentence", "reason"),
    [
        ("access_denied", 403, "You did not log in", "cancelled"),
        ("server_error", 503, "does not answer", "provider_away"),
        ("<script>alert(1)</script>", 403, "did not confirm", "provider_error"),
    ],
)
def test_errors_of_the_provider_are_sentences(
    site: Site, error: str, status: int, sentence: str, reason: str
) -> None:
    site.provider.authorize_error = error
    answer = site.prove()
    assert answer.status_code == status
    assert sentence in page_text(answer)
    assert "<script>alert" not in answer.text
    assert site.reason() == reason


@pytest.mark.parametrize(("status", "expected", "reason"), [(400, 403, "code"), (500, 503, "provider_away")])
def test_a_code_that_is_not_exchanged(site: Site, status: int, expected: int, reason: str) -> None:
    site.provider.token_status = status
    answer = site.prove()
    assert answer.status_code == expected
    assert site.reason() == reason
