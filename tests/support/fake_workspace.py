"""A FAKE of a workspace's server, for tests of the client alone: REST and pth.v1 in this process.

The stream is the real server machine (`protocol/server_stream.py`), the sessions are real programs on real
PTYs; there is no keeper, no Jupyter server, and no emulator (a keyframe here is the journal from its last
64 KiB). What only the real server shows is tested in tests/integration/test_client_sdk.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import secrets
import signal
import struct
import termios
from typing import Any, cast

from tornado import httpserver, netutil, web, websocket

from persistent_terminal_hub.protocol import server_actions as act
from persistent_terminal_hub.protocol.arbiter import Arbiter
from persistent_terminal_hub.protocol.codes import Code
from persistent_terminal_hub.protocol.frames import Kind, encode_output
from persistent_terminal_hub.protocol.journal_view import JournalView, SizeRecord
from persistent_terminal_hub.protocol.messages import Exit, Focus, Keyframe, Resize, Visible, encode
from persistent_terminal_hub.protocol.server_stream import ServerStream

TOKEN = "fake-token"


class Session:
    """A program on a PTY, its whole output, and who is attached."""

    def __init__(self, name: str, argv: list[str], rows: int = 24, cols: int = 80, env: Any = None) -> None:
        self.id, self.name, self.argv = secrets.token_hex(16), name, argv
        self.data = bytearray()
        self.capacity = 8 << 20
        self.view = JournalView(secrets.token_hex(8), 0, 0, [SizeRecord(0, rows, cols)])
        self.lines: list[Socket] = []
        self.arbiter = Arbiter()
        self.last: dict[str, int] = {}
        self.exit: Exit | None = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            base = {key: value for key, value in os.environ.items() if key not in ("TMUX", "TMUX_PANE")}
            os.execvpe(argv[0], argv, {**base, "TERM": "xterm-256color", "PS1": "$ ", **(env or {})})  # noqa: S606
        self.resize(rows, cols, record=False)
        self.loop = asyncio.get_running_loop()
        os.set_blocking(self.fd, False)
        self.loop.add_reader(self.fd, self.read)

    def resize(self, rows: int, cols: int, record: bool = True) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        last = self.view.resizes[-1]
        if record and (rows, cols) != (last.rows, last.cols):
            cast(list[SizeRecord], self.view.resizes).append(SizeRecord(self.view.head, rows, cols))

    def read(self) -> None:
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.loop.remove_reader(self.fd)
            _, status = os.waitpid(self.pid, 0)
            code = os.waitstatus_to_exitcode(status)
            self.exit = Exit(code=code) if code >= 0 else Exit(signal=-code)
            for line in self.lines:
                line.stream.end(self.exit)
        self.data += data
        self.view.head = len(self.data)
        self.view.floor = max(0, self.view.head - self.capacity)
        self.wake()

    def wake(self) -> None:
        for line in list(self.lines):
            line.pump()

    def decide(self) -> None:
        decision = self.arbiter.decide()
        if decision.size and self.exit is None:
            self.resize(*decision.size)
        for line in self.lines:
            line.do(line.stream.set_responder(line.name == decision.responder, self.view))
        self.wake()

    def model(self) -> dict[str, Any]:
        exit_ = self.exit
        name = signal.Signals(exit_.signal).name if exit_ and exit_.signal else None
        return {
            "id": self.id, "name": self.name, "argv": self.argv, "created": "2026-01-01T00:00:00.000Z",
            "state": "ended" if exit_ else "active" if self.lines else "dormant",
            "exit": {"code": exit_.code, "signal": name, "reason": None} if exit_ else None,
        }  # fmt: skip

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)


class Socket(websocket.WebSocketHandler):
    """One connection."""

    name = ""
    session: Session
    stream: ServerStream
    timer: asyncio.TimerHandle | None = None

    @property
    def fake(self) -> FakeWorkspace:
        return cast(FakeWorkspace, self.settings["fake"])

    async def get(self, *args: str) -> None:
        if self.fake.refuse:
            raise web.HTTPError(self.fake.refuse)
        if self.request.headers.get("Authorization") != f"token {TOKEN}":
            raise web.HTTPError(403)
        session = self.fake.find(args[0])
        if session is None:
            raise web.HTTPError(404)
        if session.exit is not None and session.exit not in self.fake.tell_exit:
            raise web.HTTPError(410)
        self.session = session
        await super().get(*args)

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return "pth.v1" if "pth.v1" in subprotocols else None

    def open(self, *args: str) -> None:
        self.fake.attaches += 1
        self.fake.sockets.add(self)
        self.stream = ServerStream(self.now)
        self.pump()

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def on_message(self, message: str | bytes) -> None:
        self.do(self.stream.receive(message, self.now))
        self.pump()

    def on_close(self) -> None:
        self.fake.sockets.discard(self)
        if self.timer:
            self.timer.cancel()
        if self in self.session.lines:
            self.session.lines.remove(self)
            if not any(line.name == self.name for line in self.session.lines):
                self.session.arbiter.leave(self.name)
                self.session.decide()

    def send(self, frame: str | bytes) -> None:
        with contextlib.suppress(websocket.WebSocketClosedError):
            self.write_message(frame, binary=isinstance(frame, bytes))

    def pump(self) -> None:
        while (action := self.stream.pull(self.session.view, self.now)) is not None:
            self.do([action])
        if self.timer:
            self.timer.cancel()
        if self.stream.phase != "closed":
            self.timer = asyncio.get_running_loop().call_at(self.stream.wake_at, self.tick)

    def tick(self) -> None:
        self.do(self.stream.tick(self.now))
        self.pump()

    def do(self, actions: list[act.Action]) -> None:
        session, view, stream = self.session, self.session.view, self.stream
        for action in actions:
            if isinstance(action, act.Send):
                self.send(encode(action.message))
            elif isinstance(action, act.SendData):
                data = bytes(session.data[action.start : action.stop])
                self.send(encode_output(Kind.STREAM, action.start, data))
                stream.sent(action.stop, self.now)
            elif isinstance(action, act.SendFrame):
                self.send(action.frame)
            elif isinstance(action, act.SendFetched):
                data = bytes(session.data[action.start : action.stop])
                self.send(encode_output(Kind.FETCHED, action.start, data))
                self.do(stream.fetched(True))
            elif isinstance(action, act.RequestKeyframe):
                part = bytes(session.data[-65536:])
                stream.keyframe(Keyframe(view.head, len(part), *view.size_at(view.head)[0][1:]), part, view)
            elif isinstance(action, act.Admit):
                self.admit(action.request)
            elif isinstance(action, act.WriteInput):
                self.write_input(action)
            elif isinstance(action, act.Heard):
                message = action.message
                if isinstance(message, Resize):
                    session.arbiter.resize(self.name, message.rows, message.cols)
                elif isinstance(message, Visible):
                    session.arbiter.visible(self.name, message.visible)
                elif isinstance(message, Focus):
                    session.arbiter.active(self.name)
                session.decide()
            elif isinstance(action, act.Shut):
                self.close(action.code, action.reason[:100])

    def admit(self, request: Any) -> None:
        session, self.name = self.session, request.client
        for other in list(session.lines):
            if other.name == self.name:
                other.do(other.stream.refuse(Code.TAKEN_OVER, "A newer connection."))
        session.lines.append(self)
        session.arbiter.join(
            self.name, rows=request.rows, cols=request.cols, writes=request.mode == "rw",
            visible=request.visible, resumed=request.epoch == session.view.epoch,
        )  # fmt: skip
        responder = session.arbiter.decide().responder == self.name
        ack = session.last.get(self.name, 0)
        self.do(self.stream.admit(session.view, mode=request.mode, input_ack=ack, responder=responder))
        if session.exit:
            self.stream.end(session.exit)
        session.decide()

    def write_input(self, action: act.WriteInput) -> None:
        session = self.session
        last = session.last.get(action.client)
        if action.epoch == session.view.epoch and (last is None or action.seq > last):
            assert last is None or action.seq == last + 1, "a gap in the numbers of input"
            session.last[action.client] = action.seq
            data = action.data
            while data and session.exit is None:
                with contextlib.suppress(BlockingIOError):
                    data = data[os.write(session.fd, data) :]
        if not self.fake.forget_acks:
            self.do(self.stream.input_written(action.seq))
        session.arbiter.active(self.name)
        session.decide()


class Api(web.RequestHandler):
    """The session API, as far as the client uses it."""

    @property
    def fake(self) -> FakeWorkspace:
        return cast(FakeWorkspace, self.settings["fake"])

    def prepare(self) -> None:
        if self.request.headers.get("Authorization") != f"token {TOKEN}":
            self.fail(403, "Not signed in.")

    def fail(self, status: int, message: str) -> None:
        self.set_status(status)
        self.finish({"status": status, "reason": "", "message": message, "hint": ""})

    def get(self, key: str = "") -> None:
        if not key:
            self.finish(json.dumps([session.model() for session in self.fake.sessions]))
        elif session := self.fake.find(key):
            self.finish(session.model())
        else:
            self.fail(404, f"There is no session {key!r}.")

    def post(self, key: str = "") -> None:
        body = json.loads(self.request.body)
        if (old := self.fake.find(body["name"])) and old.exit is None:
            self.fail(409, f"A session named {body['name']!r} runs already.")
            return
        argv = body.get("argv") or ["bash", "--norc", "--noprofile"]
        session = self.fake.add(body["name"], *argv, rows=body.get("rows", 24), cols=body.get("cols", 80))
        self.set_status(201)
        self.finish(session.model())

    def patch(self, key: str) -> None:
        session = self.fake.find(key)
        assert session
        session.name = json.loads(self.request.body)["name"]
        self.finish(session.model())

    def delete(self, key: str) -> None:
        session = self.fake.find(key)
        assert session
        session.kill()
        self.set_status(204)


class FakeWorkspace:
    """Start it in a running loop; `restart_port` keeps the port over an outage."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.sockets: set[Socket] = set()
        self.attaches = 0
        self.refuse = 0  # answer handshakes with this status
        self.forget_acks = False
        self.tell_exit: list[Exit] = []
        self.port = 0
        self._server: httpserver.HTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/user/a%40b/lab/"

    def find(self, key: str) -> Session | None:
        found = [session for session in self.sessions if key in (session.id, session.name)]
        return next((session for session in found if session.exit is None), found[-1] if found else None)

    def add(self, name: str, *argv: str, **more: Any) -> Session:
        session = Session(name, list(argv) or ["bash", "--norc", "--noprofile"], **more)
        self.sessions.append(session)
        return session

    def up(self) -> None:
        root = r"/user/a%40b/lab/persistent-terminals"
        app = web.Application(
            [
                (root + r"/ws/sessions/([^/]+)", Socket),
                (root + r"/api/sessions", Api),
                (root + r"/api/sessions/([^/]+)", Api),
            ],
            fake=self,
        )
        sockets = netutil.bind_sockets(self.port, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        self._server = httpserver.HTTPServer(app)
        self._server.add_sockets(sockets)

    def cut(self) -> None:
        """Drop every TCP connection."""
        for handler in list(self.sockets):
            with contextlib.suppress(AttributeError):
                handler.ws_connection.stream.close()  # type: ignore[union-attr]

    def down(self) -> None:
        """Cut, and refuse new connections."""
        if self._server:
            self._server.stop()
            self._server = None
        self.cut()

    def close(self) -> None:
        self.down()
        for session in self.sessions:
            session.kill()
            if session.exit is None:
                session.loop.remove_reader(session.fd)
                with contextlib.suppress(OSError):
                    os.waitpid(session.pid, 0)
            os.close(session.fd)
