"""`persistent-terminal-hub attach`: a session in the terminal that this runs in, or in a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import sys
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

from persistent_terminal_hub.protocol import client_events as ev
from persistent_terminal_hub.protocol.client_stream import ClientStream
from persistent_terminal_hub.protocol.messages import Error, Exit, Mode, Notice, Renamed

from . import errors, tty
from .api import SessionInfo, Workspace
from .connection import Connection, jitter
from .keys import DetachKey, Item, Keys
from .pipe import Pipe, name_lost
from .queries import Queries, plain_answer
from .status import ASK_POSITION, StatusLine

#: Exit status of this command's own failures, as with ssh; everything else is the session's.
FAILED: Final = 255
#: Seconds of an outage before a line says so; short ones only flicker.
QUIET: Final = 1.0
#: Seconds within which a terminal answers a question.
ANSWER_WITHIN: Final = 2.0
#: Input that waits for the session before more is read.
INPUT_AHEAD: Final = 256 * 1024
#: Seconds that the last output and input may take when leaving.
LEAVE_WITHIN: Final = 2.0

AtEof = Literal["wait", "detach", "send"]


@dataclass(frozen=True, slots=True)
class Options:
    """What the person asked for."""

    detach_key: DetachKey | None
    mode: Mode = "rw"
    at_eof: AtEof = "wait"
    quiet: bool = False


class Terminal:
    """One attach, from the first connection to the last byte."""

    def __init__(self, workspace: Workspace, session: SessionInfo, options: Options) -> None:
        self._workspace = workspace
        self._session = session
        self._name = session.name
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._in, self._out = 0, 1
        self._tty_in, self._tty_out = sys.stdin.isatty(), sys.stdout.isatty()
        self._both = self._tty_in and self._tty_out
        self._size = tty.size_of(self._out if self._tty_out else self._in)
        self._stream = ClientStream(
            secrets.token_hex(16), rows=self._size[0], cols=self._size[1], random=jitter,
            mode=options.mode, visible=self._tty_in,
        )  # fmt: skip
        url = workspace.socket_url(session.id)
        self._connection = Connection(
            url, workspace.place, self._stream, self._handle, self._room, tls=workspace.tls
        )
        self._raw = tty.RawMode(self._in) if self._tty_in else None
        self._writer = tty.Writer(self._out, lambda: self._finish(128 + signal.SIGHUP))
        self._reader = tty.Reader(self._in, self._typed)
        self._keys = Keys(options.detach_key if self._tty_in else None)
        self._queries = Queries()
        self._pipe = None if self._tty_out else Pipe(self._into_pipe, self._fetch, self._parsed, name_lost)
        self._epoch = ""
        self._asked: deque[tuple[int, int]] = deque(maxlen=64)  # (offset, generation) of questions shown
        self._expect_until = 0.0
        self._line = StatusLine()
        self._cursor_row: int | None = None
        self._cursor_asked = False
        self._outage: asyncio.TimerHandle | None = None
        self._result: asyncio.Future[int] = self._loop.create_future()
        self._exit: Exit | None = None
        self._notes: list[str] = []
        self._started = self._cleared = self._detached = self._eof = False

    async def run(self) -> int:
        """Attach until the session ends or the person leaves; the exit status."""
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            self._loop.add_signal_handler(number, self._finish, 128 + number)
        self._loop.add_signal_handler(signal.SIGWINCH, self._resized)
        self._loop.add_signal_handler(signal.SIGCONT, self._continued)
        try:
            if self._raw is not None:
                self._raw.enter()
            if self._tty_out:
                self._writer.write(tty.PUSH_TITLE + tty.title(self._title()))
            self._connection.start()
            self._started = True
            self._reader.resume()
            code = await self._result
            await self._last_input()
        finally:
            await self._leave()
        if self._stream.state.name == "ended" and self._exit is None:
            self._exit = await self._workspace.exit_of(self._session.id)
            code = exit_status(self._exit)
        self._say_goodbye(code)
        return code

    # What the machine says --------------------------------------------------------------------------

    def _handle(self, event: ev.Event) -> None:
        if self._pipe is not None and self._pipe.take(event):
            return
        if isinstance(event, ev.Output):
            self._show(event)
        elif isinstance(event, ev.KeyframePart):
            data = self._queries.filter(event.data, False)
            self._writer.write(
                data, (lambda: self._parsed(event.offset, event.generation)) if event.last else None
            )
        elif isinstance(event, ev.ClearScreen):
            self._clear()
        elif isinstance(event, ev.StateChanged):
            self._state(event.state)
        elif isinstance(event, ev.InputDropped):
            why = {"read_only": "you only watch", "full": "too much was waiting"}.get(
                event.reason, event.reason
            )
            self._note(f"{event.size} bytes that were typed were not delivered ({why}).")
        elif isinstance(event, ev.Ended):
            self._exit = event.exit
        elif isinstance(event, ev.Told):
            if isinstance(event.message, Notice | Error):
                self._note(event.message.message)
            elif isinstance(event.message, Renamed):
                self._name = event.message.name
                self._retitle()

    def _room(self) -> None:
        """Read on when the session takes input again."""
        if self._stream.input.kept < INPUT_AHEAD and not self._result.done() and self._started:
            self._reader.resume()

    def _into_pipe(self, data: bytes, event: ev.Output | None) -> None:
        if event is None:
            self._writer.write(self._queries.filter(data, False))
        else:
            self._show(event, data)

    def _fetch(self, start: int, stop: int) -> None:
        self._connection.do(self._stream.fetch(start, stop))

    def _show(self, event: ev.Output, rest: bytes | None = None) -> None:
        """Write it; of an Output that overlaps with what was written only the rest."""
        mine = self._stream.may_answer(event.offset, event.generation)
        data = self._queries.filter(event.data if rest is None else rest, mine and self._both)
        if mine and self._both:
            if self._queries.questions:
                self._asked.append((event.offset, event.generation))
                self._expect_until = self._connection.now + ANSWER_WITHIN
        elif mine:
            # No terminal is there to answer, but a program that waits for one must go on.
            for question in self._queries.questions:
                if answer := plain_answer(question):
                    self._connection.do(self._stream.answer(answer, event.offset, event.generation))
        stop = event.offset + len(event.data)
        self._writer.write(data, lambda: self._parsed(stop, event.generation))

    def _parsed(self, offset: int, generation: int) -> None:
        if not self._result.done():
            self._connection.do(self._stream.parsed(offset, generation, self._connection.now))

    def _clear(self) -> None:
        if self._pipe is not None:
            if self._epoch != self._stream.epoch:
                self._pipe.restart()
                self._queries = Queries()
            self._epoch = self._stream.epoch
            return
        alternate, self._queries = self._queries.alternate, Queries()
        self._asked.clear()
        out = (tty.LEAVE_ALTERNATE if alternate else b"") + tty.MODES_OFF
        if self._cleared:
            # What follows brings its own history: what is above the screen would be there twice.
            out += tty.CLEAR + tty.CLEAR_HISTORY
        else:
            rows = self._size[0]
            out += b"\x1b[%d;1H" % rows + b"\n" * rows + tty.CLEAR
        self._cleared = True
        self._writer.write(out)

    def _state(self, state: ev.State) -> None:
        if self._pipe is not None:
            if state.name == "live":
                self._pipe.live()
            else:
                self._pipe.line_lost()
        if state.name == "live":
            self._back()
        elif state.name in ("reconnecting", "locked") or (state.name == "connecting" and state.code):
            self._away()
        elif state.name == "ended":
            self._finish(exit_status(self._exit))
        elif state.name == "refused":
            error = errors.of_close(state.code, state.message)
            self._note(str(error))
            self._finish(FAILED)

    # Away and back ----------------------------------------------------------------------------------

    def _away(self) -> None:
        if self._outage is not None:
            self._outage.cancel()
        self._cursor_row, self._cursor_asked = None, False
        if self._tty_out:
            if not self._queries.inside:
                self._writer.write(tty.title(self._title(self._away_text())))
            self._outage = self._loop.call_later(QUIET, self._draw)
        else:
            self._note(self._away_text())

    def _draw(self) -> None:
        """Once a second while away."""
        self._outage = self._loop.call_later(1.0, self._draw)
        if self._queries.inside:
            return
        if self._both and not self._cursor_asked:
            self._cursor_asked = True
            self._expect_until = self._connection.now + ANSWER_WITHIN
            self._writer.write(ASK_POSITION)
            self._outage.cancel()
            self._outage = self._loop.call_later(0.2, self._draw)
            return
        over = self._queries.alternate or self._queries.region
        drawn = self._line.draw(self._away_text(), *self._size, cursor_row=self._cursor_row, over=over)
        if drawn:
            self._writer.write(drawn)

    def _back(self) -> None:
        if self._outage is not None:
            self._outage.cancel()
            self._outage = None
            if not self._tty_out:
                self._note("Connected again.")
        out, redraw = self._line.erase()
        if out:
            self._writer.write(out)
        if redraw:
            self._redraw()
        self._retitle()

    def _redraw(self) -> None:
        """A change of size makes full-screen programs draw everything."""
        rows, cols = self._size
        self._connection.do(self._stream.resize(rows - 1 if rows > 2 else rows + 1, cols))
        self._loop.call_later(0.1, lambda: self._connection.do(self._stream.resize(*self._size)))

    def _away_text(self) -> str:
        state = self._stream.state
        leave = (
            f" {self._options.detach_key.name} detaches." if self._options.detach_key and self._tty_in else ""
        )
        if state.name == "locked":
            return f" {state.message or 'The workspace is locked.'} Unlock it in the browser.{leave} "
        seconds = int(self._connection.now - state.since)
        for_ = f" for {seconds} s" if seconds >= 2 and self._tty_out else ""
        kept = " What you type is kept." if self._options.mode == "rw" else ""
        return f" No connection{for_}; trying again.{kept}{leave} "

    # What the person does ---------------------------------------------------------------------------

    def _typed(self, data: bytes) -> None:
        if not data:
            self._end_of_input()
            return
        if not self._tty_in:
            self._type(data)
            return
        expecting = self._connection.now < self._expect_until
        self._items(self._keys.feed(data, expecting=expecting))
        if self._keys.holding:
            self._loop.call_later(0.1, lambda: self._items(self._keys.flush()))

    def _items(self, items: list[Item]) -> None:
        for item in items:
            if item.kind == "detach":
                self._detached = True
                self._finish(0)
                return
            if item.kind == "keys":
                self._type(item.data)
            elif item.kind == "position" and self._cursor_asked and self._stream.state.name != "live":
                with contextlib.suppress(ValueError):
                    self._cursor_row = int(item.data[2:].lstrip(b"?").split(b";")[0])
            elif self._asked:
                self._connection.do(self._stream.answer(item.data, *self._asked[-1]))

    def _type(self, data: bytes) -> None:
        if self._result.done():
            return
        self._connection.do(self._stream.type(data))
        if self._stream.input.kept >= INPUT_AHEAD and not self._tty_in:
            self._reader.pause()

    def _end_of_input(self) -> None:
        self._eof = True
        if self._tty_in:  # the terminal is gone
            self._finish(128 + signal.SIGHUP)
        elif self._options.at_eof == "send":
            self._type(b"\x04")
        elif self._options.at_eof == "detach":
            self._detached = True
            self._finish(0)

    def _resized(self) -> None:
        self._size = tty.size_of(self._out if self._tty_out else self._in)
        self._connection.do(self._stream.resize(*self._size))

    def _continued(self) -> None:
        """After a stop (SIGSTOP, a debugger): somebody else had the terminal."""
        if self._raw is not None and not self._result.done():
            self._raw.enter()
            self._resized()
            if self._stream.state.name == "live":
                self._connection.do(self._stream.nudge(self._connection.now))
                self._redraw()

    # Leaving ----------------------------------------------------------------------------------------

    def _finish(self, code: int) -> None:
        if not self._result.done():
            self._result.set_result(code)
        self._reader.pause()

    async def _last_input(self) -> None:
        """What was typed before leaving arrives, if the line is there; from a pipe, whenever it is there."""
        until = self._loop.time() + LEAVE_WITHIN
        while self._stream.input.kept and self._stream.state.name not in ("ended", "refused"):
            patient = self._eof and not self._tty_in and self._detached
            if not patient and (self._loop.time() > until or self._stream.state.name != "live"):
                if self._detached:
                    self._note(f"{self._stream.input.kept} bytes that were typed were not delivered.")
                return
            await asyncio.sleep(0.01)

    async def _leave(self) -> None:
        """Nothing of ours stays: the connection, the screen, the modes of the terminal."""
        if self._outage is not None:
            self._outage.cancel()
        with contextlib.suppress(Exception):
            await self._connection.stop()
        if self._tty_out:
            out = self._line.erase()[0] + (b"" if self._queries.inside else self._queries.flush())
            out += tty.LEAVE_ALTERNATE if self._queries.alternate else b""
            if self._cleared:
                out += tty.MODES_OFF + b"\x1b[999;1H\r\n"
            self._writer.write(out + tty.POP_TITLE)
        else:
            if self._pipe is not None:
                self._pipe.give_up()
            self._writer.write(self._queries.flush())
        done = await asyncio.to_thread(self._writer.close, LEAVE_WITHIN if self._tty_out else 3600)
        if self._raw is not None:
            self._raw.leave(forget_input=self._connection.now < self._expect_until or not done)

    def _say_goodbye(self, code: int) -> None:
        if self._tty_out:
            for note in dict.fromkeys(self._notes):
                self._say(note)
        if self._detached:
            self._say(f"Detached; the session {self._name} goes on.")
        elif self._exit is not None and (self._tty_out or code):
            self._say(f"The session {self._name} has ended ({errors.describe_exit(self._exit)}).")

    def _note(self, text: str) -> None:
        """Something that a person should know: at once where no screen is in the way, else at the end."""
        if self._tty_out:
            self._notes = [*self._notes[-9:], text]
        else:
            self._say(text)

    def _say(self, text: str) -> None:
        if not self._options.quiet:
            with contextlib.suppress(OSError, ValueError):
                print(f"[{text.strip()}]", file=sys.stderr, flush=True)

    def _title(self, more: str = "") -> str:
        if not more and self._tty_in and self._options.detach_key:
            more = f"{self._options.detach_key.name} detaches"
        where = f"{self._workspace.label}:" if self._workspace.label else ""
        return f"{where}{self._name} · {more.strip()}" if more else f"{where}{self._name}"

    def _retitle(self) -> None:
        """The program's own title again, or ours."""
        if self._tty_out and not self._queries.inside:
            own = self._queries.title
            self._writer.write(b"\x1b]2;" + own + b"\x1b\\" if own else tty.title(self._title()))


def exit_status(exit_: Exit | None) -> int:
    """The session's exit status as a shell would report it; a session without one failed."""
    if exit_ is None:
        return FAILED
    if exit_.code is not None:
        return exit_.code
    return 128 + exit_.signal if exit_.signal is not None else FAILED
