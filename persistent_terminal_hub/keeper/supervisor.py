"""Keeps the Jupyter server running: starts it, restarts it when it dies, stops it when told to.

Works by calls from the loop (`on_exit`, timers); it never waits.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence

from persistent_terminal_hub.keeper import log
from persistent_terminal_hub.keeper.loop import Loop, Timer
from persistent_terminal_hub.keeper.spawn import StartError, fork_exec

# A server that dies at once is tried again after 0.1, 0.2, 0.4 ... 30 s. One that is killed from outside
# (a signal) is not a server that cannot start, so it is back within a second.
FIRST_DELAY = 0.1
MAX_DELAY = 30.0
MAX_DELAY_KILLED = 1.0
# After this long, a server counts as having started well and the delay begins anew.
GOOD_UPTIME = 5.0
# Shells are told to be likelier victims than this when memory runs out (see process.py).
OOM_ABOVE_KEEPER = 100


class Supervisor:
    """One child process and the decision what its death means.

    ``environment`` is asked for before every start, so that secrets delivered later reach the next child.
    ``ended`` is called once, with the exit status for the keeper, when there will be no further start.
    """

    def __init__(
        self,
        loop: Loop,
        argv: Sequence[str],
        environment: Callable[[], Mapping[str, str]],
        ended: Callable[[int], None],
        *,
        stdio: tuple[int, int, int] | None = None,
    ) -> None:
        self._loop = loop
        self._argv = list(argv)
        self._environment = environment
        self._ended = ended
        self._stdio = stdio
        self._delay = FIRST_DELAY
        self._started_at = 0.0
        self._timer: Timer | None = None
        self._stopping = False
        self._restart_asked = False
        self.pid: int | None = None
        self.starts = 0

    @property
    def restarts(self) -> int:
        """How often the server was started again."""
        return max(0, self.starts - 1)

    def start(self) -> None:
        """Start the child. A first start that fails is reported as the end; later ones are retried."""
        self._timer = None
        if self._stopping or self.pid is not None:
            return
        try:
            self.pid = fork_exec(
                self._argv,
                self._environment(),
                stdio=self._stdio,
                # The keeper's own death by SIGKILL must not leave a server that nobody owns.
                death_signal=signal.SIGTERM,
                oom_above_us=OOM_ABOVE_KEEPER,
            )
        except StartError as error:
            log.say(f"The server cannot be started. {error}")
            if self.starts == 0:
                self._ended(127)
            else:
                self._schedule(MAX_DELAY)
            return
        except OSError as error:
            log.say(f"The server cannot be started ({os.strerror(error.errno or 0)}); trying again.")
            self._schedule(MAX_DELAY)
            return
        self.starts += 1
        self._started_at = time.monotonic()
        log.say(f"server started, pid {self.pid}" + (f", restart {self.restarts}" if self.restarts else ""))

    def on_exit(self, pid: int, status: int) -> bool:
        """Take note that ``pid`` was reaped with a wait status; say whether it was the server."""
        if pid != self.pid:
            return False
        self.pid = None
        uptime = time.monotonic() - self._started_at
        code = os.waitstatus_to_exitcode(status)
        how = f"was killed by {_signal_name(-code)}" if code < 0 else f"exited with status {code}"
        log.say(f"server {how} after {uptime:.1f} s")
        if self._stopping:
            self._ended(0)
        elif self._restart_asked:
            self._restart_asked = False
            self._schedule(MAX_DELAY_KILLED)
        elif code == 0:
            log.say("the server was shut down on purpose: the workspace ends with it")
            self._stopping = True
            self._ended(0)
        else:
            if uptime >= GOOD_UPTIME:
                self._delay = FIRST_DELAY
            self._schedule(MAX_DELAY_KILLED if code < 0 else MAX_DELAY)
        return True

    def _schedule(self, longest: float) -> None:
        if self._stopping:
            self._ended(0)
            return
        delay = min(self._delay, longest)
        self._delay = min(self._delay * 2, MAX_DELAY)
        self._timer = self._loop.call_later(delay, self.start)

    def forward(self, signum: int) -> None:
        """Pass a signal on to the server's process group."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signum)

    def restart(self) -> None:
        """Ask the server to end and start it again, whatever its exit status will be."""
        if self.pid is not None:
            self._restart_asked = True
            self.forward(signal.SIGTERM)

    def stop(self, grace: float) -> None:
        """Ask the server to end for good; kill it after ``grace`` seconds."""
        if self._stopping:
            return
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        if self.pid is None:
            self._ended(0)
            return
        self.forward(signal.SIGTERM)
        self._loop.call_later(grace, lambda: self.forward(signal.SIGKILL))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
