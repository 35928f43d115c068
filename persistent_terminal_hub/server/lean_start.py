"""What a single-user server loads and never uses, left out: more than half of its start's CPU time, and so
of the time for which terminals are cut off when it dies. Each step is harmless where its module has changed.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

from tornado.web import RequestHandler


def leave_out() -> None:
    """Before anything of JupyterHub is imported."""
    # jsonschema would compile a grammar of IRIs, which nothing in this process checks. When the module cannot
    # be imported, jsonschema leaves that check out.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    # The hub's database (Alembic, its templates and their highlighting) is asked for nothing here.
    _load_later("jupyterhub.orm")
    _import_log()


def no_yarn() -> None:
    """JupyterLab asks Yarn, a Node program of several megabytes, for the registry that a build of JupyterLab
    would use. Nothing is built in this process; `jupyter lab build` is one of its own."""
    try:
        commands: Any = importlib.import_module("jupyterlab.commands")
    except ImportError:
        return
    if hasattr(commands, "_yarn_config"):
        commands._yarn_config = lambda logger: {"yarn config": {}, "npm config": {}}


def _load_later(name: str) -> None:
    """Import a module when something of it is used, and not before."""
    if name in sys.modules or (spec := importlib.util.find_spec(name)) is None or spec.loader is None:
        return
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    parent, _, child = name.rpartition(".")
    setattr(sys.modules[parent], child, module)


def _import_log() -> None:
    """`jupyterhub.log` names one class of the hub's own pages, and would load them all with it."""
    name, parent = "jupyterhub.handlers.pages", "jupyterhub.handlers"
    if parent in sys.modules:
        return
    stand_in, package = ModuleType(name), ModuleType(parent)
    stand_in.__dict__["HealthCheckHandler"] = type("HealthCheckHandler", (RequestHandler,), {})
    package.__path__ = []
    sys.modules |= {parent: package, name: stand_in}
    try:
        importlib.import_module("jupyterhub.log")
    except ImportError:
        sys.modules.pop("jupyterhub.log", None)  # it names more by now: the whole of it, then
    finally:
        # Whoever wants the pages gets the true ones.
        del sys.modules[name], sys.modules[parent]
        vars(sys.modules["jupyterhub"]).pop("handlers", None)
