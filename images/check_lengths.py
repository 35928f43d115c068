#!/usr/bin/env python3
"""Say which Python files are too long: a file has one job, and under 400 lines is where that shows.

Above 400 lines is a warning, above 450 an error.
"""

from __future__ import annotations

import sys
from pathlib import Path

WARN_ABOVE = 400
FAIL_ABOVE = 450


def main(directories: list[str]) -> int:
    """Check every Python file below the directories; returns an exit status."""
    failed = False
    for path in sorted(file for directory in directories for file in Path(directory).rglob("*.py")):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > WARN_ABOVE:
            too_long = lines > FAIL_ABOVE
            failed |= too_long
            print(f"{'error' if too_long else 'warning'}: {path} has {lines} lines; split it by job below {WARN_ABOVE}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
