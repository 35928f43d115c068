"""Passkeys (WebAuthn): one more way to prove a fresh login, for every authenticator.

    class MyAuthenticator(PasskeysMixin, PAMAuthenticator): ...

Each user enrols their own at /hub/passkeys (`passkey_pages`). Where the provider proves no fresh login
(GitHub, Google), a passkey is what opens a locked workspace, so none that locks starts without one.
"""

from __future__ import annotations

import html
import logging
import time
from collections.abc import Mapping
from typing import Any

from jupyterhub import orm
from jupyterhub.handlers import BaseHandler
from jupyterhub.utils import maybe_future
from sqlalchemy import event, inspect
from tornado.web import HTTPError

from persistent_terminal_hub.config.rules import rules_for
from persistent_terminal_hub.hub import passkey_failures as failures
from persistent_terminal_hub.hub.failures import WorkspaceProblem
from persistent_terminal_hub.hub.handlers import Route
from persistent_terminal_hub.hub.passkey_method import PasskeyMethod, Passkeys
from persistent_terminal_hub.hub.passkey_pages import PasskeyScript, PasskeysGoal, PasskeysPage
from persistent_terminal_hub.hub.passkey_store import PasskeyStoreError
from persistent_terminal_hub.hub.reauth import ReauthMixin
from persistent_terminal_hub.hub.reauth_methods import Goal, ReauthMethod
from persistent_terminal_hub.shared_files import share_dir

log = logging.getLogger("persistent_terminal_hub")


class PasskeysMixin(ReauthMixin):
    """Adds `/hub/passkeys` and the passkey on `/hub/reauth`, unless `auth.passkeys` is false."""

    _passkeys: Passkeys | None = None

    @property
    def passkeys(self) -> Passkeys:
        """The hub's one, made when first asked for."""
        if self._passkeys is None:
            self._passkeys = made = Passkeys(self.pth_settings, self.data)
            _forget_the_renamed(made)
        return self._passkeys

    def reauth_methods(self) -> list[ReauthMethod]:
        """Called once. Who has a passkey is offered it first: it is the quickest."""
        others = super().reauth_methods()
        return [PasskeyMethod(self), *others] if self.pth_settings.auth.passkeys else others

    def reauth_goals(self) -> Mapping[str, Goal]:
        """Called once: a proof may also be for a change of passkeys."""
        goals = dict(super().reauth_goals())
        return goals | {PasskeysGoal.name: PasskeysGoal()} if self.pth_settings.auth.passkeys else goals

    def own_handlers(self) -> list[Route]:
        """The pages."""
        if not self.pth_settings.auth.passkeys:
            return super().own_handlers()
        _ = self.passkeys  # watches for renamed users from now on
        script = (share_dir() / "static" / "passkeys.js").read_text()
        pages: list[Route] = [
            (r"/passkeys", PasskeysPage),
            (r"/passkeys\.js", PasskeyScript, {"script": script}),
        ]
        return [*super().own_handlers(), *pages]

    async def provider_proves(self, user: Any) -> bool:
        """Whether the user has another way than a passkey to prove a fresh login."""
        others = [method for method in self.reauth.methods if method.name != PasskeyMethod.name]
        return any([await method.available(user) for method in others])

    async def get_authenticated_user(self, handler: Any, data: Any) -> Any:
        """Called by the hub for each login: notes which browser it was, for the first passkey."""
        login = await super().get_authenticated_user(handler, data)
        if login is not None and isinstance(handler, BaseHandler):
            session = handler.get_session_cookie() or handler.set_session_cookie()
            self.passkeys.logins.note((login["name"], session), time.monotonic())
        return login

    async def pre_spawn_start(self, user: Any, spawner: Any) -> None:
        """Called before each start: nothing that locks starts if its owner could not open it again."""
        await maybe_future(super().pre_spawn_start(user, spawner))
        settings = self.pth_settings
        groups = [group.name for group in user.groups]
        rules = rules_for(settings, user.name, groups, spawner.name)
        locks = rules.idle_lock > 0 or rules.reauth_on_reconnect > 0
        if not (settings.auth.passkeys and locks) or await self.provider_proves(user):
            return
        page = f"{settings.server.base_url}hub/passkeys"
        try:
            if self.passkeys.usable(user.name):
                return
        except PasskeyStoreError as error:
            log.error("%s", error)
            raise WorkspaceProblem(failures.AWAY, reason="passkeys-unreadable") from None
        problem = WorkspaceProblem(
            f"{failures.NEEDED_TO_START.format(user=user.name)} ({page})",
            reason="passkey-missing",
            status_code=409,
        )
        sentence = html.escape(failures.NEEDED_TO_START.format(user=user.name))
        problem.jupyterhub_html_message = (
            f'<p>{sentence}</p><p><a id="passkeys" role="button" class="btn btn-primary" '
            f'href="{html.escape(page)}">Add a passkey</a></p>'
        )
        raise problem

    def delete_user(self, user: Any) -> Any:
        """Called before a user is deleted; raises when that is refused, and when passkeys would stay."""
        answer = super().delete_user(user)
        _forget(self.passkeys, user.name)
        return answer


def _forget(passkeys: Passkeys, user: str) -> int:
    try:
        return passkeys.store.forget(user)
    except PasskeyStoreError as error:
        log.error("%s", error)
        raise HTTPError(503, failures.AWAY) from None


def _forget_the_renamed(passkeys: Passkeys) -> None:
    """Whoever is given the old name next must not find its passkeys; the renamed user enrols again."""

    def renamed(user: Any, new: str, old: Any, _initiator: object) -> None:
        if inspect(user).persistent and isinstance(old, str) and new != old and _forget(passkeys, old):
            log.warning("%s is called %s from now on: the passkeys were removed.", old, new)

    event.listen(orm.User.name, "set", renamed, active_history=True)
