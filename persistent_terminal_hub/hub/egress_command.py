"""`persistent-terminal-hub egress-helper`: reads the settings as root, then serves the hub's user."""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import sys
from pathlib import Path

from persistent_terminal_hub.hub import egress_helper, netfilter
from persistent_terminal_hub.hub.data_dir import DataDir
from persistent_terminal_hub.hub.egress_link import ground_of
from persistent_terminal_hub.hub.netfilter import ToolError
from persistent_terminal_hub.hub.object_names import check_hub_id
from persistent_terminal_hub.settings import Settings, SettingsError, load_settings


def run(config: Path | None, user: str, interval: float, remove: bool) -> int:
    """Run until SIGTERM; or only take the rules away. Returns the exit code."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        settings = load_settings(config)
    except SettingsError as error:
        return _complain(str(error))
    if os.geteuid() != 0:
        return _complain("Only root may change the machine's filter: run this command as root.")
    path = DataDir(settings.data_dir).hub_id_file
    try:
        # Read, never made: the data directory belongs to the hub's user.
        hub_id = check_hub_id(path.read_text().strip())
        uid = pwd.getpwnam(user).pw_uid if user else path.stat().st_uid
    except (OSError, UnicodeDecodeError, ValueError):
        return _complain(f"There is no hub's id in {path}: start the hub once, or check the setting dataDir.")
    except KeyError:
        return _complain("There is no user of that name on this machine: --user must be who runs the hub.")
    try:
        if remove:
            found = asyncio.run(egress_helper.remove(hub_id))
            print("The rules of this hub are gone." if found else "There were no rules of this hub.")
            return 0
        asyncio.run(_serve(settings, hub_id, uid, interval))
    except (ToolError, OSError) as error:
        return _complain(f"The network of the workspaces cannot be filtered: {error}")
    return 0


async def _serve(settings: Settings, hub_id: str, uid: int, interval: float) -> None:
    named = settings.workspace.egress_resolvers
    helper = egress_helper.Helper(
        ground_of(settings, hub_id),
        interval=interval,
        resolvers=None if named else egress_helper.machine_resolvers,
    )
    if settings.workspace.network_bandwidth and not netfilter.find_tool("tc"):
        print("warning: tc is missing (Debian: iproute2), so bandwidth is not limited.", flush=True)
    await helper.run(
        uid, lambda: print(f"Filtering the networks of {settings.docker.subnet_pool}.", flush=True)
    )


def _complain(problem: str) -> int:
    print(f"error: {problem}", file=sys.stderr, flush=True)
    return 1
