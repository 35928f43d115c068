"""From the outbox into the log, in both databases: nothing lost or doubled, heads that prove the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from persistent_terminal_hub.audit import Outbox
from persistent_terminal_hub.control.audit_drain import HEAD_KEY, HEADS, AuditDrain
from persistent_terminal_hub.control.audit_log import AuditLog, Query, read_heads
from persistent_terminal_hub.control.database import Database
from persistent_terminal_hub.sealing_keys import FileKeys
from persistent_terminal_hub.settings import AuditSettings, Settings

pytest_plugins = ["database_fixtures"]


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "audit", segment=2000)


@pytest.fixture
def log(database: Database, tmp_path: Path) -> AuditLog:
    return AuditLog(database, FileKeys(tmp_path / "keys" / "audit-keys.json"))


def drain(outbox: Outbox, log: AuditLog, tmp_path: Path, **audit: int) -> AuditDrain:
    settings = Settings(audit=AuditSettings(**audit))  # type: ignore[arg-type]
    return AuditDrain(outbox, log, tmp_path / "audit", tmp_path / "keys", settings)


def test_everything_comes_in_once(outbox: Outbox, log: AuditLog, tmp_path: Path) -> None:
    for number in range(50):
        outbox.record(who="alice", what="execute", on="alice/lab", result="ok", count=number)
    first = drain(outbox, log, tmp_path)
    assert first.once() == 50 and first.once() == 0
    counts = [json.loads(row.record)["count"] for row in log.find(Query())]
    assert counts == list(range(49, -1, -1)) and log.verify() == []


def test_killed_between_storing_and_confirming(
    outbox: Outbox, log: AuditLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        outbox.record(who="alice", what="lock", on="alice/", result="ok", count=number)

    class Killed(BaseException):
        pass

    def die(_batch: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("persistent_terminal_hub.audit.Batch.confirm", die)
        with pytest.raises(Killed):
            drain(outbox, log, tmp_path).once()
    assert len(log.find(Query())) == 5
    assert drain(outbox, log, tmp_path).once() == 0
    assert len(log.find(Query())) == 5 and log.verify() == []


def test_the_exported_head_shows_a_cut_end(
    outbox: Outbox, log: AuditLog, database: Database, tmp_path: Path
) -> None:
    outbox.record(who="alice", what="lock", on="alice/", result="ok")
    outbox.record(who="alice", what="unlock", on="alice/", result="ok")
    drainer = drain(outbox, log, tmp_path)
    drainer.once()
    assert not drainer.export_head(), "it is known already"
    public = (tmp_path / "keys" / HEAD_KEY).with_suffix(".pub.pem").read_bytes()
    heads, complaints = read_heads((tmp_path / "audit" / HEADS).read_text().splitlines(), public)
    assert len(heads) == 1 and complaints == [] and log.verify(heads) == []
    with database.session() as session:
        session.execute(text("DELETE FROM audit WHERE number = 2"))
    assert log.verify() == []
    assert any("cut off" in problem.sentence for problem in log.verify(heads))


def test_retention(outbox: Outbox, log: AuditLog, tmp_path: Path) -> None:
    outbox.record(who="alice", what="lock", on="alice/", result="ok")
    kept = drain(outbox, log, tmp_path, retention_days=1)
    kept.once()
    assert len(log.find(Query())) == 1
    late = AuditDrain(
        outbox, log, tmp_path / "audit", tmp_path / "keys",
        Settings(audit=AuditSettings(retention_days=1)), clock=lambda: 4e9,
    )  # fmt: skip
    late.once()
    assert log.find(Query()) == [] and log.verify() == []
