#!/usr/bin/env python3
"""Run a build step only when its inputs changed since it last succeeded.

    once.py STAMP [--say TEXT] [--input PATH]... [--value TEXT]... [--output PATH]...
            [--alone NAME] -- COMMAND...

The stamp file holds a hash of the command, of the values, and of the names and contents of the
inputs (a directory means every file below it). The command runs when that hash differs or an
output is missing. Times of files do not matter, so a checkout of another branch and back costs
nothing. Of the steps with the same --alone, one runs at a time. Only the standard library: this runs
before anything is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

# Made by running the code, not part of it.
IGNORED_DIRECTORIES = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", "node_modules"}
IGNORED_SUFFIXES = {".pyc"}


def files_below(path: Path) -> Iterator[Path]:
    """Every file of a directory that counts, in a stable order; a file yields itself."""
    if not path.is_dir():
        yield path
        return
    for directory, names, files in os.walk(path):
        names[:] = sorted(name for name in names if name not in IGNORED_DIRECTORIES)
        for name in sorted(files):
            if Path(name).suffix not in IGNORED_SUFFIXES:
                yield Path(directory, name)


def fingerprint(inputs: Iterable[Path], values: Iterable[str]) -> str:
    """SHA-256 over values and over names, modes and contents of the inputs. A missing input is an input."""
    digest = hashlib.sha256()

    def add(data: bytes) -> None:
        # Length first, so that two neighbours cannot be cut differently and hash alike.
        digest.update(len(data).to_bytes(8, "big") + data)

    for value in values:
        add(value.encode())
    for path in inputs:
        for file in files_below(path):
            add(str(file).encode())
            if file.is_file():
                add(b"x" if os.access(file, os.X_OK) else b"-")
                add(file.read_bytes())
            else:
                add(b"missing")
    return digest.hexdigest()


@contextlib.contextmanager
def holding(name: str) -> Iterator[None]:
    """Wait until nobody else holds it."""
    lock = Path(".cache/locks", name.replace("/", "_"))
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def run(
    stamp: Path,
    command: Sequence[str],
    *,
    say: str = "",
    inputs: Sequence[Path] = (),
    values: Sequence[str] = (),
    outputs: Sequence[Path] = (),
    alone: str = "",
) -> int:
    """Run `command` unless the stamp says that it was done for these inputs. Returns its exit status."""
    # Two `make` in one checkout (a person's and an editor's) must not build over each other.
    with holding(str(stamp)):
        wanted = fingerprint(inputs, [*command, *values])
        try:
            done = stamp.read_text() == wanted
        except OSError:
            done = False
        if done and all(path.exists() for path in outputs):
            return 0
        stamp.unlink(missing_ok=True)
        if say:
            print(f"==> {say}", flush=True)
        started = time.monotonic()
        with holding(alone) if alone else contextlib.nullcontext():
            status = subprocess.run(command).returncode
        took = time.monotonic() - started
        if status != 0:
            print(f"==> failed after {took:.0f} s: {say or command[0]}", file=sys.stderr)
            return status if status > 0 else 1
        if took > 2 and say:
            print(f"    done in {took:.0f} s", flush=True)
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(wanted)
        return 0


def main(arguments: list[str]) -> int:
    """Parse the command line and run the step."""
    if "--" not in arguments:
        print("once.py: write the command after --", file=sys.stderr)
        return 2
    at = arguments.index("--")
    parser = argparse.ArgumentParser(prog="once.py")
    parser.add_argument("stamp", type=Path)
    parser.add_argument("--say", default="")
    parser.add_argument("--input", type=Path, action="append", default=[])
    parser.add_argument("--value", action="append", default=[])
    parser.add_argument("--output", type=Path, action="append", default=[])
    parser.add_argument("--alone", default="")
    options = parser.parse_args(arguments[:at])
    return run(
        options.stamp,
        arguments[at + 1 :],
        say=options.say,
        inputs=options.input,
        values=options.value,
        outputs=options.output,
        alone=options.alone,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
