"""Prove a fresh login with the same user's password, for every authenticator that has a login form."""

from __future__ import annotations

from typing import Any

from tornado.web import HTTPError

from persistent_terminal_hub.hub.reauth_methods import Challenge
from persistent_terminal_hub.hub.reauth_pages import ReauthHandler

#: Longer than any password; what is longer is not even looked at.
MAX_PASSWORD = 4096

WRONG = "That was not your password. Your workspace stays locked; try again."
ONE_AT_A_TIME = "Another try of yours is being checked: wait for it, then try again."
FAILED = (
    "Your password could not be checked just now. Your workspace stays locked; try again in a moment, and "
    "tell an administrator if it goes on."
)


class PasswordMethod:
    """The password of the user whose workspace it is; no field for a name."""

    name = "password"
    title = "Your password"

    def __init__(self, authenticator: Any) -> None:
        self._authenticator = authenticator

    async def available(self, user: Any) -> bool:
        """Everybody has one here."""
        return True

    async def offer(self, handler: ReauthHandler, challenge: Challenge) -> str:
        """The form."""
        html: str = await handler.render_template(
            "reauth-password.html",
            challenge=challenge,
            action=handler.page_url(challenge.workspace, challenge.next, self.name),
            otp=bool(getattr(self._authenticator, "request_otp", False)),
            otp_prompt=getattr(self._authenticator, "otp_prompt", "OTP:"),
        )
        return html

    def handlers(self) -> list[tuple[str, type]]:
        """Routes below /hub."""
        return [(r"/reauth/password", PasswordHandler)]


class PasswordHandler(ReauthHandler):
    """POST of the form."""

    async def post(self) -> None:
        """Check the password as a login would, but for this user only, and without logging in."""
        challenge = await self.answered()
        if challenge is None:
            return
        # One at a time: otherwise a hundred guesses could be under way before the first one is counted.
        if challenge.user in self.reauth.checking:
            await self.show(challenge.workspace, challenge.next, status=429, problem=ONE_AT_A_TIME)
            return
        self.reauth.checking.add(challenge.user)
        try:
            status, reason, sentence = await self._judge(challenge.user)
        finally:
            self.reauth.checking.discard(challenge.user)
        if reason == "ok":
            await self.reauth.proven(self, challenge, method="password")
            return
        await self.reauth.refused(
            self, challenge, method="password", reason=reason, sentence=sentence, status=status,
            counts=status != 503,
        )  # fmt: skip

    async def _judge(self, user: str) -> tuple[int, str, str]:
        password = self.get_body_argument("password", "", strip=False)
        if not password or len(password) > MAX_PASSWORD:
            return 403, "wrong_password", WRONG
        data = {"username": user, "password": password}
        if otp := self.get_body_argument("otp", ""):
            data["otp"] = otp
        try:
            login = await self.authenticator.check_login(self, data)
        except HTTPError as error:  # the authenticator's own sentence: locked out, waits for approval...
            if error.status_code >= 500:
                return 503, "unavailable", FAILED
            if error.status_code == 429:
                return 429, "locked_out", str(error.log_message or WRONG)
            return 403, "wrong_password", WRONG
        except Exception:  # a directory server that is away, a library's bug: said, never shown
            self.log.exception("The password of %s could not be checked", user)
            return 503, "unavailable", FAILED
        if not login or login["name"] != user:
            return 403, "wrong_password", WRONG
        return 200, "ok", ""
