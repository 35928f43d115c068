# ruff: noqa: E501 - tables of cases
"""A locked workspace for real: nothing of its server answers, whatever is asked, and unlocking works once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from persistent_terminal_hub.client.api import Workspace as ClientWorkspace
from persistent_terminal_hub.client.errors import InputLost, WorkspaceLocked
from persistent_terminal_hub.protocol.codes import SUBPROTOCOL
from persistent_terminal_hub.server.lock import SETTING
from persistent_terminal_hub.server.singleuser import PersistentSingleUser
from persistent_terminal_hub.tokens import Purpose, SigningKey
from tests.support.waiting import free_port, wait_for

from .lock_fixtures import BASE, HTML, OWNER, Hub, LockedWorkspace, stand_in_hub  # noqa: F401 - a fixture
from .test_server_extension import server_env

re_parser: Any = __import__("re")._parser
LOCK_HEADERS = {
    "content-type", "date", "content-length", "cache-control", "x-content-type-options", "referrer-policy",
    "content-security-policy", "x-frame-options", "x-robots-tag", "connection", "vary",
}  # fmt: skip
BEARER = {"Authorization": "Bearer oauth-token"}
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, hub: Hub) -> Iterator[LockedWorkspace]:
    home = tmp_path_factory.mktemp("home")
    (home / "CANARY-file.txt").write_text("CANARY-content")
    (home / "big.bin").write_bytes(b"CANARY-download" * 4_000_000)
    notebook = {"cells": [{"cell_type": "code", "source": "'CANARY-cell'", "metadata": {}, "outputs": [], "execution_count": None, "id": "a"}],
                "metadata": {}, "nbformat": 4, "nbformat_minor": 5}  # fmt: skip
    (home / "CANARY-notebook.ipynb").write_text(json.dumps(notebook))
    workspace = LockedWorkspace(home, hub, CANARY="CANARY-environment")
    try:
        workspace.wait()
        wait_for((home / "handlers.json").exists, 20, "the list of handlers")
        yield workspace
    finally:
        workspace.keeper.stop()
    assert "Traceback" not in workspace.log.read_text(), workspace.log.read_text()[-4000:]


@pytest.fixture
def opened(workspace: LockedWorkspace) -> LockedWorkspace:
    """Open at the beginning of a test."""
    if workspace.status()["locked"]:
        assert workspace.unlock().status_code == 303
    return workspace


def example(pattern: str) -> str:
    """A text that a route's pattern matches."""

    def of(tree: Any) -> str:
        return "".join(one(str(kind), value) for kind, value in tree)

    def one(kind: str, value: Any) -> str:
        if kind == "LITERAL":
            return chr(value)
        if kind == "IN":
            if str(value[0][0]) == "NEGATE":
                return "x"
            head, inner = value[0]
            return {"LITERAL": lambda: chr(inner), "RANGE": lambda: chr(inner[0])}.get(
                str(head), lambda: "x"
            )()
        if kind in ("MAX_REPEAT", "MIN_REPEAT"):
            return of(value[2]) * min(max(value[0], 1), value[1])
        if kind == "SUBPATTERN":
            return of(value[3])
        if kind == "BRANCH":
            return of(value[1][0])
        return "" if kind.startswith(("AT", "ASSERT")) else "x"

    return of(re_parser.parse(pattern))


def paths(workspace: LockedWorkspace, canaries: dict[str, str]) -> list[str]:
    """Addresses that reach every registered handler, with real names where one takes a name."""
    found = json.loads((workspace.home / "handlers.json").read_text())["rules"]
    assert len(found) > 90, "the walk sees JupyterLab's handlers and ours"
    handlers = {name for _, name in found}
    assert {
        "SessionSocket",
        "PthSocket",
        "Late",
        "Lsp",
        "TrailingSlashHandler",
        "LabHandler",
        "NbconvertFileHandler",
    } <= handlers
    addresses = set()
    for pattern, _name in found:
        made = example(pattern)
        assert re.match(pattern, made), (pattern, made)
        addresses.add(made)
        for real in canaries.values():
            filled = re.sub(r"\(\?P<[a-z_]+>", "(", pattern).replace("$", "").replace("^", "")
            filled = re.sub(r"\((?!\?)(?:[^()]|\([^()]*\))*\)\??", real, filled, count=1)
            if re.match(pattern, filled) and not re.search(r"[()\[\]|*+\\]", filled):
                addresses.add(filled)
    addresses = {address if address.startswith("/") else BASE + address for address in addresses}
    more = ["", "lab", "lab/", "tree/", "api", "api/", "metrics", "login", "logout", "oauth_callback?code=c&state=s", "favicon.ico", "static/favicon.ico",
            "nothing-here", "api/contents/CANARY-file.txt?content=1", "files/CANARY-file.txt?download=1", "view/CANARY-notebook.ipynb", "nbconvert/html/CANARY-notebook.ipynb?download=true",
            "api/contents/", "api/kernels", "api/sessions", "api/terminals", "persistent-terminals/api/sessions", "persistent-terminals/api/sessions/", "api/status", "%2e%2e/", "..%2f",
            "persistent-terminals/lock/", "persistent-terminals//lock", "persistent-terminals/api%2fstatus", "probe/late"]  # fmt: skip
    addresses |= {BASE + path for path in more}
    addresses |= {"/", "/favicon.ico", "/robots.txt", "/user/bob/", "*"}
    ours = {BASE + "persistent-terminals/" + path for path in ("lock", "unlock", "api/status", "api/lock")}
    return sorted(addresses - ours)


class Plain:
    """HTTP by hand: nothing tidies the address, and any method goes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sock: socket.socket | None = None

    def ask(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        self.sock = self.sock or socket.create_connection(("127.0.0.1", self.port), 10)
        body = b"{}" if method in ("POST", "PUT", "PATCH") else b""
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Content-Length: {len(body)}",
            *(f"{k}: {v}" for k, v in headers.items()),
        ]
        self.sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.sock.recv(65536)
            assert piece, (method, path, data)
            data += piece
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *others = head.decode().split("\r\n")
        found = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in others}
        if method != "HEAD":
            while len(rest) < int(found["content-length"]):
                rest += self.sock.recv(65536)
        if found.get("connection") == "close":
            self.sock.close()
            self.sock = None
        return int(first.split()[1]), found, rest


def test_no_route_of_a_locked_server_tells_anything(opened: LockedWorkspace) -> None:
    workspace = opened
    http = workspace.http
    kernel = http.post(f"{workspace.url}/api/kernels", json={}, timeout=60).json()["id"]
    made = workspace.create(name="CANARY-session", argv=["sh", "-c", "echo CANARY-output; exec sleep 1000"])
    notebook = {
        "path": "CANARY-notebook.ipynb",
        "name": "CANARY-name",
        "type": "notebook",
        "kernel": {"id": kernel},
    }
    session = http.post(f"{workspace.url}/api/sessions", json=notebook, timeout=60).json()["id"]
    canaries = {
        "kernel": kernel,
        "terminal": "CANARY-session",
        "id": made["id"],
        "session": session,
        "file": "CANARY-file.txt",
        "notebook": "CANARY-notebook.ipynb",
    }
    secrets = [
        "CANARY",
        kernel,
        session,
        made["id"],
        str(workspace.home),
        "oauth-token",
        "jupyterhub-user",
        "Traceback",
        "Tornado",
        "set-cookie",
    ]
    addresses = paths(workspace, canaries)
    # The walk can tell: open, the same addresses say who is there.
    told = set()
    for path in (p for p in addresses if p.startswith(BASE + "api/") or "CANARY" in p or "sessions" in p):
        answer = http.get(
            f"http://127.0.0.1:{workspace.port}{path}", timeout=30, allow_redirects=False, stream=True
        )
        text = answer.raw.read(100_000).decode("latin-1") if answer.ok else ""
        told |= {secret for secret in secrets if secret in text}
        answer.close()
    assert {"CANARY", kernel, session, made["id"]} <= told
    workspace.lock()
    plain = Plain(workspace.port)
    asked = 0
    pages: set[bytes] = set()
    for path in addresses:
        for method in METHODS:
            for who in ({}, OWNER, BEARER) if method == "GET" else ({}, OWNER):
                for accept in ({}, HTML) if method in ("GET", "POST") else ({},):
                    status, headers, body = plain.ask(method, path, who | accept)
                    asked += 1
                    where = (method, path, status, headers, body[:300])
                    assert status == 423, where
                    assert set(headers) <= LOCK_HEADERS, where
                    # Its own address stands in the page, for the way back.
                    clean = body.decode().replace(path, "").replace(requests.utils.quote(path, safe=""), "")
                    for canary in canaries.values():
                        clean = (
                            clean.replace(requests.utils.quote(path.split("?")[0], safe=""), "")
                            if canary in path
                            else clean
                        )
                    assert not [s for s in secrets if s.lower() in (clean + str(headers)).lower()], where
                    if not accept and method == "GET":
                        pages.add(body)
    assert len(pages) == 1, "what exists and what does not answer alike"
    print(f"{len(addresses)} addresses, {asked} requests")
    with pytest.raises(InvalidStatus) as refused:
        connect(
            f"ws://127.0.0.1:{workspace.port}{BASE}api/kernels/{kernel}/channels",
            proxy=None,
            additional_headers=OWNER,
        )
    assert refused.value.response.status_code == 423
    for path in addresses:
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        status, _, body = plain.ask("GET", path, headers | OWNER)
        assert status == 423 and b"CANARY" not in body, path
    assert workspace.unlock().headers["Location"] == BASE + "lab"
    assert http.get(f"{workspace.url}/api/kernels/{kernel}", timeout=10).json()["id"] == kernel
    assert workspace.sessions("GET", "/CANARY-session")["pid"] == made["pid"]


def ws(workspace: LockedWorkspace, path: str, **options: Any) -> Any:
    return connect(
        f"ws://127.0.0.1:{workspace.port}{BASE}{path}",
        proxy=None,
        additional_headers=OWNER,
        max_size=None,
        **options,
    )


def close_code(sock: Any) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            sock.recv(10)
    assert closed.value.rcvd is not None
    return int(closed.value.rcvd.code)


def test_what_is_open_is_closed_at_once(opened: LockedWorkspace) -> None:
    workspace, http = opened, opened.http
    kernel = http.post(f"{workspace.url}/api/kernels", json={}, timeout=60).json()["id"]
    workspace.create(name="open")
    channel = ws(workspace, f"api/kernels/{kernel}/channels")
    stock = ws(workspace, "terminals/websocket/open")
    lsp = ws(workspace, "probe/lsp")
    ours = ws(workspace, "persistent-terminals/ws/sessions/open", subprotocols=[SUBPROTOCOL])
    ours.send(
        json.dumps(
            {
                "type": "attach",
                "client": "a" * 32,
                "epoch": "",
                "offset": 0,
                "input_seq": 0,
                "rows": 24,
                "cols": 80,
                "visible": True,
                "mode": "rw",
            }
        )
    )
    assert json.loads(ours.recv(10))["type"] == "attached"
    lsp.send("one")
    assert lsp.recv(10) == "CANARY-lsp one"
    download = http.get(f"{workspace.url}/probe/download", stream=True, timeout=10).iter_content(1 << 16)
    file = socket.create_connection(("127.0.0.1", workspace.port))
    file.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    file.sendall(
        f"GET {BASE}files/big.bin HTTP/1.1\r\nHost: x\r\nAuthorization: token oauth-token\r\n\r\n".encode()
    )
    slow = socket.create_connection(("127.0.0.1", workspace.port))
    slow.sendall(
        f"GET {BASE}probe/slow HTTP/1.1\r\nHost: x\r\nAuthorization: token oauth-token\r\n\r\n".encode()
    )
    wait_for((workspace.home / "slow.begun").exists, 10)
    assert b"200" in file.recv(100) and next(download)
    began = time.monotonic()
    workspace.lock()
    assert [close_code(sock) for sock in (channel, stock, lsp, ours)] == [4423] * 4
    print(f"all closed {time.monotonic() - began:.2f} s after the lock was asked for")
    with pytest.raises((requests.RequestException, OSError)):
        for _ in download:
            pass
    (workspace.home / "slow.go").touch()
    wait_for((workspace.home / "slow.done").exists, 10)
    for sock in (slow, file):
        sock.settimeout(5)
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := sock.recv(1 << 20):
                got += piece
        assert b"CANARY-slow" not in got and len(got) < 20_000_000
    again = ws(workspace, "persistent-terminals/ws/sessions/open", subprotocols=[SUBPROTOCOL])
    assert json.loads(again.recv(10))["type"] == "locked" and close_code(again) == 4423


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("expired", {"now": time.time() - 3600}, "too late"),
    ("not_yet", {"now": time.time() + 3600}, "future"),
    ("audience", {"audience": "workspace:ann/other"}, "another workspace"),
    ("issuer", {"issuer": "hub:other"}, "another hub"),
    ("subject", {"subject": "bob"}, "another user"),
    ("too_long", {"lifetime": 3600}, "longer than"),
    ("signature", {"key": SigningKey.generate()}, "not signed"),
]


@pytest.mark.parametrize(("reason", "changes", "sentence"), REFUSED, ids=[case[0] for case in REFUSED])
def test_each_refusal_says_why_and_it_stays_locked(
    workspace: LockedWorkspace, reason: str, changes: dict[str, Any], sentence: str
) -> None:
    workspace.lock()
    refused = workspace.unlock(workspace.hub.token(**changes), headers=HTML)
    assert refused.status_code == 403 and sentence in refused.text and "stays locked" in refused.text, (
        refused.text
    )
    told = workspace.unlock(workspace.hub.token(**changes), headers={"Accept": "application/json"})
    assert told.status_code == 403 and sentence in told.json()["message"]
    assert workspace.status()["locked"]


def test_an_unlock_opens_once_also_after_a_restart(workspace: LockedWorkspace) -> None:
    workspace.lock()
    for purpose in (Purpose.STEER, Purpose.SHARE, Purpose.ATTACH):
        assert "something else" in workspace.unlock(workspace.hub.token(purpose), headers=HTML).text
    token = workspace.hub.token()
    opened = workspace.unlock(token, headers={"Accept": "application/json"})
    assert opened.status_code == 204 and not workspace.status()["locked"]
    workspace.lock()
    for _ in range(2):
        replayed = workspace.unlock(token, headers=HTML)
        assert replayed.status_code == 403 and "used before" in replayed.text
        workspace.restart_server()
        assert workspace.status()["locked"]
        assert workspace.http.get(f"{workspace.url}/api/contents", timeout=10).status_code == 423
    hostile = {"token": workspace.hub.token(), "next": "//evil.example/"}
    answer = requests.post(workspace.root + "unlock", data=hostile, timeout=10, allow_redirects=False)
    assert answer.status_code == 303 and answer.headers["Location"] == BASE
    # A second tab's unlock of an open workspace goes on to its page.
    assert workspace.unlock().status_code == 303


def test_locking_now(opened: LockedWorkspace) -> None:
    workspace, url = opened, opened.root + "api/lock"
    assert requests.post(url, json={}, timeout=10).status_code == 403
    assert (
        requests.post(url, json={}, headers={"Authorization": "token bob-token"}, timeout=10).status_code
        == 403
    )
    for headers in (
        workspace.hub.steer("facts"),
        {"Authorization": "Bearer a.b.c"},
        {"Authorization": "Bearer " + workspace.hub.token()},
    ):
        assert requests.post(url, json={}, headers=headers, timeout=10).status_code == 403
    # A browser's cookie without its XSRF token.
    browser = requests.Session()
    page = browser.get(f"{workspace.url}/lab", timeout=20, allow_redirects=False)
    state = re.search(r"state=([^&]+)", page.headers["Location"])[1]  # type: ignore[index]
    browser.get(f"{workspace.url}/oauth_callback?code=c&state={state}", timeout=20, allow_redirects=False)
    assert browser.get(f"{workspace.url}/lab", timeout=20).status_code == 200
    assert browser.post(url, json={}, timeout=10).status_code == 403
    assert requests.post(url, data=b"[]", headers=OWNER, timeout=10).status_code == 400
    assert not workspace.status()["locked"]
    xsrf = {"X-XSRFToken": browser.cookies.get("_xsrf", path=BASE) or ""}
    mine = browser.post(url, json={}, headers=xsrf, timeout=10)
    assert mine.status_code == 200 and mine.json()["locked"] is True and mine.json()["already"] is False, (
        mine.text
    )
    assert "Its owner locked it." in browser.get(f"{workspace.url}/lab", headers=HTML, timeout=10).text
    assert browser.get(f"{workspace.url}/lab", headers=HTML, timeout=10).status_code == 423
    assert requests.post(url, json={}, timeout=10).json()["already"] is True
    workspace.unlock()
    steered = requests.post(
        url,
        json={"reason": "All <b>workspaces</b> were locked."},
        headers=workspace.hub.steer("lock"),
        timeout=10,
    )
    assert steered.status_code == 200, steered.text
    assert "All &lt;b&gt;workspaces" in requests.get(f"{workspace.url}/lab", headers=HTML, timeout=10).text


def test_a_request_to_unlock_is_shown_until_it_is_open(opened: LockedWorkspace) -> None:
    workspace = opened

    def ask(**headers: str) -> int:
        body = {"code": "unlock_request", "seconds": 0, "reason": "olga <asks> you to unlock it."}
        url = workspace.root + "api/warn"
        return requests.post(url, json=body, headers=headers, timeout=10).status_code

    steer = workspace.hub.steer("warn")
    assert ask(**steer) == 409, "there is nothing to unlock"
    workspace.lock()
    assert ask(**OWNER) == 423 and ask(**workspace.hub.steer("facts")) == 423
    assert ask(**steer) == 200
    said = "Nobody used it for a while. olga <asks> you to unlock it."
    assert workspace.status() | {"since": None} == {
        "locked": True, "since": None, "reason": said, "hubReachable": True,
    }  # fmt: skip
    workspace.restart_server()
    assert workspace.status()["reason"] == said, "another server knows it, too"
    page = requests.get(workspace.url + "/lab", headers=HTML, timeout=10)
    assert page.status_code == 423 and "olga &lt;asks&gt; you to unlock it." in page.text
    facts = requests.get(
        workspace.root + "api/facts", headers=workspace.hub.steer("facts"), timeout=10
    ).json()
    assert facts["unlock_asked"] == "olga <asks> you to unlock it."
    assert workspace.unlock().status_code == 303
    workspace.lock()
    assert workspace.status()["reason"] == "Nobody used it for a while.", "the next lock is another one"


def test_with_the_hub_away_it_stays_locked_and_says_so(tmp_path: Path) -> None:
    hub = Hub()
    workspace = LockedWorkspace(tmp_path, hub)
    try:
        workspace.wait()
        workspace.lock()
        assert workspace.status()["hubReachable"] is True
        token = hub.token()
        hub.stop()
        wait_for(lambda: workspace.status()["hubReachable"] is False, 15, "it sees that the hub is away")
        page = requests.get(f"{workspace.url}/lab", headers=HTML, timeout=10)
        assert (
            page.status_code == 423 and "The hub does not answer" in page.text and "stays locked" in page.text
        )
        workspace.restart_server()
        assert workspace.status() == {
            "locked": True,
            "since": workspace.status()["since"],
            "reason": workspace.status()["reason"],
            "hubReachable": False,
        }
        hub.start()
        wait_for(lambda: workspace.status()["hubReachable"], 15, "it sees the hub again")
        assert wait_for(lambda: workspace.unlock(token).status_code == 303, 20, "it opens")
    finally:
        workspace.keeper.stop()
        with contextlib.suppress(OSError):
            hub.stop()


@pytest.mark.parametrize("damage", ["none", "garbage"])
def test_another_container_on_the_same_volume_is_locked_as_well(
    workspace: LockedWorkspace, tmp_path: Path, damage: str
) -> None:
    state = tmp_path / "volume"
    state.mkdir(mode=0o700)
    if damage == "none":
        workspace.lock()
        (state / "lock.json").write_bytes((workspace.home / "state" / "lock.json").read_bytes())
    else:
        (state / "lock.json").write_bytes(b'{"locked": false}')
    (tmp_path / "home").mkdir()
    other = LockedWorkspace(tmp_path / "home", workspace.hub, PTH_STATE_DIR=str(state))
    try:
        other.up()
        assert other.status()["locked"]
        for path in ("/api/contents", "/lab", "/nothing"):
            assert other.http.get(other.url + path, timeout=10).status_code == 423
        if damage == "garbage":
            assert "cannot be read" in requests.get(other.url + "/lab", headers=HTML, timeout=10).text
    finally:
        other.keeper.stop()


async def test_a_program_waits_for_the_unlock_and_misses_nothing(opened: LockedWorkspace) -> None:
    workspace = opened
    workspace.create(
        name="count", argv=["sh", "-c", "i=0; while :; do i=$((i+1)); echo n=$i.; sleep 0.02; done"]
    )
    async with ClientWorkspace(workspace.url + "/", "oauth-token") as client:
        async with await client.attach("count", wait_when_locked=True) as attachment:
            await attachment.wait_for("n=20.", 15)
            await asyncio.to_thread(workspace.lock)
            await until(lambda: attachment.state == "locked", 5)
            here = attachment.offset
            with pytest.raises(InputLost):
                await attachment.send("x")
            await asyncio.sleep(1)
            assert attachment.offset == here and attachment.state == "locked"
            await asyncio.to_thread(workspace.unlock)
            began = time.monotonic()
            await until(lambda: attachment.state == "live", 15)
            print(f"live {time.monotonic() - began:.1f} s after the unlock")
            last = int(re.findall(r"n=(\d+)\.", attachment.read().text)[-1])
            await attachment.wait_for(f"n={last + 50}.", 15)
            numbers = [int(n) for n in re.findall(r"n=(\d+)\.", attachment.read().text)]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) and not attachment.skipped
        async with await client.attach("count") as attachment:
            await asyncio.to_thread(workspace.lock)
            with pytest.raises(WorkspaceLocked, match="locked"):
                await attachment.wait_for("never", 10)
        with pytest.raises(WorkspaceLocked, match="locked"):
            await client.get("count")
    await asyncio.to_thread(workspace.unlock)
    workspace.sessions("DELETE", "/count", 204)


async def until(check: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


def start_alone(home: Path, hub: Hub, **env: str) -> tuple[subprocess.Popen[bytes], str]:
    """The server without a keeper that would answer it."""
    port = free_port()
    settings = LockedWorkspace.environment(home, hub, port) | {"PTH_RUNTIME_DIR": str(home)} | env
    command = [sys.executable, "-m", "persistent_terminal_hub.server.singleuser", "--allow-root"]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=home, env=server_env(home, **settings), stdout=log, stderr=log
        )
    return process, f"http://127.0.0.1:{port}{BASE}"


@pytest.fixture(scope="module", autouse=True)
def keeperless(tmp_path_factory: pytest.TempPathFactory, hub: Hub) -> Iterator[str]:
    """A server without its keeper. It is patient before it says what is missing: meanwhile other tests run."""
    process, url = start_alone(tmp_path_factory.mktemp("keeperless"), hub)
    yield url
    process.terminate()
    process.wait(20)


def test_without_its_keeper_a_server_stays_shut(keeperless: str, hub: Hub) -> None:
    url = keeperless
    wait_for(lambda: answers(url + "persistent-terminals/api/status"), 60, "the server listens")
    assert requests.get(url + "persistent-terminals/api/status", timeout=10).json()["locked"] is True

    def refusal() -> str:
        shut = requests.get(url + "api/contents", headers=OWNER, timeout=20)
        assert shut.status_code == 503
        return str(shut.json()["message"])

    # At first it says that it is starting.
    wait_for(lambda: "keeper does not answer" in refusal(), 60, "it says what is missing")
    page = requests.get(url + "lab", headers=HTML, timeout=20)
    assert page.status_code == 503 and "stays closed" in page.text
    unlock = requests.post(
        url + "persistent-terminals/unlock", data={"token": hub.token()}, headers=HTML, timeout=40
    )
    assert unlock.status_code == 403 and "cannot be opened now" in unlock.text


def answers(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(url, timeout=5).status_code == 503
    return False


def test_a_configuration_cannot_switch_the_lock_off(tmp_path: Path, hub: Hub) -> None:
    (tmp_path / "config").mkdir()
    off = {"ServerApp": {"jpserver_extensions": {"persistent_terminal_hub.server": False}}}
    (tmp_path / "config" / "jupyter_server_config.json").write_text(json.dumps(off))
    process, url = start_alone(tmp_path, hub, JUPYTER_CONFIG_DIR=str(tmp_path / "config"))
    try:
        wait_for(lambda: answers(url + "persistent-terminals/api/status"), 60, "the server listens, shut")
        assert requests.get(url + "api/contents", headers=OWNER, timeout=20).status_code == 503
    finally:
        process.terminate()
        process.wait(20)


def test_a_server_without_a_lock_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    class Here:
        log = logging.getLogger("test")
        serverapp = SimpleNamespace(web_app=SimpleNamespace(settings={}))

    check: Any = PersistentSingleUser._check_lock
    monkeypatch.delenv("PTH_WORKSPACE_ID", raising=False)
    check(Here)
    monkeypatch.setenv("PTH_WORKSPACE_ID", "ann/")
    with pytest.raises(SystemExit):
        check(Here)
    Here.serverapp.web_app.settings[SETTING] = object()
    check(Here)
