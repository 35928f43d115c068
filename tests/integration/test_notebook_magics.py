"""`%%terminal` in a real IPython, against a real server and keeper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from persistent_terminal_hub.cli import main
from tests.integration.client_fixtures import Stack
from tests.integration.keeper_fixtures import until

Say = Callable[..., str]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("notebook"))
    yield stack
    stack.keeper.stop()


@pytest.fixture
def say(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Say:
    """Run the magic as a kernel of the workspace does; what it prints."""
    for name in ("PTH_HUB_URL", "JUPYTERHUB_SERVICE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PTH_SERVER_URL", stack.direct_url)
    monkeypatch.setenv("PTH_TOKEN", stack.token)
    monkeypatch.setenv("PTH_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "persistent_terminal_hub.client.notebook")

    def say(line: str, cell: str | None = None) -> str:
        capsys.readouterr()
        if cell is None:
            shell.run_line_magic("terminal", line)
        else:
            shell.run_cell_magic("terminal", line, cell)
        return capsys.readouterr().out

    return say


def test_a_cell_runs_in_a_session_and_its_end_is_shown(say: Say, tmp_path: Path) -> None:
    assert say("train", "echo one-$((1+1))").startswith("train: made, and the cell runs in it.")
    until(lambda: "one-2" in say("--tail train"))
    # What the first cell's shell knows, the next one finds; tabs and quotes come as they are.
    cell = "\nexport WHERE='over here'\nprintf '%s\\n' \"a\tb\" \"$PWD\"\n"
    assert say("train", cell).startswith("train: the cell runs in it.")
    until(lambda: f"a       b\n{tmp_path}" in say("--tail train").expandtabs())
    say("train", "echo $WHERE")
    until(lambda: "\nover here\n" in say("train --tail"))
    assert "train" in say("") and "dormant" in say("")
    say("train", "seq 100; exit 4")
    until(lambda: "ended with exit code 4" in say(""))
    # What has ended can be read, here and by the command line.
    assert "\n99\n100\n" in say("--tail train")
    done = CliRunner().invoke(main, ["sessions", "output", "train", "-n", "3"])
    assert done.exit_code == 0 and "\n100\n" in done.stdout and done.stdout.count("\n") == 3
    raw = CliRunner().invoke(main, ["sessions", "output", "train", "--raw"])
    assert b"\r\n99\r\n100\r\n" in raw.stdout_bytes
    assert CliRunner().invoke(main, ["sessions", "output", "nobody"]).exit_code == 3


def test_nothing_is_typed_into_a_program_that_runs(say: Say, tmp_path: Path) -> None:
    say("busy", "cat > typed")
    until(lambda: "busy for" in say(""))
    with pytest.raises(UsageError, match="'busy' is busy with a program, so nothing was typed"):
        say("busy", "rm -rf everything")
    say("busy --force", "on purpose")
    until(lambda: (tmp_path / "typed").read_text() == "on purpose\n")


@pytest.mark.parametrize(
    ("line", "cell", "words"),
    [
        ("", "echo x", "Write %%terminal NAME"),
        ("a/b", "echo x", "name has 1 to 64"),
        ("new", "\n \n", "no text to run"),
        ("--tail nobody", None, "no such session"),
        ("--tail", None, "Which session"),
        ("x --lines 0", None, "1 or more"),
        ("x --colour", None, "unrecognized arguments"),
        ("'x", None, "No closing quotation"),
    ],
)
def test_mistakes_are_sentences(say: Say, line: str, cell: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        say(line, cell)


def test_a_server_that_is_away_is_a_sentence(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTH_SERVER_URL", "http://127.0.0.1:9/")
    with pytest.raises(UsageError, match="does not answer"):
        say("")
