"""A real keeper with a real Jupyter server as its child, which is killed again and again."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
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

from tests.support.waiting import free_port, wait_for

from .keeper_fixtures import KeeperProcess
from .test_server_extension import RESET, TOKEN, Server, Terminal, server_env

# A plain server; without a grammar whose compilation is half of its start (see server/singleuser.py).
QUICK = (
    "import sys; sys.modules['rfc3987_syntax'] = None; "
    "from jupyter_server.serverapp import main; sys.argv[0] = 'jupyter-server'; main()"
)


class Workspace(Server):
    """A keeper and its server; `process` is the keeper's."""

    def __init__(self, home: Path, *command: str, base: str = "", port: int = 0, **env: str) -> None:
        self.keeper = KeeperProcess(home)
        port = port or free_port()
        plain = [
            sys.executable, "-c", QUICK, "--allow-root", "--no-browser", f"--port={port}",
            "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={home}",
        ]  # fmt: skip
        (home / ".bash_profile").write_text("PS1='$ '\n")
        (home / ".inputrc").write_text("set enable-bracketed-paste off\n")
        full = server_env(home, PS1="$ ", **env)
        inside = ["sh", "-c", 'cd "$0" && exec "$@"', str(home)]  # the directory must be inside the root one
        self.keeper.start(
            *inside, *(command or plain), env=full | {"JUPYTER_CONFIG_DIR": str(home / "config")}
        )
        assert self.keeper.popen is not None
        super().__init__(home, port, self.keeper.popen, self.keeper.log_path)
        self.url += base
        self.control = self.keeper.connect()

    @property
    def server_pid(self) -> int | None:
        pid: int | None = self.control.call("stats").header["server_pid"]
        return pid

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(requests.ConnectionError, requests.Timeout):
            return self.http.get(f"{self.url}/api", timeout=5).ok
        return False

    def wait(self) -> None:
        wait_for(self.answers, 60, "the server answers")

    def kill_server(self) -> int:
        pid = wait_for(lambda: self.server_pid, 20, "a server")
        os.kill(pid, signal.SIGKILL)
        return int(pid)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    workspace = Workspace(tmp_path_factory.mktemp("home"), PTH_MAX_SESSIONS="300")
    try:
        workspace.wait()
        yield workspace
    finally:
        workspace.keeper.stop()
    assert "Traceback" not in workspace.log.read_text(), workspace.log.read_text()[-4000:]


def test_a_counting_loop_across_a_kill_of_the_server(workspace: Workspace) -> None:
    made = workspace.create(name="count.1")
    terminal = workspace.attach("count.1")
    terminal.type("for i in $(seq 1 400); do echo n=$i.; sleep 0.01; done; echo do''ne\r")
    terminal.read(r"n=20\.")
    old = workspace.kill_server()
    started = time.monotonic()
    with pytest.raises(AssertionError):  # the connection is cut
        terminal.read(r"(?!)", 10)
    workspace.wait()
    print(f"serves again {time.monotonic() - started:.1f} s after the kill")
    assert workspace.server_pid != old
    shown = workspace.sessions("GET", "/" + made["id"])
    assert shown["pid"] == made["pid"] and shown["name"] == "count.1" and shown["created"] == made["created"]
    assert shown["last_input"] is not None
    terminal = workspace.attach("count.1")
    terminal.type("echo again=$$\r")
    terminal.read(rf"again={made['pid']}\r\n")
    assert terminal.text.startswith(RESET)
    assert re.findall(r"n=(\d+)\.\r\n", terminal.text) == [str(n) for n in range(1, 401)]
    assert terminal.text.count("done\r\n") == 1
    terminal.close()
    workspace.sessions("DELETE", "/count.1", 204)
    terminated = workspace.sessions("GET", "/" + made["id"])
    assert terminated["state"] == "ended" and terminated["exit"]["reason"] == "terminated"
    workspace.sessions("DELETE", "/" + made["id"], 204)
    workspace.sessions("GET", "/" + made["id"], 404)


def test_names_renames_and_exit_codes_outlive_the_server(workspace: Workspace) -> None:
    named = workspace.create(name="a.b-c_d")
    workspace.sessions("PATCH", "/a.b-c_d", json={"name": "new.name"})
    quick = workspace.create(name="quick", argv=["sh", "-c", "echo bye; exit 7"])
    killed = workspace.create(name="killed", argv=["sleep", "100"])
    os.kill(killed["pid"], signal.SIGTERM)
    wait_for(lambda: workspace.sessions("GET", "/killed")["state"] == "ended")
    workspace.kill_server()
    time.sleep(0.2)
    workspace.wait()
    by_id = {model["id"]: model for model in workspace.sessions("GET")}
    assert by_id[named["id"]]["name"] == "new.name" and by_id[named["id"]]["pid"] == named["pid"]
    assert by_id[quick["id"]]["exit"] == {"code": 7, "signal": None, "reason": None}
    assert by_id[killed["id"]]["exit"] == {"code": None, "signal": "SIGTERM", "reason": None}
    stock = workspace.http.get(f"{workspace.url}/api/terminals", timeout=10).json()
    assert [t["name"] for t in stock] == ["new.name"]
    for address in ("new.name", "a.b-c_d"):
        terminal = workspace.attach(address)
        terminal.type("echo $((6*7))\r")
        terminal.read(r"42\r\n")
        terminal.close()
    # The name of an ended session is free, and leads to the one that runs.
    again = workspace.create(name="quick")["id"]
    assert again != quick["id"] == workspace.sessions("GET", "/" + quick["id"])["id"]
    assert workspace.sessions("GET", "/quick")["id"] == again
    for key in ("new.name", again, killed["id"], quick["id"], again):
        workspace.sessions("DELETE", "/" + key, 204)


def test_programs_that_end_at_once(workspace: Workspace) -> None:
    made = [workspace.create(argv=["sh", "-c", f"exit {number}"]) for number in range(20)]
    # And behind the server's back.
    other = [workspace.control.call("create", argv=["false"]).header["session"] for _ in range(20)]
    ids = {model["id"] for model in [*made, *other]}

    def ended() -> bool:
        models = {m["id"]: m for m in workspace.sessions("GET")}
        return ids <= models.keys() and all(models[i]["state"] == "ended" for i in ids)

    wait_for(ended, 10, "all have ended")
    codes = [workspace.sessions("GET", "/" + m["id"])["exit"]["code"] for m in made]
    assert codes == list(range(20))
    for identity in ids:
        workspace.sessions("DELETE", "/" + identity, 204)


ASK = r"""
stty raw -echo
printf 'x\033[c\033[5n\033]11;?\007\033[>q'
dd bs=1 count=%d 2>/dev/null | od -An -c -w200
stty sane
echo asked; sleep %s
"""
# DA1, DSR, OSC 11, XTVERSION
ANSWERS = 7 + 4 + 25 + 29


def test_questions_are_answered_once_with_nobody_there(workspace: Workspace) -> None:
    made = workspace.create(name="ask", argv=["sh", "-c", ASK % (ANSWERS, 100)])
    wait_for(lambda: b"asked" in journal(workspace, made["id"]), 10, "the answers arrive")
    terminal = workspace.attach("ask")
    terminal.read("asked")
    text = re.sub(r"\s+", "", terminal.text)
    assert r"033[?1;2c033[0n033]11;rgb:0000/0000/0000033\033P>|persistent-terminal-hub033\asked" in text, text
    assert "\x1b[c" not in terminal.text and "\x1b[5n" not in terminal.text
    terminal.close()
    # A restarted server answers nothing again, and what came while there was none.
    late = workspace.create(name="late", argv=["sh", "-c", "read x; " + ASK % (ANSWERS, 100)])
    workspace.kill_server()
    workspace.control.call("input", b"\n", session=late["id"], client="test", seq=1)
    wait_for(lambda: b"asked" in journal(workspace, late["id"]), 60, "the next server answers")
    time.sleep(0.3)
    workspace.wait()
    for key in ("ask", "late"):
        assert workspace.control.call("get", session=key).header["session"]["bytes_in"] in (
            ANSWERS,
            ANSWERS + 1,
        )
        workspace.sessions("DELETE", "/" + key, 204)


def journal(workspace: Workspace, identity: str) -> bytes:
    subscription = workspace.control.subscribe(identity)
    reader = subscription.reader
    data = reader.read(0, reader.head).data
    subscription.close()
    workspace.control.call("unsubscribe", session=identity)
    return data


def stopped(terminal: Terminal, line: str, answer: str) -> re.Match[str]:
    """Ctrl-C, then a line; what answers it.

    One Ctrl-C in twenty hits a shell's loop just between two of its programs and ends nothing: 3 of 60 did in
    a bash on a plain PTY.
    """
    for _ in range(5):
        terminal.type("\x03" + line)
        with contextlib.suppress(AssertionError):
            return terminal.read(answer, 10)
    raise AssertionError(f"the loop goes on: {terminal.text[-300:]!r}")


def test_many_kills_in_a_row(workspace: Workspace) -> None:
    made = workspace.create(name="hit")
    workspace.attach("hit").type("i=0; while :; do i=$((i+1)); echo n=$i.; sleep 0.02; done\r")
    dice = random.Random(5)
    wait_for(lambda: b"n=5." in journal(workspace, made["id"]))
    last = 0
    for number in range(int(os.environ.get("PTH_TEST_KILLS", "8"))):
        last = int(wait_for(lambda old=last: (p := workspace.server_pid) != old and p, 20, "another server"))
        # Sometimes while it starts, sometimes while it serves a client.
        if number % 5 == 3:
            workspace.wait()
            with contextlib.suppress(Exception):
                workspace.attach("hit").read(r"n=\d+", 1)
        else:
            time.sleep(dice.uniform(0, 0.4))
        os.kill(last, signal.SIGKILL)
    time.sleep(0.2)
    workspace.wait()
    shown = workspace.sessions("GET", "/hit")
    assert shown["pid"] == made["pid"]
    terminal = workspace.attach("hit")
    count = int(stopped(terminal, "echo la''st=$i\r", r"last=(\d+)\r\n")[1])
    numbers = [int(n) for n in re.findall(r"n=(\d+)\.\r\n", terminal.text)]
    assert numbers == list(range(1, len(numbers) + 1)) and count - len(numbers) in (0, 1)
    assert workspace.control.call("stats").header["sessions_attached"] == 1
    terminal.close()
    wait_for(lambda: workspace.sessions("GET", "/hit")["state"] == "dormant")
    workspace.sessions("DELETE", "/hit", 204)


def pss(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1])  # type: ignore[index]


def test_an_idle_session_costs_little(workspace: Workspace) -> None:
    count = int(os.environ.get("PTH_TEST_IDLE_SESSIONS", "40"))
    server = workspace.server_pid
    assert server is not None

    def memory() -> int:
        return pss(server) + pss(workspace.keeper.pid)

    program = ["sh", "-c", "head -c 60000 /dev/zero | tr '\\0' x; exec sleep 1000"]
    names = [f"idle.{number}" for number in range(count + 3)]
    for name in names[:3]:
        workspace.create(name=name, argv=program)
    time.sleep(0.5)
    before = memory()
    for name in names[3:]:
        workspace.create(name=name, argv=program)

    def idle() -> list[Any]:
        return [m for m in workspace.sessions("GET") if m["name"].startswith("idle.")]

    wait_for(lambda: all(m["bytes_out"] == 60000 for m in idle()))
    each = (memory() - before) / count
    print(f"{each:.0f} KiB for each of {count} idle sessions that printed 60,000 bytes")
    ticks = [cpu_ticks(pid) for pid in (server, workspace.keeper.pid)]
    time.sleep(2)
    used = [cpu_ticks(pid) - t for pid, t in zip((server, workspace.keeper.pid), ticks, strict=True)]
    print(f"CPU ticks of 10 ms in 2 s, server and keeper: {used}")
    for name in names:
        workspace.control.call("end", session=name, grace=0.2)
    wait_for(lambda: all(m["state"] == "ended" for m in idle()))
    assert each <= 512


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_shutting_down_on_purpose_ends_the_workspace(workspace: Workspace) -> None:
    # Last of those that share the workspace.
    pid = workspace.create(name="left.over")["pid"]
    assert workspace.http.post(f"{workspace.url}/api/shutdown", timeout=10).ok
    assert workspace.process.wait(20) == 0
    assert not Path(f"/proc/{pid}").exists()
    assert "the workspace ends with it" in workspace.log.read_text()


class FakeHub:
    """What a single-user server asks of a hub: who a token is, and a token for an OAuth code."""

    def __init__(self) -> None:
        user = {
            "kind": "user", "name": "ann", "admin": False, "groups": [], "session_id": "s",
            "scopes": ["access:servers!server=ann/", "read:users!user=ann"],
        }  # fmt: skip

        class Handler(BaseHTTPRequestHandler):
            def reply(self, value: Any, status: int = 200) -> None:
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                known = self.headers.get("Authorization") == "token oauth-token"
                if self.path.endswith("/user"):
                    self.reply(user if known else {}, 200 if known else 403)
                else:
                    self.reply({"version": "6"})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.reply({"access_token": "oauth-token"})

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_with_the_hub_away_a_restarted_server_knows_its_user(tmp_path: Path) -> None:
    hub, port = FakeHub(), free_port()
    workspace = Workspace(
        tmp_path, sys.executable, "-m", "persistent_terminal_hub.server.singleuser", "--allow-root",
        base="/user/ann", port=port,
        JUPYTERHUB_SERVICE_URL=f"http://127.0.0.1:{port}/user/ann/",
        JUPYTERHUB_SERVICE_PREFIX="/user/ann/",
        JUPYTERHUB_API_URL=f"http://127.0.0.1:{hub.port}/hub/api",
        JUPYTERHUB_API_TOKEN="t",
        JUPYTERHUB_CLIENT_ID="jupyterhub-user-ann",
        JUPYTERHUB_USER="ann",
        JUPYTERHUB_BASE_URL="/",
        JUPYTERHUB_OAUTH_SCOPES='["access:servers!server=ann/"]',
        JUPYTERHUB_OAUTH_ACCESS_SCOPES='["access:servers!server=ann/"]',
        JUPYTERHUB_ROOT_DIR=str(tmp_path),
    )  # fmt: skip
    try:
        workspace.http.headers.pop("Authorization")
        workspace.wait()
        # As a browser logs in.
        page = workspace.http.get(f"{workspace.url}/lab", timeout=20, allow_redirects=False)
        state = re.search(r"state=([^&]+)", page.headers["Location"])[1]  # type: ignore[index]
        callback = f"{workspace.url}/oauth_callback?code=c&state={state}"
        assert workspace.http.get(callback, timeout=20, allow_redirects=False).status_code == 302
        assert workspace.http.get(f"{workspace.url}/api/contents", timeout=20).status_code == 200
        hub.stop()
        old = workspace.kill_server()
        wait_for(lambda: workspace.server_pid not in (None, old), 20, "another server")
        workspace.wait()
        started = time.monotonic()
        assert workspace.http.get(f"{workspace.url}/api/contents", timeout=20).status_code == 200
        print(f"the first answer without a hub took {time.monotonic() - started:.2f} s")
        session = workspace.http.get(f"{workspace.url}/persistent-terminals/api/sessions", timeout=20)
        assert session.status_code == 200
        stranger = requests.get(
            f"{workspace.url}/api/contents", headers={"Authorization": "token other"}, timeout=20
        )
        assert stranger.status_code == 503
        runtime = workspace.keeper.runtime
        assert "oauth-token" not in "".join(p.read_text("latin-1") for p in runtime.iterdir() if p.is_file())
    finally:
        workspace.keeper.stop()
        hub.stop()
