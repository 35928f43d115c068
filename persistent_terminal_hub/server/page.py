"""The terminal page of a workspace: `<base>/persistent-terminals/`, its files, and its layout.

The page is built from `ui/pages` into `share/`. A locked workspace answers with the lock page, as everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import os
import re
from pathlib import Path
from typing import Any, Final

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from tornado import web

from persistent_terminal_hub import rules_file
from persistent_terminal_hub.built_pages import ASSET, Assets, assets_dir, page_file
from persistent_terminal_hub.keeper.lock_operations import state_directory

from .api import SessionsHandler
from .errors import SessionError
from .lock_setup import place_of

_PAGE: Final = "terminal.html"
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
        try:
            text = await asyncio.to_thread(page_file(_PAGE).read_text, "utf-8")
        except FileNotFoundError:
            raise web.HTTPError(404, "The terminal page was not built into this installation.") from None
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
    runtime = Path(os.environ.get("PTH_RUNTIME_DIR") or Path.home())
    return state_directory(runtime, alone=False) / LAYOUT_FILE


def handlers(base_url: str) -> list[tuple[Any, ...]]:
    """Routes under the server's base URL."""
    root = url_path_join(base_url, "/persistent-terminals")
    return [
        (root + "/", Page),
        (root, web.RedirectHandler, {"url": root + "/", "permanent": False}),
        (root + "/api/layout", Layout),
        (rf"{root}/assets/({ASSET})", Assets, {"path": str(assets_dir())}),
    ]
