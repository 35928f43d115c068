"""A workspace with a lock: real keeper, real single-user server with JupyterLab, a stand-in for the hub."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from persistent_terminal_hub.tokens import Purpose, SigningKey, issue, jwks
from tests.support.waiting import free_port, wait_for

from .test_server_extension import REPO
from .test_server_on_keeper import Workspace

HUB_ID, BASE = "h1", "/user/ann/"
OWNER = {"Authorization": "token oauth-token"}
HTML = {"Accept": "text/html,*/*;q=0.8", "Sec-Fetch-Mode": "navigate"}

# Loaded into the server: routes as other extensions bring them, one of them added late, and a list of all.
PROBE = """
import asyncio, json, os
from pathlib import Path
from tornado import web, websocket
from tornado.iostream import StreamClosedError
from tornado.routing import Router

class Slow(web.RequestHandler):
    async def get(self):
        Path("slow.begun").touch()
        while not Path("slow.go").exists():
            await asyncio.sleep(0.02)
        Path("slow.done").touch()
        self.finish("CANARY-slow")

class Download(web.RequestHandler):
    async def get(self):
        try:
            while True:
                self.write(b"CANARY-download" * 4096)
                await self.flush()
                await asyncio.sleep(0.01)
        except StreamClosedError:
            Path("download.cut").touch()

class Lsp(websocket.WebSocketHandler):
    def on_message(self, message):
        with open("lsp.heard", "a") as file:
            file.write(message)
        self.write_message("CANARY-lsp " + message)

class Late(web.RequestHandler):
    def get(self):
        self.finish("CANARY-late")

def rules(router, host=".*"):
    for rule in router.rules:
        inner = getattr(rule.target, "rules", None)
        pattern = getattr(rule.matcher, "regex", None)
        if inner is not None:
            yield from rules(rule.target)
        elif pattern is not None:
            yield pattern.pattern, getattr(rule.target, "__name__", str(rule.target))
        else:
            yield ".*", getattr(rule.target, "__name__", str(rule.target))

def _load_jupyter_server_extension(app):
    base = app.web_app.settings["base_url"]
    app.web_app.add_handlers(".*$", [
        (base + "probe/slow", Slow), (base + "probe/download", Download), (base + "probe/lsp", Lsp)])

    def later():
        app.web_app.add_handlers(".*$", [(base + "probe/late", Late)])
        found = [*rules(app.web_app.default_router), *rules(app.web_app.wildcard_router)]
        default = app.web_app.settings.get("default_handler_class")
        Path("handlers.json").write_text(json.dumps({"rules": found, "default": str(default)}))
    app.io_loop.call_later(0.1, later)
"""


class Hub:
    """Who a token is, an OAuth code's token, and the keys of its signatures."""

    def __init__(self) -> None:
        self.key = SigningKey.generate()
        self.tokens = {"oauth-token": "ann", "bob-token": "bob"}
        self.workspaces: list[dict[str, Any]] = []  # what it tells of ann's
        self.port = free_port()
        self.start()

    def start(self) -> None:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def reply(self, value: Any, status: int = 200) -> None:
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                if self.path.endswith("/jwks.json"):
                    self.reply(jwks([hub.key]))
                elif self.path.endswith("/api/workspaces"):
                    self.reply({"workspaces": hub.workspaces})
                elif self.path.endswith("/user"):
                    name = hub.tokens.get(self.headers.get("Authorization", "").removeprefix("token "))
                    scopes = ["access:servers!server=ann/", f"read:users!user={name}"]
                    user = {
                        "kind": "user",
                        "name": name,
                        "admin": False,
                        "groups": [],
                        "session_id": "s",
                        "scopes": scopes,
                    }
                    self.reply(user if name else {}, 200 if name else 403)
                else:
                    self.reply({"version": "6"})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.reply({"access_token": "oauth-token"})

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def token(self, purpose: Purpose = Purpose.UNLOCK, **changes: Any) -> str:
        options: dict[str, Any] = {
            "issuer": f"hub:{HUB_ID}", "audience": "workspace:ann/", "subject": "ann", "lifetime": 60,
        } | changes  # fmt: skip
        return issue(options.pop("key", self.key), purpose, **options)

    def steer(self, *actions: str) -> dict[str, str]:
        token = self.token(Purpose.STEER, subject="culler", claims={"actions": list(actions)})
        return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module", name="hub")
def stand_in_hub() -> Iterator[Hub]:
    """`hub`: one that a test may stop and start again."""
    hub = Hub()
    yield hub
    with contextlib.suppress(OSError):
        hub.stop()


class LockedWorkspace(Workspace):
    """The workspace of ann."""

    def __init__(self, home: Path, hub: Hub, port: int = 0, **env: str) -> None:
        self.hub = hub
        port = port or free_port()
        config, code = home / "config", home / "code"
        for folder in (config, code):
            folder.mkdir(exist_ok=True)
        (code / "lock_probe.py").write_text(PROBE)
        extensions = {"ServerApp": {"jpserver_extensions": {"lock_probe": True}}}
        (config / "jupyter_server_config.json").write_text(json.dumps(extensions))
        super().__init__(
            home, sys.executable, "-m", "persistent_terminal_hub.server.singleuser", "--allow-root",
            base=BASE.rstrip("/"), port=port,
            **{**self.environment(home, hub, port), "PYTHONPATH": f"{REPO}:{code}", **env},
        )  # fmt: skip
        self.http.headers["Authorization"] = OWNER["Authorization"]
        self.root = f"{self.url}/persistent-terminals/"

    @staticmethod
    def environment(home: Path, hub: Hub, port: int) -> dict[str, str]:
        """What the hub tells the server."""
        scopes = '["access:servers!server=ann/"]'
        return {
            "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}{BASE}",
            "JUPYTERHUB_SERVICE_PREFIX": BASE,
            "JUPYTERHUB_API_URL": f"http://127.0.0.1:{hub.port}/hub/api",
            "JUPYTERHUB_API_TOKEN": "t",
            "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-ann",
            "JUPYTERHUB_USER": "ann",
            "JUPYTERHUB_BASE_URL": "/",
            "JUPYTERHUB_OAUTH_SCOPES": scopes,
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES": scopes,
            "JUPYTERHUB_ROOT_DIR": str(home),
            "PTH_HUB_ID": HUB_ID,
            "PTH_WORKSPACE_ID": "ann/",
            "PTH_STATE_DIR": str(home / "state"),
        }

    def up(self) -> None:
        """Wait for an answer of any kind, also of a locked server."""

        def there() -> bool:
            try:
                return requests.get(self.root + "api/status", timeout=5).status_code == 200
            except requests.RequestException:
                return False

        wait_for(there, 60, "the server answers")

    def lock(self, reason: str = "idle") -> None:
        self.control.call("lock", reason=reason)
        wait_for(lambda: self.status()["locked"], 20, "locked")

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = requests.get(self.root + "api/status", timeout=10).json()
        return found

    def unlock(self, token: str | None = None, **options: Any) -> requests.Response:
        form = {"token": self.hub.token() if token is None else token, "next": BASE + "lab"}
        return requests.post(self.root + "unlock", data=form, timeout=10, allow_redirects=False, **options)

    @contextlib.contextmanager
    def without_server(self) -> Iterator[None]:
        """Kill it; the next one is held back, however long that takes."""
        old = self.kill_server()
        held = wait_for(lambda: (pid := self.server_pid) != old and pid, 20, "another server")
        os.kill(held, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(held, signal.SIGCONT)

    def restart_server(self) -> None:
        old = self.kill_server()
        wait_for(lambda: self.server_pid not in (None, old), 20, "another server")
        time.sleep(0.1)
        self.up()


@contextlib.contextmanager
def lockable(home: Path, hub: Hub, **env: str) -> Iterator[LockedWorkspace]:
    """That workspace while it is needed."""
    workspace = LockedWorkspace(home, hub, **env)
    try:
        workspace.wait()
        yield workspace
    finally:
        workspace.keeper.stop()
