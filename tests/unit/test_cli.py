"""The command line, as far as it is about settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from persistent_terminal_hub.cli import main
from persistent_terminal_hub.settings import load_settings

ROOT = Path(__file__).parents[2]


def run(*arguments: str, **environ: str) -> Result:
    # Nothing of the machine's own settings.
    empty = {"PTH_CONFIG": None, "PTH_DATA_DIR": None, "PTH_LOG_LEVEL": None}
    return CliRunner().invoke(main, arguments, env={**empty, **environ})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "hub.yaml"
    path.write_text("server: {port: 9000}\nauth: {provider: github, clientId: abc, clientSecret: hunter2}\n")
    return path


def test_check_config_prints_what_takes_effect_and_where_it_came_from(file: Path, tmp_path: Path) -> None:
    result = run("check-config", str(file), PTH_PTY__ROWS="40")
    assert result.exit_code == 0
    lines = {line.split("#")[0].strip(): line.split("# ")[-1] for line in result.stdout.splitlines()}
    assert lines["port: 9000"] == "file, line 1"
    assert lines["rows: 40"] == "environment, PTH_PTY__ROWS"
    assert lines["cols: 80"] == "default"
    assert lines["usernameClaim: login"] == "default of github"
    assert lines["idleLockMinutes: 30"] == "default, but off: nobody could unlock"
    assert lines['clientSecret: "********"'] == "file, line 2"
    assert "hunter2" not in result.output
    assert "warning: Nobody can log in" in result.stderr
    printed = tmp_path / "printed.yaml"
    printed.write_text(result.stdout)
    assert load_settings(printed, {}).server.port == 9000


def test_check_config_without_a_file() -> None:
    result = run("check-config")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "port: 8000" in result.stdout


def test_check_config_takes_the_file_of_the_environment(file: Path) -> None:
    assert "port: 9000" in run("check-config", PTH_CONFIG=str(file)).stdout


def test_check_config_says_every_error_in_a_sentence(file: Path) -> None:
    file.write_text("servr: {}\npty: {cols: wide}\n")
    result = run("check-config", str(file))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        f"error: {file}:1:1: servr is not a setting; did you mean server?",
        f"error: {file}:2: pty.cols must be a whole number, not text.",
    ]


def test_serving_rules_are_asked_for(file: Path) -> None:
    file.write_text(
        "auth: {provider: oauth2, clientId: <YOUR_CLIENT_ID>, clientSecret: s, allowedUsers: [a]}\n"
    )
    plain = run("check-config", str(file))
    assert plain.exit_code == 0
    assert "warning: auth.clientId is still the placeholder" in plain.stderr
    serving = run("check-config", "--serving", str(file))
    assert serving.exit_code == 1
    assert [line.split(" ")[:2] for line in serving.stderr.splitlines()] == [
        ["error:", "auth.clientId"],
        ["error:", "auth.issuer"],
    ]


def test_the_reference_page_is_current() -> None:
    page = run("settings-reference").stdout
    assert (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8") == page, (
        "run: persistent-terminal-hub settings-reference > docs/reference/settings.md"
    )


@pytest.mark.parametrize(("page", "least"), [("configure", 4), ("set-rules", 3)])
def test_the_examples_of_the_guide_are_true(tmp_path: Path, page: str, least: int) -> None:
    guide = (ROOT / f"docs/how-to/{page}.md").read_text(encoding="utf-8")
    blocks = [part.split("```")[0] for part in guide.split("```yaml\n")[1:]]
    assert len(blocks) >= least
    for block in blocks:
        example = tmp_path / "example.yaml"
        example.write_text(block)
        load_settings(example, {})
