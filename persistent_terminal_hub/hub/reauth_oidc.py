"""Prove a fresh login at the OpenID Connect provider, which says when (`auth_time`) in a signed ID token."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from jupyterhub.utils import maybe_future
from tornado.httpclient import HTTPClientError
from tornado.web import HTTPError

from persistent_terminal_hub.config.callbacks import reauth_callback_url
from persistent_terminal_hub.hub.id_token import Expected, Verdict, judge_id_token
from persistent_terminal_hub.hub.oidc_keys import BadSignature, KeysAway, ProviderKeys
from persistent_terminal_hub.hub.one_time import OneTimePerUser, new_id
from persistent_terminal_hub.hub.reauth_methods import CHALLENGE_SECONDS, Challenge
from persistent_terminal_hub.hub.reauth_pages import ReauthHandler

if TYPE_CHECKING:
    from persistent_terminal_hub.hub.authenticator import OAuth2Authenticator

STRAY = (
    "This answer of {provider} belongs to no login that this browser is waiting for, or it was used already. "
    "Nothing was unlocked: open your workspace again and log in from there."
)
AWAY = "{provider} does not answer just now. Your workspace stays locked; try again in a moment."
CANCELLED = "You did not log in at {provider}, so your workspace stays locked. Try again when you like."
REFUSED = (
    "{provider} did not confirm a login, so your workspace stays locked. Try again; if it goes on, tell an "
    "administrator."
)
OTHER_ACCOUNT = (
    "At {provider} you logged in with another account. Your workspace stays locked and you are still {user} "
    "here: log in with the account of {user}."
)
NOT_FRESH = (
    "{provider} did not ask for your password again, so your workspace stays locked. Try again; if it goes "
    "on, log out there first."
)
NO_TIME = (
    "{provider} does not say when you logged in, so a login there cannot unlock a workspace. Use another way "
    "below if there is one, or ask an administrator."
)
NO_PROOF = (
    "What {provider} sent does not prove a fresh login, so your workspace stays locked. Try again; if it "
    "goes on, tell an administrator: the hub's log says which check failed."
)
_SENTENCES: dict[Verdict, str] = {
    "subject": OTHER_ACCOUNT, "old_login": NOT_FRESH, "no_auth_time": NO_TIME,
}  # fmt: skip


class Refused(Exception):
    """The provider's answer proves nothing: one word for logs, the sentence, and whose fault it is."""

    def __init__(self, reason: str, sentence: str, *, status: int = 403, counts: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.sentence, self.status, self.counts = reason, sentence, status, counts


@dataclass(frozen=True, slots=True)
class Attempt:
    """One redirect to the provider; its id is the `state`."""

    challenge: Challenge
    nonce: str
    #: PKCE (RFC 7636), S256.
    verifier: str
    redirect_uri: str
    #: Wall clock in seconds.
    started: float


class OidcMethod:
    """Log in at the provider again, whatever session it has."""

    name = "oidc"

    def __init__(self, authenticator: OAuth2Authenticator) -> None:
        self.authenticator = authenticator
        self.attempts: OneTimePerUser[Attempt] = OneTimePerUser(CHALLENGE_SECONDS)
        self.keys = ProviderKeys(self._fetch_keys, authenticator.id_token_algorithms)

    @property
    def title(self) -> str:
        """Names the provider."""
        return f"Your account at {self.authenticator.provider_name}"

    @property
    def issuer(self) -> str:
        """As its ID tokens write it."""
        return str(self.authenticator.issuer)

    async def available(self, user: Any) -> bool:
        """With a provider that signs ID tokens and says when somebody logged in."""
        return self.authenticator.proves_fresh_login()

    async def offer(self, handler: ReauthHandler, challenge: Challenge) -> str:
        """The button."""
        html: str = await handler.render_template(
            "reauth-oidc.html",
            challenge=challenge,
            action=handler.page_url(challenge.workspace, challenge.next, self.name),
            provider=self.authenticator.provider_name,
        )
        return html

    def handlers(self) -> list[tuple[str, type]]:
        """Routes below /hub. The second one must be registered at the provider."""
        return [(r"/reauth/oidc", OidcStart), (r"/reauth/callback", OidcCallback)]

    def begin(self, challenge: Challenge, redirect_uri: str) -> str:
        """Remember an attempt; the provider's URL to send the browser to."""
        attempt = Attempt(challenge, new_id(), secrets.token_urlsafe(48), redirect_uri, time.time())
        state = new_id()
        self.attempts.put(challenge.user, state, attempt, time.monotonic())
        oauth = self.authenticator
        scopes = list(dict.fromkeys(["openid", *oauth.scope]))
        query = {
            **oauth.extra_authorize_params,
            "response_type": "code",
            "client_id": oauth.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(scopes),
            "state": state,
            "nonce": attempt.nonce,
            # Both: some providers obey only one of them. max_age also makes auth_time mandatory.
            "prompt": "login",
            "max_age": "0",
            "code_challenge": _s256(attempt.verifier),
            "code_challenge_method": "S256",
        }
        joint = "&" if urlsplit(oauth.authorize_url).query else "?"
        return f"{oauth.authorize_url}{joint}{urlencode(query)}"

    async def check(self, attempt: Attempt, code: str, handler: ReauthHandler) -> None:
        """Raises Refused unless the code proves a fresh login of the challenge's user."""
        answer = await self._exchange(attempt, code)
        try:
            claims = await self.keys.claims_of(answer.get("id_token"))
        except KeysAway:
            raise Refused("keys_away", AWAY, status=503, counts=False) from None
        except BadSignature as error:
            self.authenticator.log.warning("ID token of %s: %s", self.issuer, error)
            raise Refused("signature", NO_PROOF) from None
        user = attempt.challenge.user
        oauth = self.authenticator
        expected = Expected(
            self.issuer, oauth.client_id, attempt.nonce, attempt.started, oauth.subjects.of(user, self.issuer)
        )
        verdict = judge_id_token(claims, expected, time.time())
        if verdict != "ok":
            raise Refused(verdict, _SENTENCES.get(verdict, NO_PROOF))
        await self._check_account(answer, str(claims["sub"]), user)

    async def _exchange(self, attempt: Attempt, code: str) -> dict[str, Any]:
        oauth = self.authenticator
        params = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": attempt.redirect_uri,
            "code_verifier": attempt.verifier,
            **oauth.token_params,
        }
        if not oauth.basic_auth:
            params |= {"client_id": oauth.client_id, "client_secret": oauth.client_secret}
        try:
            answer = await oauth.get_token_info(None, params)
        except HTTPClientError as error:
            raise _of_status(error) from None
        except (HTTPError, ValueError, TypeError):
            raise Refused("code", REFUSED) from None
        except OSError:
            raise Refused("provider_away", AWAY, status=503, counts=False) from None
        return answer if isinstance(answer, dict) else {}

    async def _check_account(self, answer: dict[str, Any], subject: str, user: str) -> None:
        """The same account by the name that the hub knows it by, and still one that may log in."""
        oauth = self.authenticator
        try:
            login = await oauth._token_to_auth_model(answer)
            state = login["auth_state"][oauth.user_auth_state_key]
            if state.get("sub") != subject or login["name"] != user:
                raise Refused("account", OTHER_ACCOUNT)
            allowed = await maybe_future(oauth.check_blocked_users(user, login)) and (
                oauth.allow_all or await maybe_future(oauth.check_allowed(user, login))
            )
        except HTTPClientError as error:
            raise _of_status(error) from None
        except HTTPError as error:  # a sentence of ours: no user name in the answer, address not verified
            raise Refused("account", str(error.log_message or REFUSED)) from None
        except OSError:
            raise Refused("provider_away", AWAY, status=503, counts=False) from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise Refused("account", REFUSED) from None
        if not allowed:
            raise Refused("not_allowed", oauth.custom_403_message)
        oauth.subjects.remember(user, self.issuer, subject)

    async def _fetch_keys(self) -> bytes:
        try:
            response = await self.authenticator.httpfetch(
                self.authenticator.jwks_url,
                label="fetching the provider's keys",
                parse_json=False,
                headers={"Accept": "application/json"},
                validate_cert=self.authenticator.validate_server_cert,
            )
        except HTTPClientError as error:
            raise OSError(str(error.code)) from None
        body: bytes = response.body
        return body


class OidcStart(ReauthHandler):
    """POST of the button: to the provider."""

    async def post(self) -> None:
        """Each attempt has a state, a nonce and a PKCE verifier of its own."""
        challenge = await self.answered()
        if challenge is None:
            return
        method = method_of(self)
        oauth = method.authenticator
        redirect_uri = reauth_callback_url(oauth.get_callback_url(self))
        self.redirect(method.begin(challenge, redirect_uri), status=303)


class OidcCallback(ReauthHandler):
    """Where the provider sends the browser back to."""

    async def get(self) -> None:
        """Never logs in: whoever comes back as somebody else stays who the browser was."""
        method = method_of(self)
        provider = method.authenticator.provider_name
        user = self.current_user.name if self.current_user is not None else ""
        attempt = method.attempts.take(user, self.get_query_argument("state", ""), time.monotonic())
        if attempt is None or not self.reauth.belongs(self, attempt.challenge):
            raise HTTPError(400, STRAY.format(provider=provider))
        challenge = attempt.challenge
        if not await self.may_try(challenge.workspace, challenge.next):
            return
        try:
            if error := self.get_query_argument("error", ""):
                raise _of_error(error, self)
            await method.check(attempt, self.get_query_argument("code", ""), self)
        except Refused as refused:
            await self.reauth.refused(
                self,
                challenge,
                method=method.name,
                reason=refused.reason,
                sentence=refused.sentence.format(provider=provider, user=challenge.user),
                status=refused.status,
                counts=refused.counts,
            )
            return
        await self.reauth.proven(self, challenge, method=method.name)


def method_of(handler: ReauthHandler) -> OidcMethod:
    """The hub's OIDC method; its handlers exist only with it."""
    return next(method for method in handler.reauth.methods if isinstance(method, OidcMethod))


def _of_error(error: str, handler: ReauthHandler) -> Refused:
    if error == "access_denied":
        return Refused("cancelled", CANCELLED, counts=False)
    if error in ("temporarily_unavailable", "server_error"):
        return Refused("provider_away", AWAY, status=503, counts=False)
    # The text is the provider's, or anybody's who can make a link: only a plain word is written down.
    word = error if re.fullmatch(r"[a-z_]{1,40}", error) else "unreadable"
    handler.log.warning("The provider answered a fresh login with the error %s", word)
    return Refused("provider_error", REFUSED)


def _of_status(error: HTTPClientError) -> Refused:
    if 400 <= error.code < 500:
        return Refused("code", REFUSED)
    return Refused("provider_away", AWAY, status=503, counts=False)


def _s256(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
