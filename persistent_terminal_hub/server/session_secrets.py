"""A person's secrets in their workspace: files on a tmpfs, and the environment of new sessions.

The workspace's own `env` comes the same way, so that every session has it, whoever made it.

The control service writes them (`secrets_routes`); they come again after each start of the workspace.

    $PTH_RUNTIME_DIR/session-secrets.json    what new sessions get, 0600
    $PTH_RUNTIME_DIR/secrets-<random>/NAME   one file per secret, 0600 in a directory 0700
    $PTH_RUNTIME_DIR/secrets                 a link to the newest of these directories

Each change makes a new directory, and a session knows its own by PTH_SECRETS_DIR: what runs sees no change.
A directory goes when the last session that was started with it has ended. Nothing here logs a value.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import re
import secrets
import shutil
import stat
import threading
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from persistent_terminal_hub.secret_names import DIRECTORY_VARIABLE, check_all, variable_of

log = logging.getLogger(__name__)

FILE = "session-secrets.json"
LINK = "secrets"
#: Directories of sessions that still run; beyond it the oldest go, whoever uses them.
MAX_KEPT = 16
MAX_FILE = 4 * 1024 * 1024
_DIRECTORY = re.compile(r"secrets-[0-9a-f]{12}")


class SessionSecrets:
    """The secrets of one workspace. `life` names this start of it: what an earlier one left is removed."""

    def __init__(self, directory: Path, life: str) -> None:
        self._directory = directory
        self._life = life
        self._lock = threading.Lock()
        #: As the control service calls this state; empty: nothing was delivered.
        self.version = ""
        self._name = ""
        self._secrets: dict[str, bytes] = {}
        self._variables: dict[str, str] = {}
        try:
            self._load()
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            # The control service brings them again; until then new sessions have none.
            log.warning("The session secrets in %s cannot be read; they will be delivered again.", directory)
            self._forget()

    @property
    def names(self) -> list[str]:
        """What there is."""
        return sorted(self._secrets)

    @property
    def variables(self) -> dict[str, str]:
        """The workspace's own environment, which is no secret."""
        return dict(self._variables)

    @property
    def directory(self) -> str:
        """Where the files of a session are that is created now; empty without secrets."""
        return str(self._directory / self._name) if self._name else ""

    def environment(self) -> dict[str, str]:
        """What a new session gets besides everything else. A variable wins over a secret."""
        with self._lock:
            if not self._secrets:
                return dict(self._variables)
            found = {name: variable_of(name, value) for name, value in self._secrets.items()}
            env = {name: text for name, text in found.items() if text is not None}
            return {**env, **self._variables, DIRECTORY_VARIABLE: str(self._directory / self._name)}

    def store(
        self, version: str, given: Mapping[str, bytes], in_use: Collection[str],
        variables: Mapping[str, str] | None = None,
    ) -> bool:  # fmt: skip
        """Take a new state; whether it differs. Blocks; raises ValueError or OSError and keeps the old one.

        `in_use`: directories that running sessions were started with.
        """
        check_all(given)
        with self._lock:
            if version == self.version:
                return False
            env = dict(variables or {})
            if dict(given) == self._secrets:
                changed = env != self._variables
                self._write(version, self._name, self._secrets, env)
                self.version, self._variables = version, env
                return changed
            name = f"secrets-{secrets.token_hex(6)}"
            try:
                self._make_directory(name, given)
                self._write(version, name, given, env)
            except BaseException:
                shutil.rmtree(self._directory / name, ignore_errors=True)
                raise
            self.version, self._name, self._secrets = version, name, dict(given)
            self._variables = env
            self._link()
            self._remove_unused(in_use)
            return True

    def remove_unused(self, in_use: Collection[str]) -> None:
        """Remove the files that no session has any more. Blocks."""
        with self._lock:
            self._remove_unused(in_use)

    # -- files -----------------------------------------------------------------------------------------
    def _load(self) -> None:
        try:
            fd = os.open(self._directory / FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        with os.fdopen(fd, "rb") as file:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode) or info.st_mode & 0o077 or info.st_uid != os.geteuid():
                raise ValueError
            document = json.loads(file.read(MAX_FILE))
        if document["life"] != self._life:
            self._forget()
            return
        name, version = document["directory"], document["version"]
        name, version = str(name), str(version)
        found = {str(key): base64.b64decode(value) for key, value in document["secrets"].items()}
        check_all(found)
        env = {str(key): str(value) for key, value in document.get("env", {}).items()}
        # Nothing was ever delivered but "none": then there is no directory.
        if (name or found) and not _DIRECTORY.fullmatch(name):
            raise ValueError
        self.version, self._name, self._secrets, self._variables = version, name, found, env

    def _write(self, version: str, name: str, given: Mapping[str, bytes], env: Mapping[str, str]) -> None:
        document = {
            "version": version,
            "life": self._life,
            "directory": name,
            "secrets": {key: base64.b64encode(value).decode() for key, value in given.items()},
            "env": dict(env),
        }
        temporary = self._directory / f".{FILE}.{secrets.token_hex(4)}"
        try:
            _write_private(temporary, json.dumps(document, ensure_ascii=False).encode())
            temporary.replace(self._directory / FILE)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _make_directory(self, name: str, given: Mapping[str, bytes]) -> None:
        directory = self._directory / name
        directory.mkdir(mode=0o700)
        for key, value in given.items():
            _write_private(directory / key, value)

    def _link(self) -> None:
        """Only a convenience for people, so that a failure is none."""
        temporary = self._directory / f".{LINK}.{secrets.token_hex(4)}"
        with contextlib.suppress(OSError):
            temporary.symlink_to(self._name)
            temporary.replace(self._directory / LINK)
        temporary.unlink(missing_ok=True)

    def _remove_unused(self, in_use: Collection[str]) -> None:
        used = {Path(path).name for path in in_use}
        old = [path for path in self._directories() if path.name != self._name]
        old.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
        kept = 0
        for path in old:
            kept += path.name in used
            if path.name not in used or kept > MAX_KEPT:
                shutil.rmtree(path, ignore_errors=True)

    def _directories(self) -> list[Path]:
        with contextlib.suppress(OSError):
            return [path for path in self._directory.iterdir() if _DIRECTORY.fullmatch(path.name)]
        return []

    def _forget(self) -> None:
        self.version, self._name, self._secrets, self._variables = "", "", {}, {}
        for path in self._directories():
            shutil.rmtree(path, ignore_errors=True)
        for name in (FILE, LINK):
            with contextlib.suppress(OSError):
                (self._directory / name).unlink(missing_ok=True)


def life_of_workspace() -> str:
    """Names this start of the workspace: the keeper, whose child this server is."""
    return f"{os.getppid()}:{_start_ticks(os.getppid())}"


def directories_in_use(pids: Iterable[int]) -> set[str]:
    """The directories that these sessions' programs were started with. Blocks; an unreadable one has none."""
    mark = f"{DIRECTORY_VARIABLE}=".encode()
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                if entry.startswith(mark):
                    found.add(os.fsdecode(entry[len(mark) :]))
    return found


def _start_ticks(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


def _write_private(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
