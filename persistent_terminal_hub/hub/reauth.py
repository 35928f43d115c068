"""`/hub/reauth`: prove a fresh login, get a locked workspace opened. For any JupyterHub authenticator.

    class MyAuthenticator(ReauthMixin, PAMAuthenticator): ...

Nobody is ever logged in here: who has a browser with somebody's cookie and logs in as somebody else stays who
the browser was, and opens nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from jupyterhub import orm
from jupyterhub.utils import maybe_future, url_path_join
from tornado.web import HTTPError
from traitlets import Integer

from persistent_terminal_hub.audit import Outbox
from persistent_terminal_hub.hub.handlers import OwnHandlers, Route, key_store
from persistent_terminal_hub.hub.login_throttle import LoginThrottle
from persistent_terminal_hub.hub.one_time import OneTimePerUser, new_id
from persistent_terminal_hub.hub.reauth_limits import REAUTH_TOTAL, ReauthLimits
from persistent_terminal_hub.hub.reauth_methods import CHALLENGE_SECONDS, Challenge, Goal, ReauthMethod
from persistent_terminal_hub.hub.reauth_pages import ReauthHandler, ReauthPage
from persistent_terminal_hub.hub.reauth_password import PasswordMethod
from persistent_terminal_hub.hub.unlock import HubTokens, hand_over
from persistent_terminal_hub.signing_keys import KeyStoreError

NOT_ALLOWED = (
    "Your account may not use this hub any more, so the workspace stays locked. Ask an administrator."
)

NO_KEY = (
    "You proved that it is you, but the hub cannot read its signing keys, so the workspace stays locked. "
    "Tell an administrator: the hub's log says why."
)


class Reauth:
    """Challenges, methods, limits, and the one way from a proven login to an unlock token."""

    def __init__(
        self,
        methods: Sequence[ReauthMethod],
        tokens: HubTokens,
        outbox: Outbox,
        throttle: LoginThrottle,
        goals: Mapping[str, Goal] = MappingProxyType({}),
    ) -> None:
        self.methods = tuple(methods)
        #: What a proof may be for besides a workspace, by name.
        self.goals = goals
        self.tokens = tokens
        self.outbox = outbox
        self.limits = ReauthLimits(throttle)
        #: Users whose password is being checked this moment.
        self.checking: set[str] = set()
        self._challenges: OneTimePerUser[Challenge] = OneTimePerUser(CHALLENGE_SECONDS)

    async def available(self, user: Any) -> list[ReauthMethod]:
        """The methods that this user can use now."""
        return [method for method in self.methods if await method.available(user)]

    # -- challenges ---------------------------------------------------------------------------------

    def challenge(self, handler: ReauthHandler, workspace: str, next_: str) -> Challenge:
        """A new one for the browser and user of this request."""
        made = Challenge(
            new_id(), handler.current_user.name, session_of(handler), workspace, next_, time.time()
        )
        self._challenges.put(made.user, made.id, made, time.monotonic())
        return made

    def take(self, handler: ReauthHandler, id_: str) -> Challenge | None:
        """The challenge, if it belongs to this browser and user, and was not taken before."""
        challenge = self._challenges.take(handler.current_user.name, id_, time.monotonic())
        return challenge if challenge is not None and self.belongs(handler, challenge) else None

    def belongs(self, handler: ReauthHandler, challenge: Challenge) -> bool:
        """Whether the request comes from the browser and the user that the challenge was made for."""
        user = handler.current_user
        return user is not None and user.name == challenge.user and session_of(handler) == challenge.session

    # -- results ------------------------------------------------------------------------------------

    async def proven(self, handler: ReauthHandler, challenge: Challenge, *, method: str) -> None:
        """A method has proven a fresh login of the challenge's user: finish with the way to the workspace.

        The challenge must have been taken. Whoever may not use the hub any more is refused all the same.
        """
        if not self.belongs(handler, challenge) or not await still_allowed(handler):
            await self.refused(
                handler, challenge, method=method, reason="not_allowed", sentence=NOT_ALLOWED, counts=False
            )
            return
        goal = self.goals.get(challenge.workspace)
        try:
            token = "" if goal else self.tokens.unlock(challenge.user, challenge.workspace)
        except KeyStoreError as error:
            handler.log.error("No unlock token: %s", error)
            await self.refused(
                handler, challenge, method=method, reason="no_key", sentence=NO_KEY, status=503, counts=False
            )
            return
        self.limits.succeeded(challenge.user, handler.origin)
        REAUTH_TOTAL.labels(method, "ok").inc()
        await self._record(handler, challenge, method=method, result="ok")
        handler.log.info(
            "%s proved a fresh login (%s) for %s", challenge.user, method, challenge.workspace_id
        )
        if goal is not None:
            await goal.reached(handler, challenge)
            return
        await hand_over(
            handler, handler.address(challenge.workspace), token, challenge.next, challenge.workspace
        )

    async def refused(
        self,
        handler: ReauthHandler,
        challenge: Challenge,
        *,
        method: str,
        reason: str,
        sentence: str,
        status: int = 403,
        counts: bool = True,
    ) -> None:
        """A method has proven nothing: count it, write it down, and show the page with the sentence.

        `reason` is one word of a closed list (a metric's label); `counts` is False for what is nobody's
        failure, such as a provider that does not answer.
        """
        if counts:
            self.limits.failed(challenge.user, handler.origin)
        REAUTH_TOTAL.labels(method, reason).inc()
        await self._record(handler, challenge, method=method, result="refused", reason=reason)
        handler.log.warning(
            "No fresh login of %s for %s: %s (%s)", challenge.user, challenge.workspace_id, reason, method
        )
        await handler.show(challenge.workspace, challenge.next, status=status, problem=sentence)

    async def _record(self, handler: ReauthHandler, challenge: Challenge, **how: str) -> None:
        # An answer that is proven is at once the unlock token: one event says both.
        await asyncio.to_thread(
            self.outbox.record,
            who=challenge.user,
            what="reauth",
            on=challenge.workspace_id,
            origin=handler.origin,
            **how,
        )


def session_of(handler: Any) -> str:
    """A digest of the browser's hub session; another after each login, and once the user's sessions end."""
    _ = handler.xsrf_token  # makes the hub's session cookie, should there be none yet
    secret = f"{handler.get_session_cookie()}\0{handler.current_user.cookie_id}"
    return hashlib.sha256(secret.encode()).hexdigest()


async def still_allowed(handler: Any) -> bool:
    """Whether the request's user exists and may use the hub, asked now and not remembered from the login."""
    user, authenticator = handler.current_user, handler.authenticator
    account = orm.User.find(handler.db, user.name)
    if account is None or account.id != user.id:
        return False
    try:
        if not await maybe_future(authenticator.refresh_user(user, handler)):
            return False
        groups = {group.name for group in account.groups}
        login: Mapping[str, Any] = {
            "name": user.name,
            "admin": user.name in authenticator.admin_users
            or bool(groups & set(getattr(authenticator, "admin_groups", ()))),
            "groups": sorted(groups),
            "auth_state": {},
        }
        if not await maybe_future(authenticator.check_blocked_users(user.name, login)):
            return False
        return bool(
            authenticator.allow_all or await maybe_future(authenticator.check_allowed(user.name, login))
        )
    except HTTPError:
        return False


class ReauthMixin(OwnHandlers):
    """Adds `/hub/reauth` to an authenticator, and writes its logins into the audit outbox."""

    reauth_failures = Integer(5, help="Failed tries per user and address before a wait.").tag(config=True)
    reauth_wait_seconds = Integer(300, help="How long that wait is.").tag(config=True)

    _reauth: Reauth | None = None
    _outbox: Outbox | None = None

    @property
    def outbox(self) -> Outbox:
        """Where logins and proofs are written down."""
        if self._outbox is None:
            self._outbox = Outbox(self.data.audit)
        return self._outbox

    @property
    def reauth(self) -> Reauth:
        """The hub's one, made when first asked for."""
        if self._reauth is None:
            self._reauth = Reauth(
                self.reauth_methods(),
                HubTokens(key_store(self.pth_settings, self.data), self.data.hub_id()),
                self.outbox,
                LoginThrottle(self.reauth_failures, wait_seconds=self.reauth_wait_seconds),
                self.reauth_goals(),
            )
        return self._reauth

    def reauth_methods(self) -> list[ReauthMethod]:
        """The ways to prove a fresh login, the preferred one first. Subclasses may add theirs."""
        # Whoever logs in at the hub's own form has a password; other logins have an address of their own.
        base = "/hub/"
        form = self.login_url(base) == url_path_join(base, "login")
        return [PasswordMethod(self)] if form and not self.auto_login else []

    def reauth_goals(self) -> Mapping[str, Goal]:
        """What a proof may be for besides a workspace. Subclasses may add theirs."""
        return {}

    def get_handlers(self, app: Any) -> list[Route]:
        """Called by the hub at its start."""
        return [*super().get_handlers(app), *self.own_handlers()]

    def own_handlers(self) -> list[Route]:
        """The page, and what its methods bring."""
        methods = [route for method in self.reauth.methods for route in method.handlers()]
        return [*super().own_handlers(), (r"/reauth", ReauthPage), *methods]

    async def check_login(self, handler: Any, data: Any) -> dict[str, Any] | None:
        """Everything that a login checks (password, blocked, allowed), without a login."""
        login: dict[str, Any] | None = await super().get_authenticated_user(handler, data)
        return login

    async def get_authenticated_user(self, handler: Any, data: Any) -> dict[str, Any] | None:
        """Called by the hub for each login."""
        said = str(data.get("username", "")) if isinstance(data, dict) else ""
        try:
            login = await self.check_login(handler, data)
        except HTTPError as error:
            await self._record_login(handler, said, "refused", f"status {error.status_code}")
            raise
        if login is None:
            await self._record_login(handler, said, "refused", "not accepted")
        else:
            await self._record_login(handler, str(login["name"]), "ok", "")
        return login

    async def _record_login(self, handler: Any, who: str, result: str, reason: str) -> None:
        # People type passwords into the field for the name: what is no user's name is not kept.
        db = getattr(handler, "db", None)
        if result != "ok" and (db is None or not who or orm.User.find(db, who) is None):
            who = ""
        await asyncio.to_thread(
            self.outbox.record,
            who=who,
            what="login",
            on="hub",
            origin=str(handler.request.remote_ip or "") if handler is not None else "",
            result=result,
            reason=reason,
        )
