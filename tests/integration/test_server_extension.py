# ruff: noqa: E501 - tables of cases
"""The extension in a real `jupyter server`, driven over HTTP and the stock WebSocket. No Docker."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from persistent_terminal_hub.keeper.blocking_client import BlockingClient
from tests.support.waiting import free_port, wait_for

REPO = Path(__file__).parents[2]
TOKEN = "test-token"
RESET = "\x18\x1bc"


def server_env(home: Path, **more: str) -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "PTH_", "JPY_", "XDG_"))}
    return env | {
        "HOME": str(home),
        "SHELL": "/bin/bash",
        "PYTHONPATH": str(REPO),
        "JUPYTER_CONFIG_PATH": str(REPO / "etc" / "jupyter"),
        **more,
    }


class Server:
    """A real server process."""

    def __init__(self, home: Path, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.home, self.port, self.process, self.log = home, port, process, log
        self.url = f"http://127.0.0.1:{port}"
        self.http = requests.Session()
        self.http.headers["Authorization"] = f"token {TOKEN}"

    def sessions(self, method: str, path: str = "", status: int = 200, **kwargs: Any) -> Any:
        url = f"{self.url}/persistent-terminals/api/sessions{path}"
        response = self.http.request(method, url, timeout=20, **kwargs)
        assert response.status_code == status, (response.status_code, response.text)
        return response.json() if response.content else None

    def create(self, **body: Any) -> Any:
        return self.sessions("POST", status=201, json=body)

    def attach(self, name: str, **kwargs: Any) -> Terminal:
        return Terminal(f"ws://127.0.0.1:{self.port}/terminals/websocket/{name}?token={TOKEN}", **kwargs)

    @property
    def rss(self) -> float:
        """MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


class Terminal:
    """A client of the stock protocol that keeps all it is sent."""

    def __init__(self, url: str, **kwargs: Any) -> None:
        self.stack = ExitStack()
        self.socket = self.stack.enter_context(
            connect(url, max_size=None, compression=None, proxy=None, **kwargs)
        )
        self.text = ""
        self.disconnected = False
        assert json.loads(self.socket.recv(10)) == ["setup", {}]

    def type(self, text: str) -> None:
        self.socket.send(json.dumps(["stdin", text]))

    def resize(self, rows: int, cols: int) -> None:
        self.socket.send(json.dumps(["set_size", rows, cols, 600, 800]))

    def read(self, pattern: str, seconds: float = 15) -> re.Match[str]:
        """Read until the text matches."""
        end = time.monotonic() + seconds
        fresh = self.text
        while not (found := re.search(pattern, fresh)):
            try:
                message = json.loads(self.socket.recv(max(end - time.monotonic(), 0.01)))
            except (TimeoutError, ConnectionClosed) as error:
                raise AssertionError(f"{pattern!r} is not in {self.text[-600:]!r}") from error
            if message[0] == "stdout":
                # Patterns are short; what was searched once need not be searched whole again.
                self.text += message[1]
                fresh = self.text[-len(message[1]) - 4096 :]
            self.disconnected = self.disconnected or message == ["disconnect", 1]
        return found

    def read_to_close(self) -> None:
        with pytest.raises(AssertionError):
            self.read(r"(?!)")
        assert self.disconnected

    def close(self) -> None:
        self.stack.close()


def end_keeper(home: Path) -> None:
    """A server outside a workspace starts a keeper that outlives it."""
    for path in home.glob(".local/share/jupyter/runtime/pth-*/keeper.sock"):
        os.kill(int(BlockingClient(path).keeper["pid"]), 15)
        wait_for(lambda path=path: not path.exists(), 15, "the keeper ends")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    port, log = free_port(), home / "server.log"
    env = server_env(
        home,
        PTH_MAX_SESSIONS="12",
        PTH_PTY_COLS="100",
        PTH_PTY_ROWS="30",
        PTH_WORKSPACE_NOTICE="Workspaces are <not> isolated.",
        JUPYTERHUB_API_TOKEN="top-secret",
        JPY_API_TOKEN="top-secret",
        PS1="$ ",
    )
    (home / ".bash_profile").write_text("PS1='$ '\n")
    (home / ".inputrc").write_text("set enable-bracketed-paste off\n")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser", f"--port={port}",
                "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={home}",
            ],
            env=env, cwd=home, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    server = Server(home, port, process, log)

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return requests.get(f"{server.url}/api", timeout=5).ok
        except requests.ConnectionError:
            return False

    try:
        wait_for(answers, 60, "the server answers")
        yield server
    finally:
        process.terminate()
        process.wait(20)
        end_keeper(home)
    assert "Traceback" not in log.read_text(), log.read_text()[-3000:]


@pytest.fixture
def name(server: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """A session of this test's own."""
    name = request.node.name.replace("[", ".").replace("]", "")[5:60]
    server.create(name=name)
    yield name
    response = server.http.delete(f"{server.url}/persistent-terminals/api/sessions/{name}", timeout=20)
    assert response.status_code in (204, 404)


def test_a_name_with_dots_works_everywhere(server: Server) -> None:
    made = server.create(name="my-run.1", cols=90, rows=20, env={"A": "b c"}, cwd=".")
    assert made["state"] == "dormant" and made["clients"] == 0 and made["exit"] is None
    assert (made["cols"], made["rows"], made["cwd"]) == (90, 20, str(server.home))
    stock = server.http.get(f"{server.url}/api/terminals/my-run.1", timeout=10).json()
    assert stock["name"] == "my-run.1" and set(stock) == {"name", "last_activity"}
    assert "my-run.1" in [
        t["name"] for t in server.http.get(f"{server.url}/api/terminals", timeout=10).json()
    ]
    terminal = server.attach("my-run.1")
    terminal.type(
        "stty size; echo A=$A $PTH_SESSION $TERM $COLORTERM; env | grep -c top-secret; echo pid=$$\r"
    )
    terminal.read(rf"20 90\r\nA=b c my-run\.1 xterm-256color truecolor\r\n0\r\npid={made['pid']}\r\n")
    shown = server.sessions("GET", "/my-run.1")
    assert shown == server.sessions("GET", "/" + made["id"])
    assert shown["state"] == "active" and shown["clients"] == 1 and shown["bytes_out"] > 0
    assert all(
        re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]{12}Z", shown[k])
        for k in ("created", "last_input", "last_output")
    )
    assert server.http.delete(f"{server.url}/api/terminals/my-run.1", timeout=10).status_code == 204
    terminal.read_to_close()
    ended = server.sessions("GET", "/" + made["id"])
    assert ended["state"] == "ended" and ended["exit"]["reason"] == "terminated"
    assert server.http.get(f"{server.url}/api/terminals/my-run.1", timeout=10).status_code == 404
    server.sessions("DELETE", "/" + made["id"], 204)
    server.sessions("GET", "/" + made["id"], 404)


def test_stock_terminals_are_the_same_sessions(server: Server) -> None:
    stock = server.http.post(f"{server.url}/api/terminals", json={"cwd": "."}, timeout=10).json()
    assert stock["name"] == "1"
    assert server.sessions("GET", "/1")["cwd"] == str(server.home)
    assert server.http.post(f"{server.url}/api/terminals", json={"name": "1"}, timeout=10).status_code == 409
    assert (
        server.http.post(f"{server.url}/api/terminals", json={"name": "a b"}, timeout=10).status_code == 422
    )
    server.sessions("DELETE", "/1", 204)


def test_a_counting_loop_across_a_detach(server: Server, name: str) -> None:
    terminal = server.attach(name)
    terminal.type("echo pid=$$; for i in $(seq 1 150); do echo n=$i.; sleep 0.01; done; echo do''ne\r")
    pid = terminal.read(r"pid=(\d+)\r\n")[1]
    terminal.read(r"n=20\.")
    terminal.close()
    wait_for(lambda: server.sessions("GET", "/" + name)["state"] == "dormant")
    time.sleep(0.5)
    before = server.http.get(f"{server.url}/api/status?no_track_activity=1", timeout=10).json()[
        "last_activity"
    ]
    terminal = server.attach(name)
    terminal.type("echo again=$$\r")
    terminal.read(r"done\r\n")
    assert terminal.text.startswith(RESET)
    assert re.findall(r"n=(\d+)\.\r\n", terminal.text) == [str(n) for n in range(1, 151)]
    terminal.read(rf"again={pid}\r\n")
    terminal.close()
    assert before > server.sessions("GET", "/" + name)["created"], "detached output is activity"


def test_a_replay_asks_nothing_and_live_questions_are_asked_once(server: Server, name: str) -> None:
    first = server.attach(name)
    first.type(r"printf 'a\e[6n\e[c\e]11;?\ab\e[?1004hc\e[?1004l\n'" + "\r")
    first.read(r"a\x1b\[6n\x1b\[c\x1b\]11;\?\x07b\x1b\[\?1004hc")
    second = server.attach(name)
    second.read(r"\nabc\r?\n")
    assert not re.search(r"\x1b\[6n|\x1b\[c|\?\x07|\x1b\[\?1004", second.text)
    # The most recent one to type answers; the other sees the same without the question.
    first.text = second.text = ""
    first.type(r"printf 'x\e[5ny\n'" + "\r")
    first.read(r"x\x1b\[5ny\r\n")
    second.read(r"\nxy\r\n")
    first.close()
    second.close()


def test_characters_split_across_reads_and_invalid_bytes(server: Server, name: str) -> None:
    terminal = server.attach(name)
    terminal.type(r"printf '\342'; sleep 0.1; printf '\202'; sleep 0.1; printf '\254.\377\376.\n'" + "\r")
    terminal.read("\n€\\.��\\.\r\n")
    again = server.attach(name)
    again.read("\n€\\.��\\.\r\n")
    again.type("echo ünï€😀\r")
    terminal.read("\nünï€😀\r\n")
    terminal.close()
    again.close()


@pytest.mark.skipif(not shutil.which("vim"), reason="no vim")
def test_vim_across_a_detach(server: Server, name: str) -> None:
    terminal = server.attach(name)
    terminal.type("vim -u NONE -N file.txt\r")
    terminal.read(r"\x1b\[\?1049h")
    terminal.type("ihello from vim")
    terminal.read(r"hello from vim")
    terminal.close()
    terminal = server.attach(name)
    terminal.read(r"\x1b\[\?1049h[^$]*hello from vim")
    terminal.type("\x1b:wq\r")
    terminal.read(r"\x1b\[\?1049l")
    assert (server.home / "file.txt").read_text() == "hello from vim\n"
    terminal.close()


@pytest.mark.skipif(not shutil.which("tmux"), reason="no tmux")
def test_tmux_inside(server: Server, name: str) -> None:
    terminal = server.attach(name)
    terminal.type(f"tmux -L pth-{server.port} -f /dev/null new bash --norc\r")
    terminal.read(r"\x1b\[\?1049h")
    time.sleep(0.3)
    terminal.type("echo in''side-$((40+2))\r")
    terminal.read("inside-42")
    terminal.close()
    terminal = server.attach(name)
    terminal.read("inside-42")
    terminal.type("exit\r")
    terminal.read(r"\[exited\]")
    terminal.close()


def test_a_stalled_client_costs_nothing(server: Server, name: str) -> None:
    stalled = server.attach(name, max_queue=1)
    worker = server.attach(name)
    worker.type("echo ready\r")
    worker.read(r"ready\r\n")
    before, most = server.rss, 0.0
    worker.close()
    pid = server.sessions("GET", "/" + name)["pid"]
    assert pid
    driver = server.attach(name)
    with (server.home / "big").open("w") as big:
        big.writelines(f"{number:08d} {0:078d}\n" for number in range(1, 1_150_001))
    driver.type("cat big; echo fin''ished\r")
    driver.close()
    started = time.monotonic()
    while server.sessions("GET", "/" + name)["bytes_out"] < 100_000_000:
        most = max(most, server.rss)
        assert time.monotonic() - started < 30, server.sessions("GET", "/" + name)
        time.sleep(0.1)
    print(f"100 MB in {time.monotonic() - started:.1f} s, RSS {before:.0f} -> at most {most:.0f} MiB")
    # Its 8 MiB of scrollback, twice while they move; stock grew by 290 MiB for twice the output.
    assert most - before < 64
    # It wakes up: a reset, then the scrollback from the start of a line, in order, to the end.
    stalled.read(r"finished\r\n")
    tail = stalled.text.rpartition(RESET)[2]
    numbers = [int(n) for n in re.findall(r"^(\d{8}) 0{78}\r$", tail, re.MULTILINE)]
    assert numbers == list(range(numbers[0], 1150001))
    assert len(tail) > 4_000_000
    assert re.match(r"\d{8} 0{78}\r\n", tail)
    stalled.close()


def test_the_size_follows_the_latest_client(server: Server, name: str) -> None:
    def size() -> tuple[int, int]:
        model = server.sessions("GET", "/" + name)
        return model["cols"], model["rows"]

    assert size() == (100, 30)
    one, two = server.attach(name), server.attach(name)
    one.resize(40, 120)
    wait_for(lambda: size() == (120, 40))
    two.resize(20, 60)
    wait_for(lambda: size() == (60, 20))
    one.type("stty size\r")
    one.read(r"\n40 120\r\n")
    one.close()
    wait_for(lambda: size() == (60, 20))
    for nonsense in (
        "x",
        "[]",
        "{}",
        "null",
        '["set_size"]',
        '["set_size",1e999,2]',
        '["stdin"]',
        '["stdin",5]',
        "[" * 9999,
    ):
        two.socket.send(nonsense)
    two.type("echo still-$((1+1))\r")
    two.read("still-2")
    two.close()


def test_rename_keeps_clients_and_both_addresses(server: Server, name: str) -> None:
    terminal = server.attach(name)
    model = server.sessions("PATCH", f"/{name}", json={"name": "new.name"})
    assert model["name"] == "new.name" and model["clients"] == 1
    terminal.type("echo here-$((2*3))\r")
    terminal.read("here-6")
    terminal.close()
    assert [t["name"] for t in server.http.get(f"{server.url}/api/terminals", timeout=10).json()] == [
        "new.name"
    ]
    for address in ("new.name", name):
        terminal = server.attach(address)
        terminal.read("here-6")
        terminal.close()
    other = server.create(name="other")
    server.sessions("PATCH", "/new.name", 409, json={"name": "other"})
    server.sessions("PATCH", "/new.name", 422, json={"name": "a/b"})
    server.sessions("PATCH", "/new.name", 422, json={})
    server.sessions("PATCH", "/nothing", 404, json={"name": "x"})
    server.sessions("DELETE", "/other", 204)
    server.sessions("PATCH", "/" + other["id"], 410, json={"name": "x"})
    # The former name is free for a session of its own.
    server.create(name=name)
    server.sessions("DELETE", "/new.name", 204)


def test_how_it_ended_is_remembered(server: Server) -> None:
    quick = server.create(name="quick", argv=["sh", "-c", "sleep 0.3; seq 1 200000; exit 7"])
    terminal = server.attach("quick")
    terminal.read_to_close()
    numbers = terminal.text.replace(RESET, "").split()
    assert numbers == [str(n) for n in range(1, 200001)], "the last output comes before the end"
    model = server.sessions("GET", "/" + quick["id"])
    assert model["state"] == "ended" and model["exit"] == {"code": 7, "signal": None, "reason": None}
    killed = server.create(shell="/bin/bash")  # noqa: S604 - a field of the API
    os.kill(killed["pid"], 9)
    model = wait_for(lambda: (m := server.sessions("GET", "/" + killed["id"]))["state"] == "ended" and m)
    assert model["exit"] == {"code": None, "signal": "SIGKILL", "reason": None}
    assert {quick["id"], killed["id"]} <= {m["id"] for m in server.sessions("GET")}


def test_errors_are_sentences(server: Server) -> None:
    server.create(name="taken")
    cases: list[tuple[int, dict[str, Any], str]] = [
        (422, {"json": {"name": "no good"}}, "1 to 64 characters"),
        (409, {"json": {"name": "taken"}}, "runs already"),
        (422, {"json": {"colour": 1}}, "'colour' is not known"),
        (422, {"json": {"cols": 1}}, "cols"),
        (422, {"json": {"cwd": "/no/such"}}, "does not exist"),
        (422, {"json": {"cwd": "server.log"}}, "does not exist"),
        (422, {"json": {"argv": ["no-such-program"]}}, "was not found"),
        (422, {"json": ["x"]}, "body"),
        (400, {"data": "{"}, "not JSON"),
        (413, {"data": b" " * 300_000}, "larger"),
    ]
    for status, request, text in cases:
        error = server.sessions("POST", "", status, **request)
        assert set(error) == {"status", "reason", "message", "hint"} and error["status"] == status
        assert text in error["message"]
    made = 0
    while (
        status := server.http.post(f"{server.url}/persistent-terminals/api/sessions", timeout=10).status_code
    ) == 201:
        made += 1
    assert status == 429 and made == 11
    assert "limit is 12" in server.sessions("POST", "", 429)["message"]
    assert server.http.post(f"{server.url}/api/terminals", timeout=10).status_code == 429
    for model in server.sessions("GET"):
        server.sessions("DELETE", "/" + model["id"], 204)
    while server.sessions("GET"):
        server.sessions("DELETE", "/" + server.sessions("GET")[0]["id"], 204)
    assert requests.get(f"{server.url}/persistent-terminals/api/sessions", timeout=10).status_code == 403
    assert requests.get(f"{server.url}/api/terminals/a.b", timeout=10).status_code == 403
    with pytest.raises(Exception, match="404"):
        server.attach("no-such.one")
    with pytest.raises(Exception, match="403"):
        Terminal(f"ws://127.0.0.1:{server.port}/terminals/websocket/x.1")


def test_a_large_paste_arrives_whole(server: Server, name: str) -> None:
    terminal = server.attach(name)
    terminal.type("stty raw -echo; echo re''ady; head -c 300000 | md5sum; stty sane\r")
    terminal.read("ready")
    terminal.type("x" * 300_000)
    import hashlib

    terminal.read(hashlib.md5(b"x" * 300_000, usedforsecurity=False).hexdigest())
    terminal.close()


def test_the_notice_is_on_pages(server: Server) -> None:
    for path in ("/login", "/no-such-page", "/lab", "/tree"):
        response = server.http.get(server.url + path, timeout=20)
        assert "Workspaces are &lt;not&gt; isolated." in response.text, path
        assert int(response.headers["Content-Length"]) == len(response.content)
        assert "frame-ancestors" in response.headers["Content-Security-Policy"]
    assert b"isolated" not in server.http.get(server.url + "/api/status", timeout=10).content


def test_the_single_user_server_starts_without_a_hub(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    env = server_env(
        tmp_path,
        JUPYTERHUB_SERVICE_URL=f"http://127.0.0.1:{port}/user/ann/",
        JUPYTERHUB_SERVICE_PREFIX="/user/ann/",
        JUPYTERHUB_API_URL=f"http://127.0.0.1:{free_port()}/hub/api",
        JUPYTERHUB_API_TOKEN="t",
        JUPYTERHUB_CLIENT_ID="jupyterhub-user-ann",
        JUPYTERHUB_USER="ann",
        JUPYTERHUB_BASE_URL="/",
        JUPYTERHUB_OAUTH_SCOPES='["access:servers!server=ann/"]',
        JUPYTERHUB_OAUTH_ACCESS_SCOPES='["access:servers!server=ann/"]',
        JUPYTERHUB_ROOT_DIR=str(tmp_path),
    )
    command = [sys.executable, "-m", "persistent_terminal_hub.server.singleuser", "--allow-root"]
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=output, stderr=subprocess.STDOUT)
    try:

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                response = requests.get(f"http://127.0.0.1:{port}/user/ann/api", timeout=5)
            except requests.ConnectionError:
                return False
            return response.ok and "version" in response.json()

        wait_for(answers, 45, "the server answers")
        print(f"serves {time.monotonic() - started:.1f} s after its start, with no hub")
        page = requests.get(f"http://127.0.0.1:{port}/user/ann/lab", timeout=10, allow_redirects=False)
        assert page.status_code == 302 and "/hub/api/oauth2/authorize" in page.headers["Location"]
        wait_for(lambda: "The hub does not answer" in log.read_text(), 10)
        assert process.poll() is None
        assert "persistent_terminal_hub.server | extension was successfully loaded" in log.read_text()
        assert "/user/ann/lab" in log.read_text(), "JupyterLab is the default page"
    finally:
        process.terminate()
        process.wait(20)


def test_a_server_that_is_no_workspace_cannot_be_locked(server: Server) -> None:
    root = f"{server.url}/persistent-terminals/"
    assert requests.get(root + "api/status", timeout=10).json() == {
        "locked": False,
        "since": None,
        "reason": None,
        "hubReachable": None,
    }
    refused = server.http.post(root + "api/lock", json={}, timeout=10)
    assert refused.status_code == 409 and "no login that could unlock it" in refused.json()["hint"]
    assert requests.post(root + "api/lock", json={}, timeout=10).status_code == 403
    unlock = requests.post(root + "unlock", data={"token": "x"}, timeout=10)
    assert unlock.status_code == 403 and "not a workspace of a hub" in unlock.json()["message"]
    assert server.http.get(root + "lock", timeout=10, allow_redirects=False).status_code == 303


def test_a_stopping_server_leaves_its_shells(server: Server) -> None:
    # Last in this file: the server is gone afterwards.
    shell = server.create(name="left.over")["pid"]
    os.kill(shell, 0)
    server.process.terminate()
    server.process.wait(20)
    time.sleep(0.5)
    os.kill(shell, 0)
    end_keeper(server.home)
    wait_for(lambda: not Path(f"/proc/{shell}").exists(), 5, "the shell has ended")
