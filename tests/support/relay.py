"""TCP to a port of this host, which a test can cut, refuse, stall and slow down; runs in the test's loop.

(`device.Line` is the same for a person's device: it listens in another network and has a thread of its own.)
"""

from __future__ import annotations

import asyncio


class Relay:
    """Relays from a free port of loopback."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._open = True
        self._ends: set[asyncio.StreamWriter] = set()
        self.port = 0  # known once it listens
        self.connections = 0
        self.flows = asyncio.Event()  # cleared: nothing comes back from the server
        self.flows.set()
        self.bytes_per_second = 0  # from the server; 0: as fast as it goes

    async def __aenter__(self) -> Relay:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.flows.set()
        self.stop()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Listen no more, and drop every connection."""
        self.down()
        self._server.close()

    def cut(self) -> None:
        """Drop every connection; new ones are fine."""
        for end in list(self._ends):
            end.transport.abort()

    def down(self) -> None:
        """Drop every connection and refuse new ones."""
        self._open = False
        self.cut()

    def up(self) -> None:
        """Let new ones through."""
        self._open = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        try:
            if not self._open:
                return
            far_reader, far = await asyncio.open_connection("127.0.0.1", self._to)
            self.connections += 1
            ends.add(far)
            self._ends |= ends
            ways = (self._copy(reader, far), self._copy_back(far_reader, writer))
            copies = [asyncio.create_task(way) for way in ways]
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            for copy in copies:
                copy.cancel()
            await asyncio.gather(*copies, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._ends -= ends
            for end in ends:
                end.transport.abort()

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(8192):
            writer.write(data)
            await writer.drain()

    async def _copy_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(8192):
            await self.flows.wait()
            if self.bytes_per_second:
                await asyncio.sleep(len(data) / self.bytes_per_second)
            writer.write(data)
            await writer.drain()
