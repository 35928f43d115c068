"""The rules inside a real workspace: it locks, warns and ends by its own clock; who may ask it what."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from persistent_terminal_hub.policy import Rules
from persistent_terminal_hub.protocol.codes import SUBPROTOCOL
from persistent_terminal_hub.rules_file import rules_hash
from tests.support.waiting import wait_for

from .lock_fixtures import BASE, OWNER, Hub, LockedWorkspace, stand_in_hub  # noqa: F401 - a fixture
from .test_server_extension import REPO

API = BASE + "persistent-terminals/api"
BOB = {"Authorization": "token bob-token"}
LONG = {"idle_lock": 1000.0, "ttl": 1000.0, "warn_before": 2.0}


class Ruled:
    """A workspace, and requests to it."""

    def __init__(self, workspace: LockedWorkspace) -> None:
        self.workspace = workspace
        self.hub = workspace.hub
        self.root = workspace.url.removesuffix(BASE.rstrip("/"))

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] = OWNER
    ) -> requests.Response:
        return requests.request(method, self.root + path, json=body, headers=headers, timeout=10)

    def rules(self, **values: float) -> None:
        answer = self.ask("PUT", f"{API}/rules", values, self.hub.steer("rules"))
        assert answer.status_code == 200, answer.text

    def facts(self) -> dict[str, Any]:
        answer = self.ask("GET", f"{API}/facts", headers=self.hub.steer("facts"))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    @property
    def locked(self) -> bool:
        return self.ask("GET", f"{BASE}api/contents").status_code == 423

    def unlock(self) -> None:
        if self.workspace.control.call("lock_state").header["locked"]:
            form = {"token": self.hub.token(), "next": BASE}
            url = self.root + BASE + "persistent-terminals/unlock"
            headers = {"Accept": "application/json"}
            assert requests.post(url, data=form, headers=headers, timeout=10).status_code == 204

    def create(self, **body: Any) -> dict[str, Any]:
        answer = self.ask("POST", f"{API}/sessions", body)
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json()
        return created

    def session(self, identity: str) -> dict[str, Any]:
        answer = self.ask("GET", f"{API}/sessions/{identity}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def ws(self, path: str, **more: Any) -> ClientConnection:
        return connect("ws" + (self.root + path).removeprefix("http"), additional_headers=OWNER, **more)

    def stays_open(self, seconds: float, keep: Callable[[], object]) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                keep()
                if self.locked:
                    return False
            except (requests.ConnectionError, ConnectionClosed):  # the lock cuts what is under way
                return not self.locked
            time.sleep(0.2)
        return True


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, hub: Hub) -> Iterator[LockedWorkspace]:
    workspace = LockedWorkspace(tmp_path_factory.mktemp("home"), hub, PTH_RULES=json.dumps(LONG))
    try:
        workspace.wait()
        yield workspace
    finally:
        workspace.keeper.stop()
    log = workspace.log.read_text()
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:3000]
    assert "could not be looked at" not in log and "Looking at the rules failed" not in log


@pytest.fixture
def ruled(started: LockedWorkspace) -> Iterator[Ruled]:
    ruled = Ruled(started)
    wait_for(started.answers, 30, "the server answers")
    yield ruled
    ruled.rules(**LONG)
    ruled.unlock()


def test_it_locks_by_itself_and_presence_keeps_it_open(ruled: Ruled) -> None:
    session = ruled.create(argv=["cat"])["id"]
    ruled.ask("POST", f"{API}/presence")
    ruled.rules(**{**LONG, "idle_lock": 2.0})
    assert ruled.stays_open(3.0, lambda: ruled.ask("POST", f"{API}/presence"))
    with ruled.ws(f"{BASE}terminals/websocket/{ruled.session(session)['name']}") as socket:
        assert ruled.stays_open(3.0, lambda: socket.send(json.dumps(["stdin", "x"])))
        # What an emulator answers by itself keeps nothing open, nor does an open page or a poll.
        assert not ruled.stays_open(6.0, lambda: socket.send(json.dumps(["stdin", "\x1b[?1;2c\x1b[5;5R"])))
    state = ruled.workspace.control.call("lock_state").header
    assert "No keyboard, pointer or touch" in state["reason"]
    # The hub still sees how it is; the program goes on.
    facts = ruled.facts()
    assert facts["locked"] and facts["since_presence"] >= 2.0
    assert [s["id"] for s in facts["sessions"]] == [session]
    assert any(event["kind"] == "locked" for event in facts["events"])


def test_what_is_asked_of_a_kernel_is_presence(ruled: Ruled) -> None:
    answer = ruled.ask("POST", f"{BASE}api/kernels", {})
    assert answer.status_code == 201, answer.text
    kernel = answer.json()["id"]

    def message(kind: str, **content: Any) -> str:
        header = {
            "msg_id": os.urandom(4).hex(),
            "msg_type": kind,
            "username": "",
            "session": "s",
            "version": "5.3",
        }
        return json.dumps(
            {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        )

    try:
        with ruled.ws(f"{BASE}api/kernels/{kernel}/channels") as socket:
            code = {"code": "import time; time.sleep(600)", "silent": False, "allow_stdin": False}
            before = ruled.facts()["since_presence"]
            time.sleep(0.3)
            socket.send(message("kernel_info_request"))
            time.sleep(0.5)
            assert ruled.facts()["since_presence"] > before
            socket.send(message("execute_request", **code))
            wait_for(lambda: ruled.facts()["since_presence"] < 0.8, 5, "presence")
            wait_for(lambda: ruled.facts()["busy"], 10, "a busy kernel")
            facts = ruled.facts()
            assert facts["since_busy"] == 0.0 and facts["since_connected"] == 0.0
            ruled.ask("POST", f"{BASE}api/kernels/{kernel}/interrupt")
            wait_for(lambda: not ruled.facts()["busy"], 10, "an idle kernel")
            assert 0 < ruled.facts()["since_busy"] < 10
    finally:
        ruled.ask("DELETE", f"{BASE}api/kernels/{kernel}")


def test_idle_for_too_long_while_no_server_ran_comes_up_locked(ruled: Ruled) -> None:
    ruled.ask("POST", f"{API}/presence")
    ruled.rules(**{**LONG, "idle_lock": 4.0})
    ruled.ask("POST", f"{API}/presence")
    pid = ruled.workspace.server_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    time.sleep(4.5)
    os.kill(pid, signal.SIGKILL)
    seen: list[int] = []

    def answered() -> bool:
        with contextlib.suppress(requests.ConnectionError):
            seen.append(ruled.ask("GET", f"{BASE}api/contents").status_code)
        return bool(seen)

    wait_for(answered, 40, "an answer")
    assert seen == [423]  # the very first one


def test_a_session_is_warned_and_ends_with_its_ttl(ruled: Ruled) -> None:
    ruled.rules(**{**LONG, "ttl": 6.0, "warn_before": 3.0})
    created = ruled.create(argv=["sleep", "1000"], name="short", ttlSeconds=5)
    assert created["ttlSeconds"] == 5.0 and created["maxAgeSeconds"] is None and created["state"] == "dormant"
    assert 3 < created["expiresIn"] <= 5.0
    assert ruled.ask("POST", f"{API}/sessions", {"ttlSeconds": 7}).status_code == 422
    identity = created["id"]
    attach = {
        "type": "attach", "client": os.urandom(16).hex(), "epoch": None, "offset": 0, "input_seq": 0,
        "rows": 24, "cols": 80, "visible": True, "mode": "rw",
    }  # fmt: skip

    def notice(socket: ClientConnection) -> dict[str, Any]:
        while True:
            frame = socket.recv(timeout=10)
            if isinstance(frame, str) and json.loads(frame)["type"] == "notice":
                found: dict[str, Any] = json.loads(frame)
                return found

    path = f"{BASE}persistent-terminals/ws/sessions/{identity}"
    with (
        ruled.ws(path, subprotocols=[SUBPROTOCOL]) as socket,
        ruled.ws(f"{BASE}terminals/websocket/short") as stock,
    ):
        socket.send(json.dumps(attach))
        found = notice(socket)
        assert found["code"] == "ttl" and "short" in found["message"] and 0 < found["seconds"] <= 3.0
        titles = ""
        while "\x1b]2;" not in titles:
            titles += str(json.loads(stock.recv(timeout=5))[1])
        shown = ruled.session(identity)
        assert [each["code"] for each in shown["warnings"]] == ["ttl"]
        assert 0 < shown["expiresIn"] <= 3.0
        # Who comes later sees it, too.
        with ruled.ws(path, subprotocols=[SUBPROTOCOL]) as late:
            late.send(json.dumps({**attach, "client": os.urandom(16).hex()}))
            assert notice(late)["code"] == "ttl"
        # Nothing of it was ever in the terminal.
        assert ruled.workspace.control.call("get", session=identity).header["session"]["end"] == 0
        wait_for(lambda: ruled.session(identity)["state"] == "ended", 15, "its end")
    assert ruled.session(identity)["exit"]["reason"] == "ttl"
    assert ruled.session(identity)["expiresIn"] is None


def test_an_owner_extends_up_to_the_maximum(ruled: Ruled) -> None:
    ruled.rules(**{**LONG, "ttl": 100.0, "max_ttl": 150.0})
    identity = ruled.create(argv=["cat"])["id"]
    extend = f"{API}/sessions/{identity}/extend"
    assert ruled.ask("POST", extend, {"seconds": 30}).json()["ttlSeconds"] == 130.0
    answer = ruled.ask("POST", extend, {"seconds": 500}).json()
    assert answer["granted"] == 20.0 and answer["ttlSeconds"] == 150.0
    refused = ruled.ask("POST", extend, {"seconds": 1})
    assert refused.status_code == 409 and set(refused.json()) == {"status", "reason", "message", "hint"}
    for bad in ({}, {"seconds": 0}, {"seconds": -1}, {"seconds": "1"}, {"seconds": 1, "x": 2}, [], 5):
        assert ruled.ask("POST", extend, bad).status_code in (400, 422), bad
    assert ruled.ask("POST", f"{API}/sessions/nothing/extend", {"seconds": 1}).status_code == 404


def test_a_watched_process_by_api_and_by_command(ruled: Ruled, tmp_path: Path) -> None:
    ruled.rules(**{**LONG, "keep_alive_max": 500.0})
    script = "sleep 1000 & echo $! >pid; exec cat"
    identity = ruled.create(argv=["sh", "-c", script])["id"]
    file = ruled.workspace.home / "pid"
    wait_for(lambda: file.exists() and file.read_text().strip(), 5, "a pid")
    pid = int(file.read_text())
    url = f"{API}/sessions/{identity}/keep-alive"
    assert ruled.ask("POST", url, {}).status_code == 409  # nothing is in the foreground
    answer = ruled.ask("POST", url, {"pid": pid, "seconds": 9000})
    assert answer.json()["granted"] == 500.0
    assert ruled.session(identity)["busy"]
    assert ruled.ask("POST", url, {"pid": 1}).status_code == 422
    assert ruled.ask("POST", url, {"pid": None}).json()["watched"] == []
    # What a command in that terminal has.
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    environ = {**dict(entry.split("=", 1) for entry in entries if entry), "PYTHONPATH": str(REPO)}

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = "from persistent_terminal_hub.cli import main; main()"
        line = [sys.executable, "-c", program, "keep-alive", *arguments]
        return subprocess.run(line, env=environ, capture_output=True, text=True, timeout=30)

    done = command("--pid", str(pid), "--for", "4h")
    assert done.returncode == 0 and "administrator's maximum" in done.stdout, done
    (session,) = [s for s in ruled.facts()["sessions"] if s["id"] == identity]
    assert session["busy"]
    for wrong in (["--pid", "1"], ["--pid", str(pid), "--for", "soon"], ["--pid", str(pid), "--stop"], []):
        done = command(*wrong)
        assert done.returncode == 1 and done.stderr.startswith("error: "), done
    os.kill(pid, signal.SIGKILL)
    wait_for(
        lambda: not [s for s in ruled.facts()["sessions"] if s["busy"] and s["id"] == identity], 5, "idle"
    )


def test_the_program_itself_can_be_watched_from_the_start(ruled: Ruled) -> None:
    identity = ruled.create(argv=["sleep", "1000"], keepAlive=60)["id"]
    assert ruled.session(identity)["busy"]


def test_who_may_ask_what(ruled: Ruled) -> None:
    identity = ruled.create(argv=["cat"])["id"]
    steer = ruled.hub.steer
    warn = {"code": "idle_stop", "seconds": 60, "session": None, "reason": "The workspace stops in 1 min."}
    requests_ = [
        ("GET", f"{API}/facts", None, "facts"),
        ("POST", f"{API}/warn", warn, "warn"),
        ("PUT", f"{API}/rules", LONG, "rules"),
        ("POST", f"{API}/sessions/{identity}/extend", {"seconds": 1}, "extend"),
        ("POST", f"{API}/presence", {}, ""),
        ("POST", f"{API}/sessions/{identity}/keep-alive", {"pid": None}, ""),
    ]
    others = {"facts", "lock", "warn", "end", "extend", "rules"}
    for locked in (False, True):
        if locked:
            ruled.workspace.control.call("lock", reason="test")
            wait_for(lambda: ruled.locked, 5, "the lock")
        for method, path, body, action in requests_:
            # Nobody, somebody else, and a steer token for everything else.
            for headers in ({}, BOB, steer(*(others - {action}))):
                status = ruled.ask(method, path, body, headers).status_code
                assert status == (423 if locked else 403), (method, path, headers, status)
            if action:
                status = ruled.ask(method, path, body, steer(action)).status_code
                assert status in (200, 409), (path, status)
            owner = ruled.ask(method, path, body).status_code
            if locked:
                assert owner == 423
            else:
                assert owner == (403 if action in ("warn", "rules") else owner)
                assert owner < 500
    assert ruled.facts()["warned"]["idle_stop"] < 60
    assert ruled.facts()["rulesHash"] == rules_hash(Rules(**LONG))
    # A token for ending ends, also while it is locked, and does nothing else.
    item = f"{API}/sessions/{identity}"
    assert ruled.ask("GET", item, headers=steer("end")).status_code == 403
    assert ruled.ask("DELETE", item + "?reason=why", headers=steer("end")).status_code == 422
    assert ruled.ask("DELETE", item + "?reason=max_age", headers=steer("end")).status_code == 204
    wait_for(lambda: ruled.ask("DELETE", item, headers=steer("end")).status_code == 410, 15, "its end")
    ruled.unlock()
    assert ruled.session(identity)["exit"]["reason"] == "max_age"


def test_what_it_was_told_outlives_its_server(ruled: Ruled) -> None:
    ruled.rules(**{**LONG, "ttl": 777.0})
    warn = {"code": "workspace_max_age", "seconds": 60, "session": None, "reason": "It stops."}
    assert ruled.ask("POST", f"{API}/warn", warn, ruled.hub.steer("warn")).status_code == 200
    ruled.workspace.kill_server()
    wait_for(lambda: ruled.workspace.answers(), 40, "the next server")
    facts = ruled.facts()
    assert facts["rulesHash"] == rules_hash(Rules(**{**LONG, "ttl": 777.0}))
    assert facts["warned"]["workspace_max_age"] < 60
