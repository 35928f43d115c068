"""What installs a cloned repository's dependencies, in a session that everybody can watch (pure)."""

from __future__ import annotations

from collections.abc import Collection

SESSION = "setup"
FILES = ("requirements.txt", "pyproject.toml", "environment.yml", "package.json")

_BEGIN = """\
status=0
failed() { status=$1; printf '(failed: %s)\\n' "$status"; }
step() { printf '\\n\\033[1m$ %s\\033[0m\\n' "$*"; "$@" || failed $?; }
"""
_VENV = "[ -x .venv/bin/python ] || step python3 -m venv .venv\n"
_STEPS = {
    "requirements.txt": _VENV + "step .venv/bin/python -m pip install -r requirements.txt\n",
    "pyproject.toml": _VENV + "step .venv/bin/python -m pip install -e .\n",
    "environment.yml": """\
tool=$(command -v micromamba || command -v mamba || command -v conda)
if [ -n "$tool" ]; then step "$tool" env create --yes --prefix .conda --file environment.yml
else echo 'environment.yml needs conda, mamba or micromamba, and there is none here.'; status=1; fi
""",
    "package.json": """\
if [ -f package-lock.json ]; then step npm ci; else step npm install; fi
""",
}
_END = """\
if [ "$status" = 0 ]; then printf '\\nAll is installed.\\n'
else printf '\\nNot everything was installed; the repository is there all the same.\\n'; fi
exit "$status"
"""


def script(found: Collection[str]) -> str | None:
    """A shell script for the files that are there; None when none of them asks for anything."""
    steps = [_STEPS[name] for name in FILES if name in found]
    return _BEGIN + "".join(steps) + _END if steps else None
