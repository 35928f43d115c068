"""The wheelhouse: every wheel that a workspace's server needs, chosen for the image's Python.

A host with Python 3.11.7 or 3.13 chooses other wheels than Debian's 3.11.2 can use, so pip is told
the image's version, ABI and platform. One thing pip cannot be told on its command line: it evaluates
markers such as `python_version < "3.12"` for the interpreter that runs it. This module, run as a
program, corrects that and then runs pip.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

MARKERS = "PTH_IMAGE_MARKERS"


@dataclass(frozen=True)
class ImagePython:
    """The interpreter in the image, as describe_python.py tells it."""

    full_version: str
    implementation: str
    machine: str
    system: str
    platform: str
    glibc: str

    @property
    def short_version(self) -> str:
        """Such as 3.11."""
        return ".".join(self.full_version.split(".")[:2])

    def markers(self) -> dict[str, str]:
        """The variables of PEP 508 environment markers."""
        return {
            "implementation_name": self.implementation.lower(),
            "implementation_version": self.full_version,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": self.implementation,
            "platform_system": self.system,
            "python_full_version": self.full_version,
            "python_version": self.short_version,
            "sys_platform": self.platform,
        }

    def pip_flags(self) -> list[str]:
        """What makes pip choose wheels for this interpreter and no sources."""
        tag = "cp" + self.short_version.replace(".", "")
        major, minor = (int(part) for part in self.glibc.split(".")[:2])
        platforms = [f"manylinux_{major}_{number}_{self.machine}" for number in range(minor, 16, -1)]
        platforms += [f"manylinux2014_{self.machine}", f"linux_{self.machine}", "any"]
        flags = ["--only-binary=:all:", "--python-version", self.full_version, "--implementation", "cp"]
        for abi in (tag, "abi3", "none"):
            flags += ["--abi", abi]
        for platform in platforms:
            flags += ["--platform", platform]
        return flags


def fill(wheelhouses: Path, needed: Sequence[str], python: ImagePython, say: Callable[[str], None]) -> Path:
    """The directory with the wheels for these requirements; downloads them unless it was done before."""
    key = hashlib.sha256(json.dumps([sorted(needed), asdict(python)], sort_keys=True).encode()).hexdigest()[:16]
    wanted = wheelhouses / key
    if wanted.is_dir():
        return wanted
    say(f"==> Building the image, 2 of 3: wheels for its Python {python.full_version} (half a minute)")
    temporary = wheelhouses / f"{key}.part"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    lines = temporary / "requirements.txt"
    lines.write_text("".join(f"{line}\n" for line in sorted(needed)))
    command = [sys.executable, str(Path(__file__).resolve()), "download", "-qq", *python.pip_flags()]
    environment = {**os.environ, MARKERS: json.dumps(python.markers())}
    if subprocess.run([*command, "--dest", str(temporary), "-r", str(lines)], env=environment).returncode != 0:
        raise SystemExit(
            "The wheels for the image could not be downloaded (pip's reason is above). "
            "Is the package index that pip is configured for reachable?"
        )
    # Older resolutions are of no use any more.
    for other in wheelhouses.iterdir():
        if other != temporary:
            shutil.rmtree(other, ignore_errors=True)
    temporary.rename(wanted)
    return wanted


def pip_for_image(arguments: list[str]) -> int:
    """Run pip in this process with the image's markers."""
    from pip._internal.cli.main import main as pip
    from pip._vendor.packaging import markers

    here = markers.default_environment
    there = json.loads(os.environ[MARKERS])
    markers.default_environment = lambda: {**here(), **there}
    return int(pip(arguments))


if __name__ == "__main__":
    sys.exit(pip_for_image(sys.argv[1:]))
