"""Who the service takes the caller for: `GET api/me`, and a plain page that logs a browser in."""

from __future__ import annotations

import html

from jupyterhub.services.auth import HubOAuthenticated
from tornado.web import RequestHandler, authenticated

from persistent_terminal_hub import __version__
from persistent_terminal_hub.control.documented import documented
from persistent_terminal_hub.control.web import ApiHandler, Reply


class Me(Reply):
    """The caller."""

    name: str
    kind: str
    groups: list[str]
    sees_all: bool
    steers_all: bool
    version: str


class MeHandler(ApiHandler):
    """The caller."""

    @documented(answers={200: Me})
    async def get(self) -> None:
        """Say who asks."""
        caller = self.caller
        self.reply(
            Me(
                name=caller.name,
                kind=caller.kind,
                groups=sorted(caller.groups),
                sees_all=caller.sees_all,
                steers_all=caller.steers_all,
                version=__version__,
            )
        )


class HomeHandler(HubOAuthenticated, RequestHandler):
    """The service's own address: logs in a browser, so that its scripts may use the API."""

    @authenticated
    async def get(self) -> None:
        """A page without scripts."""
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        name = html.escape(str(self.current_user["name"]))
        # Reading it sets the cookie that a script sends back with each change.
        _ = self.xsrf_token
        self.write(
            "<!doctype html><html lang=en><meta charset=utf-8><title>Persistent Terminal Hub</title>"
            f"<h1>Persistent Terminal Hub</h1><p>You are logged in as {name}.</p>"
            "<p><a href=api/openapi.json>The API of workspaces and sessions</a></p></html>"
        )
