"""A PostgreSQL server of our own, on a unix socket in a temporary directory, without an address."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote


def find_programs() -> Path | None:
    """Where Debian keeps `initdb` and `postgres`; the newest version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


class Postgres:
    """Runs from `start` to `stop`. PostgreSQL refuses to run as root: it becomes `postgres` or `nobody`."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self.path = Path(tempfile.mkdtemp(prefix="pth-postgres-"))
        self._databases = 0
        self._user: str | None = None
        if os.geteuid() == 0:
            names = {entry.pw_name for entry in pwd.getpwall()}
            self._user = "postgres" if "postgres" in names else "nobody"
            shutil.chown(self.path, self._user)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make a cluster and serve it."""
        data = self.path / "data"
        self._run(
            "initdb", "-D", str(data), "-U", "pth", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"
        )
        self.serve()

    def serve(self) -> None:
        """Serve what is there, also again after `kill`."""
        self._process = subprocess.Popen(
            [
                str(self._programs / "postgres"), "-D", str(self.path / "data"), "-k", str(self.path),
                "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=60",
            ],
            user=self._user, cwd=self.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(300):
            ready = subprocess.run(
                [str(self._programs / "pg_isready"), "-h", str(self.path), "-U", "pth", "-q"], check=False
            )
            if ready.returncode == 0:
                return
            if self._process.poll() is not None:
                break
            subprocess.run(["sleep", "0.1"], check=True)
        raise RuntimeError("PostgreSQL did not start")

    def database(self) -> str:
        """The URL of a new, empty database."""
        self._databases += 1
        name = f"test{self._databases}"
        self._run("createdb", "-h", str(self.path), "-U", "pth", name)
        return f"postgresql+psycopg://pth@/{name}?host={quote(str(self.path), safe='')}"

    def kill(self) -> None:
        """End it at once, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it and remove its files."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.path, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            user=self._user, cwd=self.path, capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.decode(errors='replace')}")
