"""The service's own pages: the administration panel, its assets, and the page for who may not open it."""

from __future__ import annotations

import re
from typing import Any

from jupyterhub.services.auth import HubOAuthenticated
from tornado.web import RequestHandler, authenticated

from persistent_terminal_hub.built_pages import ASSET, Assets, assets_dir, page_file
from persistent_terminal_hub.control.rights import OPERATE

#: Nothing but our own files.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_MAY = frozenset({"admin:servers", OPERATE})


class _Page(RequestHandler):
    def set_default_headers(self) -> None:
        """Nothing of it belongs into a frame."""
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.clear_header("Server")


class AdminPageHandler(HubOAuthenticated, _Page):
    """The administration panel."""

    @authenticated
    async def get(self) -> None:
        """The page; for others one that says who may help."""
        self.set_header("Cache-Control", "no-store")
        # Reading it sets the cookie that the page's scripts send back with each request.
        _ = self.xsrf_token
        try:
            page = page_file("admin.html").read_text()
        except OSError:
            self.set_status(503)
            page = _said(
                "", "The pages are not built", "Run <code>make ui</code>, then reload this page.", ""
            )
            self.write(page)
            return
        user = self.current_user or {}
        if not (_MAY & set(map(str, user.get("scopes") or ()))):
            self.set_status(403)
            home = self.settings["control"].place.prefix.rpartition("services/")[0] + "hub/home"
            page = _said(
                "".join(re.findall(r"<link [^>]*>", page)), "The administration is not for this account",
                "It is for administrators and operators. If you need something done with a workspace of "
                "somebody else, ask one of them; your own workspaces are on the home page.",
                f'<a class="button primary" href="{home}">To your workspaces</a> '
                f'<a class="button" href="{home.removesuffix("home")}logout">Log in as somebody else</a>',
            )  # fmt: skip
        self.write(page)


class AssetHandler(_Page, Assets):
    """Its scripts and styles."""


def _said(head: str, title: str, text: str, links: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title>{head}</head>"
        f'<body><main class="message"><h1>{title}</h1><p>{text}</p><p>{links}</p></main></body></html>'
    )


page_routes: list[tuple[Any, ...]] = [
    (r"admin", AdminPageHandler),
    (rf"assets/({ASSET})", AssetHandler, {"path": str(assets_dir())}),
]
