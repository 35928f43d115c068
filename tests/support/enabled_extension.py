"""Enables our server extension in the workspaces of the process backend, as an installed wheel's files do."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def environment(folder: Path) -> dict[str, str]:
    """Variables for `serve`. The process backend passes PYTHONPATH on, but not JUPYTER_CONFIG_PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    enabled = str(ROOT / "etc" / "jupyter")
    (folder / "sitecustomize.py").write_text(f"import os\nos.environ['JUPYTER_CONFIG_PATH'] = {enabled!r}\n")
    return {"PYTHONPATH": f"{folder}:{ROOT}"}
