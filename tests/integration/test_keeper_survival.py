"""What a keeper survives: garbage, strangers, clients that do not read, and kills of everything else."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from persistent_terminal_hub.keeper import wire
from persistent_terminal_hub.keeper.blocking_client import BlockingClient
from persistent_terminal_hub.keeper.channel import KeeperError
from tests.integration.keeper_fixtures import KeeperProcess, Screen, Typist, create, keeper, until

__all__ = ["keeper"]

RAW = "stty raw -echo; printf READY; "


def test_garbage_harms_nobody(keeper: KeeperProcess) -> None:
    client = keeper.connect()
    session = create(client, "sh", "-c", RAW + "exec cat")
    Screen(client, session).until(b"READY")
    dice = random.Random(7)
    hello = wire.encode({"op": "hello", "versions": [1], "id": 1})
    words = [
        "op",
        "id",
        "session",
        "client",
        "seq",
        "cols",
        "argv",
        "env",
        "meta",
        "signal",
        "on",
        "name",
        "cwd",
        "jti",
        "exp",
        "at",
        "count",
        "pid",
        "max",
        "reason",
    ]
    ops = client.keeper["ops"]
    for _ in range(300):
        with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError):
            sock.connect(str(keeper.socket))
            kind = dice.randrange(3)
            if kind == 0:
                sock.sendall(dice.randbytes(dice.randrange(300)))
            elif kind == 1:
                sock.sendall(
                    hello + struct.pack(">II", dice.randrange(1 << 19), dice.randrange(1 << 21)) + b"{}"
                )
            else:
                values = [
                    None,
                    True,
                    -1,
                    0,
                    10**30,
                    1.5,
                    float("nan"),
                    float("inf"),
                    os.getpid(),
                    "",
                    "x" * 300,
                    "\ud800",
                    "a\0b",
                    [],
                    [1],
                    {},
                    {"a": 1},
                    session,
                ]
                header = {word: dice.choice(values) for word in words if dice.random() < 0.6}
                header["op"] = dice.choice(
                    [op for op in ops if op not in ("end", "signal", "create", "configure")]
                )
                sock.sendall(hello + wire.encode(header, dice.randbytes(dice.randrange(50))))
                sock.settimeout(0.002)
                sock.recv(10)
    assert client.call("get", session=session).header["session"]["state"] == "running"
    assert "internal error" not in keeper.log
    assert keeper.log.count("Refused on the keeper's socket") < 10
    until(lambda: client.call("stats").header["connections"] == 1)
    with pytest.raises(KeeperError) as caught:
        client.call("teleport")
    assert caught.value.code == "unknown_op"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_other_users_are_turned_away(keeper: KeeperProcess) -> None:
    assert keeper.socket.stat().st_mode & 0o777 == 0o600
    keeper.socket.chmod(0o666)
    parents = [
        path for path in keeper.socket.parents if path.stat().st_uid == os.geteuid() and path != Path("/")
    ]
    modes = {path: path.stat().st_mode for path in parents}
    for path in parents:
        path.chmod(modes[path] | 0o011)
    try:
        pid = os.fork()
        if pid == 0:
            try:
                os.setgroups([])
                os.setuid(12345)
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.connect(str(keeper.socket))
                    with contextlib.suppress(ConnectionResetError):
                        os._exit(0 if sock.recv(9) == b"" else 2)
                    os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        for path in parents:
            path.chmod(modes[path])


def test_two_keepers_do_not_share_a_socket(keeper: KeeperProcess) -> None:
    command = [sys.executable, "-m", "persistent_terminal_hub.keeper", "--", "true"]
    env = {**os.environ, "PTH_RUNTIME_DIR": str(keeper.runtime), "PTH_STATE_DIR": str(keeper.state)}
    done = subprocess.run(command, env=env, capture_output=True, timeout=10)
    assert done.returncode == 1 and b"another keeper serves" in done.stderr
    keeper.connect()


def test_a_client_that_does_not_read_is_let_go_and_costs_nothing(keeper: KeeperProcess) -> None:
    client = keeper.connect()
    session = create(client, "sh", "-c", RAW + "exec cat")
    with socket.socket(socket.AF_UNIX) as lazy:
        lazy.connect(str(keeper.socket))
        lazy.settimeout(0.5)
        lazy.sendall(wire.encode({"op": "hello", "versions": [1], "id": 1}))
        with contextlib.suppress(OSError):
            for _ in range(20_000):
                lazy.sendall(wire.encode({"op": "list", "id": 2}))
        began = time.monotonic()
        client.call("get", session=session)
        assert time.monotonic() - began < 0.5
    rss = int(Path(f"/proc/{keeper.pid}/statm").read_text().split()[1]) * 4096
    assert rss < 60 << 20


def _until_another_server(client: BlockingClient, old: int) -> None:
    until(lambda: client.call("stats").header["server_pid"] not in (old, None))


def test_the_server_is_killed_and_every_session_goes_on(tmp_path: Path) -> None:
    process = KeeperProcess(tmp_path)
    process.start("sleep", "1000")
    client = process.connect()
    session = create(client, "sh", "-c", RAW + "exec cat", name="work", meta={"ttl": 5})
    before = client.call("get", session="work").header["session"]
    Typist(client, session).type(b"first")
    client.close()
    for _ in range(2):
        client = process.connect()
        server = client.call("stats").header["server_pid"]
        os.kill(server, signal.SIGKILL)
        _until_another_server(client, server)
    client = process.connect()
    after = client.call("get", session="work").header["session"]
    assert (after["pid"], after["epoch"], after["meta"]) == (before["pid"], before["epoch"], {"ttl": 5})
    assert client.call("attach", session=session, client="typist").header["ack"] == 1
    screen = Screen(client, session)
    screen.until(b"READYfirst")
    assert client.call("stats").header["server_restarts_total"] == 2
    process.stop()


def _send_until_killed(path: Path, session: str, name: str, messages: list[bytes]) -> None:
    """What a server does for one client: ask what is safe, send the rest, as fast as it goes."""
    client = BlockingClient(path)
    ack = client.call("attach", session=session, client=name).header["ack"]
    channel = client._channel
    for number in range(ack, len(messages)):
        fields = {"session": session, "client": name, "seq": number + 1}
        channel.sock.sendall(channel.request("input", messages[number], fields)[1])
    while client.call("attach", session=session, client=name).header["ack"] < len(messages):
        time.sleep(0.01)


@pytest.mark.filterwarnings("ignore:This process")
def test_input_is_written_exactly_once_whatever_is_killed(keeper: KeeperProcess, tmp_path: Path) -> None:
    record = tmp_path / "record"
    control = keeper.connect()
    session = create(control, "sh", "-c", f"{RAW}exec tee {record}")
    Screen(control, session).until(b"READY")
    dice = random.Random(11)
    # Two clients, told apart by the case of their letters.
    messages = {
        "small": [bytes(dice.choices(b"abcdefghij", k=dice.randrange(1, 40))) for _ in range(6000)],
        "LARGE": [bytes(dice.choices(b"ABCDEFGHIJ", k=dice.randrange(1, 40))) for _ in range(6000)],
    }
    done: set[str] = set()
    kills = 0
    while len(done) < 2:
        children = {}
        for name in messages.keys() - done:
            pid = os.fork()
            if pid == 0:
                try:
                    _send_until_killed(keeper.socket, session, name, messages[name])
                    os._exit(0)
                except BaseException:
                    os._exit(1)
            children[name] = pid
        time.sleep(dice.uniform(0.0, 0.04) + (1 if kills > 50 else 0))
        for name, pid in children.items():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
            if status == 0:
                done.add(name)
            else:
                assert os.WIFSIGNALED(status), "a sender failed"
                kills += 1
    total = sum(len(m) for all_of_one in messages.values() for m in all_of_one)
    until(lambda: record.stat().st_size >= total)
    written = record.read_bytes()
    for sent, letters in ((messages["small"], b"abcdefghij"), (messages["LARGE"], b"ABCDEFGHIJ")):
        assert bytes(byte for byte in written if byte in letters) == b"".join(sent)
    # And the output is what the program wrote.
    screen = Screen(control, session)
    until(lambda: len(screen.take()) >= total + 5)
    assert screen.data == b"READY" + written
    print(f"{kills} kills of the sending process")
    assert kills >= 10
    until(lambda: control.call("stats").header["sessions_attached"] == 0)
