"""The terminal page of a workspace: `<base>/persistent-terminals/`, its files, and its layout.

The page is built from `ui/pages` into `share/`; its scripts and styles have their content's hash in their
name, so that browsers keep them for ever. A locked workspace answers with the lock page, as everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, Final

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from tornado import web

from persistent_terminal_hub import rules_file

from .api import SessionsHandler
from .errors import SessionError
from .lock_setup import place_of

_FOLDER: Final = "share/persistent-terminal-hub/pages"
_PAGE: Final = "terminal.html"
#: A name with its content's hash in it, as the build makes them.
_ASSET: Final = r"[A-Za-z0-9_.-]+-[A-Za-z0-9_-]{8,}\.(?:js|css|woff2|svg)"
_GZ: Final = ".gz"
_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".woff2": "font/woff2",
    ".svg": "image/svg+xml",
}
_YEAR: Final = 365 * 24 * 3600
#: Bytes of a layout.
MAX_LAYOUT: Final = 32 * 1024
LAYOUT_FILE: Final = "terminal-page.json"

#: Nothing but this server's own files. xterm.js makes style elements, so styles may stand in the page.
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
    )
)


def folder() -> Path | None:
    """Where the built page is: of this checkout, else as it was installed; None: nowhere."""
    for root in (Path(__file__).resolve().parents[2], Path(sys.prefix)):
        if (found := root / _FOLDER / _PAGE).is_file():
            return found.parent
    return None


def with_facts(page: str, facts: dict[str, str]) -> str:
    """The page with what it must know of its server, as an attribute of its first element."""
    value = html.escape(json.dumps(facts), quote=True)
    return re.sub(r"<html\b", lambda _: f'<html data-facts="{value}"', page, count=1)


class Page(JupyterHandler):
    """The page."""

    auth_resource = "terminals"

    @property
    def content_security_policy(self) -> str:
        """What the page may load."""
        return POLICY

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Show it."""
        found = folder()
        if found is None:
            raise web.HTTPError(404, "The terminal page was not built into this installation.")
        text = await asyncio.to_thread((found / _PAGE).read_text, "utf-8")
        facts = {
            "baseUrl": self.base_url,
            "hubPath": place_of(self.base_url, os.environ).hub_path,
            "workspace": os.environ.get("PTH_WORKSPACE_ID", "").rstrip("/"),
            "xsrf": self.xsrf_token.decode(),
        }
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(with_facts(text, facts))


class Assets(web.StaticFileHandler):
    """Its scripts and styles. They are the same for everybody and hold nothing of anybody."""

    async def get(self, path: str, include_body: bool = True) -> None:
        """Send one, compressed if the browser takes that."""
        self.set_header("Vary", "Accept-Encoding")
        takes = self.request.headers.get("Accept-Encoding", "")
        if re.search(r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))", takes):
            compressed = path + _GZ
            root = Path(self.root)
            if (root / compressed).is_file():
                self.set_header("Content-Encoding", "gzip")
                path = compressed
        await super().get(path, include_body)

    def get_content_type(self) -> str:
        """Not as this machine's list of types says: a browser runs no script of a wrong type."""
        return _TYPES[Path(str(self.absolute_path).removesuffix(_GZ)).suffix]

    def set_extra_headers(self, path: str) -> None:
        """Keep it: another content has another name."""
        self.set_header("Cache-Control", f"public, max-age={_YEAR}, immutable")
        self.set_header("X-Content-Type-Options", "nosniff")

    def compute_etag(self) -> str | None:
        """The name says it."""
        return None


class Layout(SessionsHandler):
    """Which tabs the page shows and in which order: the same on every device."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """What was put last; `{}` when nothing was, or it cannot be read."""
        found: Any = None
        with contextlib.suppress(OSError, ValueError, RecursionError):
            found = json.loads(await asyncio.to_thread(self._read))
        self.set_header("Cache-Control", "no-store")
        self.reply(found if isinstance(found, dict) else {})

    @web.authenticated
    @authorized
    async def put(self) -> None:
        """Keep it; the page alone knows what it means."""
        if len(self.request.body) > MAX_LAYOUT:
            raise SessionError(413, f"A layout has at most {MAX_LAYOUT} bytes.")
        try:
            value = json.loads(self.request.body)
        except (ValueError, RecursionError) as error:
            raise SessionError(400, "The body is not JSON.", "Send a JSON object.") from error
        if not isinstance(value, dict):
            raise SessionError(422, "A layout is a JSON object.")
        try:
            await asyncio.to_thread(self._write, self.request.body)
        except OSError as error:
            raise SessionError(
                503, "The layout could not be written.", "Is the workspace's disk full?"
            ) from error
        self.set_status(204)
        self.finish()

    def _write(self, data: bytes) -> None:
        path = _layout_path()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        rules_file.write_private(path, data)

    def _read(self) -> bytes:
        with _layout_path().open("rb") as file:
            return file.read(MAX_LAYOUT)


def _layout_path() -> Path:
    state = os.environ.get("PTH_STATE_DIR")
    place = Path(state) if state else Path.home() / ".persistent-terminal-hub"
    return place / LAYOUT_FILE


def handlers(base_url: str) -> list[tuple[Any, ...]]:
    """Routes under the server's base URL."""
    root = url_path_join(base_url, "/persistent-terminals")
    routes: list[tuple[Any, ...]] = [
        (root + "/", Page),
        (root, web.RedirectHandler, {"url": root + "/", "permanent": False}),
        (root + "/api/layout", Layout),
    ]
    if (found := folder()) is not None:
        routes.append((rf"{root}/assets/({_ASSET})", Assets, {"path": str(found / "assets")}))
    return routes
