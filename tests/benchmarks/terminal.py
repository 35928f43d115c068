"""The client of every peer: types, reads, waits for a marker. Over a WebSocket or over a PTY."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import termios
import time
from abc import ABC, abstractmethod

from .codecs import COLS, ROWS, Codec
from .wsclient import WebSocket


class Terminal(ABC):
    """One attached client."""

    def __init__(self) -> None:
        self.received = 0  # bytes for the emulator
        self._tail = b""

    @abstractmethod
    def type(self, data: bytes) -> None:
        """Send input."""

    @abstractmethod
    def read(self, deadline: float) -> bytes:
        """The next bytes, at least one; `TimeoutError` after `deadline`."""

    @abstractmethod
    def drop(self) -> None:
        """Cut the connection without a word."""

    @abstractmethod
    def close(self) -> None:
        """Detach."""

    def command(self, text: str) -> None:
        """Type a line."""
        self.type(text.encode() + b"\r")

    def read_until(self, marker: bytes, seconds: float) -> None:
        """Read up to `marker`, wherever reads cut it; what follows it in the same read is kept in mind."""
        deadline = time.monotonic() + seconds
        keep = len(marker) - 1
        tail = self._tail
        while True:
            at = tail.find(marker)
            if at >= 0:
                self._tail = tail[at + len(marker) :]
                return
            try:
                data = self.read(deadline)
            except TimeoutError:
                self._tail = tail[-keep:]
                raise TimeoutError(f"{marker.decode()!r} was not seen within {seconds:g} s") from None
            tail = tail[-keep:] + data

    def drain(self, quiet: float, seconds: float) -> None:
        """Read until nothing came for `quiet` seconds."""
        deadline = time.monotonic() + seconds
        self._tail = b""
        with contextlib.suppress(TimeoutError):
            while time.monotonic() < deadline:
                self.read(time.monotonic() + quiet)


class WebTerminal(Terminal):
    """A client over a WebSocket; only the codec knows whose."""

    def __init__(self, socket: WebSocket, codec: Codec) -> None:
        super().__init__()
        self.socket = socket
        self.codec = codec
        self._held: list[bytes] = []
        for frame in codec.hello():
            socket.send(*frame)

    def type(self, data: bytes) -> None:
        """Send input; what is typed before the server said that it listens goes out right after."""
        if self.codec.ready:
            self.socket.send(*self.codec.input(data))
        else:
            self._held.append(data)

    def read(self, deadline: float) -> bytes:
        """The next bytes, at least one."""
        codec, socket = self.codec, self.socket
        while True:
            parts = []
            try:
                for opcode, payload in socket.receive(min(deadline, codec.due)):
                    part = codec.feed(opcode, payload, time.monotonic())
                    if part:
                        parts.append(part)
            except TimeoutError:
                if time.monotonic() >= deadline:
                    raise
            if self._held and codec.ready:
                held, self._held = self._held, []
                for data in held:
                    socket.send(*codec.input(data))
            for frame in codec.replies(time.monotonic()):
                socket.send(*frame)
            if parts:
                data = parts[0] if len(parts) == 1 else b"".join(parts)
                self.received += len(data)
                return data

    def drop(self) -> None:
        """Cut with a TCP reset."""
        self.socket.drop()

    def close(self) -> None:
        """Detach."""
        self.socket.close()


class PtyTerminal(Terminal):
    """A client program (`tmux attach`) on a PTY of ours; `rate` throttles reading to bytes a second."""

    TICK = 0.01

    def __init__(self, argv: list[str], env: dict[str, str], rate: float | None = None) -> None:
        super().__init__()
        self._rate = rate
        self._next = 0.0
        self._master, slave = os.openpty()
        termios.tcsetwinsize(slave, (ROWS, COLS))
        self._process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True,
            preexec_fn=_take_terminal,
        )  # fmt: skip
        os.close(slave)

    def type(self, data: bytes) -> None:
        """Write to the PTY."""
        os.write(self._master, data)

    def read(self, deadline: float) -> bytes:
        """Read from the PTY."""
        size = 1024 * 1024
        if self._rate:
            now = time.monotonic()
            time.sleep(max(0.0, self._next - now))
            size = int(self._rate * self.TICK)
            self._next = max(now, self._next) + self.TICK
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._master], [], [], left)[0]:
            raise TimeoutError("Nothing arrived in time.")
        data = os.read(self._master, size)
        self.received += len(data)
        return data

    def drop(self) -> None:
        """Kill the client program."""
        self._process.send_signal(signal.SIGKILL)
        self._end()

    def close(self) -> None:
        """Hang up."""
        self._process.send_signal(signal.SIGHUP)
        self._end()

    def _end(self) -> None:
        os.close(self._master)
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _take_terminal() -> None:
    # In the child, after setsid(): standard input becomes the controlling terminal.
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
