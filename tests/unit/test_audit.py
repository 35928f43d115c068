"""The audit outbox: nothing that was acknowledged is lost or doubled, nothing breaks its caller."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import random
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from persistent_terminal_hub import audit
from persistent_terminal_hub.audit import AuditError, Outbox
from persistent_terminal_hub.tokens import Purpose, SigningKey, issue

ROOT = Path(__file__).parents[2]

WRITER = """
import sys
from pathlib import Path
from persistent_terminal_hub.audit import Outbox
outbox = Outbox(Path(sys.argv[1]), segment=4096)
number = 0
while len(sys.argv) < 4 or number < int(sys.argv[3]):
    number += 1
    if outbox.record(what="x", who=sys.argv[2], count=number):
        print(number, flush=True)
"""


def take_all(outbox: Outbox) -> list[dict[str, Any]]:
    events = []
    while (batch := outbox.drain()) is not None:
        events += batch.events
        batch.confirm()
    return events


def start(path: Path, who: str, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), who, *more],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_an_event(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "audit")
    assert outbox.drain() is None
    assert outbox.record(who="alice", what="unlock", on="alice/", origin="10.0.0.9", result="ok", reason=None)
    assert stat.S_IMODE((tmp_path / "audit").stat().st_mode) == 0o700
    files = list((tmp_path / "audit").iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    batch = outbox.drain()
    assert batch is not None and batch.torn == 0
    (event,) = batch.events
    assert len(event.pop("id")) == 32 and event.pop("at").endswith("Z")
    assert event == {"who": "alice", "what": "unlock", "on": "alice/", "origin": "10.0.0.9", "result": "ok"}
    batch.confirm()
    assert outbox.drain() is None


def test_unconfirmed_batches_come_again_and_drainers_take_turns(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.record(what="one")
    with outbox.drain() or pytest.fail() as first:
        outbox.record(what="two")  # while somebody drains
        with pytest.raises(AuditError):
            Outbox(tmp_path).drain()
    again = Outbox(tmp_path).drain()
    assert again is not None
    assert (again.name, again.events) == (first.name, first.events)
    again.confirm()
    again.confirm()  # twice is once
    assert [event["what"] for event in take_all(outbox)] == ["two"]


def test_a_segment_that_is_drained_while_sizes_are_added_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(tmp_path)
    monkeypatch.setattr(outbox, "_sealed", lambda: [tmp_path / "000000000001-00000000.jsonl"])
    assert outbox.record(what="x")


def test_order_and_names_that_never_come_back(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, segment=200)
    names = []
    for number in range(30):
        outbox.record(what="x", count=number)
    counts = []
    while (batch := outbox.drain()) is not None:
        names.append(batch.name)
        counts += [event["count"] for event in batch.events]
        batch.confirm()
    assert counts == list(range(30)) and len(names) > 5
    outbox.record(what="x")
    last = outbox.drain()
    assert last is not None and last.name not in names
    last.release()


def test_several_processes_and_a_drainer(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, segment=4096)
    writers = [start(tmp_path, name, "80") for name in "abc"]
    events: list[dict[str, Any]] = []
    while any(writer.poll() is None for writer in writers):
        events += take_all(outbox)
        time.sleep(0.01)
    said = {name: writer.communicate()[0].split() for name, writer in zip("abc", writers, strict=True)}
    events += take_all(outbox)
    assert all(len(numbers) == 80 for numbers in said.values())
    for name in "abc":
        assert [event["count"] for event in events if event["who"] == name] == list(range(1, 81))
    assert len({event["id"] for event in events}) == 240 == len(events)


def test_kill_between(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, segment=2048)
    events: list[dict[str, Any]] = []
    for round_ in range(6):
        writers = [start(tmp_path, f"{name}{round_}") for name in "ab"]
        for writer in writers:
            assert writer.stdout is not None
            for _ in range(3 + round_):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
        for name, writer in zip("ab", writers, strict=True):
            said = 3 + round_ + len(writer.communicate()[0].splitlines())
            events += take_all(outbox)
            counts = [event["count"] for event in events if event["who"] == f"{name}{round_}"]
            # What was acknowledged is there; at most the one that it was busy with may be, too.
            assert counts in (list(range(1, said + 1)), list(range(1, said + 2)))


def test_a_drainer_that_is_killed_before_it_confirms(tmp_path: Path) -> None:
    """The consumer stores a batch's name with its events, so that the same one is not stored twice."""
    outbox = Outbox(tmp_path)
    for number in range(5):
        outbox.record(what="x", count=number)
    stored: dict[str, list[int]] = {}

    def consume(confirm: bool) -> None:
        batch = Outbox(tmp_path).drain()
        if batch is not None:
            stored[batch.name] = [event["count"] for event in batch.events]
            batch.confirm() if confirm else batch.release()  # a kill closes its descriptors

    consume(confirm=False)
    outbox.record(what="x", count=5)
    consume(confirm=False)
    consume(confirm=True)
    consume(confirm=True)
    consume(confirm=True)
    assert sorted(number for numbers in stored.values() for number in numbers) == list(range(6))


DRAINER = """
import sqlite3, sys
from pathlib import Path
from persistent_terminal_hub.audit import Outbox
store = sqlite3.connect(sys.argv[2])
store.execute("CREATE TABLE IF NOT EXISTS batches (name TEXT PRIMARY KEY)")
store.execute("CREATE TABLE IF NOT EXISTS events (number INTEGER)")
outbox = Outbox(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    batch = outbox.drain()
    if batch is not None:
        with store:  # one transaction
            if store.execute("INSERT OR IGNORE INTO batches VALUES (?)", (batch.name,)).rowcount:
                store.executemany("INSERT INTO events VALUES (?)", [(e["count"],) for e in batch.events])
        batch.confirm()
"""


def test_drainers_that_are_killed_anywhere(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DRAINER, str(tmp_path / "audit"), str(tmp_path / "db")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    writer = start(tmp_path / "audit", "a", "300")
    pauses = random.Random(5)
    rounds = 0
    while writer.poll() is None or rounds < 5:
        rounds += 1
        drainer = subprocess.Popen(command, stdout=subprocess.PIPE, env=env)
        assert drainer.stdout is not None and drainer.stdout.readline() == b"ready\n"
        time.sleep(pauses.uniform(0.01, 0.1))
        drainer.kill()
        drainer.communicate()
    said = [int(number) for number in writer.communicate()[0].split()]
    rest = [event["count"] for event in take_all_but_stored(tmp_path)]
    stored = [row[0] for row in sqlite3.connect(tmp_path / "db").execute("SELECT number FROM events")]
    assert sorted(stored + rest) == said == list(range(1, 301)), rounds


def take_all_but_stored(folder: Path) -> list[dict[str, Any]]:
    """What no drainer has stored yet; the last one may have been killed before it confirmed."""
    known = {row[0] for row in sqlite3.connect(folder / "db").execute("SELECT name FROM batches")}
    outbox = Outbox(folder / "audit")
    events = []
    while (batch := outbox.drain()) is not None:
        events += [] if batch.name in known else batch.events
        batch.confirm()
    return events


def test_a_line_that_a_kill_cut_off_swallows_nothing(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.record(what="one")
    with (tmp_path / "current.jsonl").open("ab") as file:
        file.write(b'{"id":"x","wha')
    outbox.record(what="two")
    (tmp_path / "current.jsonl").open("ab").write(b"[1]\n\xff\n")
    batch = outbox.drain()
    assert batch is not None and [event["what"] for event in batch.events] == ["one", "two"]
    assert batch.torn == 3
    batch.release()


FULL = """
import os, resource, sys
from pathlib import Path
from persistent_terminal_hub.audit import Outbox
outbox = Outbox(Path(sys.argv[1]))
outbox.record(what="before")
size = (Path(sys.argv[1]) / "current.jsonl").stat().st_size
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))  # part of a line fits
print([outbox.record(what="full") for _ in range(3)])
print((Path(sys.argv[1]) / "current.jsonl").stat().st_size == size)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print(outbox.record(what="after"))
"""


def test_a_full_disk(tmp_path: Path) -> None:
    if resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY:
        pytest.skip("a limit of file sizes is set already")
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.split("\n")[:3] == ["[False, False, False]", "True", "True"], done.stderr
    assert done.stderr.count("cannot be recorded") == 1
    events = take_all(Outbox(tmp_path))
    assert [event["what"] for event in events] == ["before", "audit.lost", "after"]
    assert events[1]["count"] == 3


def test_an_outbox_that_nobody_drains(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    outbox = Outbox(tmp_path, segment=500, max_total=2000)
    results = [outbox.record(what="x", count=number) for number in range(60)]
    assert results[0] and not results[-1]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 3000
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    written = results.count(True)
    assert [event["count"] for event in take_all(outbox)] == list(range(written))
    assert outbox.record(what="y")
    assert [event.get("count") for event in take_all(outbox)] == [60 - written, None]


@pytest.mark.parametrize("obstacle", ["a file", "no right", "a link"])
def test_a_place_that_cannot_be_written(tmp_path: Path, obstacle: str) -> None:
    path = tmp_path / "audit"
    if obstacle == "a file":
        path.write_text("")
    elif obstacle == "a link":
        path.mkdir()
        (path / "current.jsonl").symlink_to(tmp_path / "elsewhere")
    elif os.geteuid() == 0:
        path = Path("/proc/nowhere/audit")
    else:
        tmp_path.chmod(0o500)
    outbox = Outbox(path)
    assert outbox.record(what="x") is False
    assert not (tmp_path / "elsewhere").exists()


def test_a_frozen_process_does_not_hold_the_others_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "PATIENCE", 0.05)
    outbox = Outbox(tmp_path)
    outbox.record(what="one")
    descriptor = os.open(tmp_path / "write.lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert outbox.record(what="two")
    assert [event["what"] for event in take_all(outbox)] == ["two"]
    os.close(descriptor)
    assert [event["what"] for event in take_all(outbox)] == ["one"]


def test_threads(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)

    def many() -> None:
        for _ in range(20):
            outbox.record(what="x")

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(take_all(outbox)) == 80


def test_hostile_values(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    outbox = Outbox(tmp_path)
    token = issue(SigningKey.generate(), Purpose.UNLOCK, issuer="a", audience="b", subject="c", lifetime=9)
    nested: Any = []
    nested.append(nested)
    assert outbox.record(
        who='a\n{"what":"forged"}\r\n\x00\x1b[31m\u2028',
        what="x" * 10_000_000,
        on=b"\xff\xfe\n",
        origin="\ud800",
        result=float("nan"),
        reason=f"refused {token} of alice",
        method=nested,
        session={"token": token},
        count=10**400,
        seconds=float("inf"),
        code=True,
        password="hunter2",
        token=token,
        **{"self": "x", "fields": "y", "bad\nname": 1},
    )
    assert outbox.record() and outbox.record(password="hunter2")
    raw = (tmp_path / "current.jsonl").read_bytes()
    assert raw.count(b"\n") == 3 and raw.isascii() and len(raw) < 4000
    assert token.encode() not in raw and b"hunter2" not in raw and b"hunter2" not in caplog.text.encode()
    assert token not in caplog.text and "bad\n" not in caplog.text
    event = json.loads(raw.split(b"\n")[0])
    assert event["who"].startswith("a\n{") and len(event["what"]) == audit.MAX_VALUE + 3
    assert event["reason"] == "refused <token> of alice"
    assert (event["method"], event["session"], event["count"]) == ("<list>", "<dict>", "<int>")
    assert event["code"] is True and not {"password", "token", "self"} & event.keys()
    json.dumps(event, ensure_ascii=False).encode("utf-8")  # no half characters


def test_record_of_the_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    audit._outbox = None
    try:
        audit.record({"what": "x"})
        assert "no audit outbox" in caplog.text
        outbox = audit.use(tmp_path)
        audit.record({"what": "login", "who": "alice", 7: "odd", "self": 1})  # type: ignore[dict-item]
        assert [event["what"] for event in take_all(outbox)] == ["login"]
    finally:
        audit._outbox = None
