"""A pytest plugin: says which tests ran against real parts, and can insist on it.

Tests marked `docker`, `browser`, `netns`, `oidc` or `postgres` need something that a machine may lack,
and skip themselves then. The summary tells how many did and why. With PTH_TEST_REQUIRE_ALL=1, which
.ci/run sets, a run in which one of them was skipped fails. Load it with `pytest_plugins = ["ran_for_real"]`.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from typing import Any

import pytest

REAL_PARTS = {
    "docker": "a Docker Engine",
    "browser": "Chromium",
    "netns": "a dockerd in its own network namespace",
    "oidc": "an OpenID Connect provider",
    "postgres": "PostgreSQL",
}
REQUIRE_ALL = "PTH_TEST_REQUIRE_ALL"
SKIPPED_FILES = "pth_skipped_files"


class RanForReal:
    """Counts the outcomes of marked tests during one session."""

    def __init__(self) -> None:
        self.ran: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.reasons: dict[str, Counter[str]] = defaultdict(Counter)
        # Files that skipped themselves before their marks could be read.
        self.skipped_files: dict[str, str] = {}

    @property
    def required(self) -> bool:
        """Whether a skip counts as a failure."""
        return os.environ.get(REQUIRE_ALL, "") not in ("", "0")

    @property
    def complete(self) -> bool:
        """Whether nothing that needs a real part was skipped."""
        return not self.skipped and not self.skipped_files

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test's outcome under each of its marks."""
        marks = [mark for mark in REAL_PARTS if mark in report.keywords]
        # An expected failure is reported as skipped, but it ran.
        if report.skipped and not hasattr(report, "wasxfail"):
            for mark in marks:
                self.skipped[mark] += 1
                self.reasons[mark][skip_reason(report)] += 1
        elif report.when == "call":
            self.ran.update(marks)

    @pytest.hookimpl
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A whole file that skips itself (importorskip) hides its marked tests: only unit tests may."""
        if report.skipped and "tests/unit/" not in report.nodeid:
            self.skipped_files[report.nodeid] = skip_reason(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Make a successful run fail when something required was skipped."""
        told = getattr(session.config, "workeroutput", None)
        if told is not None:  # one of several processes (pytest-xdist): the one that reports decides
            told[SKIPPED_FILES] = self.skipped_files
            return
        if self.required and not self.complete and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a process saw: reports of tests reach us anyway, skipped files do not."""
        self.skipped_files.update(getattr(node, "workeroutput", {}).get(SKIPPED_FILES, {}))

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the section about real parts."""
        if not (self.ran or self.skipped or self.skipped_files):
            return
        terminalreporter.section("what ran for real")
        for mark, part in REAL_PARTS.items():
            ran, skipped = self.ran[mark], self.skipped[mark]
            if ran:
                terminalreporter.write_line(f"{mark}: {ran} tests ran against {part}")
            if skipped:
                terminalreporter.write_line(f"{mark}: {skipped} tests did NOT run (they need {part}):")
                for reason, count in self.reasons[mark].most_common():
                    terminalreporter.write_line(f"    {count} x {reason}")
            if not ran and not skipped:
                terminalreporter.write_line(f"{mark}: no test was selected")
        for name, reason in self.skipped_files.items():
            terminalreporter.write_line(f"file {name} did NOT run: {reason}")
        if self.required and not self.complete:
            terminalreporter.write_line(
                f"{REQUIRE_ALL} is set, so what did not run fails this run.", red=True
            )


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The text a skip was given."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest when it loads the plugin."""
    config.pluginmanager.register(RanForReal(), "pth-ran-for-real")
