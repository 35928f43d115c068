"""Start a program: fork, set the child up, exec. Used for the shells and for the Jupyter server.

The keeper has one thread, so ``fork`` is safe here; ``posix_spawn`` cannot give a child its terminal,
its parent-death signal or its working directory.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import resource
import select
import signal
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

# How long a start may take to report a failure. A working directory on a dead network mount must not
# stop every other terminal: after this the child is taken to be under way.
START_REPORT_SECONDS = 2.0

_libc = ctypes.CDLL(None, use_errno=True)


class StartError(Exception):
    """The program could not be started; the text is a sentence for the user."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.errno = code


def prctl(option: int, value: int) -> None:
    """Call ``prctl(option, value)``; raises OSError."""
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def become_subreaper() -> None:
    """Inherit every orphan among our descendants, so that we can reap it."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def set_oom_score_adj(pid: int | str, value: int) -> bool:
    """Try to set a process's OOM score adjustment (lowering needs privilege); say if it worked."""
    try:
        Path(f"/proc/{pid}/oom_score_adj").write_text(f"{value}\n")
    except OSError:
        return False
    return True


def raise_oom_score_adj(pid: int | str, by: int) -> None:
    """Make a process ``by`` points more likely than we are to be chosen by the OOM killer."""
    try:
        own = int(Path("/proc/self/oom_score_adj").read_text())
    except (OSError, ValueError):
        own = 0
    set_oom_score_adj(pid, min(1000, own + by))


_descriptors_before: tuple[int, int] | None = None


def raise_descriptor_limit() -> None:
    """Allow ourselves as many descriptors as the hard limit does; children get the old limit back."""
    global _descriptors_before
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        _descriptors_before = (soft, hard)


def fork_exec(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    cwd: str | None = None,
    stdio: tuple[int, int, int] | None = None,
    controlling_tty: bool = False,
    death_signal: int | None = None,
    oom_above_us: int = 0,
) -> int:
    """Start ``argv`` in a session (and process group) of its own and return its pid.

    ``stdio`` are the descriptors for 0, 1 and 2; with ``controlling_tty`` descriptor 0 becomes the
    controlling terminal. Raises :class:`StartError` when the directory or the program is not usable.
    """
    if not argv or any("\0" in part for part in argv):
        raise StartError("The command is empty or contains a NUL character.", errno.EINVAL)
    report_r, report_w = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    # No signal may run our handlers in the child before it has its own.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:  # pragma: no cover - runs in the child
            try:
                os.close(report_r)
                _child(argv, env, cwd, stdio, controlling_tty, death_signal, oom_above_us, parent, report_w)
            except BaseException as error:
                code = error.errno if isinstance(error, OSError) and error.errno else errno.EINVAL
                stage = b"d" if getattr(error, "_pth_cwd", False) else b"x"
                try:
                    os.write(report_w, stage + str(code).encode())
                finally:
                    os._exit(127)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(report_w)
    try:
        poller = select.poll()
        poller.register(report_r, select.POLLIN)
        report = os.read(report_r, 64) if poller.poll(START_REPORT_SECONDS * 1000) else b""
    finally:
        os.close(report_r)
    if report:
        os.waitpid(pid, 0)
        code = int(report[1:])
        reason = os.strerror(code)
        if report[:1] == b"d":
            raise StartError(f"The working directory {cwd!r} cannot be used: {reason}.", code)
        raise StartError(f"The program {argv[0]!r} cannot be started: {reason}.", code)
    return pid


def _child(  # pragma: no cover - runs in the child
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str | None,
    stdio: tuple[int, int, int] | None,
    controlling_tty: bool,
    death_signal: int | None,
    oom_above_us: int,
    parent: int,
    report_w: int,
) -> None:
    signal.set_wakeup_fd(-1)
    # exec keeps "ignored": Python ignores SIGPIPE, nohup ignores SIGHUP, and a shell needs both.
    for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(signum, signal.SIG_DFL)
        except (OSError, ValueError):
            continue
    os.setsid()
    if stdio is not None:
        for target, source in enumerate(stdio):
            os.dup2(source, target, inheritable=True)
    if controlling_tty:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if death_signal is not None:
        prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:  # the parent died before the line above
            os._exit(127)
    if oom_above_us:
        raise_oom_score_adj("self", oom_above_us)
    if cwd is not None:
        try:
            os.chdir(cwd)
        except OSError as error:
            error._pth_cwd = True  # type: ignore[attr-defined]
            raise
    # Everything else is close-on-exec already, except what our own parent may have leaked to us.
    os.closerange(3, report_w)
    os.closerange(report_w + 1, 65536)
    if _descriptors_before is not None:  # programs that use select() break above 1024
        resource.setrlimit(resource.RLIMIT_NOFILE, _descriptors_before)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execvpe(argv[0], list(argv), dict(env))  # noqa: S606 - no shell wanted
