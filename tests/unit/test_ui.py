"""The units of what runs in browsers, in Node; and that the built extension is in place."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
UI = REPO / "images" / "ui"
PAGES = REPO / "share" / "persistent-terminal-hub" / "pages"
BUILT = REPO / "share" / "jupyter" / "labextensions" / "persistent-terminal-hub"


def run(what: str) -> str:
    command = [UI, sys.prefix, what]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=180, check=False, env={**os.environ, "NO_COLOR": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_types_and_units() -> None:
    said = run("test")
    passed = [int(count) for count in re.findall(r"^ *Tests +(\d+) passed \(\1\)$", said, re.M)]  # of Vitest
    assert len(passed) == 3, said  # the client, the JupyterLab extension, the pages
    assert passed[0] >= 180 and passed[1] >= 20 and passed[2] >= 20, said


def test_the_linter_finds_nothing() -> None:
    assert run("lint") == ""


def test_the_client_needs_nothing_at_run_time() -> None:
    package = json.loads((REPO / "ui" / "client" / "package.json").read_text())
    assert "dependencies" not in package
    for path in (REPO / "ui" / "client" / "src").glob("*.ts"):
        for name in re.findall(r"from '([^']+)'", path.read_text()):
            assert name.startswith("./"), f"{path.name} imports {name}"


def test_the_extension_is_built_from_this_version() -> None:
    assert BUILT.exists(), "The JupyterLab extension is not built: run `make ui`."
    built = json.loads((BUILT / "package.json").read_text())
    source = json.loads((REPO / "ui" / "lab" / "package.json").read_text())
    assert built["version"] == source["version"]
    assert (BUILT / built["jupyterlab"]["_build"]["load"]).exists()
    assert json.loads((BUILT / "install.json").read_text())["packageName"] == "persistent-terminal-hub"
    # Settings and menus; and the wheel has every folder of it.
    built_schemas = BUILT / "schemas" / "persistent-terminal-hub"
    for schema in (REPO / "ui" / "lab" / "schema").glob("*.json"):
        assert (built_schemas / schema.name).read_text() == schema.read_text()
    shipped = (REPO / "setup.cfg").read_text()
    for folder in {file.parent for file in BUILT.rglob("*") if file.is_file()}:
        assert f"\n{folder.relative_to(REPO)} =" in shipped, f"{folder} is in no wheel"


def test_the_pages_hold_all_that_they_show() -> None:
    assert PAGES.exists(), "The pages are not built: run `make ui`."
    for name in ("admin.html", "terminal.html"):
        holds_all(name)


def holds_all(name: str) -> None:
    page = (PAGES / name).read_text()
    named = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(named) >= 2 and all(re.match(r"\./assets/", name) for name in named), named
    assert all((PAGES / name).is_file() and (PAGES / f"{name}.gz").is_file() for name in named)
    # A strict policy: nothing runs that stands in the page itself.
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|<style", page)
    scripts = [PAGES / f"{name}.gz" for name in named if name.endswith(".js")]
    # What the page loads at first, xterm.js included; 300 KB besides it is the most.
    assert 0 < sum(path.stat().st_size for path in scripts) < 300 * 1024


def test_the_lock_file_names_no_host() -> None:
    """Whose mirror it was resolved with is nobody else's."""
    packages = json.loads((REPO / "ui" / "package-lock.json").read_text())["packages"]
    resolved = {name: entry["resolved"] for name, entry in packages.items() if "resolved" in entry}
    assert resolved == {
        "node_modules/persistent-terminal-hub": "lab",
        "node_modules/@persistent-terminal-hub/client": "client",
        "node_modules/persistent-terminal-hub-pages": "pages",
    }
    assert all("integrity" in entry for name, entry in packages.items() if "node_modules/" in name
               and not entry.get("link"))  # fmt: skip
