"""Pages for local accounts: sign up, change the password, and an administrator's list of accounts.

Everything that changes something is a POST with the hub's XSRF token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyterhub.handlers import BaseHandler
from jupyterhub.scopes import needs_scope
from nativeauthenticator.orm import UserInfo
from tornado import web

if TYPE_CHECKING:
    from persistent_terminal_hub.hub.authenticator import LocalAuthenticator


class AccountHandler(BaseHandler):
    """What the pages share."""

    @property
    def accounts(self) -> LocalAuthenticator:
        """The authenticator, by its real type."""
        authenticator: LocalAuthenticator = self.authenticator
        return authenticator

    def field(self, name: str) -> str:
        """A field of the form as it was typed; passwords may begin or end with a space."""
        value: str = self.get_body_argument(name, "", strip=False)
        return value

    async def page(self, template: str, status: int = 200, **values: Any) -> None:
        """Render and finish."""
        self.set_status(status)
        self.finish(await self.render_template(template, **values))


class SignUpHandler(AccountHandler):
    """Ask for an account."""

    async def get(self) -> None:
        """The form."""
        self._refuse_when_closed()
        await self._form()

    async def post(self) -> None:
        """Create the account, which then waits for approval."""
        self._refuse_when_closed()
        username = self.field("username")
        problem = await self.accounts.sign_up(
            username, self.field("signup_password"), self.field("signup_password_confirmation")
        )
        if problem:
            await self._form(422, username=username[:64], problem=problem)
            return
        await self._form(done=True, approved=self.accounts.open_sign_up)

    async def _form(self, status: int = 200, **values: Any) -> None:
        await self.page("signup.html", status, minimum=self.accounts.minimum_password_length, **values)

    def _refuse_when_closed(self) -> None:
        if not self.accounts.enable_signup:
            raise web.HTTPError(404, "Signing up is switched off here: ask an administrator for an account.")


class ChangePasswordHandler(AccountHandler):
    """Change one's own password."""

    @web.authenticated
    async def get(self) -> None:
        """The form."""
        await self._form()

    @web.authenticated
    async def post(self) -> None:
        """Check the old password, set the new one, log every other browser out."""
        name: str = self.current_user.name
        # Counted like a login: an unattended browser is no place to guess without end.
        origin = str(self.request.remote_ip or "")
        if not await self.accounts.guess(name, self.field("old_password"), origin):
            await self._form(403, problem="Your present password was not right.")
            return
        if self.field("password") != self.field("confirmation"):
            await self._form(422, problem="The two new passwords differ.")
            return
        if problem := await self.accounts.set_password(name, self.field("password")):
            await self._form(422, problem=problem)
            return
        self.set_login_cookie(self.current_user)
        await self._form(done=True)

    async def _form(self, status: int = 200, **values: Any) -> None:
        name = self.current_user.name
        await self.page(
            "change-password.html",
            status,
            account=name,
            minimum=self.accounts.minimum_password_length,
            **values,
        )


class AccountsHandler(AccountHandler):
    """An administrator's list of accounts."""

    @needs_scope("admin:users")
    async def get(self) -> None:
        """The list, those who wait first."""
        await self._list()

    @needs_scope("admin:users")
    async def post(self) -> None:
        """One change: approve, withdraw, discard, or a new password."""
        username, action = self.field("username"), self.field("action")
        own = username == self.current_user.name
        problem = done = ""
        if action == "approve":
            self.accounts.set_approval(username, True)
            done = f"{username} may log in now."
        elif action in ("withdraw", "discard") and own:
            problem = "You cannot take away your own approval: another administrator can."
        elif action == "withdraw":
            self.accounts.set_approval(username, False)
            done = f"{username} cannot log in any more. Running workspaces go on until they are stopped."
        elif action == "discard":
            self.accounts.discard(username)
            done = f"The account {username} was discarded."
        elif action == "password" and not self._may_set_password(username):
            problem = "Only an administrator may set the password of an administrator."
        elif action == "password":
            problem = await self.accounts.set_password(username, self.field("password"))
            done = "" if problem else f"{username} has a new password."
            if own and not problem:
                self.set_login_cookie(self.current_user)
        else:
            problem = "Unknown action."
        if not problem:
            self.log.info("Account %s: %s by %s", username, action, self.current_user.name)
        await self._list(422 if problem else 200, problem=problem, done=done)

    def _may_set_password(self, username: str) -> bool:
        """Whoever may manage users without being an administrator must not become one this way."""
        target = self.find_user(username)
        administrator = username in self.accounts.admin_users or (target is not None and target.admin)
        return bool(self.current_user.admin or not administrator)

    async def _list(self, status: int = 200, **values: Any) -> None:
        accounts = sorted(
            UserInfo.all_users(self.db), key=lambda info: (bool(info.is_authorized), info.username)
        )
        await self.page(
            "authorize.html",
            status,
            accounts=[{"name": info.username, "approved": bool(info.is_authorized)} for info in accounts],
            minimum=self.accounts.minimum_password_length,
            **values,
        )


def account_handlers() -> list[tuple[str, type]]:
    """Routes below /hub."""
    return [
        (r"/signup", SignUpHandler),
        (r"/change-password", ChangePasswordHandler),
        (r"/authorize", AccountsHandler),
    ]
