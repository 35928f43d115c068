"""Ended sessions and what they printed, after the workspace was stopped and started again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.client_fixtures import Stack
from tests.integration.keeper_fixtures import KeeperProcess, create, until

API = "persistent-terminals/api/sessions"


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[list[Stack]]:
    """One whose newest start is the last of the list."""
    starts = [Stack(tmp_path)]
    yield starts
    starts[-1].keeper.stop()


def ask(stack: Stack, method: str, path: str = "", **more: Any) -> requests.Response:
    headers = {"Authorization": f"token {stack.token}"}
    return requests.request(method, stack.direct_url + API + path, headers=headers, timeout=20, **more)


def test_they_are_there_after_a_restart(workspace: list[Stack], tmp_path: Path) -> None:
    stack = workspace[0]
    done = ask(stack, "POST", json={"name": "done", "argv": ["sh", "-c", "echo first; exit 3"]}).json()
    counting = "i=0; trap 'echo last words; exit' HUP; while :; do i=$((i+1)); echo line-$i; sleep 0.01; done"
    ask(stack, "POST", json={"name": "train", "argv": ["sh", "-c", counting]})
    until(lambda: ask(stack, "GET", "/done").json()["state"] == "ended")
    until(lambda: "line-30\n" in ask(stack, "GET", "/train/output?format=text").text)
    assert ask(stack, "GET", "/done/output").content == b"first\r\n"
    stack.keeper.stop()

    workspace.append(stack := Stack(tmp_path))
    assert {(each["name"], each["state"]) for each in ask(stack, "GET").json()} == {
        ("done", "ended"), ("train", "ended"),
    }  # fmt: skip
    found = ask(stack, "GET", "/" + done["id"]).json()
    assert found["exit"] == {"code": 3, "signal": None, "reason": None}
    assert (found["name"], found["bytes_out"], found["clients"], found["expiresIn"]) == ("done", 7, 0, None)
    assert ask(stack, "GET", "/done/output").content == b"first\r\n"
    train = ask(stack, "GET", "/train").json()
    assert train["exit"]["reason"] == "workspace_ended"
    output = ask(stack, "GET", "/train/output?format=text")
    assert output.headers["Content-Disposition"] == 'attachment; filename="train.txt"'
    lines = [line for line in output.text.split() if line != "Hangup"]  # what the shell says of its sleep
    last = len(lines) - 2
    assert lines == [*(f"line-{n}" for n in range(1, last + 1)), "last", "words"] and last >= 30

    # The name is free again, and a running session comes before an ended one of its name.
    assert ask(stack, "POST", json={"name": "train", "argv": ["cat"]}).status_code == 201
    assert ask(stack, "GET", "/train").json()["state"] != "ended"
    assert ask(stack, "DELETE", "/train").status_code == 204
    assert ask(stack, "DELETE", "/done").status_code == 204
    assert ask(stack, "GET", "/done").status_code == 404
    assert ask(stack, "GET", "/done/output").json()["message"] == "There is no such session."
    assert ask(stack, "GET", f"/{train['id']}/output?format=xml").status_code == 422
    names = [each["name"] for each in ask(stack, "GET").json()]
    assert names == ["train", "train"]


def test_a_volume_that_takes_nothing_costs_no_session(tmp_path: Path) -> None:
    keeper = KeeperProcess(tmp_path)
    keeper.state.mkdir()
    (keeper.state / "history").write_text("not a directory")
    keeper.start()
    try:
        client = keeper.connect()
        lasting = create(client, "cat")
        create(client, "true")
        until(lambda: "could not be kept on the volume" in keeper.log)
        assert client.call("get", session=lasting).header["session"]["state"] == "running"
    finally:
        keeper.stop()


def test_a_volume_that_hangs_delays_nothing(tmp_path: Path) -> None:
    """The writer stands still in `open`; other sessions print, and the end comes when the grace is over."""
    keeper = KeeperProcess(tmp_path)
    (keeper.state / "history").mkdir(parents=True)
    keeper.start(grace=0.5)
    try:
        client = keeper.connect()
        lasting = create(client, "sh", "-c", "sleep 0.3; echo goes on; exec cat")
        identity = create(client, "sh", "-c", "sleep 0.2")
        children = f"/proc/{keeper.pid}/task/{keeper.pid}/children"
        before = set(Path(children).read_text().split())
        # The name of a writer's file ends with its pid, which nobody knows before: any that may come.
        newest = max(int(pid) for pid in before)
        for pid in range(newest + 1, newest + 400):
            os.mkfifo(keeper.state / "history" / f".{identity}.{pid}")
        subscription = client.subscribe(lasting)
        until(lambda: b"goes on" in subscription.reader.read(0).data)
        assert client.call("get", session=identity).header["session"]["state"] == "ended"
        assert not (keeper.state / "history" / identity).exists()
    finally:
        keeper.stop()
    assert keeper.popen is not None and keeper.popen.returncode == 0


def test_much_output_is_bounded(tmp_path: Path) -> None:
    keeper = KeeperProcess(tmp_path)
    keeper.start(env={"PTH_HISTORY_BYTES": "100000"})
    try:
        client = keeper.connect()
        ids = [create(client, "sh", "-c", "seq 1000000") for _ in range(3)]
        files = [keeper.state / "history" / identity for identity in ids]
        until(lambda: all(path.exists() for path in files), 30)
        for path in files:
            head, _, data = path.read_bytes().partition(b"\n")
            assert 99_000 < len(data) <= 100_000 and len(head) < 2000
            assert data.endswith(b"\r\n999999\r\n1000000\r\n") and data[: data.index(b"\r")].isdigit()
    finally:
        keeper.stop()
