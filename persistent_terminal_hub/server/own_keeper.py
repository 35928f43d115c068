"""Where the keeper is; and, outside a workspace, starting one.

In a workspace the keeper is the main process, has started this server and told it where (PTH_RUNTIME_DIR).
A plain `jupyter server` or `jupyter lab` has none: then one is started for its root directory, detached, so
that terminals outlive that server, too. It ends by itself when no session runs and nobody is connected.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from pathlib import Path

from jupyter_core.paths import jupyter_runtime_dir

from persistent_terminal_hub.keeper import wire

from .keeper_link import KeeperLink

LOG_NAME = "keeper.log"


def link(root_dir: str) -> KeeperLink:
    """The connection to this server's keeper."""
    told = os.environ.get("PTH_RUNTIME_DIR")
    if told:
        return KeeperLink(Path(told) / wire.SOCKET_NAME)
    directory = own_directory(root_dir)

    async def start() -> None:
        await asyncio.to_thread(start_keeper, directory)

    return KeeperLink(directory / wire.SOCKET_NAME, start)


def link_of_workspace() -> KeeperLink | None:
    """The connection to the keeper that started this server; None outside a workspace."""
    told = os.environ.get("PTH_RUNTIME_DIR")
    return KeeperLink(Path(told) / wire.SOCKET_NAME) if told else None


def runtime_dir(root_dir: str) -> Path:
    """The directory of this server's keeper."""
    told = os.environ.get("PTH_RUNTIME_DIR")
    return Path(told) if told else own_directory(root_dir)


def own_directory(root_dir: str) -> Path:
    """One for each root directory: servers of the same directory show the same sessions."""
    key = hashlib.sha256(os.fsencode(Path(root_dir).expanduser().resolve())).hexdigest()[:16]
    return Path(jupyter_runtime_dir()) / f"pth-{key}"


def start_keeper(directory: Path) -> None:
    """Start a keeper that belongs to nobody. If two do so at once, one of them finds the other and ends."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    command = [sys.executable, "-P", "-m", "persistent_terminal_hub.keeper", "--alone"]
    # Not into the server's terminal or pipe: the keeper outlives it.
    descriptor = os.open(directory / LOG_NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        launcher = subprocess.Popen(
            ["/bin/sh", "-c", '"$@" &', "sh", *command],  # not our child, so that nobody waits for it
            cwd="/",
            env={**os.environ, "PTH_RUNTIME_DIR": str(directory)},
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
        launcher.wait(10)
    finally:
        os.close(descriptor)
