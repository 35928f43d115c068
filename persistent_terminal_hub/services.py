"""How an external service of the hub (culler, control service) begins: its settings, and where the hub is.

From its environment: `PTH_CONFIG` and `PTH_*` (the settings), `PTH_HUB_ID` and JupyterHub's `JUPYTERHUB_*`
of an external service; `persistent-terminal-hub serve` sets them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from persistent_terminal_hub.settings import Settings, SettingsError, load_settings


@dataclass(frozen=True, slots=True)
class Place:
    """Where the hub is and who we are there. `prefix` is our own address below the proxy; empty: none."""

    hub_id: str
    api_url: str
    api_token: str = field(repr=False)
    prefix: str = ""


def place_of(environ: Mapping[str, str], service: str, *, has_address: bool = False) -> Place:
    """From the environment; ValueError names what is missing."""
    names = ["PTH_HUB_ID", "JUPYTERHUB_API_URL", "JUPYTERHUB_API_TOKEN"]
    names += ["JUPYTERHUB_SERVICE_PREFIX"] if has_address else []
    missing = [name for name in names if not environ.get(name)]
    if missing:
        raise ValueError(
            f"The {service} needs {', '.join(missing)} in its environment: `persistent-terminal-hub serve` "
            "starts it with them."
        )
    return Place(*(environ[name] for name in names))


def begin(service: str, *, has_address: bool = False) -> tuple[Settings, Place] | None:
    """Settings and place of this process; None when something is missing, which was said."""
    try:
        return load_settings(), place_of(os.environ, service, has_address=has_address)
    except SettingsError as error:
        complain(*error.problems)
    except ValueError as error:
        complain(str(error))
    return None


def complain(*problems: str) -> None:
    """On standard error, which the supervisor passes on."""
    print("\n".join(f"error: {problem}" for problem in problems), file=sys.stderr)
