"""What a client of the keeper may ask, one method each. docs/reference/keeper-wire.md is the contract.

Fields that are not known are ignored, operations that are not known are answered with an error: so an
older keeper serves a newer server.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

from persistent_terminal_hub.keeper import process, wire
from persistent_terminal_hub.keeper.journal import DEFAULT_CAPACITY
from persistent_terminal_hub.keeper.lines import MAX_SEQ, SENTENCES, Lines
from persistent_terminal_hub.keeper.lock_operations import LockOperations, Workspace
from persistent_terminal_hub.keeper.service import Connection
from persistent_terminal_hub.keeper.sessions import Refused, Sessions

MAX_META = 4096
# So many fit into one answer, whatever they are; and telling of them does not take long.
PAGE_OF_SESSIONS = 50
MAX_SUBSCRIPTIONS = 64  # of one connection to one session
MAX_CLIENT_ID = 128
MAX_SIZE = 4096  # columns or rows
MAX_ARGUMENTS = 1024

Answer = dict[str, Any]


class Operations(LockOperations):
    """Serves frames of greeted connections."""

    def __init__(self, sessions: Sessions, workspace: Workspace, stats: Callable[[], Answer]) -> None:
        self._sessions = sessions
        self._workspace = workspace
        self._stats = stats
        self._started = time.time()
        self._lines = Lines()
        self._serve: dict[str, Callable[[Connection, _Fields], Answer | None]] = {
            name.removeprefix("op_"): getattr(self, name) for name in dir(self) if name.startswith("op_")
        }

    def serve(self, connection: Connection, frame: wire.Frame | wire.Input | wire.Ack) -> None:
        """Answer one frame."""
        if not isinstance(frame, wire.Frame):
            self._lines.serve(connection, frame)
            return
        fields = _Fields(frame.header, frame.payload)
        name = frame.header.get("op")
        reply_to = frame.header.get("id")
        if not connection.greeted and name != "hello":
            connection.fail("the first message is not a hello")
            return
        try:
            operation = self._serve.get(name) if isinstance(name, str) else None
            if operation is None:
                raise Refused(
                    "unknown_op", "This keeper does not know that operation; it may be older than you."
                )
            answer = operation(connection, fields)
        except Refused as refusal:
            connection.send(
                {"re": reply_to, "ok": False, "error": refusal.code, "message": str(refusal), **fields.extra}
            )
        else:
            if answer is not None:
                connection.send({"re": reply_to, "ok": True, **answer})

    def forget(self, connection: int) -> None:
        """A connection is gone: nobody of it is attached, nobody of it is to be woken."""
        self._lines.forget(connection)
        for session in self._sessions:
            session.unsubscribe(connection)
            self._sessions.detach(session, connection)
        self._workspace.clock.forget(connection)

    # -- the connection ------------------------------------------------------------------------------
    def op_hello(self, connection: Connection, fields: _Fields) -> Answer:
        versions = fields.header.get("versions")
        if not isinstance(versions, list) or wire.VERSION not in versions:
            raise Refused("version", f"This keeper speaks version {wire.VERSION} of its protocol only.")
        connection.greeted = True
        return {
            "version": wire.VERSION,
            "pid": os.getpid(),
            "started": self._started,
            "ops": sorted(self._serve),
            "connection": connection.number,
        }

    def op_watch(self, connection: Connection, fields: _Fields) -> Answer:
        connection.watching = fields.flag("on", True)
        return {}

    def op_stats(self, _connection: Connection, _fields: _Fields) -> Answer:
        return {**self._sessions.stats(), **self._stats()}

    def op_configure(self, _connection: Connection, fields: _Fields) -> Answer:
        sessions = self._sessions
        sessions.bound = fields.integer("journals_bound", 1024 * 1024, 2**50, sessions.bound)
        sessions.ended_kept = fields.integer("ended_kept", 0, 10_000, sessions.ended_kept)
        return {"journals_bound": sessions.bound, "ended_kept": sessions.ended_kept}

    # -- sessions ------------------------------------------------------------------------------------
    def op_create(self, _connection: Connection, fields: _Fields) -> Answer:
        session = self._sessions.create(
            name=fields.optional_text("name"),
            argv=fields.texts("argv"),
            cwd=fields.optional_text("cwd"),
            env=fields.environment(),
            inherit_env=fields.flag("inherit_env", True),
            size=(fields.integer("cols", 1, MAX_SIZE, 80), fields.integer("rows", 1, MAX_SIZE, 24)),
            capacity=fields.integer("capacity", 1, 2**40, DEFAULT_CAPACITY),
            meta=fields.meta() or {},
        )
        return {"session": session.info()}

    def op_list(self, _connection: Connection, fields: _Fields) -> Answer:
        after = fields.integer("after", 0, MAX_SEQ, 0)
        rest = [session for session in self._sessions if session.serial > after]
        page = rest[:PAGE_OF_SESSIONS]
        more = page[-1].serial if len(rest) > len(page) else None
        return {"sessions": [session.info() for session in page], "next": more}

    def op_get(self, _connection: Connection, fields: _Fields) -> Answer:
        return {"session": self._sessions.find(fields.session).info()}

    def op_rename(self, _connection: Connection, fields: _Fields) -> Answer:
        session = self._sessions.find(fields.session)
        self._sessions.rename(session, fields.header.get("name"))
        return {"name": session.name}

    def op_annotate(self, _connection: Connection, fields: _Fields) -> Answer:
        session = self._sessions.find(fields.session)
        merged = {**session.meta, **(fields.meta() or {})}
        session.meta = _bounded({key: value for key, value in merged.items() if value is not None})
        return {"meta": session.meta}

    def op_resize(self, _connection: Connection, fields: _Fields) -> Answer:
        session = self._sessions.running(fields.session)
        cols = fields.integer("cols", 1, MAX_SIZE)
        rows = fields.integer("rows", 1, MAX_SIZE)
        return {"offset": self._sessions.resize(session, cols, rows), "cols": cols, "rows": rows}

    def op_redraw(self, _connection: Connection, fields: _Fields) -> Answer:
        self._sessions.redraw(self._sessions.running(fields.session))
        return {}

    def op_signal(self, _connection: Connection, fields: _Fields) -> Answer:
        session = self._sessions.running(fields.session)
        signum = process.signal_number(fields.header.get("signal"))
        whom = fields.header.get("to", "foreground")
        if signum is None or whom not in ("foreground", "shell", "session"):
            raise Refused("invalid", "Name a signal, and `to`: foreground, shell or session.")
        self._sessions.signal(session, signum, whom)
        return {}

    def op_end(self, _connection: Connection, fields: _Fields) -> Answer:
        session = self._sessions.running(fields.session)
        reason = fields.optional_text("reason") or "terminated"
        grace = fields.header.get("grace")
        usable = isinstance(grace, (int, float)) and not isinstance(grace, bool) and 0 <= grace <= 3600
        self._sessions.end(session, reason[:64], grace if usable else None)
        return {}

    def op_remove(self, _connection: Connection, fields: _Fields) -> Answer:
        self._sessions.remove(self._sessions.find(fields.session))
        return {}

    # -- bytes ---------------------------------------------------------------------------------------
    def op_input(self, _connection: Connection, fields: _Fields) -> Answer:
        session = self._sessions.find(fields.session)
        client = fields.client
        seq = fields.integer("seq", 1, MAX_SEQ)
        fields.extra["ack"] = session.input.last(client)
        if session.exit is not None:
            raise Refused("ended", f"Session {session.name!r} has ended.")
        verdict = session.take_input(client, seq, fields.payload, sparse=fields.flag("sparse", False))
        ack = fields.extra["ack"] = session.input.last(client)
        if verdict in SENTENCES:
            raise Refused(verdict.value, SENTENCES[verdict])
        return {"ack": ack}

    def op_attach(self, connection: Connection, fields: _Fields) -> Answer:
        session = self._sessions.find(fields.session)
        client = fields.client
        self._sessions.attach(session, connection.number, client)
        journal = session.journal
        return {
            "ack": session.input.last(client),
            "line": self._lines.open(connection.number, session, client),
            "epoch": journal.epoch,
            "start": journal.floor,
            "end": journal.head,
            "cols": session.cols,
            "rows": session.rows,
        }

    def op_detach(self, connection: Connection, fields: _Fields) -> Answer:
        session = self._sessions.find(fields.session)
        self._lines.close(connection.number, session, fields.client)
        self._sessions.detach(session, connection.number, fields.client)
        return {}

    def op_subscribe(self, connection: Connection, fields: _Fields) -> None:
        session = self._sessions.find(fields.session)
        if session.subscribed(connection.number) >= MAX_SUBSCRIPTIONS:
            raise Refused(
                "limit", f"A connection may subscribe to a session {MAX_SUBSCRIPTIONS} times at most."
            )
        try:
            fds = [session.journal.open_reader_fd()]
            try:
                number, wake = session.subscribe(connection.number)
                fds.append(os.dup(wake))
            except BaseException:
                os.close(fds[0])
                raise
        except OSError as error:
            raise Refused("limit", f"No descriptor is left ({os.strerror(error.errno or 0)}).") from None
        answer = {
            "re": fields.header.get("id"),
            "ok": True,
            "subscription": number,
            "session": session.info(),
        }
        connection.send(answer, fds=tuple(fds))

    def op_unsubscribe(self, connection: Connection, fields: _Fields) -> Answer:
        number = fields.integer("subscription", 0, MAX_SEQ, 0)
        self._sessions.find(fields.session).unsubscribe(connection.number, number or None)
        return {}


class _Fields:
    """The checked fields of a request."""

    def __init__(self, header: wire.Header, payload: bytes) -> None:
        self.header = header
        self.payload = payload
        self.extra: Answer = {}  # goes into a refusal as well

    @property
    def session(self) -> object:
        return self.header.get("session")

    @property
    def client(self) -> str:
        value = self.header.get("client")
        if not isinstance(value, str) or not 0 < len(value) <= MAX_CLIENT_ID:
            raise Refused("invalid", f"`client` is a text of 1 to {MAX_CLIENT_ID} characters.")
        return value

    def integer(self, name: str, least: int, most: int, default: int | None = None) -> int:
        value = self.header.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise Refused("invalid", f"`{name}` is a whole number from {least} to {most}.")
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self.header.get(name, default)
        if not isinstance(value, bool):
            raise Refused("invalid", f"`{name}` is true or false.")
        return value

    def optional_text(self, name: str) -> str | None:
        value = self.header.get(name)
        if value is not None and (not isinstance(value, str) or "\0" in value or not _encodable(value)):
            raise Refused("invalid", f"`{name}` is a text without NUL.")
        return value

    def texts(self, name: str) -> list[str]:
        value = self.header.get(name) or []
        usable = isinstance(value, list) and len(value) <= MAX_ARGUMENTS
        if not usable or not all(isinstance(v, str) and "\0" not in v and _encodable(v) for v in value):
            raise Refused("invalid", f"`{name}` is a list of at most {MAX_ARGUMENTS} texts without NUL.")
        return list(value)

    def environment(self) -> dict[str, str]:
        value = self.header.get("env") or {}
        if not isinstance(value, dict) or not all(
            k and "=" not in k and isinstance(v, str) and "\0" not in k + v and _encodable(k + v)
            for k, v in value.items()
        ):
            raise Refused("invalid", "`env` is an object of texts, with names that an environment can have.")
        return dict(value)

    def meta(self) -> dict[str, Any] | None:
        value = self.header.get("meta")
        if value is None:
            return None
        if not isinstance(value, dict):
            raise Refused("invalid", "`meta` is an object.")
        return _bounded(value)


def _bounded(meta: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(meta)) > MAX_META:
        raise Refused("invalid", f"`meta` is an object of at most {MAX_META} bytes as JSON.")
    return meta


def _encodable(text: str) -> bool:
    """JSON can spell half a surrogate pair, which no program's argument can be."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True
