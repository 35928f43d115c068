"""The keeper's command line and its life: wait for secrets, run the server, end in good order."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from persistent_terminal_hub.keeper import log, process, secrets, spawn, wire
from persistent_terminal_hub.keeper.history import History, bytes_kept, history_directory
from persistent_terminal_hub.keeper.lock_operations import Workspace, state_directory
from persistent_terminal_hub.keeper.loop import READ, Loop
from persistent_terminal_hub.keeper.operations import Operations
from persistent_terminal_hub.keeper.service import Service
from persistent_terminal_hub.keeper.sessions import DEFAULT_JOURNALS_BOUND, Event, Sessions
from persistent_terminal_hub.keeper.supervisor import Supervisor

OWN_OOM_SCORE = -900
EXIT_NO_SECRETS = 75  # EX_TEMPFAIL: the container may be started again
SECRETS_LOOK_SECONDS = 0.1  # while the server waits for them
REDELIVERY_LOOK_SECONDS = 10.0  # afterwards; they are looked for at each start of the server as well
DEFAULT_RUNTIME_DIR = "/run/pth"
UNUSED_LOOK_SECONDS = 30.0  # with --alone; unused at two looks in a row is unused


class Keeper:
    """Everything that lives as long as the process does."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.runtime_dir = Path(os.environ.get("PTH_RUNTIME_DIR") or DEFAULT_RUNTIME_DIR)
        self._options = options
        self._secrets: dict[str, str] = {}
        self._deadline = time.monotonic() + options.secrets_timeout
        self._exit_status: int | None = None
        self._ending = False
        self.loop = Loop()
        self.sessions = Sessions(self.loop, self._announce, options.grace)
        self.sessions.bound = journals_bound()
        state = state_directory(self.runtime_dir, alone=options.alone)
        if not options.alone:
            self.sessions.history = History(history_directory(state), bytes_kept(os.environ))
        workspace = Workspace(self.loop, state, self._announce)
        operations = Operations(self.sessions, workspace, self._stats)
        path = self.runtime_dir / wire.SOCKET_NAME
        self.service = Service(self.loop, path, operations.serve, operations.forget)
        self._server_output = ServerOutput(self.loop)
        self.supervisor = Supervisor(
            self.loop,
            options.command,
            self._server_env,
            self._server_ended,
            stdio=self._server_output.stdio,
        )

    def run(self) -> int:
        """Run until the server was shut down or a signal asked us to end; return the exit status."""
        loop = self.loop
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.on_signal(signum, self.end)
        loop.on_signal(signal.SIGCHLD, self._reap)
        loop.on_signal(signal.SIGHUP, self._restart_server)
        for signum in (signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
            loop.on_signal(signum, partial(self.supervisor.forward, signum))
        if self._options.wait_for_secrets:
            log.say(f"waiting for {self.runtime_dir / secrets.FILE_NAME}")
            self._await_secrets()
        else:
            self._begin()
        gc.freeze()  # what is loaded stays: not to be looked through again between two keys
        loop.run()
        self.service.close()
        process.kill_children()
        self._server_output.flush()
        loop.close()
        return self._exit_status or 0

    def _announce(self, event: Event) -> None:
        self.service.announce(event)

    def _stats(self) -> dict[str, Any]:
        return {
            "server_starts_total": self.supervisor.starts,
            "server_restarts_total": self.supervisor.restarts,
            "server_pid": self.supervisor.pid,
            "connections": len(self.service.connections),
            "garbage_total": self.service.garbage,
            "log_bytes_dropped_total": log.dropped_total(),
        }

    # -- secrets -------------------------------------------------------------------------------------
    def _take_secrets(self) -> bool:
        try:
            found = secrets.take(self.runtime_dir / secrets.FILE_NAME)
        except secrets.SecretsError as error:
            log.say(f"Refused and deleted: {error}.")
            return False
        if found is None:
            return False
        self._secrets = found
        log.say(f"took {len(found)} environment entries from {secrets.FILE_NAME}")
        return True

    def _await_secrets(self) -> None:
        if self._ending:
            return
        if self._take_secrets():
            self._begin()
        elif time.monotonic() >= self._deadline:
            log.say(
                f"No usable {secrets.FILE_NAME} came within {self._options.secrets_timeout:g} s. The hub "
                "writes it after it started the container: see the hub's log, then start the workspace again."
            )
            self._end(EXIT_NO_SECRETS)
        else:
            self.loop.call_later(SECRETS_LOOK_SECONDS, self._await_secrets)

    def _look_for_redelivery(self) -> None:
        self._take_secrets()
        self.loop.call_later(REDELIVERY_LOOK_SECONDS, self._look_for_redelivery)

    def _server_env(self) -> dict[str, str]:
        self._take_secrets()
        return {**os.environ, **self._secrets, "PTH_RUNTIME_DIR": str(self.runtime_dir)}

    # -- life ----------------------------------------------------------------------------------------
    def _begin(self) -> None:
        if self._options.alone:
            self.loop.call_later(UNUSED_LOOK_SECONDS, partial(self._end_if_unused, False))
            return
        self.supervisor.start()
        if self._options.wait_for_secrets:
            self.loop.call_later(REDELIVERY_LOOK_SECONDS, self._look_for_redelivery)

    def _end_if_unused(self, was_unused: bool) -> None:
        running = any(session.exit is None for session in self.sessions)
        unused = not running and not self.service.connections
        if unused and was_unused:
            log.say("no session runs and nobody is connected")
            self._end(0)
        else:
            self.loop.call_later(UNUSED_LOOK_SECONDS, partial(self._end_if_unused, unused))

    def _restart_server(self) -> None:
        log.say("SIGHUP: restarting the server")
        self.supervisor.restart()

    def end(self) -> None:
        """End in good order: hang up the terminals, stop the server, kill what does not listen."""
        log.say("ending on a signal")
        self._end(0)

    def _server_ended(self, status: int) -> None:
        """The server will not be started again: nothing is left to live for."""
        self._end(status)

    def _end(self, status: int) -> None:
        if self._exit_status is None:
            self._exit_status = status
        if not self._ending:
            self._ending = True
            self.sessions.end_all(self._options.grace, "workspace_ended")
            self.supervisor.stop(self._options.grace)
            # Not even something that cannot be killed may keep us.
            self.loop.call_later(self._options.grace + 2, self.loop.stop)
        self._stop_if_done()

    def _stop_if_done(self) -> None:
        if self._ending and self.supervisor.pid is None and self.sessions.settled:
            self.loop.stop()

    def _reap(self) -> None:
        """Collect every dead child, our own and the orphans that became ours."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if not self.sessions.reaped(pid, status) and not self.sessions.history.reaped(pid, status):
                self.supervisor.on_exit(pid, status)
        if self._ending:
            self.sessions.check_ended()
        self._stop_if_done()


class ServerOutput:
    """What the Jupyter server prints, on its way to our own standard error.

    It goes through us because a server that writes into a full pipe stands still, and the pipe to the
    Docker daemon is full soon when the daemon is away. We never stand still, and drop instead.
    """

    def __init__(self, loop: Loop) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read, False)
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self.stdio = (self._null, self._write, self._write)
        loop.add(self._read, READ, self._on_output)

    def _on_output(self, _events: int) -> None:
        self._copy()

    def _copy(self) -> bool:
        try:
            data = os.read(self._read, 65536)
        except BlockingIOError:
            return False
        log.write_raw(data)
        return True

    def flush(self) -> None:
        """Pass on what is left, at the end."""
        while self._copy():
            pass


def journals_bound() -> int:
    """What all journals may take together: half a gigabyte, or a quarter of a smaller container."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroup v2, v1
        try:
            limit = int(Path("/sys/fs/cgroup", name).read_text())
        except (OSError, ValueError):  # not there, or "max"
            continue
        return min(DEFAULT_JOURNALS_BOUND, max(limit // 4, 1024 * 1024))
    return DEFAULT_JOURNALS_BOUND


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m persistent_terminal_hub.keeper",
        description="Own this workspace's terminals, and keep its Jupyter server running.",
    )
    parser.add_argument(
        "--wait-for-secrets",
        action="store_true",
        help="start the server only when $PTH_RUNTIME_DIR/secrets.json has been delivered",
    )
    parser.add_argument("--secrets-timeout", type=float, default=300.0, metavar="S", help="default: 300")
    parser.add_argument(
        "--grace", type=float, default=10.0, metavar="S", help="seconds from asking to killing; default: 10"
    )
    parser.add_argument(
        "--alone",
        action="store_true",
        help="keep no server; end when no session runs and nobody is connected",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the server to run")
    options = parser.parse_args(list(arguments))
    if options.command[:1] == ["--"]:
        del options.command[0]
    if not options.command and not options.alone:
        parser.error("Say which server to run, after `--`.")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m persistent_terminal_hub.keeper``."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    log.setup()
    spawn.become_subreaper()
    spawn.set_oom_score_adj("self", OWN_OOM_SCORE)  # allowed only where somebody lets us
    spawn.raise_descriptor_limit()
    try:
        keeper = Keeper(options)
    except OSError as error:
        reason = error.strerror or str(error)
        log.say(f"The keeper cannot serve its socket in $PTH_RUNTIME_DIR: {reason}.")
        return 1
    return keeper.run()
