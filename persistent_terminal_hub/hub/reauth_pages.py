"""The page /hub/reauth, and what the handlers of all methods share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from jupyterhub.handlers import BaseHandler
from jupyterhub.utils import url_path_join
from tornado import web

from persistent_terminal_hub.hub.reauth_methods import Challenge
from persistent_terminal_hub.hub.unlock import WorkspaceAddress, next_within

if TYPE_CHECKING:
    from persistent_terminal_hub.hub.reauth import Reauth

TOO_OLD = (
    "This page was open for too long, or was used already. Nothing happened to your workspace: try again "
    "here."
)
NOT_YOURS = (
    "This workspace is somebody else's: only its owner can unlock it. If you want to open it as another "
    "user, log out first."
)
NO_WORKSPACE = "You have no workspace of this name. Look on the hub's home page which ones you have."
NO_METHOD = (
    "You cannot unlock it here: nothing that proves a fresh login is set up for your account. Your workspace "
    "stays locked and what runs in it goes on. Ask an administrator."
)


class ReauthHandler(BaseHandler):
    """Knows the browser, its user and the workspace; never logs anybody in."""

    @property
    def reauth(self) -> Reauth:
        """The hub's one."""
        reauth: Reauth = self.authenticator.reauth
        return reauth

    @property
    def origin(self) -> str:
        """The address that the request came from, as far as the hub knows it."""
        return str(self.request.remote_ip or "")

    def set_default_headers(self) -> None:
        """Called by Tornado: what the hub sends, and that nothing here is kept or leaves in a referrer."""
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")
        # Not `no-referrer`: browsers would send `Origin: null` with our own forms.
        self.set_header("Referrer-Policy", "same-origin")

    def place(self) -> tuple[str, str]:
        """The workspace and the page to go back to, from the query; HTTPError unless it is the user's own."""
        wish = self.get_query_argument("workspace", "")
        if wish in self.reauth.goals:
            return wish, ""
        owner, slash, name = wish.rpartition("/")
        if slash and owner != self.current_user.name:
            raise web.HTTPError(403, NOT_YOURS)
        user = self.current_user
        if name and name not in user.orm_user.orm_spawners:
            raise web.HTTPError(404, NO_WORKSPACE)
        return name, next_within(self.get_query_argument("next", ""), self.address(name).path)

    def address(self, workspace: str) -> WorkspaceAddress:
        """Where the browser finds the user's workspace."""
        return WorkspaceAddress(self.current_user.server_url(workspace))

    def page_url(self, workspace: str, next_: str, method: str = "") -> str:
        """The path of the page, or of a method's handler, for this workspace."""
        query = {"workspace": workspace} | ({"next": next_} if next_ else {})
        return url_path_join(self.hub.base_url, "reauth", method) + "?" + urlencode(query)

    async def answered(self) -> Challenge | None:
        """The challenge that this POST answers, taken; None when the request has been finished instead."""
        if self.current_user is None:
            raise web.HTTPError(403, "You are not logged in any more: open your workspace again and log in.")
        workspace, next_ = self.place()
        if not await self.may_try(workspace, next_):
            return None
        challenge = self.reauth.take(self, self.get_body_argument("challenge", ""))
        if challenge is None or challenge.workspace != workspace:
            await self.show(workspace, next_, status=409, problem=TOO_OLD)
            return None
        return challenge

    async def may_try(self, workspace: str, next_: str) -> bool:
        """False when the user failed too often; the request has been finished then."""
        if sentence := self.reauth.limits.sentence(self.current_user.name, self.origin):
            await self.show(workspace, next_, status=429, problem=sentence)
            return False
        return True

    async def show(self, workspace: str, next_: str, *, status: int = 200, problem: str = "") -> None:
        """Finish with the page: the workspace, the problem, if any, and a fresh offer of each method."""
        user = self.current_user
        goal = self.reauth.goals.get(workspace)
        running = goal is not None or bool(user.spawners[workspace].active)
        if goal is not None:
            problem = _of_goal(problem)
        waiting = self.reauth.limits.sentence(user.name, self.origin)
        offers = []
        if running and not waiting:
            for method in await self.reauth.available(user):
                challenge = self.reauth.challenge(self, workspace, next_)
                html = await method.offer(self, challenge)
                offers.append({"name": method.name, "title": method.title, "html": html})
            if not offers:
                status, problem = max(status, 403), problem or NO_METHOD
        self.set_status(status if running else 409)
        self.finish(
            await self.render_template(
                "reauth.html",
                account=user.name,
                workspace=workspace,
                problem=problem if running else "",
                offers=offers,
                running=running,
                goal=goal,
                retry=self.page_url(workspace, next_),
            )
        )


class ReauthPage(ReauthHandler):
    """GET /hub/reauth?workspace=NAME&next=PATH."""

    @web.authenticated
    async def get(self) -> None:
        """Who is not logged in logs in first, and then proves it again here: a login may be hours old."""
        workspace, next_ = self.place()
        if await self.may_try(workspace, next_):
            await self.show(workspace, next_)


def _of_goal(sentence: str) -> str:
    """The same sentence where no workspace is locked."""
    return re.sub(
        r"(?i)your workspace stays locked(, and what runs in it goes on)?",
        lambda found: "Nothing was changed" if found[0][0] == "Y" else "nothing was changed",
        sentence,
    )


def query_of(handler: Any, challenge: Challenge, method: str) -> str:
    """The action of a method's form."""
    url: str = handler.page_url(challenge.workspace, challenge.next, method)
    return url
