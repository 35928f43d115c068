"""The units of what runs in browsers, in Node; and that the built extension is in place."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
PAGES = REPO / "share" / "persistent-terminal-hub" / "pages"
BUILT = REPO / "share" / "jupyter" / "labextensions" / "persistent-terminal-hub"


def test_the_units_of_the_browser_side() -> None:
    done = subprocess.run(
        [REPO / "images" / "ui", sys.prefix, "test"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^\S* ?pass (\d+)$", done.stdout, re.M)
    assert passed is not None and int(passed[1]) >= 25, done.stdout
    pages = re.search(r"Tests +(\d+) passed \((\d+)\)", re.sub("\x1b\\[[0-9;]*m", "", done.stdout))
    assert pages is not None and pages[1] == pages[2], done.stdout


def test_the_extension_is_built_from_this_version() -> None:
    assert BUILT.exists(), "The JupyterLab extension is not built: run `make ui`."
    built = json.loads((BUILT / "package.json").read_text())
    source = json.loads((REPO / "ui" / "lab" / "package.json").read_text())
    assert built["version"] == source["version"]
    assert (BUILT / built["jupyterlab"]["_build"]["load"]).exists()
    assert json.loads((BUILT / "install.json").read_text())["packageName"] == "persistent-terminal-hub"


def test_the_pages_need_nothing_that_a_strict_policy_forbids() -> None:
    entries = sorted(path.name for path in (REPO / "ui" / "pages").glob("*.html"))
    assert entries and sorted(path.name for path in PAGES.glob("*.html")) == entries, "Run `make ui`."
    for name in entries:
        text = (PAGES / name).read_text()
        # Scripts and styles are files of ours, found from wherever the page is served.
        links = re.findall(r'(?:src|href)="([^"]*)"', text)
        assert links and all(re.fullmatch(r"\./assets/[\w.-]+-[\w-]{8}\.(js|css)", link) for link in links), (
            links
        )
        assert not re.search(r"<style|<script(?![^>]*src=)|style=|\son[a-z]+=", text)
        for link in links:
            assert (PAGES / link).is_file() and (PAGES / (link + ".gz")).is_file()
    for script in PAGES.glob("assets/*.js"):
        assert not re.search(r"\beval\(|new Function\(|https?://(?!reactjs\.org|www\.w3\.org|localhost)",
                             script.read_text()), script.name  # fmt: skip


def test_the_lock_file_names_no_host() -> None:
    """Whose mirror it was resolved with is nobody else's."""
    packages = json.loads((REPO / "ui" / "package-lock.json").read_text())["packages"]
    resolved = {name: entry["resolved"] for name, entry in packages.items() if "resolved" in entry}
    assert resolved == {
        "node_modules/persistent-terminal-hub": "lab",
        "node_modules/persistent-terminal-hub-pages": "pages",
    }
    assert all("integrity" in entry for name, entry in packages.items() if name.startswith("node_modules/")
               and not entry.get("link"))  # fmt: skip
