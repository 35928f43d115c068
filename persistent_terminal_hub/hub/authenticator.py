"""Who may log in: accounts of this hub, or an identity provider."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import bcrypt
from jupyterhub import orm
from jupyterhub.auth import Authenticator
from nativeauthenticator import NativeAuthenticator
from nativeauthenticator.orm import UserInfo
from oauthenticator.generic import GenericOAuthenticator
from tornado.httpclient import HTTPClientError
from tornado.web import HTTPError
from traitlets import Bool, Integer, List, Unicode

from persistent_terminal_hub.hub.account_pages import account_handlers
from persistent_terminal_hub.hub.handlers import Route
from persistent_terminal_hub.hub.login_throttle import LoginThrottle
from persistent_terminal_hub.hub.passkeys import PasskeysMixin
from persistent_terminal_hub.hub.reauth_methods import ReauthMethod
from persistent_terminal_hub.hub.reauth_oidc import OidcMethod
from persistent_terminal_hub.hub.request_records import RecordedOAuthLogout
from persistent_terminal_hub.hub.subjects import Subjects
from persistent_terminal_hub.hub.user_names import WorkspacesStopFirst

#: The account that the first run creates.
FIRST_ADMIN = "admin"

#: bcrypt reads no more than this.
MAXIMUM_PASSWORD_BYTES = 72

USERNAME_RULE = (
    "A user name has 1 to 64 characters: small letters, digits, and . _ @ - inside; "
    "it begins with a letter or digit."
)
_USERNAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")

WRONG_PASSWORD = "Wrong user name or password."  # noqa: S105
NOT_APPROVED = "Your account waits for an administrator's approval. Try again once it has been given."


class LocalAuthenticator(PasskeysMixin, WorkspacesStopFirst, NativeAuthenticator):
    """Accounts of this hub. An administrator's approval is the allow-list: nothing else lets anybody in.

    Of nativeauthenticator it uses the table of accounts (bcrypt hashes) and the list of common passwords.
    Its pages are replaced by our own (`account_pages`), because there a plain link, which any page can make
    an administrator's browser follow, approves an account.
    """

    open_sign_up = Bool(False, help="Sign-ups are approved at once (auth.allowAll).").tag(config=True)
    maximum_waiting = Integer(100, help="Sign-ups that may wait for approval at a time.").tag(config=True)

    bcrypt_rounds = Integer(12, help="Cost of a password hash, as a power of two.").tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        # The library needs the hub's session; naming it `db` avoids a deprecation warning at every start.
        kwargs.setdefault("db", kwargs.get("_deprecated_db_session"))
        super().__init__(**kwargs)
        self.throttle = LoginThrottle(self.allowed_failed_logins, wait_seconds=self.seconds_before_next_try)
        # bcrypt takes a core for a quarter of a second: never on the event loop, never on all cores.
        self._hashing = ThreadPoolExecutor(max_workers=2, thread_name_prefix="bcrypt")
        # Compared with when there is no such account, so that the answer takes as long.
        self._nobody = bcrypt.hashpw(secrets.token_bytes(16), bcrypt.gensalt(self.bcrypt_rounds))
        self._ensure_administrator()

    # -- logging in -------------------------------------------------------------------------------

    async def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        """Called by the hub with the login form. None: wrong; HTTPError: the sentence for the page."""
        username = self.normalize_username(data.get("username", ""))
        address = handler.request.remote_ip if handler is not None else ""
        if not await self.guess(username, data.get("password", ""), address):
            raise HTTPError(403, WRONG_PASSWORD)
        return username

    async def guess(self, username: str, password: str, address: str) -> bool:
        """Whether it is the user's password; HTTPError when there were too many wrong ones."""
        wait = self.throttle.begin(username, address, time.monotonic())
        if wait:
            minutes = max(1, round(wait / 60))
            raise HTTPError(
                429,
                f"Too many failed tries. Wait {minutes} minute{'s' if minutes > 1 else ''}, then try again.",
            )
        right = await self.check_password(UserInfo.find(self.db, username), password)
        if right:
            self.throttle.right(username, address)
        return right

    def check_allowed(self, username: str, authentication: Any = None) -> bool:
        """Called after `authenticate`: only who was approved gets in."""
        account = UserInfo.find(self.db, username)
        if account is None or not account.is_authorized:
            # Said only to somebody who knew the password.
            raise HTTPError(403, NOT_APPROVED)
        return True

    async def refresh_user(self, user: Any, handler: Any = None) -> bool:
        """Called now and then, and before each start: a withdrawn approval ends the session."""
        account = UserInfo.find(self.db, user.name)
        return bool(account is not None and account.is_authorized)

    async def check_password(self, account: Any, password: str) -> bool:
        """Whether it is this account's password; takes as long when there is no account."""
        hashed = account.password if account is not None else self._nobody

        def compare() -> bool:
            try:
                return bcrypt.checkpw(password.encode(), hashed)
            except ValueError:  # longer than bcrypt reads, or with a NUL: never a password of ours
                bcrypt.checkpw(b"", hashed)
                return False

        matches = await asyncio.get_running_loop().run_in_executor(self._hashing, compare)
        return matches and account is not None

    # -- accounts ---------------------------------------------------------------------------------

    def validate_username(self, username: str) -> bool:
        """Called by the hub for every name it is given."""
        return bool(_USERNAME.fullmatch(username)) and super().validate_username(username)

    def problem_with_password(self, password: str) -> str:
        """Why this password cannot be used; empty when it can."""
        if len(password) < self.minimum_password_length:
            return f"The password is too short: use at least {self.minimum_password_length} characters."
        if len(password.encode()) > MAXIMUM_PASSWORD_BYTES:
            return f"The password is too long: use at most {MAXIMUM_PASSWORD_BYTES} bytes."
        if "\0" in password:
            return "The password contains a character that cannot be used."
        if self.check_common_password and self.is_password_common(password):
            return "The password is one of the most common ones: choose another."
        return ""

    async def sign_up(self, username: str, password: str, confirmation: str) -> str:
        """Create an account that waits for approval; returns the problem, empty when there is none."""
        username = self.normalize_username(username.strip())
        if not self.validate_username(username):
            return USERNAME_RULE
        if password != confirmation:
            return "The two passwords differ."
        if problem := self.problem_with_password(password):
            return problem
        if UserInfo.find(self.db, username) is not None:
            return "This user name is taken: choose another."
        waiting = self.db.query(UserInfo).filter(UserInfo.is_authorized.is_(False)).count()
        if waiting >= self.maximum_waiting and not self.open_sign_up:
            return (
                "Too many sign-ups wait for approval: ask an administrator to look at them, then try again."
            )
        hashed = await self._hash(password)
        if UserInfo.find(self.db, username) is not None:  # somebody was quicker while we hashed
            return "This user name is taken: choose another."
        # The library approves whoever signs up under an administrator's name: here nobody is.
        self.db.add(UserInfo(username=username, password=hashed, is_authorized=self.open_sign_up))
        self.db.commit()
        self.log.info("Sign-up of %s%s", username, "" if self.open_sign_up else " waits for approval")
        return ""

    async def set_password(self, username: str, password: str) -> str:
        """Change an account's password and end its other sessions; returns the problem, if any."""
        if problem := self.problem_with_password(password):
            return problem
        hashed = await self._hash(password)
        account = UserInfo.find(self.db, username)
        if account is None:
            return "There is no such account."
        account.password = hashed
        self.end_sessions(username)
        self.db.commit()
        return ""

    def set_approval(self, username: str, approved: bool) -> None:
        """Let somebody in, or not any more."""
        account = UserInfo.find(self.db, username)
        if account is None:
            raise HTTPError(404, "There is no such account.")
        account.is_authorized = approved
        if not approved:
            self.end_sessions(username)
        self.db.commit()

    def discard(self, username: str) -> None:
        """Forget an account that was never, or is no longer, approved."""
        account = UserInfo.find(self.db, username)
        if account is None or account.is_authorized:
            raise HTTPError(409, "Only an account without approval can be discarded.")
        self.db.delete(account)
        self.db.commit()

    def end_sessions(self, username: str) -> None:
        """Make every login cookie of the user worthless."""
        user = orm.User.find(self.db, username)
        if user is not None:
            user.cookie_id = orm.new_token()

    async def _hash(self, password: str) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(
            self._hashing, lambda: bcrypt.hashpw(password.encode(), bcrypt.gensalt(self.bcrypt_rounds))
        )

    # -- the first administrator --------------------------------------------------------------------

    def _ensure_administrator(self) -> None:
        """Create `admin` when nobody could administer this hub; hand its password out once.

        With PTH_RESET_ADMIN_PASSWORD=1 an existing `admin` gets a new password and its approval back.
        """
        reset = os.environ.pop("PTH_RESET_ADMIN_PASSWORD", "") == "1"
        pipe = os.environ.pop("PTH_FIRST_PASSWORD_FD", "")
        approved = {info.username for info in UserInfo.all_users(self.db) if info.is_authorized}
        administrators = set(self.admin_users) | {
            user.name for user in self.db.query(orm.User).filter(orm.User.admin.is_(True))
        }
        if approved & (administrators | {FIRST_ADMIN}) and not reset:
            return
        password = secrets.token_urlsafe(12)
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(self.bcrypt_rounds))
        account = UserInfo.find(self.db, FIRST_ADMIN)
        if account is None:
            account = UserInfo(username=FIRST_ADMIN, password=hashed)
            self.db.add(account)
        account.password = hashed
        account.is_authorized = True
        self.end_sessions(FIRST_ADMIN)
        # Handed out before it is stored: a password that nobody saw would lock everybody out.
        _hand_out(password, pipe)
        self.db.commit()

    def get_handlers(self, app: Any) -> list[Route]:
        """Called by the hub at its start: the login page is the hub's own, the others are ours."""
        return [*Authenticator.get_handlers(self, app), *account_handlers(), *self.own_handlers()]


def _hand_out(password: str, pipe: str) -> None:
    """Give the plaintext to the supervisor, or to the console when there is none."""
    if pipe.isdigit():
        try:
            os.write(int(pipe), (password + "\n").encode())
        except OSError:
            pass
        else:
            return
    print(f"First administrator: user {FIRST_ADMIN}, password {password}", file=sys.stderr, flush=True)


class OAuth2Authenticator(PasskeysMixin, WorkspacesStopFirst, GenericOAuthenticator):
    """An identity provider by OAuth 2.0 or OpenID Connect. Nobody is allowed until the settings name them."""

    provider_name = Unicode("the identity provider", help="What sentences call it.").tag(config=True)
    issuer = Unicode(help="The provider's issuer, if its ID tokens can prove a fresh login.").tag(config=True)
    jwks_url = Unicode(help="Where that issuer publishes its keys.").tag(config=True)
    id_token_algorithms = List(Unicode(), help="How it signs ID tokens.").tag(config=True)
    logout_handler = RecordedOAuthLogout

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.subjects = Subjects(self.data.oidc_subjects)

    def proves_fresh_login(self) -> bool:
        """Whether a login there can unlock a workspace."""
        return bool(self.issuer and self.jwks_url and self.id_token_algorithms)

    def reauth_methods(self) -> list[ReauthMethod]:
        """Called once: the provider's own login comes first."""
        oidc: list[ReauthMethod] = [OidcMethod(self)] if self.proves_fresh_login() else []
        return [*oidc, *super().reauth_methods()]

    async def get_authenticated_user(self, handler: Any, data: Any) -> Any:
        """Called by the hub for each login: remembers which subject the name is."""
        login = await super().get_authenticated_user(handler, data)
        if login is not None and self.issuer:
            subject = login["auth_state"][self.user_auth_state_key].get("sub")
            if isinstance(subject, str) and subject:
                self.subjects.remember(login["name"], self.issuer, subject)
        return login

    def delete_user(self, user: Any) -> Any:
        """Called before a user is deleted; raises when that is refused."""
        answer = super().delete_user(user)
        self.subjects.forget(user.name)
        return answer

    def user_info_to_username(self, user_info: dict[str, Any]) -> str:
        """Called at each login with what the provider says about the person."""
        claim = str(self.username_claim)
        name = user_info.get(claim)
        if not isinstance(name, str) or not name.strip():
            self.log.error(
                "No claim %r from %s; it sent: %s", claim, self.provider_name, ", ".join(sorted(user_info))
            )
            raise HTTPError(
                403,
                f"{self.provider_name} did not tell your user name (claim {claim}). "
                "An administrator can name another claim with auth.usernameClaim, "
                "or ask for more with auth.scopes.",
            )
        if claim == "email" and user_info.get("email_verified") not in (True, "true"):
            # An address that the provider never checked could be anybody's.
            raise HTTPError(
                403, f"{self.provider_name} has not verified your e-mail address: verify it there first."
            )
        return name.strip()

    async def get_user_groups(self, auth_state: dict[str, Any]) -> set[str]:
        """Called at each login; no groups claim means no groups."""
        value: Any = auth_state
        for part in str(self.auth_state_groups_key).split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, str):
            return {value}
        return (
            {item for item in value if isinstance(item, str)} if isinstance(value, (list, tuple)) else set()
        )

    async def authenticate(self, handler: Any, data: Any = None, **kwargs: Any) -> Any:
        """Called with the provider's answer; failures of the provider become sentences."""
        try:
            return await super().authenticate(handler, data, **kwargs)
        except HTTPError:
            raise
        except HTTPClientError as error:
            if 400 <= error.code < 500:
                raise HTTPError(
                    403,
                    f"{self.provider_name} refused this login: start again. "
                    "If it goes on, tell an administrator.",
                ) from None
            raise HTTPError(503, f"{self.provider_name} does not answer: try again in a moment.") from None
        except OSError:
            raise HTTPError(503, f"{self.provider_name} does not answer: try again in a moment.") from None
