"""The keeper as a real process: the server as its child, secrets, signals, orphans."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def until(check: Callable[[], object], seconds: float = 8.0) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def deliver(runtime: Path, env: dict[str, str]) -> None:
    temporary = runtime / ".secrets.tmp"
    temporary.touch(0o600)
    temporary.write_text(json.dumps({"env": env}))
    temporary.rename(runtime / "secrets.json")


class Process:
    """A keeper with a script as its server."""

    def __init__(self, tmp: Path) -> None:
        self.runtime = tmp / "run"
        self.runtime.mkdir(mode=0o700)
        self.out = tmp / "out"
        self.log = tmp / "log"
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self, script: str, *options: str) -> None:
        env = {
            **os.environ,
            "PTH_RUNTIME_DIR": str(self.runtime),
            "PTH_STATE_DIR": str(self.runtime),
            "PYTHONPATH": str(ROOT),
            "OUT": str(self.out),
        }
        command = [sys.executable, "-m", "persistent_terminal_hub.keeper", *options, "--", "sh", "-c", script]
        with self.log.open("wb") as log:
            self.popen = subprocess.Popen(command, env=env, stdout=log, stderr=log)

    def lines(self) -> list[str]:
        return self.out.read_text().splitlines() if self.out.exists() else []

    def wait(self) -> int:
        assert self.popen is not None
        return self.popen.wait(10)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    yield process
    if process.popen is not None and process.popen.poll() is None:
        process.popen.kill()
        process.popen.wait()


def test_secrets_reach_only_the_environment_of_the_server(keeper: Process) -> None:
    keeper.start('echo "$TOKEN $HOME" >>"$OUT"; kill -9 $$', "--wait-for-secrets")
    assert keeper.popen is not None
    until(lambda: "waiting for" in keeper.log.read_text())
    assert not keeper.lines()
    deliver(keeper.runtime, {"TOKEN": "s3cret-one"})
    until(lambda: keeper.lines())
    deliver(keeper.runtime, {"TOKEN": "s3cret-two"})
    until(lambda: keeper.lines()[-1].startswith("s3cret-two"))
    assert keeper.lines()[0] == f"s3cret-one {os.environ['HOME']}"
    assert not (keeper.runtime / "secrets.json").exists()
    pid = keeper.popen.pid
    keeper.popen.send_signal(signal.SIGTERM)
    assert keeper.wait() == 0
    assert "s3cret" not in keeper.log.read_text()
    assert pid


def test_secrets_that_never_come(keeper: Process) -> None:
    keeper.start("true", "--wait-for-secrets", "--secrets-timeout", "0.3")
    assert keeper.wait() == 75
    assert "No usable secrets.json came within 0.3 s" in keeper.log.read_text()


def test_a_shutdown_on_purpose_ends_the_keeper_and_a_crash_does_not(keeper: Process) -> None:
    keeper.start('echo x >>"$OUT"; [ $(wc -l <"$OUT") -ge 3 ] && exit 0; exit 1')
    assert keeper.wait() == 0
    assert len(keeper.lines()) == 3


def test_a_command_that_does_not_exist(keeper: Process, tmp_path: Path) -> None:
    env = {
        **os.environ,
        "PTH_RUNTIME_DIR": str(tmp_path),
        "PTH_STATE_DIR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "persistent_terminal_hub.keeper", "--", "/no/such"]
    done = subprocess.run(command, env=env, capture_output=True, timeout=10)
    assert done.returncode == 127
    assert b"'/no/such' cannot be started: No such file or directory" in done.stderr


def test_sigterm_is_forwarded_and_a_deaf_server_is_killed(keeper: Process) -> None:
    keeper.start(
        'trap "echo term >>\\"$OUT\\"" TERM; echo up >>"$OUT"; while :; do sleep 0.1; done', "--grace", "0.5"
    )
    assert keeper.popen is not None
    until(lambda: keeper.lines() == ["up"])
    began = time.monotonic()
    keeper.popen.send_signal(signal.SIGTERM)
    assert keeper.wait() == 0
    assert keeper.lines() == ["up", "term"]
    assert 0.4 < time.monotonic() - began < 3


def test_orphans_are_adopted_and_reaped(keeper: Process) -> None:
    keeper.start('(setsid sh -c "echo \\$\\$ >>\\"$OUT\\"; sleep 0.3; exit 3" &) ; sleep 30')
    assert keeper.popen is not None
    until(lambda: keeper.lines())
    orphan = Path(f"/proc/{keeper.lines()[0]}")
    stat = (orphan / "stat").read_text()
    until(lambda: not orphan.exists())
    assert int(stat.split()[3]) == keeper.popen.pid
    keeper.popen.send_signal(signal.SIGTERM)
    assert keeper.wait() == 0


def test_the_server_does_not_outlive_a_killed_keeper(keeper: Process) -> None:
    keeper.start('echo $$ >>"$OUT"; exec sleep 30')
    assert keeper.popen is not None
    until(lambda: keeper.lines())
    keeper.popen.kill()
    keeper.popen.wait()
    server = Path(f"/proc/{keeper.lines()[0]}/stat")
    until(lambda: not server.exists() or server.read_text().split()[2] == "Z")


def test_sighup_restarts_the_server(keeper: Process) -> None:
    keeper.start('trap "exit 0" TERM; echo up >>"$OUT"; while :; do sleep 0.05; done')
    assert keeper.popen is not None
    until(lambda: keeper.lines() == ["up"])
    keeper.popen.send_signal(signal.SIGHUP)
    until(lambda: keeper.lines() == ["up", "up"])
    assert keeper.popen.poll() is None


def test_a_log_that_nobody_reads_stops_neither_keeper_nor_server(keeper: Process) -> None:
    state = str(keeper.runtime)
    env = {**os.environ, "PTH_RUNTIME_DIR": state, "PTH_STATE_DIR": state, "PYTHONPATH": str(ROOT)}
    script = f"head -c 1000000 /dev/zero | tr '\\0' x >&2; echo done >{keeper.out}; exit 0"
    command = [sys.executable, "-m", "persistent_terminal_hub.keeper", "--", "sh", "-c", script]
    read_end, write_end = os.pipe()
    keeper.popen = subprocess.Popen(command, env=env, stderr=write_end)
    assert keeper.wait() == 0
    assert keeper.lines() == ["done"]
    os.close(read_end)
    os.close(write_end)


def test_nothing_is_left_behind(keeper: Process) -> None:
    keeper.start(
        'setsid sh -c "trap \\"\\" TERM HUP; sleep 60 & echo \\$! >>\\"$OUT\\"; wait" & sleep 60',
        "--grace",
        "0.3",
    )
    assert keeper.popen is not None
    until(lambda: keeper.lines())
    keeper.popen.send_signal(signal.SIGTERM)
    assert keeper.wait() == 0
    assert not Path(f"/proc/{keeper.lines()[0]}").exists()
