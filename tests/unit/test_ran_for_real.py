"""The plugin that insists on real parts, run inside a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent

SKIPS_ONE = """
import pytest

@pytest.mark.docker
def test_ran():
    pass

@pytest.mark.docker
def test_skipped():
    pytest.skip("no engine answers")
"""

RUNS_ALL = """
import pytest

@pytest.mark.browser
def test_ran():
    pass

@pytest.mark.docker
@pytest.mark.xfail
def test_known_bug():
    raise AssertionError

def test_unmarked_may_skip():
    pytest.skip("only on another system")
"""

SKIPS_ITSELF = "import pytest\npytest.importorskip('there_is_no_such_module')\n"


def run_pytest(directory: Path, source: str, required: bool, *more: str) -> tuple[int, str]:
    """Run a file of tests; its exit status and output."""
    (directory / "test_inner.py").write_text(source)
    markers = "[pytest]\nmarkers =\n    docker\n    browser\n    netns\n    oidc\n"
    (directory / "pytest.ini").write_text(markers)
    environment = {
        **os.environ,
        "PYTHONPATH": str(TESTS),
        "PTH_TEST_REQUIRE_ALL": "1" if required else "0",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "ran_for_real",
        "-p",
        "no:cacheprovider",
        "test_inner.py",
        *more,
    ]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout


@pytest.mark.parametrize("more", [(), ("-p", "xdist", "-n", "2")], ids=["one process", "two processes"])
@pytest.mark.parametrize(
    ("source", "required", "passes"),
    [(SKIPS_ONE, True, False), (SKIPS_ONE, False, True), (RUNS_ALL, True, True), (SKIPS_ITSELF, True, False)],
    ids=["one skipped", "one skipped, allowed", "all ran", "file skipped itself"],
)
def test_exit_status(
    tmp_path: Path, source: str, required: bool, passes: bool, more: tuple[str, ...]
) -> None:
    """Only a required run fails, and only for marked tests or whole files that were skipped."""
    status, output = run_pytest(tmp_path, source, required, *more)
    assert (status == 0) == passes, output


def test_summary_names_what_ran_and_what_did_not(tmp_path: Path) -> None:
    """Figures and the reason stand in the summary, before pytest's own last line."""
    _, output = run_pytest(tmp_path, SKIPS_ONE, required=True)
    assert "docker: 1 tests ran against a Docker Engine" in output
    assert "docker: 1 tests did NOT run" in output
    assert "1 x no engine answers" in output
    assert "browser: no test was selected" in output
    assert output.strip().splitlines()[-1].startswith("1 passed, 1 skipped")
