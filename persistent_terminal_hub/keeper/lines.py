"""Short names for who types into what, and the input that comes under them.

A keystroke named by texts costs more to take apart than to write. So `attach` answers with a number, good on
that connection until `detach`, and input may come as a few bytes with that number: see :class:`wire.Input`.
"""

from __future__ import annotations

from typing import NamedTuple

from persistent_terminal_hub.keeper import wire
from persistent_terminal_hub.keeper.inputs import Verdict
from persistent_terminal_hub.keeper.service import Connection
from persistent_terminal_hub.keeper.session import Session

MAX_SEQ = 2**53
# Longer input is a paste, whose sender waits for acknowledgements; shorter is typed, and nobody does.
TYPED_BYTES = 256

SENTENCES = {
    Verdict.GAP: "An earlier message of this client is missing; send that first.",
    Verdict.FULL: "The program does not read its input; send this again after `input_ready`.",
    Verdict.TOO_LARGE: "The message is too large; cut the input into smaller ones.",
}


class Line(NamedTuple):
    """One attached client of one connection."""

    connection: int
    session: Session
    client: str


class Lines:
    """All that are open."""

    def __init__(self) -> None:
        self._lines: dict[int, Line] = {}
        self._numbers: dict[Line, int] = {}
        self._count = 0

    def open(self, connection: int, session: Session, client: str) -> int:
        """The number of this client; the same while it is attached."""
        self._drop([line for line in self._numbers if line.session.exit is not None])
        line = Line(connection, session, client)
        number = self._numbers.get(line)
        if number is None:
            self._count += 1
            number = self._numbers[line] = self._count
            self._lines[number] = line
        return number

    def close(self, connection: int, session: Session, client: str) -> None:
        """The client is gone."""
        self._drop([Line(connection, session, client)])

    def forget(self, connection: int) -> None:
        """The connection is gone."""
        self._drop([line for line in self._numbers if line.connection == connection])

    def _drop(self, lines: list[Line]) -> None:
        for line in lines:
            number = self._numbers.pop(line, None)
            if number is not None:
                del self._lines[number]

    def serve(self, connection: Connection, message: wire.Input | wire.Ack) -> None:
        """Take input in, and acknowledge or refuse it."""
        if not connection.greeted or not isinstance(message, wire.Input):
            connection.fail("a short frame that a client may not send here")
            return
        number, seq, data = message
        line = self._lines.get(number)
        if line is None or line.connection != connection.number:
            _refuse(connection, message, "not_found", "Nobody is attached under that number.", 0)
            return
        _, session, client = line
        if session.exit is not None:
            sentence = f"Session {session.name!r} has ended."
            _refuse(connection, message, "ended", sentence, session.input.last(client))
            return
        if not 1 <= seq <= MAX_SEQ:
            sentence = f"`seq` is a whole number from 1 to {MAX_SEQ}."
            _refuse(connection, message, "invalid", sentence, session.input.last(client))
            return
        verdict = session.take_input(client, seq, data)
        ack = session.input.last(client)
        if verdict in SENTENCES:
            _refuse(connection, message, verdict.value, SENTENCES[verdict], ack)
        else:
            connection.acknowledge(number, ack, soon=len(data) > TYPED_BYTES)


def _refuse(connection: Connection, message: wire.Input, code: str, sentence: str, ack: int) -> None:
    refused = {"line": message.line, "seq": message.seq, "ok": False, "error": code}
    connection.send({**refused, "message": sentence, "ack": ack})
