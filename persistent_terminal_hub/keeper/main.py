"""The keeper's command line and its life: wait for secrets, run the server, end in good order."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from persistent_terminal_hub.keeper import log, secrets, spawn
from persistent_terminal_hub.keeper.loop import Loop
from persistent_terminal_hub.keeper.supervisor import Supervisor

EXIT_NO_SECRETS = 75  # EX_TEMPFAIL: the container may be started again
SECRETS_LOOK_SECONDS = 0.1  # while the server waits for them
REDELIVERY_LOOK_SECONDS = 10.0  # afterwards; they are looked for at each start of the server as well
DEFAULT_RUNTIME_DIR = "/run/pth"


class Keeper:
    """Everything that lives as long as the process does."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.runtime_dir = Path(os.environ.get("PTH_RUNTIME_DIR") or DEFAULT_RUNTIME_DIR)
        self._options = options
        self._secrets: dict[str, str] = {}
        self._deadline = time.monotonic() + options.secrets_timeout
        self._exit_status = 0
        self._ending = False
        self.loop = Loop()
        self.supervisor = Supervisor(self.loop, options.command, self._server_env, self._server_ended)

    def run(self) -> int:
        """Run until the server was shut down or a signal asked us to end; return the exit status."""
        loop = self.loop
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.on_signal(signum, self.end)
        loop.on_signal(signal.SIGCHLD, self._reap)
        loop.on_signal(signal.SIGHUP, self._restart_server)
        for signum in (signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
            loop.on_signal(signum, lambda signum=signum: self.supervisor.forward(signum))  # type: ignore[misc]
        if self._options.wait_for_secrets:
            log.say(f"waiting for {self.runtime_dir / secrets.FILE_NAME}")
            self._await_secrets()
        else:
            self._begin()
        loop.run()
        self._reap()
        loop.close()
        return self._exit_status

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
            self._finish(EXIT_NO_SECRETS)
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
        self.supervisor.start()
        if self._options.wait_for_secrets:
            self.loop.call_later(REDELIVERY_LOOK_SECONDS, self._look_for_redelivery)

    def _restart_server(self) -> None:
        log.say("SIGHUP: restarting the server")
        self.supervisor.restart()

    def end(self) -> None:
        """End in good order: the server first."""
        if self._ending:
            return
        self._ending = True
        log.say("ending on a signal")
        self.supervisor.stop(self._options.grace)

    def _server_ended(self, status: int) -> None:
        self._finish(status)

    def _finish(self, status: int) -> None:
        self._exit_status = status
        self.loop.stop()

    def _reap(self) -> None:
        """Collect every dead child, our own and the orphans that became ours."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            except OSError as error:
                if error.errno == errno.EINTR:
                    continue
                raise
            if pid == 0:
                return
            self.supervisor.on_exit(pid, status)


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
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the server to run")
    options = parser.parse_args(list(arguments))
    if options.command[:1] == ["--"]:
        del options.command[0]
    if not options.command:
        parser.error("Say which server to run, after `--`.")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m persistent_terminal_hub.keeper``."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    log.setup()
    spawn.become_subreaper()
    return Keeper(options).run()
