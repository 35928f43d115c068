"""Where our files under share/ are: pages, templates, scripts."""

from __future__ import annotations

import sys
from pathlib import Path


def share_dir() -> Path:
    """In the source tree when run from one, else in the installed prefix."""
    source = Path(__file__).resolve().parents[1] / "share" / "persistent-terminal-hub"
    return source if source.is_dir() else Path(sys.prefix) / "share" / "persistent-terminal-hub"
