"""Secrets in both databases: scopes, bounds, rotation beside writers, and what was tampered with."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from database_fixtures import database, database_url, postgres  # noqa: F401
from sqlalchemy import select, update

from persistent_terminal_hub.cli import main
from persistent_terminal_hub.control.audit_log import AuditLog, Query
from persistent_terminal_hub.control.database import Database
from persistent_terminal_hub.control.errors import ApiError
from persistent_terminal_hub.control.leftovers import Gone, Removal
from persistent_terminal_hub.control.models import Secret, Workspace
from persistent_terminal_hub.control.secrets import SecretStore, reseal, when_unused
from persistent_terminal_hub.sealing import Sealer, SealingError
from persistent_terminal_hub.sealing_keys import FileKeys
from persistent_terminal_hub.secret_names import MAX_SECRETS, MAX_TOTAL, MAX_VALUE

# ruff: noqa: F811  (fixtures by import)


@pytest.fixture
def keys(tmp_path: Path) -> FileKeys:
    return FileKeys(tmp_path / "keys" / "sealing.json")


@pytest.fixture
def store(database: Database, keys: FileKeys) -> SecretStore:
    return SecretStore(database, Sealer(keys))


def change(database: Database, name: str, how: Callable[[str], str]) -> None:
    def work(session: Any) -> None:
        envelope = session.scalars(select(Secret.envelope).where(Secret.name == name)).one()
        session.execute(update(Secret).where(Secret.name == name).values(envelope=how(envelope)))

    database.run(work)


def test_scopes_and_versions(store: SecretStore) -> None:
    assert store.versions([("a", ""), ("a", "gpu")]) == {("a", ""): "", ("a", "gpu"): ""}
    assert store.put("a", None, "T", b"all") and store.put("a", "", "T", b"default")
    assert store.put("a", "gpu", "ONLY", b"gpu") and store.put("b", None, "T", b"theirs")
    assert not store.put("a", None, "T", b"all, again")
    assert store.bundle("a", "").values == {"T": b"default"}
    assert store.bundle("a", "gpu").values == {"T": b"all, again", "ONLY": b"gpu"}
    assert store.bundle("a", "other").values == {"T": b"all, again"}
    assert store.bundle("c", "").values == {}
    places = [("a", ""), ("a", "gpu"), ("a", "other"), ("b", ""), ("c", "")]
    before = store.versions(places)
    assert before == {place: store.bundle(*place).version for place in places}
    assert len(set(before.values())) == 5 and before["c", ""] == ""
    store.put("a", None, "T", b"changed")
    after = store.versions(places)
    assert {place for place in places if before[place] != after[place]} == {("a", "gpu"), ("a", "other")}
    assert store.delete("a", "gpu", "ONLY")
    assert store.bundle("a", "gpu").values == {"T": b"changed"}
    assert store.delete("a", "", "T") and not store.delete("a", "", "T")
    assert [(info.name, info.workspace) for info in store.infos("a")] == [("T", None)]


def test_what_is_gone_takes_its_own_along(store: SecretStore, database: Database, tmp_path: Path) -> None:
    log = AuditLog(database, FileKeys(tmp_path / "audit.json"))
    removal = Removal(database, log)

    def add(owner: str, name: str, state: str, created: float) -> None:
        row = Workspace(
            id=f"{owner}-{name}", owner=owner, name=name, display_name=name, options={}, root_path="",
            source=None, env={"A": "b"}, state=state, created=created,
        )  # fmt: skip
        database.run(lambda session: session.add(row))

    for owner, place in (("a", None), ("a", "lab"), ("a", "gpu"), ("b", "lab")):
        store.put(owner, place, "T", b"x")
    add("a", "lab", "ready", 5.0)
    add("a", "gpu", "creating", 6.0)
    assert removal.kept()["a"].workspaces == {"lab": 5.0}
    bundle = store.bundle("a", "lab")
    assert bundle.env == {"A": "b"} and store.versions([("a", "lab")]) == {("a", "lab"): bundle.version}
    # Of a name that is just being made again nothing goes; a deletion that was done before does nothing.
    assert removal.remove(Gone("a", "gpu"), "Gone.") == 0
    assert removal.remove(Gone("a", "lab"), "Gone.", row="another") == 0
    assert removal.remove(Gone("a", "lab"), "Gone.", row="a-lab", who="a", origin="::1") == 1
    assert store.bundle("a", "gpu").values == store.bundle("a", "").values == {"T": b"x"}
    assert removal.remove(Gone("a", None, 1.0), "Before.") == 0
    assert removal.remove(Gone("a"), "Gone.") == 2
    assert set(removal.kept()) == {"a", "b"} and store.infos("a") == []  # what is being made goes on
    records = [json.loads(row.record) for row in log.find(Query())]
    assert (records[-1]["who"], records[-1]["on"], records[-1]["name"]) == ("a", "a/lab", "T")
    assert {r["on"] for r in records} == {"a/lab", "a/*", "a/gpu"} and len(records) == 3


def test_bounds(store: SecretStore) -> None:
    with pytest.raises(ApiError, match="at most"):
        store.put("a", None, "BIG", b"x" * (MAX_VALUE + 1))
    full = MAX_TOTAL // MAX_VALUE
    for number in range(full):
        store.put("a", None, f"N{number}", b"x" * MAX_VALUE)
    with pytest.raises(ApiError, match="together"):
        for number in range(full, full + 3):
            store.put("a", None, f"N{number}", b"x" * MAX_VALUE)
    store.put("a", None, "N0", b"x" * MAX_VALUE)  # in place of itself
    for number in range(MAX_SECRETS):
        store.put("b", None, f"N{number}", b"")
    with pytest.raises(ApiError, match="the most"):
        store.put("b", None, "ONE_MORE", b"")
    store.put("b", None, "N0", b"y")


def test_one_changed_byte_is_seen_and_the_others_work(store: SecretStore, database: Database) -> None:
    for name in ("A", "B", "C"):
        store.put("a", None, name, name.encode())
    change(database, "B", lambda text: text[:-3] + ("A" if text[-3] != "A" else "B") + text[-2:])
    bundle = store.bundle("a", "")
    assert bundle.values == {"A": b"A", "C": b"C"} and bundle.damaged == ("B",)
    problems = {info.name: info.problem for info in store.infos("a")}
    assert problems["A"] == problems["C"] == "" and "changed" in problems["B"]
    # Moved to another owner's row, it is as if it were changed.
    envelope = database.run(lambda s: s.scalars(select(Secret.envelope).where(Secret.name == "A")).one())
    store.put("b", None, "OURS", b"x")
    change(database, "OURS", lambda _: envelope)
    assert store.bundle("b", "").damaged == ("OURS",)
    store.put("a", None, "B", b"anew")
    assert store.bundle("a", "").damaged == ()


def test_rotation_beside_writers_loses_nothing(
    store: SecretStore, database: Database, keys: FileKeys
) -> None:
    for number in range(10):
        store.put("a", None, f"N{number}", b"0")
    stop, last, errors = threading.Event(), {f"N{number}": b"0" for number in range(10)}, []

    def write(mine: int) -> None:
        own = SecretStore(database, Sealer(keys))
        count = 0
        while not stop.is_set():
            name, value = f"N{mine}", str(count).encode()
            try:
                own.put("a", None, name, value)
                last[name] = value
            except Exception as error:
                errors.append(error)
            count += 1

    writers = [threading.Thread(target=write, args=(number,)) for number in (0, 1)]
    for writer in writers:
        writer.start()
    try:
        other = FileKeys(keys._path)  # another process's view of the file
        for _ in range(4):
            old = other.current()[0]
            other.rotate()
            assert reseal(database, Sealer(other))[1] == []
            assert when_unused(database, old, lambda old=old: other.forget(old))  # type: ignore[misc]
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert not errors
    assert len(other.ids()) == 1
    assert store.bundle("a", "").values == last
    assert store.bundle("a", "").damaged == ()


def test_keys_away_is_not_damage(database: Database, store: SecretStore) -> None:
    store.put("a", None, "A", b"x")

    class Away:
        def current(self) -> tuple[str, bytes]:
            raise SealingError("Vault does not answer.")

        def key(self, key_id: str) -> bytes:
            raise SealingError("Vault does not answer.")

    locked = SecretStore(database, Sealer(Away()))
    with pytest.raises(SealingError):
        locked.bundle("a", "")
    assert locked.bundle("b", "").values == {}
    assert [info.problem for info in locked.infos("a")] == ["Vault does not answer."]


def test_the_command(tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    data = tmp_path / "data"
    config.write_text(json.dumps({"dataDir": str(data), "control": {"databaseUrl": database_url}}))

    def run(*more: str) -> int:
        with pytest.raises(SystemExit) as end:
            main(["secrets", "rotate-key", "--config", str(config), *more], standalone_mode=False)
        return int(end.value.code or 0)

    assert run() == 1 and "data directory" in capsys.readouterr().err
    data.mkdir()
    assert run() == 0
    database, keys = Database(database_url), FileKeys(data / "keys" / "sealing.json")
    store = SecretStore(database, Sealer(keys))
    for name in ("A", "B"):
        store.put("a", None, name, b"value")
    capsys.readouterr()
    assert run("--forget-old") == 0
    said = capsys.readouterr().out
    assert "2 secrets" in said and said.count("was removed") == 2
    assert len(keys.ids()) == 1
    assert store.bundle("a", "").values == {"A": b"value", "B": b"value"}
    change(database, "A", lambda text: text[:-3] + ("A" if text[-3] != "A" else "B") + text[-2:])
    assert run("--forget-old") == 1  # the damaged one stays under its key, which is kept
    said_all = capsys.readouterr()
    assert "A of a" in said_all.err and "value" not in said_all.err and "was kept" in said_all.out
    assert store.bundle("a", "").values == {"B": b"value"}
    database.close()
