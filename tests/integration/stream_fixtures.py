"""A keeper with a real Jupyter server as its child, and a `pth.v1` client that believes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import random
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import websockets
from websockets.asyncio.client import connect

from persistent_terminal_hub.keeper.blocking_client import BlockingClient
from persistent_terminal_hub.protocol import client_events as ev
from persistent_terminal_hub.protocol.client_stream import ClientStream, code_of_status
from persistent_terminal_hub.protocol.messages import encode
from tests.integration.keeper_fixtures import KeeperProcess, until

LINE = 16  # bytes of a counted line, CR LF included


def counted(start: int, stop: int) -> bytes:
    """What a program that prints counted lines has at [start, stop)."""
    first, last = start // LINE, -(-stop // LINE)
    text = b"".join(b"%014d\r\n" % number for number in range(first, last))
    return text[start - first * LINE : stop - first * LINE]


class Workspace:
    """The processes."""

    def __init__(self, folder: Path, env: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.token = secrets.token_hex(16)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = int(listener.getsockname()[1])
        self.keeper = KeeperProcess(folder)
        extensions = {"jupyter_server_terminals": True, "persistent_terminal_hub.server": True}
        command = [
            sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser",
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={self.port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}",
            f"--ServerApp.jpserver_extensions={extensions!r}", "--Application.log_level=WARN",
        ]  # fmt: skip
        quiet = {
            "JUPYTER_NO_CONFIG": "1", "JUPYTER_CONFIG_DIR": str(folder), "JUPYTER_RUNTIME_DIR": str(folder),
            "JUPYTER_DATA_DIR": str(folder), "JUPYTER_TOKEN": self.token, "HOME": str(folder),
        }  # fmt: skip
        self.keeper.start(*command, env={**quiet, **(env or {})})
        try:
            self.blocking: BlockingClient = self.keeper.connect()
            self.ready()
        except BaseException:
            self.keeper.stop()
            raise

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"token {self.token}"}

    def request(self, path: str, method: str = "GET", body: object = None) -> tuple[int, bytes]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.closing(line):
            line.request(method, path, None if body is None else json.dumps(body), self.headers)
            answer = line.getresponse()
            return answer.status, answer.read()

    def ready(self) -> None:
        def answers() -> bool:
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.request("/api/status")[0] == 200
            return False

        until(answers, 30)

    def server_pid(self) -> int:
        return int(self.blocking.call("stats").header["server_pid"])

    def kill_server(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.server_pid(), signal.SIGKILL)

    def create(self, *argv: str, **fields: Any) -> str:
        return str(self.blocking.call("create", argv=list(argv), **fields).header["session"]["id"])

    def counting(self, lines: int, then: str = "exec sleep 1000", **fields: Any) -> str:
        """A session that prints counted lines."""
        return self.create("/bin/sh", "-c", f"seq -f %014.0f 0 {lines - 1} | cat; {then}", **fields)

    def printed(self, session: str, end: int = 1) -> None:
        """Wait until a session has printed so much, and nothing more comes."""

        def quiet() -> bool:
            before = self.blocking.call("get", session=session).header["session"]["end"]
            time.sleep(0.1)
            return before == self.blocking.call("get", session=session).header["session"]["end"] >= end

        until(quiet, 20)

    def url(self, session: str, port: int | None = None) -> str:
        return f"ws://127.0.0.1:{port or self.port}/persistent-terminals/ws/sessions/{session}"

    def stop(self) -> None:
        self.keeper.stop()


class Viewer:
    """A page and its emulator, on the reference client machine. Every byte is checked as it comes."""

    def __init__(
        self,
        url: str,
        headers: dict[str, str] | None = None,
        *,
        rows: int = 24,
        cols: int = 80,
        truth: Callable[[int, int], bytes] | None = None,
        **options: Any,
    ) -> None:
        self.url = url
        self.headers = headers or {}
        self.stream = ClientStream(
            secrets.token_hex(16), rows=rows, cols=cols, random=random.random, **options
        )
        self.truth = truth
        self.seen = bytearray()  # everything shown since the last clearing
        self.bytes = 0  # of the stream
        self.place: int | None = None
        self.clears: list[str] = []
        self.keyframes = 0
        self.skipped: list[tuple[int, int]] = []
        self.sizes: list[tuple[int, int]] = []
        self.fetched: dict[int, bytes] = {}
        self.fetches: list[tuple[int, int]] = []
        self.told: list[Any] = []
        self.codes: list[int] = []
        self.dropped = 0
        self.exit: Any = None
        self.failure: BaseException | None = None
        self.parsing = asyncio.Event()  # cleared: the emulator hangs, nothing is acknowledged
        self.parsing.set()
        self.connections = 0
        self._socket: Any = None
        self._changed = asyncio.Event()
        self._poke = asyncio.Event()
        self._out: asyncio.Queue[str | bytes] = asyncio.Queue()
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def state(self) -> str:
        return str(self.stream.state.name)

    async def __aenter__(self) -> Viewer:
        self._spawn(self._clock())
        self.do(self.stream.start(self._now()))
        return self

    async def __aexit__(self, *_: object) -> None:
        socket, self._socket = self._socket, None
        self.do(self.stream.stop(self._now()))
        if socket is not None:
            await socket.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _now(self) -> float:
        return time.monotonic()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.failure = task.exception()
            self._changed.set()

    async def _clock(self) -> None:
        while True:
            due = self.stream.wake_at
            self._poke.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(0, due - self._now())):
                    await self._poke.wait()
            due = self.stream.wake_at
            if due is not None and due <= self._now():
                self.do(self.stream.tick(self._now()))

    async def until(self, check: Callable[[], object], seconds: float = 10.0) -> None:
        """Wait until something is true."""
        end = self._now() + seconds
        while not check():
            if self.failure is not None:
                raise self.failure
            self._changed.clear()
            left = end - self._now()
            seen = bytes(self.seen[-200:])
            assert left > 0, f"not in time: {self.state} {self.place} {self.codes} {seen!r}"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()

    async def live(self) -> None:
        await self.until(lambda: self.state == "live" and not self.stream._output.missing)

    def type(self, data: bytes) -> None:
        self.do(self.stream.type(data))

    def do(self, events: list[ev.Event]) -> None:
        for event in events:
            self._one(event)
        self._changed.set()
        self._poke.set()

    def _one(self, event: ev.Event) -> None:
        if isinstance(event, ev.Connect):
            self._spawn(self._connect())
        elif isinstance(event, ev.CloseSocket):
            socket, self._socket = self._socket, None
            if socket is not None:
                self._spawn(socket.close(int(event.code)))
        elif isinstance(event, ev.SendText):
            self._out.put_nowait(encode(event.message))
        elif isinstance(event, ev.SendBinary):
            self._out.put_nowait(event.frame)
        elif isinstance(event, ev.ClearScreen):
            self.clears.append(event.reason)
            self.seen.clear()
            self.place = None
        elif isinstance(event, ev.SetSize):
            self.sizes.append((event.rows, event.cols))
        elif isinstance(event, ev.Output):
            assert self.place in (None, event.offset), "a hole or an overlap"
            if self.truth is not None:
                assert event.data == self.truth(event.offset, event.offset + len(event.data))
            self.place = event.offset + len(event.data)
            self.bytes += len(event.data)
            self.seen += event.data
            self._parsed(self.place, event.generation)
        elif isinstance(event, ev.KeyframePart):
            self.seen += event.data
            if event.last:
                self.keyframes += 1
                self.place = event.offset
                self._parsed(event.offset, event.generation)
        elif isinstance(event, ev.SkippedOutput):
            self.skipped.append((event.start, event.stop))
        elif isinstance(event, ev.FetchedOutput):
            self.fetched[event.offset] = event.data
        elif isinstance(event, ev.FetchDone):
            self.fetches.append((event.start, event.stop))
        elif isinstance(event, ev.InputDropped):
            self.dropped += event.size
        elif isinstance(event, ev.Ended):
            self.exit = event.exit
        elif isinstance(event, ev.Told):
            self.told.append(event.message)

    def _parsed(self, offset: int, generation: int) -> None:
        if self.parsing.is_set():
            self.do(self.stream.parsed(offset, generation, self._now()))
        else:
            self._spawn(self._parse_later(offset, generation))

    async def _parse_later(self, offset: int, generation: int) -> None:
        await self.parsing.wait()
        self.do(self.stream.parsed(offset, generation, self._now()))

    async def _connect(self) -> None:
        self.connections += 1
        self._out = out = asyncio.Queue()
        try:
            socket = await connect(
                self.url, subprotocols=["pth.v1"], additional_headers=self.headers,  # type: ignore[list-item]
                compression=None, max_size=None, ping_interval=None, open_timeout=10, proxy=None,
            )  # fmt: skip
        except websockets.InvalidStatus as refused:
            self.codes.append(code_of_status(refused.response.status_code))
            self.do(self.stream.closed(self.codes[-1], self._now()))
            return
        except (OSError, websockets.InvalidHandshake, TimeoutError, EOFError):
            self.do(self.stream.closed(1006, self._now()))
            return
        self._socket = socket
        self.do(self.stream.opened(self._now()))
        writer = asyncio.get_running_loop().create_task(self._write(socket, out))
        try:
            async for frame in socket:
                if self._socket is not socket:
                    return
                self.do(self.stream.receive(frame, self._now()))
        except websockets.ConnectionClosed:
            pass
        finally:
            writer.cancel()
        if self._socket is socket:
            self._socket = None
            code = socket.close_code or 1006
            self.codes.append(code)
            self.do(self.stream.closed(code, self._now(), socket.close_reason or ""))

    async def _write(self, socket: Any, out: asyncio.Queue[str | bytes]) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await socket.send(await out.get())


async def every(seconds: float, what: Callable[[], Awaitable[None] | None], times: int) -> None:
    """Do something again and again."""
    for _ in range(times):
        await asyncio.sleep(seconds)
        done = what()
        if done is not None:
            await done
