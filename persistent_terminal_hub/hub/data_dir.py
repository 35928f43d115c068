"""The hub's data directory: its files, its keys, and the lock that gives it to one hub only."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable
from pathlib import Path


class DataDirError(Exception):
    """The data directory cannot be used; the text says why and what to do."""


class DataDirLocked(DataDirError):
    """Another process holds the data directory; `pid` is who wrote its number into the lock, 0 if unknown."""

    def __init__(self, path: Path, pid: int) -> None:
        self.pid = pid
        who = f"process {pid}" if pid else "another process"
        super().__init__(
            f"The data directory {path} is already being served by {who}: stop that one first, "
            "or give this one another directory with the setting dataDir."
        )


class DataDir:
    """Names of everything below the data directory. Making one changes nothing on disk; `prepare` does."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.database = self.path / "jupyterhub.sqlite"
        self.cookie_secret = self.path / "cookie_secret"
        self.proxy_token_file = self.path / "proxy_token"
        self.supervisor_token_file = self.path / "supervisor_token"
        self.culler_token_file = self.path / "culler_token"
        self.control_token_file = self.path / "control_token"
        self.hub_id_file = self.path / "hub-id"
        self.backend_file = self.path / "backend"
        self.lock_file = self.path / "lock"
        self.discovery_cache = self.path / "oidc-discovery.json"
        self.oidc_subjects = self.path / "oidc-subjects.json"
        self.passkeys = self.path / "passkeys.sqlite"
        self.keys = self.path / "keys"
        self.audit = self.path / "audit"
        self.logs = self.path / "logs"
        self.run = self.path / "run"
        self.workspaces = self.path / "workspaces"

    def prepare(self) -> None:
        """Create the directory (0700) and prove that it can be written."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            self.logs.mkdir(mode=0o700, exist_ok=True)
            probe = self.path / f".probe-{os.getpid()}"
            probe.write_bytes(b"x")
            probe.unlink()
        except OSError as error:
            raise DataDirError(
                f"The data directory {self.path} cannot be written ({error.strerror}): make it belong to "
                "the user that serves, or name another one with the setting dataDir."
            ) from None

    def hub_id(self) -> str:
        """12 hex digits that name this hub on every container, volume and network; made once."""
        return _made_once(self.hub_id_file, lambda: secrets.token_hex(6))

    def proxy_token(self) -> str:
        """What the hub shows the proxy; made once so that a restarted hub still rules a running proxy."""
        return _made_once(self.proxy_token_file, lambda: secrets.token_hex(32))

    def supervisor_token(self) -> str:
        """Lets the supervisor ask the hub to give a restarted proxy its routes, and nothing else."""
        return _made_once(self.supervisor_token_file, lambda: secrets.token_hex(32))

    def culler_token(self) -> str:
        """Lets the culler see and stop workspaces; made once so that a restarted hub still knows it."""
        return _made_once(self.culler_token_file, lambda: secrets.token_hex(32))

    def control_token(self) -> str:
        """Lets the control service list users and servers; made once, as the culler's."""
        return _made_once(self.control_token_file, lambda: secrets.token_hex(32))

    def lock(self) -> int:
        """Take the directory for this process; returns the descriptor that holds it.

        The lock lasts as long as any process has the descriptor open, so a hub that was given it keeps
        the directory taken even when its supervisor was killed.
        """
        fd = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(fd, 20, 0).strip()
            os.close(fd)
            raise DataDirLocked(self.path, int(holder) if holder.isdigit() else 0) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return fd


def _made_once(path: Path, make: Callable[[], str]) -> str:
    """The content of a private file, which is written first if there is none."""
    try:
        value = path.read_text().strip()
        if value:
            return value
    except FileNotFoundError:
        pass
    value = make()
    write_private(path, value + "\n")
    return value


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; only its owner may read it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
