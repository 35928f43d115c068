"""What ended sessions printed: the files that the keeper writes, and how the server reads them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.keeper.history import bytes_kept, prune, write
from persistent_terminal_hub.keeper.journal import Journal, Reader
from persistent_terminal_hub.server.output_text import output_text
from persistent_terminal_hub.server.past_sessions import PastSessions, read_header

ID = "0123456789abcdef"


def info(identity: str = ID, **more: Any) -> dict[str, Any]:
    """What the keeper says of a session that ended."""
    moment = [1.0, 1.0]
    return {
        "id": identity, "name": "train", "pid": 7, "argv": ["sh"], "cwd": "/", "created": moment, "epoch": 5,
        "capacity": 65536, "cols": 80, "rows": 24, "attached": 0, "unattended_from": 0,
        "clocks": {"input": None, "output": moment, "attachment": None}, "busy": False, "cwd_now": None,
        "foreground_name": None, "meta": {},
        "exit": {"code": 3, "signal": None, "reason": "exited", "at": moment}, **more,
    }  # fmt: skip


def kept(directory: Path, data: bytes, most: int = 1000, **more: Any) -> Path:
    """Write one as the keeper does."""
    journal = Journal(65536)
    journal.append(data)
    identity = str(more.get("identity", ID))
    write(directory, identity, info(**more), Reader(journal.fd), most)
    return directory / identity


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = kept(tmp_path / "history", b"one\r\ntwo\r\n")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    found = PastSessions(path.parent).find("train")
    assert found is not None and found.info.exit is not None
    assert (found.info.id, found.info.exit["code"], found.start, found.stop) == (ID, 3, 0, 10)
    assert path.read_bytes()[found.place :] == b"one\r\ntwo\r\n"


@pytest.mark.parametrize(
    ("data", "most", "start", "rest"),
    [
        (b"first\nsecond\nthird\n", 12, 13, b"third\n"),  # begins with a whole line
        (b"x" * 50, 20, 30, b"x" * 20),  # there is none
        (b"", 10, 0, b""),
    ],
)
def test_the_newest_part_is_kept(tmp_path: Path, data: bytes, most: int, start: int, rest: bytes) -> None:
    path = kept(tmp_path, data, most)
    found = read_header(path)
    assert found is not None
    assert (found.start, found.stop, path.read_bytes()[found.place :]) == (start, len(data), rest)


def test_the_newest_of_a_name_and_ids_first(tmp_path: Path) -> None:
    names = [f"{number:016x}" for number in range(3)]
    for age, identity in enumerate(names):
        path = kept(tmp_path, identity.encode(), identity=identity)
        os.utime(path, (100 + age, 100 + age))
    past = PastSessions(tmp_path)
    assert [each.info.id for each in past.others()] == names[::-1]
    assert past.find("train") == past.others()[0]
    assert past.find(names[0]) == past.others()[2]
    assert [each.info.id for each in past.others({names[2]})] == [names[1], names[0]]
    past.forget(names[2])
    past.forget("../" + names[1])
    assert [each.info.id for each in past.others()] == [names[1], names[0]]
    assert past.find("nobody") is None


def test_bounds_hold_and_what_a_killed_writer_left_goes(tmp_path: Path) -> None:
    for age in range(5):
        path = kept(tmp_path, b"y" * 100, identity=f"{age:016x}")
        os.utime(path, (age, age))
    (tmp_path / f".{ID}.999999999").write_text("half")
    writing = tmp_path / f".{ID}.{os.getpid()}"
    writing.write_text("somebody writes")
    prune(tmp_path, most_files=3)
    assert sorted(path.name for path in tmp_path.iterdir() if path != writing) == [
        f"{n:016x}" for n in (2, 3, 4)
    ]
    assert writing.exists()
    prune(tmp_path, most_bytes=(tmp_path / f"{4:016x}").stat().st_size + 10)
    assert [path.name for path in tmp_path.iterdir() if path != writing] == [f"{4:016x}"]


@given(
    st.one_of(st.binary(max_size=300), st.dictionaries(st.text(max_size=9), st.integers()).map(json.dumps))
)
def test_garbage_is_passed_over(tmp_path_factory: pytest.TempPathFactory, junk: bytes | str) -> None:
    path = tmp_path_factory.getbasetemp() / ID
    path.write_bytes(junk if isinstance(junk, bytes) else junk.encode() + b"\n")
    assert read_header(path) is None


@pytest.mark.parametrize("key", [*info(), "kept_from"])
def test_a_header_without_something_is_passed_over_or_read(tmp_path: Path, key: str) -> None:
    """An older or a newer keeper may leave a field out: nothing raises."""
    path = kept(tmp_path, b"data")
    head, _, data = path.read_bytes().partition(b"\n")
    fields = json.loads(head)
    for value in (None, "x", [], -1):
        path.write_bytes(json.dumps({**fields, key: value}).encode() + b"\n" + data)
        read_header(path)
        time.sleep(0)


@pytest.mark.parametrize(("text", "most"), [("5", 5), ("0", 0), ("-1", 0), ("x", 1048576), (None, 1048576)])
def test_how_much_is_kept(text: str | None, most: int) -> None:
    assert bytes_kept({} if text is None else {"PTH_HISTORY_BYTES": text}) == most


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain\r\n", "plain\n"),
        (b"\x1b[1;31mred\x1b[0m and \x1b]0;title\x07done", "red and done"),
        (b"10%\r50%\r100%\r\nend", "100%\nend"),
        (b"helo\x08lo", "hello"),
        (b"\x08\x08x", "x"),
        ("日本語 🙂\r\n".encode(), "日本語 🙂\n"),
        (b"cut \xe6\x97", "cut \N{REPLACEMENT CHARACTER}"),
        (b"bell\x07\ttab\x00", "bell\ttab"),
    ],
)
def test_text(data: bytes, text: str) -> None:
    assert output_text(data) == text


@given(st.binary(max_size=400))
def test_text_has_nothing_that_a_terminal_obeys(data: bytes) -> None:
    assert not any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 for c in output_text(data))
