"""A workspace as the hub starts it (keeper, single-user server), and a hub that does as it is told."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from persistent_terminal_hub import tokens
from persistent_terminal_hub.tokens import SigningKey
from tests.integration.client_fixtures import Relay
from tests.integration.hub_fixtures import free_ports
from tests.integration.keeper_fixtures import KeeperProcess, until

BASE = "/user/ann/lab/"
SCOPE = "access:servers!server=ann/lab"
#: Seconds that an attach token is valid here.
LIFETIME = 20.0


class FakeHub:
    """The two resources that a workspace asks for. It can go away and come back on the same port."""

    def __init__(self) -> None:
        self.users: dict[str, Any] = {}
        self.keys = [SigningKey.generate()]
        self.asked: list[str] = []
        (self.port,) = free_ports(1)
        self.server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.asked.append(self.path)
                status, answer = 200, {}
                if self.path == "/hub/api/user":
                    given = self.headers.get("Authorization", "").removeprefix("token ")
                    hub.asked.append(given)
                    user = hub.users.get(given)
                    status, answer = (200, user) if user else (403, {"message": "no"})
                elif self.path == "/hub/persistent-terminals/jwks.json":
                    answer = tokens.jwks(hub.keys)
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def let_in(self, token: str) -> dict[str, str]:
        """Make this token one of ann's; the header that shows it."""
        self.users[token] = {
            "kind": "user", "name": "ann", "scopes": [SCOPE], "groups": [], "session_id": None,
        }  # fmt: skip
        return {"Authorization": f"token {token}"}


class HubWorkspace:
    """Ann's workspace `lab`."""

    def __init__(self, folder: Path, hub: FakeHub, **env: str) -> None:
        self.hub = hub
        self.keeper = KeeperProcess(folder)
        (self.port,) = free_ports(1)
        extensions = {"jupyter_server_terminals": True, "persistent_terminal_hub.server": True}
        self.keeper.start(
            sys.executable, "-m", "persistent_terminal_hub.server.singleuser", "--allow-root",
            f"--ServerApp.jpserver_extensions={extensions!r}", "--Application.log_level=WARN",
            env={
                "JUPYTER_NO_CONFIG": "1", "JUPYTER_CONFIG_DIR": str(folder),
                "JUPYTER_RUNTIME_DIR": str(folder), "JUPYTER_DATA_DIR": str(folder), "HOME": str(folder),
                "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{self.port}{BASE}",
                "JUPYTERHUB_SERVICE_PREFIX": BASE,
                "JUPYTERHUB_API_URL": f"http://127.0.0.1:{hub.port}/hub/api",
                "JUPYTERHUB_API_TOKEN": "t", "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-ann-lab",
                "JUPYTERHUB_USER": "ann", "JUPYTERHUB_SERVER_NAME": "lab", "JUPYTERHUB_BASE_URL": "/",
                "JUPYTERHUB_OAUTH_SCOPES": json.dumps([SCOPE]),
                "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps([SCOPE]),
                "JUPYTERHUB_ROOT_DIR": str(folder), "JUPYTERHUB_ACTIVITY_URL": "",
                "PTH_HUB_ID": "0123456789ab", "PTH_WORKSPACE_ID": "ann/lab",
                "PTH_ATTACH_TOKEN_SECONDS": str(LIFETIME), **env,
            },
        )  # fmt: skip
        self.blocking = self.keeper.connect()
        self.relay = Relay(self.port)
        self.wait()

    @property
    def url(self) -> str:
        """Behind the relay, once that was started."""
        return f"http://127.0.0.1:{self.relay.port or self.port}{BASE}"

    def wait(self) -> None:
        def answers() -> bool:
            try:
                return requests.get(f"http://127.0.0.1:{self.port}{BASE}api", timeout=5).ok
            except requests.ConnectionError:
                return False

        until(answers, 40)

    @property
    def server_pid(self) -> int:
        return int(self.blocking.call("stats").header["server_pid"])

    @property
    def key(self) -> SigningKey:
        """What the workspace signs with."""
        return SigningKey.from_pem((self.keeper.runtime / "attach-key.pem").read_bytes())

    def request(self, method: str, path: str, headers: dict[str, str], **more: Any) -> requests.Response:
        url = f"http://127.0.0.1:{self.port}{BASE}persistent-terminals/api/sessions{path}"
        return requests.request(method, url, headers=headers, timeout=20, **more)

    def create(self, headers: dict[str, str], **body: Any) -> dict[str, Any]:
        answer = self.request("POST", "", headers, json={"argv": ["/bin/bash", "--norc"], **body})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def stop(self) -> None:
        self.keeper.stop()
