"""What a single-user server does not load at its start, and that whoever wants it gets the true thing."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

LEFT_OUT = """
import json, subprocess, sys
import persistent_terminal_hub.server.singleuser
heavy = {"alembic", "mako", "rfc3987_syntax.syntax_helpers", "jupyterhub.handlers.base"} & sys.modules.keys()

import jupyterhub
from jupyterhub.handlers.pages import HealthCheckHandler
true = [jupyterhub.orm.User.__tablename__, HealthCheckHandler.__mro__[1].__name__, "alembic" in sys.modules]

from persistent_terminal_hub.server.lean_start import no_yarn
no_yarn()
subprocess.check_output = None
from jupyterlab.commands import AppOptions
print(json.dumps([sorted(heavy), true, AppOptions().registry.partition(":")[0]]))
"""

NAMES_MORE = """
import importlib, json, sys
import jupyterhub
from persistent_terminal_hub.server import lean_start
tried, true = [], importlib.import_module
def names_more(name):
    tried.append(name)
    raise ImportError("cannot import name 'More' from 'jupyterhub.handlers.pages'")
importlib.import_module = names_more
lean_start._import_log()
importlib.import_module = true
from jupyterhub.log import HealthCheckHandler
print(json.dumps([tried, HealthCheckHandler.__mro__[1].__name__]))
"""


def printed(code: str) -> Any:
    """By a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_neither_the_hubs_database_nor_its_pages_nor_yarn() -> None:
    heavy, true, registry = printed(LEFT_OUT)
    assert heavy == []
    assert true == ["users", "BaseHandler", True], "whoever wants them later gets the true modules"
    assert registry == "https", "and no Node program was asked"


def test_a_log_that_names_more_is_imported_whole() -> None:
    assert printed(NAMES_MORE) == [["jupyterhub.log"], "BaseHandler"]
