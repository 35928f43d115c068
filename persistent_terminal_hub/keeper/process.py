"""A program on a terminal of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import struct
import termios
import time
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from persistent_terminal_hub.keeper.spawn import fork_exec

# Shells and what they start are better victims than the server, and the server than the keeper.
OOM_ABOVE_KEEPER = 300
# So that Backspace in line mode erases a character and not a byte of it; the termios module has no name.
IUTF8 = 0o40000


class PtyProcess:
    """A shell (or any program), leader of a session whose controlling terminal is ours.

    We keep the terminal's other side open as well: else the master would report a hang-up, again and
    again, whenever the programs on it happen to have closed it for a while. The kernel hangs it up when
    the shell ends, whoever still has it open, and that is what we go by.
    """

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: str | None, cols: int, rows: int
    ) -> None:
        """Start it. Raises :class:`~.spawn.StartError`, or OSError when the system has no terminal left."""
        self.master, self._slave = os.openpty()
        try:
            os.set_blocking(self.master, False)
            attributes = termios.tcgetattr(self._slave)
            attributes[0] |= IUTF8
            termios.tcsetattr(self._slave, termios.TCSANOW, attributes)
            self.set_size(cols, rows)
            stdio = (self._slave, self._slave, self._slave)
            self.pid = fork_exec(
                argv, env, cwd=cwd, stdio=stdio, controlling_tty=True, oom_above_us=OOM_ABOVE_KEEPER
            )
        except BaseException:
            self.close()
            raise

    def set_size(self, cols: int, rows: int) -> None:
        """Set the terminal's size; the kernel tells the foreground programs (SIGWINCH)."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def foreground(self) -> int | None:
        """The foreground process group of the terminal."""
        try:
            group = os.tcgetpgrp(self.master)
        except OSError:
            return None
        return group if group > 0 else None

    def close(self) -> None:
        """Let go of the terminal. If programs still run on it, the kernel hangs them up."""
        for fd in (self.master, self._slave):
            with contextlib.suppress(OSError):
                os.close(fd)


def signal_sessions(leaders: Container[int], *signums: int) -> set[int]:
    """Send signals to every process of some sessions; return the leaders of those that had any.

    A session is named by the pid of the process that leads it or led it.
    """
    found = set()
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            stat = Path(entry.path, "stat").read_bytes()
            # After the name, which is in parentheses and may contain anything: state ppid pgrp session
            state, _, _, session, _ = stat[stat.rindex(b")") + 2 :].split(None, 4)
            leader = int(session)
            if leader in leaders and state != b"Z":
                found.add(leader)
                for signum in signums:
                    os.kill(int(entry.name), signum)
        except (OSError, ValueError):
            continue
    return found


def kill_children(seconds: float = 1.0) -> None:
    """Kill what is left at our own end: kernels, daemons, whatever became ours when its parent died.

    In a container the end of the main process does that as well; without one, nobody else would.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            # The children of those that die become ours, so this gets to the last of them.
            for child in Path("/proc/thread-self/children").read_bytes().split():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(int(child), signal.SIGKILL)
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except (ChildProcessError, FileNotFoundError):
            return
        time.sleep(0.01)


def process_name(pid: int | None) -> str | None:
    """The short name of a process, for people to read."""
    if pid is None:
        return None
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return None


def current_directory(pid: int) -> str | None:
    """Where a process is now."""
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return None


def signal_number(name: object) -> int | None:
    """The number of a signal given as ``"INT"``, ``"SIGINT"`` or 2; None if there is none."""
    try:
        if isinstance(name, str):
            return signal.Signals["SIG" + name.upper().removeprefix("SIG")].value
        if isinstance(name, int) and not isinstance(name, bool):
            return signal.Signals(name).value
    except (KeyError, ValueError):
        pass
    return None
