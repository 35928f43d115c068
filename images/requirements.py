#!/usr/bin/env python3
"""Print what pyproject.toml requires, without our own package: its dependencies and those of the named extras.

Keying an installation on these lines, not on pyproject.toml, means that a change of a linter's
setting or of our code resolves nothing again.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path


def requirements(pyproject: Path, extras: Sequence[str]) -> list[str]:
    """The sorted requirement lines of the core and the extras. An unknown extra raises KeyError."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    lines = set(project["dependencies"])
    for extra in extras:
        lines.update(project["optional-dependencies"][extra])
    return sorted(lines)


if __name__ == "__main__":
    here = Path(__file__).resolve().parent.parent
    print("\n".join(requirements(here / "pyproject.toml", sys.argv[1:])))
