"""A person's device: a network of its own, joined to the hub by a line that a test can cut.

Chromium drops every connection when the host's interfaces change, which each new workspace network does; on its
own device it sees none of that. The line is also how tests cut TCP: the browser's offline switch closes no WebSocket.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import secrets
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

CLONE_NEWNET = 0x40000000


def listen_in(namespace: str, port: int) -> socket.socket:
    """A socket listening on loopback inside the named network namespace, usable from here."""
    made: list[socket.socket | OSError] = []

    def work() -> None:  # setns changes this thread only
        try:
            with open(f"/run/netns/{namespace}") as file:
                if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"cannot enter the namespace {namespace}")
            made.append(socket.create_server(("127.0.0.1", port)))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


class Line:
    """Relays TCP from a listening socket to a port on this host's loopback, until it is cut."""

    def __init__(self, listener: socket.socket, port: int) -> None:
        self.listener = listener
        self.port = port
        self.up = True
        self.bytes_per_second = 0  # towards the device; 0: as fast as it goes
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._serve, sock=self.listener))
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.up:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._writers |= ends
        try:
            await asyncio.gather(
                self._copy(reader, far_writer, False), self._copy(far_reader, writer, True), return_exceptions=True
            )
        finally:
            self._writers -= ends
            for end in ends:
                end.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, slow: bool) -> None:
        while data := await reader.read(16384):
            if slow and self.bytes_per_second:
                await asyncio.sleep(len(data) / self.bytes_per_second)
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()

    def cut(self) -> None:
        """Drop every connection and refuse new ones."""
        self.up = False

        def abort() -> None:
            for writer in list(self._writers):
                writer.transport.abort()

        self._loop.call_soon_threadsafe(abort)

    def mend(self) -> None:
        """Let connections through again."""
        self.up = True

    def close(self) -> None:
        """Cut for good."""
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self.listener.close()


@contextlib.contextmanager
def device(executable: str, port: int, folder: Path) -> Iterator[tuple[str, Line]]:
    """A launcher for `executable` on a device of its own, and the line to `port` of this host.

    The same address works on both sides. Needs root.
    """
    name = f"pth-dev-{secrets.token_hex(4)}"
    if os.geteuid() != 0:
        raise RuntimeError("a device of its own needs root (network namespaces)")
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        launcher = folder / name
        launcher.write_text(f'#!/bin/sh\nexec nsenter --net=/run/netns/{name} {executable} "$@"\n')
        launcher.chmod(0o755)
        line = Line(listen_in(name, port), port)
        try:
            yield str(launcher), line
        finally:
            line.close()
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False)
