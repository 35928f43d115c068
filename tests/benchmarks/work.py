"""The files that every peer works with: the text, the shells, the compiled reader and writer."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import subprocess
import time
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("creader.c")
PROMPT: Final = b"pth-bench> "
LINE: Final = 69  # bytes of a line of text, newline included
LINES: Final = 10_000  # what a fresh attach shows
MISSED: Final = 100_050  # bytes that a cut client misses, as the file has them; whole lines
IDLE_PRINT: Final = 32 * 1024  # what an idle session has printed: well under 64 KiB

_SHELL = """#!/bin/sh
export PS1='pth-bench> ' PS2= HISTFILE=/dev/null PROMPT_COMMAND=
exec bash --norc --noprofile --noediting -i
"""
_IDLE = """#!/bin/sh
head -c {size} {text}
exec sh -i
"""


class BenchError(Exception):
    """A peer cannot be measured; the text says why."""


def text(size: int) -> bytes:
    """Lines as a log has them, no two the same, of exactly `size` bytes."""
    count = size // LINE + 1
    filler = "the quick brown fox jumps over the lazy dog "
    lines = [f"{n:09d} {filler}{n * 2654435761 % 10**13:013d}\n" for n in range(count)]
    assert len(lines[0]) == LINE - 1 or len(lines[0]) == LINE
    return "".join(lines).encode()[:size]


class Work:
    """A folder of its own for one run."""

    def __init__(self, folder: Path, bulk_bytes: int) -> None:
        self.folder = folder
        self.bulk_bytes = bulk_bytes
        self.bulk = self._write("bulk.txt", text(bulk_bytes))
        self.lines = self._write("lines.txt", text(LINE * LINES))
        self.missed = self._write("missed.txt", text(MISSED))
        self.journal = self._write("journal.txt", text(12 * 1024 * 1024))
        self.shell = self._script("shell.sh", _SHELL)
        self.idle = self._script("idle.sh", _IDLE.format(size=IDLE_PRINT, text=self.bulk))
        self.tool = folder / "creader"
        self._numbers = 0
        compiler = os.environ.get("CC", "cc")
        try:
            subprocess.run(
                [compiler, "-O2", "-o", str(self.tool), str(SOURCE), "-lutil"],
                check=True, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
        except FileNotFoundError:
            raise BenchError(
                "No C compiler: install gcc (Debian: build-essential), or name one in CC."
            ) from None
        except subprocess.CalledProcessError as error:
            raise BenchError(f"creader.c does not compile: {error.stderr.strip()}") from None

    def _write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def _script(self, name: str, data: str) -> Path:
        path = self._write(name, data.encode())
        path.chmod(0o755)
        return path

    def fresh(self, prefix: str) -> str:
        """A name that was not used before in this run."""
        self._numbers += 1
        return f"{prefix}{self._numbers}"

    def marker(self) -> tuple[str, bytes]:
        """(shell command that prints it, the marker): the command's own echo does not contain the marker."""
        word = self.fresh("mark")
        return f"printf '%s%s\\n' END-OF- {word}.", f"END-OF-{word}.".encode()

    def job(self, size: int) -> Job:
        """A job that prints `size` bytes, or for ever, and can be watched."""
        return Job(self, size)


class Job:
    """`creader write`: its counter lies in a mapped file, so that watching costs it nothing."""

    def __init__(self, work: Work, size: int) -> None:
        path = work.folder / work.fresh("counter")
        path.write_bytes(bytes(24))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 24)
        self.command = f"{work.tool} write {work.bulk} {path} {size}"

    def _values(self) -> tuple[int, int, int]:
        values: tuple[int, int, int] = struct.unpack("=QQQ", self._map[:24])
        return values

    @property
    def printed(self) -> int:
        """Bytes that the PTY has taken so far."""
        return self._values()[0]

    def wait_started(self, seconds: float = 10.0) -> None:
        """Until it prints."""
        self._wait(1, seconds, "the job did not start")

    def seconds(self, patience: float) -> float:
        """Its duration, by its own clock; waits for its end."""
        self._wait(2, patience, f"the job was not done after {patience:g} s")
        _, start, end = self._values()
        return (end - start) / 1e9

    def _wait(self, index: int, seconds: float, complaint: str) -> None:
        deadline = time.monotonic() + seconds
        while not self._values()[index]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{complaint}: {self.printed / 1e6:.1f} MB printed")
            time.sleep(0.01)

    def speed(self, seconds: float) -> float:
        """Bytes a second, over the coming `seconds`."""
        start, printed = time.monotonic(), self.printed
        time.sleep(seconds)
        return (self.printed - printed) / (time.monotonic() - start)

    def close(self) -> None:
        """Forget the counter."""
        with contextlib.suppress(BufferError):
            self._map.close()
