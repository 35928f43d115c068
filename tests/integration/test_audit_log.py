"""The audit log in both databases."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import inspect, text

from persistent_terminal_hub.cli import main
from persistent_terminal_hub.control.audit_command import AUDIT_KEYS
from persistent_terminal_hub.control.audit_drain import HEAD_KEY, HEADS
from persistent_terminal_hub.control.audit_log import AuditLog, Entry, HeadSigner, Query, read_heads
from persistent_terminal_hub.control.database import Database, DatabaseError
from persistent_terminal_hub.control.models import Base
from persistent_terminal_hub.sealing_keys import FileKeys

pytest_plugins = ["database_fixtures"]


def events(count: int, start: int = 0) -> list[Entry]:
    return [
        Entry.of(
            {
                "id": f"{number:032x}", "at": f"2026-11-21T10:{number // 60 % 60:02d}:{number % 60:02d}.000Z",
                "who": f"user{number % 3}", "what": "lock", "on": "alice/", "result": "ok", "reason": "é\n😀",
            }
        )
        for number in range(start, start + count)
    ]  # fmt: skip


@pytest.fixture
def log(database: Database, tmp_path: Path) -> AuditLog:
    return AuditLog(database, FileKeys(tmp_path / "audit-keys.json"))


def test_tables_are_those_of_the_models(database: Database) -> None:
    found = inspect(database.engine)
    tables = set(found.get_table_names()) - {"alembic_version"}
    assert tables == set(Base.metadata.tables)
    for name, table in Base.metadata.tables.items():
        columns = {column["name"]: column["nullable"] for column in found.get_columns(name)}
        assert columns == {column.name: column.nullable for column in table.columns}, name
        indexes = {
            index["name"] for index in found.get_indexes(name) if not index.get("duplicates_constraint")
        }
        assert {str(index.name) for index in table.indexes} <= indexes, name


def test_migrating_twice_changes_nothing(database: Database) -> None:
    database.migrate()


def _migrate(url: str, results: multiprocessing.Queue[str]) -> None:
    try:
        Database(url).migrate()
        results.put("")
    except BaseException as error:
        results.put(repr(error))


def test_several_instances_start_at_once(database_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[str] = context.Queue()
    starters = [context.Process(target=_migrate, args=(database_url, results)) for _ in range(3)]
    for starter in starters:
        starter.start()
    assert [results.get(timeout=60) for _ in starters] == [""] * 3
    for starter in starters:
        starter.join()


def test_what_went_in_is_found_once(log: AuditLog) -> None:
    assert log.append(events(10)) == 10
    assert log.append(events(15)) == 5
    assert log.append([*events(1, 20), *events(1, 20)]) == 1
    rows = log.find(Query(limit=100))
    assert [row.number for row in rows] == list(range(16, 0, -1))
    assert {row.who for row in log.find(Query(who="user1"))} == {"user1"}
    assert [row.number for row in log.find(Query(before=4, limit=2))] == [3, 2]
    middle = rows[8]
    found = log.find(Query(since=middle.at, until=middle.at + 0.5))
    assert [row.number for row in found] == [middle.number]
    assert log.verify() == []
    lines = [json.loads(line) for line in log.export()]
    assert [line["number"] for line in lines] == list(range(1, 17))
    assert lines[0]["record"]["reason"] == "é\n😀"


def test_an_odd_event_comes_in_too(log: AuditLog) -> None:
    odd: list[dict[str, Any]] = [{}, {"who": 7, "at": "never"}, {"id": "x" * 99, "on": "y" * 9999}]
    assert log.append([Entry.of(event) for event in odd]) == 3
    assert log.verify() == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE audit SET record = replace(record, 'lock', 'lick') WHERE number = 5", "was changed"),
        ("UPDATE audit SET who = 'mallory' WHERE number = 5", "do not say what its record says"),
        ("UPDATE audit SET at = at + 1 WHERE number = 5", "do not say what its record says"),
        ("DELETE FROM audit WHERE number = 5", "missing"),
        ("DELETE FROM audit WHERE number <= 5", "missing"),
        ("DELETE FROM audit WHERE number > 5", "cut off"),
        ("DELETE FROM audit", "cut off"),
    ],
)
def test_a_change_behind_our_back_is_seen(
    log: AuditLog, database: Database, tmp_path: Path, change: str, says: str
) -> None:
    log.append(events(10))
    signer = HeadSigner(tmp_path / "keys" / "head.pem")
    head = log.head()
    assert head is not None
    heads, complaints = read_heads([signer.line(head)], (tmp_path / "keys" / "head.pub.pem").read_bytes())
    assert complaints == [] and log.verify(heads) == []
    with database.session() as session:
        session.execute(text(change))
    problems = log.verify(heads)
    assert any(says in problem.sentence for problem in problems), problems


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (None, "The audit log is whole: it ends at row 10; 1 exported head(s) agree"),
        ("UPDATE audit SET record = replace(record, 'lock', 'lick') WHERE number = 5", "row 5"),
        ("DELETE FROM audit WHERE number = 5", "missing"),
        ("DELETE FROM audit WHERE number > 5", "cut off"),
    ],
)
def test_the_command_says_so(database_url: str, tmp_path: Path, change: str | None, says: str) -> None:
    """`audit verify` as an administrator runs it, with the exported head."""
    config = tmp_path / "hub.json"
    config.write_text(json.dumps({"dataDir": str(tmp_path), "control": {"databaseUrl": database_url}}))
    database = Database(database_url)
    database.migrate()
    log = AuditLog(database, FileKeys(tmp_path / "keys" / AUDIT_KEYS))
    log.append(events(10))
    head = log.head()
    assert head is not None
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / HEADS).write_text(HeadSigner(tmp_path / "keys" / HEAD_KEY).line(head) + "\n")
    if change is not None:
        with database.session() as session:
            session.execute(text(change))
    database.close()
    result = CliRunner().invoke(main, ["audit", "verify", "--config", str(config)], env={"PTH_CONFIG": None})
    assert result.exit_code == (0 if change is None else 1), result.output
    assert says in result.output


def test_heads_that_are_not_ours(log: AuditLog, tmp_path: Path) -> None:
    log.append(events(2))
    head = log.head()
    assert head is not None
    line = HeadSigner(tmp_path / "ours.pem").line(head)
    public = (tmp_path / "ours.pub.pem").read_bytes()
    other = HeadSigner(tmp_path / "other.pem").line(head)
    moved = json.dumps({**json.loads(line), "number": 1})
    heads, complaints = read_heads([line, other, moved, "{}", "garbage", ""], public)
    assert len(heads) == 1 and len(complaints) == 4
    again, complaints = read_heads([HeadSigner(tmp_path / "ours.pem").line(head)], public)
    assert again == heads and complaints == []


def test_retention(log: AuditLog) -> None:
    log.append(events(200))
    at = next(row.at for row in log.find(Query(limit=200)) if row.number == 101)
    head = log.head()
    assert head is not None
    assert log.remove_before(at) == 100
    assert log.remove_before(at) == 0
    assert log.verify([head]) == []
    log.append(events(5, 500))
    assert log.verify([head]) == []
    assert log.remove_before(at + 1e9) == 105
    assert log.head() is not None  # the chain goes on behind the anchor
    log.append(events(1, 900))
    assert [row.number for row in log.find(Query())] == [206]
    assert log.verify() == []


def test_rotated_keys_still_verify(database: Database, tmp_path: Path) -> None:
    keys = FileKeys(tmp_path / "keys.json")
    log = AuditLog(database, keys)
    log.append(events(3))
    keys.rotate()
    log.append(events(3, 10))
    assert log.verify() == []
    assert len({row.key for row in log.find(Query())}) == 2


def _append(url: str, keys: str, start: int, results: multiprocessing.Queue[int]) -> None:
    log = AuditLog(Database(url), FileKeys(Path(keys)))
    results.put(sum(log.append(events(4, start + 4 * round_)) for round_ in range(10)))


def test_several_instances_append_at_once(database: Database, database_url: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    log = AuditLog(database, FileKeys(keys))
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[int] = context.Queue()
    # The first two add the same events.
    writers = [
        context.Process(target=_append, args=(database_url, str(keys), start, results))
        for start in (0, 0, 1000)
    ]
    for writer in writers:
        writer.start()
    assert sum(results.get(timeout=60) for _ in writers) == 80
    for writer in writers:
        writer.join()
    assert log.verify() == []
    assert len(log.find(Query(limit=1000))) == 80


def test_a_database_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="cannot be used") as caught:
        Database(f"postgresql+psycopg://pth:hunter2@/x?host={tmp_path}").migrate()
    assert "hunter2" not in str(caught.value)
    with pytest.raises(DatabaseError, match="databaseUrl"):
        Database("mysql+nothing://pth:hunter2@x/y")
