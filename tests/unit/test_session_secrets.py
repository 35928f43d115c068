"""Secrets in a workspace: names, files, what runs keeps, what an earlier start left."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.secret_names import (
    MAX_NAME,
    MAX_SECRETS,
    MAX_TOTAL,
    MAX_VALUE,
    MAX_VARIABLE,
    check_all,
    check_name,
    variable_of,
)
from persistent_terminal_hub.server.session_secrets import (
    FILE,
    LINK,
    MAX_KEPT,
    SessionSecrets,
    directories_in_use,
)
from tests.support.waiting import wait_for


@pytest.mark.parametrize(
    "name", ["A", "api_token", "id_rsa.pub", "9", "a" * MAX_NAME, "key-file.pem", "PATHS"]
)
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".a", "-a", "a/b", "a b", "a\n", "a\0", "é", "А", "a" * (MAX_NAME + 1), "PATH", "path",
     "PTH_X", "pth_x", "LD_PRELOAD", "JUPYTERHUB_API_TOKEN", "BASH_ENV", "BASH_FUNC_x", "A=B"],
)  # fmt: skip
def test_bad_names(name: str) -> None:
    with pytest.raises(ValueError, match=r"\.$|;"):
        check_name(name)


@given(st.text(max_size=6))
def test_a_name_is_never_a_path(name: str) -> None:
    try:
        check_name(name)
    except ValueError:
        return
    assert Path("/x", name).resolve() == Path("/x") / name and name == Path(name).name


def test_variables() -> None:
    assert variable_of("A", "grüße\n\ttab".encode()) == "grüße\n\ttab"
    assert variable_of("A.B", b"x") is variable_of("9A", b"x") is variable_of("A", b"\xff") is None
    assert variable_of("A", b"a\0b") is variable_of("A", b"\x1b[2J") is None
    assert variable_of("A", b"x" * (MAX_VARIABLE + 1)) is None
    assert variable_of("A", b"") == ""


def test_bounds() -> None:
    check_all({f"N{n}": b"x" * (MAX_TOTAL // MAX_SECRETS) for n in range(MAX_SECRETS)})
    for bad in (
        {f"N{n}": b"" for n in range(MAX_SECRETS + 1)},
        {"A": b"x" * (MAX_VALUE + 1)},
        {f"N{n}": b"x" * MAX_VALUE for n in range(MAX_TOTAL // MAX_VALUE + 1)},
        {"../x": b""},
    ):
        with pytest.raises(ValueError, match=r"most|name"):
            check_all(bad)


def modes(directory: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in directory.rglob("*") if path.is_file()}


def test_files_and_environment(tmp_path: Path) -> None:
    store = SessionSecrets(tmp_path, "life")
    assert store.environment() == {} and store.version == ""
    assert store.store("v1", {"A": b"one", "k.pem": b"\0\xff"}, ())
    env = store.environment()
    directory = Path(env["PTH_SECRETS_DIR"])
    assert env == {"A": "one", "PTH_SECRETS_DIR": str(directory)}
    assert (directory / "k.pem").read_bytes() == b"\0\xff" and (tmp_path / LINK / "A").read_bytes() == b"one"
    assert modes(tmp_path) == {0o600} and directory.stat().st_mode & 0o777 == 0o700
    assert not store.store("v1", {"A": b"other"}, ())  # the version says that it has it
    assert not store.store("v2", {"A": b"one", "k.pem": b"\0\xff"}, ()) and store.version == "v2"
    # Another server of the same start knows them; one of another start removes them.
    again = SessionSecrets(tmp_path, "life")
    assert again.environment() == env and again.version == "v2" and again.names == ["A", "k.pem"]
    assert SessionSecrets(tmp_path, "another").environment() == {}
    assert list(tmp_path.iterdir()) == []


def test_the_workspaces_own_variables(tmp_path: Path) -> None:
    store = SessionSecrets(tmp_path, "life")
    assert store.store("v1", {}, (), {"MODE": "ü\nx", "A": "mine"})
    assert store.environment() == store.variables == {"MODE": "ü\nx", "A": "mine"}
    # With secrets: what is no secret wins, and commands that are no sessions get that alone.
    assert store.store("v2", {"A": b"one", "B": b"two"}, (), {"MODE": "1", "A": "mine"})
    env = store.environment()
    assert (env["A"], env["B"], env["MODE"]) == ("mine", "two", "1")
    assert store.variables == {"MODE": "1", "A": "mine"}
    again = SessionSecrets(tmp_path, "life")
    assert again.environment() == env and again.variables == store.variables
    # Another variable is no reason for other files.
    assert store.store("v3", {"A": b"one", "B": b"two"}, (), {})
    assert store.environment()["PTH_SECRETS_DIR"] == env["PTH_SECRETS_DIR"]
    assert store.environment()["A"] == "one" and store.variables == {}
    assert SessionSecrets(tmp_path, "another").variables == {}


def test_none_left(tmp_path: Path) -> None:
    store = SessionSecrets(tmp_path, "life")
    store.store("v1", {"A": b"one"}, ())
    store.store("", {}, ())
    assert store.environment() == {} and SessionSecrets(tmp_path, "life").version == ""
    assert b"one" not in b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    empty = tmp_path / "empty"
    empty.mkdir()
    fresh = SessionSecrets(empty, "life")
    fresh.store("x", {}, ())
    assert SessionSecrets(empty, "life").version == "x"


def test_what_runs_keeps_its_files(tmp_path: Path) -> None:
    store = SessionSecrets(tmp_path, "life")
    store.store("v1", {"A": b"one"}, ())
    session = subprocess.Popen(["sleep", "60"], env={**os.environ, **store.environment()})
    try:
        old = Path(store.environment()["PTH_SECRETS_DIR"])
        # The kernel shows a new program's environment a moment after it has begun.
        in_use = wait_for(lambda: directories_in_use([session.pid, 2**22 + 7]), 10, "its environment")
        assert in_use == {str(old)}
        for number in range(MAX_KEPT + 5):
            store.store(f"n{number}", {"A": str(number).encode()}, in_use)
        assert (old / "A").read_bytes() == b"one"
        assert len([path for path in tmp_path.iterdir() if path.name.startswith("secrets-")]) == 2
    finally:
        session.kill()
        session.wait()
    store.remove_unused(directories_in_use([session.pid]))
    assert not old.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"life": "life"}', b"[" * 5000,
     json.dumps({"life": "life", "version": "v", "directory": "", "secrets": []}).encode(),
     json.dumps({"life": "life", "version": "v", "directory": "../x", "secrets": {"A": "eA=="}}).encode(),
     json.dumps({"life": "life", "version": "v", "directory": "", "secrets": {"../A": "eA=="}}).encode(),
     json.dumps({"life": "life", "version": "v", "directory": "", "secrets": {"A": "%"}}).encode()],
)  # fmt: skip
def test_garbage_is_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    (tmp_path / FILE).chmod(0o600)
    store = SessionSecrets(tmp_path, "life")
    assert store.environment() == {} and store.version == ""
    assert store.store("v", {"A": b"x"}, ())


def test_a_file_of_others_and_a_link_are_not_read(tmp_path: Path) -> None:
    store = SessionSecrets(tmp_path, "life")
    store.store("v", {"A": b"x"}, ())
    (tmp_path / FILE).chmod(0o644)
    assert SessionSecrets(tmp_path, "life").version == ""
    store.store("w", {"A": b"y"}, ())
    (tmp_path / FILE).rename(tmp_path / "elsewhere")
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    assert SessionSecrets(tmp_path, "life").version == ""


def test_a_full_disk_keeps_the_former_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SessionSecrets(tmp_path, "life")
    store.store("v", {"A": b"x"}, ())
    before = store.environment()

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="space"):
        store.store("w", {"A": b"y"}, ())
    monkeypatch.undo()
    assert store.version == "v" and store.environment() == before
    assert len([path for path in tmp_path.iterdir() if path.name.startswith("secrets-")]) == 1
    assert SessionSecrets(tmp_path, "life").environment() == before
