"""Secrets files: taken once, checked, deleted, never quoted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from persistent_terminal_hub.keeper import secrets


def put(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def test_none_when_absent(tmp_path: Path) -> None:
    assert secrets.take(tmp_path / "secrets.json") is None


def test_taken_once(tmp_path: Path) -> None:
    path = put(tmp_path / "secrets.json", json.dumps({"env": {"A": "1", "B": "ü=x"}, "later": 1}))
    assert secrets.take(path) == {"A": "1", "B": "ü=x"}
    assert not path.exists()
    assert secrets.take(path) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2",
        "[]",
        '{"env": ["hunter2"]}',
        '{"env": {"A": 7}}',
        '{"env": {"": "hunter2"}}',
        '{"env": {"A=hunter2": "x"}}',
        '{"env": {"A": "hunter2\\u0000"}}',
        b"\xff\xfehunter2",
        "[" * 100_000,
        '{"env": {"A": "' + "x" * secrets.MAX_BYTES + '"}}',
    ],
)
def test_bad_files_are_refused_deleted_and_not_quoted(tmp_path: Path, text: str | bytes) -> None:
    path = put(tmp_path / "secrets.json", text)
    with pytest.raises(secrets.SecretsError) as caught:
        secrets.take(path)
    assert "hunter2" not in str(caught.value)
    assert not path.exists()


def test_others_may_not_read_it(tmp_path: Path) -> None:
    path = put(tmp_path / "secrets.json", '{"env": {}}', 0o644)
    with pytest.raises(secrets.SecretsError, match="readable by others"):
        secrets.take(path)


def test_links_and_fifos_are_refused(tmp_path: Path) -> None:
    target = put(tmp_path / "elsewhere", '{"env": {"A": "1"}}')
    link = tmp_path / "secrets.json"
    link.symlink_to(target)
    with pytest.raises(secrets.SecretsError):
        secrets.take(link)
    assert target.exists()
    os.mkfifo(link, 0o600)
    with pytest.raises(secrets.SecretsError, match="regular"):
        secrets.take(link)
