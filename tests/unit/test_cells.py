"""What the notebook's magics type and show."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.client import cells
from persistent_terminal_hub.client.notebook import cells_directory
from persistent_terminal_hub.keeper.lock_operations import state_directory


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("make -j8", True),
        ("echo 日本語 🙂", True),
        ("a\tb", False),  # a shell would complete
        ("a\nb", False),
        ("a\x03", False),
        ("x" * 501, False),
    ],
)
def test_what_is_typed_as_it_stands(text: str, whole: bool) -> None:
    assert cells.typed_as_it_stands(text) is whole


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=200))
def test_a_shell_runs_exactly_the_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """The text, quoted as a here-document, comes out of a shell as it was."""
    folder = tmp_path_factory.getbasetemp() / "it's a folder"
    end = "END-OF-TEXT"
    path = cells.keep(f"cat <<'{end}'\n{text}\n{end}", "a/b ü", folder)
    assert path.parent == folder and path.stat().st_mode & 0o777 == 0o600
    done = subprocess.run(["bash", "-c", cells.source_line(path)], capture_output=True, check=True)
    assert done.stdout.decode() == text + "\n"


def test_the_oldest_files_go(tmp_path: Path) -> None:
    for age in range(cells.KEPT_FILES + 5):
        os.utime(cells.keep("x", "s", tmp_path), (age, age))
    newest = cells.keep("x", "s", tmp_path)
    left = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime)
    assert len(left) == cells.KEPT_FILES and left[-1] == newest and left[0].stat().st_mtime == 6


@pytest.mark.parametrize(
    ("text", "count", "shown"),
    [
        ("a\nb\nc\n", 2, "b\nc"),
        ("a\n\n\n", 5, "a"),
        ("10%\r100%\ndone  \n", 5, "100%\ndone"),
        ("", 3, ""),
    ],
)
def test_the_last_lines(text: str, count: int, shown: str) -> None:
    assert cells.last_lines(text, count) == shown


@pytest.mark.parametrize("told", ["/volume/state", "", None])
def test_texts_are_kept_where_the_keeper_keeps_its_own(
    told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PTH_STATE_DIR", raising=False)
    if told is not None:
        monkeypatch.setenv("PTH_STATE_DIR", told)
    assert cells_directory() == state_directory(tmp_path / "run", alone=False) / "cells"
