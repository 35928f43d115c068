#!/usr/bin/env python3
"""Build our wheel into .cache/dist, from a copy of the sources.

setuptools leaves `build/` and `*.egg-info` where it builds, and takes files of an earlier build
from there into the next wheel. A fresh copy under .cache has neither problem.
The interpreter that runs this must have setuptools: there is no isolated build, so no index is asked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

# What goes into the wheel, and so what the Makefile watches (keep WHEEL_INPUTS there the same).
SOURCES = [
    "persistent_terminal_hub",
    "etc",
    "share",
    "pyproject.toml",
    "setup.cfg",
    "README.md",
    "LICENSE",
    "jupyterhub_config.py",
]


def main() -> int:
    """Build; returns an exit status."""
    root = Path(__file__).resolve().parent.parent
    copy, dist = root / ".cache" / "wheel-source", root / ".cache" / "dist"
    for directory in (copy, dist):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
    for name in SOURCES:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        elif source.exists():
            shutil.copy2(source, copy / name)
    # A fixed time makes the same sources give the same wheel, so that Docker's layer cache holds.
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "315532800"}
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    return subprocess.run([*command, "--wheel-dir", str(dist), str(copy)], env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
