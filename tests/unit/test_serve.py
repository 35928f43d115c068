"""The process of `persistent-terminal-hub serve`."""

from __future__ import annotations

import subprocess
import sys


def test_it_starts_quickly() -> None:
    """It loads neither JupyterHub nor what the hub alone needs: seconds of processor time at each start."""
    code = "import sys, persistent_terminal_hub.hub.serve; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert not {"jupyterhub", "sqlalchemy", "oauthenticator", "rfc3987_syntax"} & set(done.stdout.split())
