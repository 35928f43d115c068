"""How test files are shared out among processes, in a pytest of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = """
import json, os, time
def note(what):
    with open(os.environ["SEEN"], "a") as file:
        file.write(json.dumps([what, os.environ["PYTEST_XDIST_WORKER"], __file__]) + "\\n")
def test_first():
    note("begins")
    time.sleep(0.1)
def test_last():
    time.sleep(0.1)
    note("ends")
"""


def test_no_more_than_two_heavy_files_at_once(tmp_path: Path) -> None:
    heavy = [f"tests/integration/test_{name}.py" for name in ("egress", "login", "oidc", "serve", "tls")]
    light = [f"tests/unit/test_{number}.py" for number in range(4)]
    for name in ("tests/browser/test_a.py", *heavy, *light):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(SOURCE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    seen = tmp_path / "seen"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "xdist.plugin", "-p", "tests.three_workers", "-n", "3",
         "--dist", "loadfile", "--import-mode=importlib"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SEEN": str(seen), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert done.returncode == 0 and "20 passed" in done.stdout, done.stdout + done.stderr
    running: set[str] = set()
    most = most_heavy = 0
    order = []
    for line in seen.read_text().splitlines():
        what, _, file = json.loads(line)
        running ^= {file}
        if what == "begins":
            order.append(str(Path(file).relative_to(tmp_path)))
        most = max(most, len(running))
        most_heavy = max(most_heavy, sum("unit" not in file for file in running))
    assert (most, most_heavy) == (3, 2)
    assert set(order[:3]) == {"tests/browser/test_a.py", heavy[0], light[0]}
