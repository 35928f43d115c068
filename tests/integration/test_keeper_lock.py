"""The lock, the clocks and the watched processes of a real keeper."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from persistent_terminal_hub.keeper.blocking_client import BlockingClient
from persistent_terminal_hub.keeper.channel import KeeperError
from tests.integration.keeper_fixtures import KeeperProcess, Screen, create, keeper, until

__all__ = ["keeper"]

SERVER = ("sleep", "1000")


@pytest.fixture
def reborn(keeper: KeeperProcess) -> Iterator[KeeperProcess]:
    """A keeper that a test kills and starts again."""
    yield keeper


def kill_and_start(keeper: KeeperProcess) -> BlockingClient:
    assert keeper.popen is not None
    keeper.popen.kill()
    keeper.popen.wait()
    keeper.start()
    return keeper.connect()


def refused(client: BlockingClient, op: str, **fields: object) -> str:
    with pytest.raises(KeeperError) as caught:
        client.call(op, **fields)
    assert str(caught.value).endswith(".")
    return caught.value.code


def test_a_lock_and_a_used_token_survive_a_killed_keeper(reborn: KeeperProcess) -> None:
    client = reborn.connect()
    watcher = reborn.connect()
    watcher.call("watch")
    assert not client.call("lock_state").header["locked"]
    state = client.call("lock", reason="nobody was there").header
    assert state["locked"] and state["durable"] and state["generation"] == 1
    event = watcher.wait_event("lock")
    assert event["locked"] and event["reason"] == "nobody was there" and event["since"] == state["since"]

    client = kill_and_start(reborn)
    state = client.call("lock_state").header
    assert state["locked"] and state["reason"] == "nobody was there" and state["generation"] == 1
    exp = time.time() + 60
    assert not client.call("unlock", jti="one", exp=exp).header["locked"]

    client = kill_and_start(reborn)
    assert not client.call("lock_state").header["locked"]
    assert refused(client, "unlock", jti="one", exp=exp) == "used"
    assert refused(client, "unlock", jti="two", exp=exp) == "not_locked"
    client.call("lock")
    client = kill_and_start(reborn)
    assert refused(client, "unlock", jti="one", exp=exp) == "used"
    assert refused(client, "unlock", jti="two", exp=exp) == "used"  # it was shown when nothing was locked
    assert client.call("lock_state").header["locked"]
    assert client.call("unlock", jti="three", exp=exp).header["generation"] == 2
    assert (reborn.state / "lock.json").stat().st_mode & 0o777 == 0o600


def test_a_damaged_record_comes_up_locked_and_says_so(reborn: KeeperProcess) -> None:
    record = reborn.state / "lock.json"
    record.write_bytes(record.read_bytes()[:-3])
    client = kill_and_start(reborn)
    state = client.call("lock_state").header
    assert state["locked"] and "damaged" in state["reason"]
    assert "damaged" in reborn.log


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a volume that can be filled")
def test_a_volume_that_its_owner_filled_can_be_unlocked(tmp_path: Path) -> None:
    process = KeeperProcess(tmp_path)
    process.state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(process.state)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let us mount")
    try:
        process.start()
        client = process.connect()
        client.call("lock", reason="idle")
        with (process.state / "ballast").open("wb", buffering=0) as ballast, pytest.raises(OSError):
            while True:
                ballast.write(bytes(1024))
        assert not client.call("unlock", jti="a", exp=time.time() + 60).header["locked"]
        assert client.call("lock", reason="again").header["durable"]
    finally:
        process.stop()
        subprocess.run(["umount", "-l", str(process.state)], check=True)


def test_the_clocks(keeper: KeeperProcess) -> None:
    client = keeper.connect()
    first = client.call("rules_clock").header
    assert first["presence"] == first["started"]
    assert first["presence"][1] <= time.monotonic()

    moment = time.monotonic()
    presence = client.call("presence").header["presence"]
    assert moment <= presence[1] <= time.monotonic()
    # Neither back, nor into the future.
    assert client.call("presence", at=moment - 100).header["presence"] == presence
    ahead = client.call("presence", at=time.monotonic() + 1e6).header["presence"]
    assert ahead[1] <= time.monotonic()

    server = keeper.connect()
    server.call("connected", count=2)
    before = time.monotonic()
    clock = client.call("rules_clock").header
    assert clock["connected"][1] >= before and clock["websockets"] == 2 and clock["is_connected"]
    server.close()  # killed: its WebSockets are gone with it
    until(lambda: client.call("rules_clock").header["websockets"] == 0)
    gone = client.call("rules_clock").header["connected"]
    assert not client.call("rules_clock").header["is_connected"]
    time.sleep(0.02)
    assert client.call("rules_clock").header["connected"] == gone

    session = create(client, "sleep", "1000")
    client.call("attach", session=session, client="c")
    assert client.call("rules_clock").header["connected"][1] > gone[1]
    for bad in (-1, "x", None, 1.5):
        assert refused(client, "connected", count=bad) == "invalid"


def test_a_watched_process_keeps_its_session_busy_while_it_lives(keeper: KeeperProcess) -> None:
    client = keeper.connect()
    # In the background, of a process session of its own, its parent gone: as a daemon would be.
    session = create(client, "sh", "-c", "(setsid sleep 1000 & echo pid=$!); exec cat")
    screen = Screen(client, session)
    screen.until(b"\n")
    pid = int(screen.data.split(b"pid=")[1].split()[0])

    def busy() -> bool:
        return bool(client.call("get", session=session).header["session"]["busy"])

    assert not busy()
    watched = client.call("watch_pid", session=session, pid=pid, max=100).header["watched"]
    assert watched[0]["pid"] == pid and 99 < watched[0]["seconds"] <= 100
    model = client.call("get", session=session).header["session"]
    assert model["busy"] and model["busy_since"][1] <= time.monotonic()
    time.sleep(0.01)
    assert client.call("get", session=session).header["session"]["busy_since"] == model["busy_since"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not busy())
    assert refused(client, "watch_pid", session=session, pid=pid, max=100) == "not_watched"


def test_a_watch_ends_when_its_time_is_over_or_on_request(keeper: KeeperProcess) -> None:
    client = keeper.connect()
    session = create(client, "sh", "-c", "sleep 1000 & echo pid=$!; exec cat")
    screen = Screen(client, session)
    screen.until(b"\n")
    pid = int(screen.data.split(b"pid=")[1].split()[0])
    client.call("watch_pid", session=session, pid=pid, max=1)
    until(lambda: not client.call("get", session=session).header["session"]["busy"])
    client.call("watch_pid", session=session, pid=pid, max=1000)
    assert client.call("watch_pid", session=session, pid=None).header["watched"] == []
    assert not client.call("get", session=session).header["session"]["busy"]


def test_only_processes_of_the_session_are_watched(keeper: KeeperProcess) -> None:
    client = keeper.connect()
    session = create(client, "cat")
    other = client.call("get", session=create(client, "cat")).header["session"]["pid"]
    descriptors = len(os.listdir(f"/proc/{keeper.pid}/fd"))
    for pid in (other, os.getpid(), 1, keeper.pid, 2**31 - 1):
        assert refused(client, "watch_pid", session=session, pid=pid, max=10) == "not_watched"
    for fields in ({"pid": 0, "max": 1}, {"pid": "1", "max": 1}, {"pid": 1}, {"pid": 1, "max": float("nan")}):
        assert refused(client, "watch_pid", session=session, **fields) == "invalid"
    assert len(os.listdir(f"/proc/{keeper.pid}/fd")) == descriptors
    client.call("end", session=session, grace=0.1)
    until(lambda: client.call("get", session=session).header["session"]["state"] == "ended")
    assert refused(client, "watch_pid", session=session, pid=os.getpid(), max=10) == "ended"
