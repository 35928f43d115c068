"""What all tests share: which real parts this machine has, and the report of what ran against them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.postgres import find_programs

pytest_plugins = ["tests.ran_for_real", "tests.three_workers"]

#: The headless shell draws no windows, which cost as much as the pages in them; it is the same otherwise.
CHROMIUM = (
    os.environ.get("PTH_TEST_CHROMIUM")
    or shutil.which("chromium-headless-shell")
    or shutil.which("chromium")
    or ""
)

# A shell starts what runs in its background with this ignored; tests interrupt programs and themselves.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def docker_answers() -> bool:
    """True when a Docker Engine answers within five seconds."""
    try:
        done = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what this machine cannot run; CI turns such a skip into a failure."""
    have = {
        "docker": (docker_answers(), "no Docker Engine answers"),
        "browser": (
            Path(CHROMIUM).exists() if CHROMIUM else False,
            "no Chromium (Debian: chromium-headless-shell or chromium)",
        ),
        "netns": (os.geteuid() == 0 and bool(shutil.which("ip")), "needs root and iproute2"),
        "oidc": (True, ""),
        "postgres": (find_programs() is not None, "no PostgreSQL (Debian: postgresql)"),
    }
    for item in items:
        for mark, (present, why) in have.items():
            if not present and item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=why))
