"""Input on its way to the keeper, and who is attached. Without a keeper."""

from __future__ import annotations

import asyncio
import functools
import random
from typing import Any

import pytest

from persistent_terminal_hub.keeper.channel import KeeperError, KeeperGone, Reply
from persistent_terminal_hub.keeper.inputs import InputQueue, Verdict
from persistent_terminal_hub.server.attachments import Attachments
from persistent_terminal_hub.server.keeper_input import InputLine, SessionOver


class Keeper:
    """The real queue behind a connection that delays, refuses and breaks."""

    def __init__(self) -> None:
        self.queue = InputQueue(limit=30)
        self.written = b""
        self.connected = True
        self.on_way: list[tuple[InputLine, int, bytes]] = []

    def send(self, line: InputLine, seq: int, data: bytes) -> bool:
        if self.connected:
            self.on_way.append((line, seq, data))
        return self.connected

    def serve(self, most: int) -> None:
        for line, seq, data in [self.on_way.pop(0) for _ in range(min(most, len(self.on_way)))]:
            verdict = self.queue.offer("c", seq, data)
            ack = self.queue.last("c")
            if verdict in (Verdict.ACCEPTED, Verdict.DUPLICATE):
                line.accepted(ack)
            else:
                line.refused(KeeperError({"error": verdict.value, "message": "no", "ack": ack}), seq)

    def write(self) -> None:
        while (piece := self.queue.head()) is not None:
            self.written += bytes(piece)
            self.queue.written(len(piece))

    def cut(self, served: int) -> None:
        """The connection breaks; the keeper has taken some of what was sent, and nobody hears of it."""
        for _, seq, data in self.on_way:
            if served > 0:
                self.queue.offer("c", seq, data)
            served -= 1
        self.on_way.clear()


@pytest.mark.parametrize("seed", range(40))
def test_input_arrives_once_and_in_order_whatever_happens(seed: int) -> None:
    dice, keeper = random.Random(seed), Keeper()
    line = InputLine(keeper.send, "s", "c")
    messages = [bytes(dice.choices(b"abcdefgh", k=dice.randint(1, 20))) for _ in range(60)]
    answers: list[list[int | Exception]] = []
    for _ in range(4000):
        action = dice.random()
        if action < 0.3 and len(answers) < len(messages):
            answers.append([])
            line.put(len(answers), messages[len(answers) - 1], answers[-1].append)
        elif action < 0.7:
            keeper.serve(dice.randint(1, 4))
        elif action < 0.9:
            full = keeper.queue.waiting > 0
            keeper.write()
            if full:
                line.resend()  # `input_ready`
        elif action < 0.95:
            keeper.connected = False
            keeper.cut(dice.randint(0, 5))
        else:
            keeper.connected = True
            line.resend()
        if len(answers) == len(messages) and all(answers):
            break
    keeper.write()
    assert keeper.written == b"".join(messages)
    for number, told in enumerate(answers, 1):
        (ack,) = told
        assert isinstance(ack, int) and ack >= number
    assert line.idle


def test_the_end_of_the_session_and_what_can_never_be_taken() -> None:
    keeper = Keeper()
    line = InputLine(keeper.send, "s", "c")
    told: dict[int, int | Exception] = {}
    for seq, data in enumerate((b"x" * 100, b"y"), 1):
        line.put(seq, data, functools.partial(told.__setitem__, seq))
    keeper.serve(2)
    assert isinstance(told[1], KeeperError) and 2 in told
    line.put(3, b"z", functools.partial(told.__setitem__, 3))
    line.fail(SessionOver("over"))
    assert isinstance(told[3], SessionOver)
    skipped = InputLine(keeper.send, "s", "c")
    skipped.put(9, b"", functools.partial(told.__setitem__, 9))
    keeper.serve(9)
    assert isinstance(told[9], KeeperError)


async def test_an_older_keeper_answers_each_message() -> None:
    sent: list[asyncio.Future[Any]] = []

    def send(line: InputLine, seq: int, _data: bytes) -> bool:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: line.answered(done, seq))
        sent.append(future)
        return True

    line, told = InputLine(send, "s", "c"), []  # type: ignore[var-annotated]
    for seq in (1, 2, 3):
        line.put(seq, b"x", told.append)
    sent[0].set_result(Reply({"ack": 1}, b"", ()))
    sent[1].set_exception(KeeperGone("gone"))
    sent[2].cancel()
    await asyncio.sleep(0)
    assert told == [1] and not line.idle
    line.resend()
    sent[3].set_exception(KeeperError({"error": "ended", "message": "It ended."}))
    await asyncio.sleep(0)
    assert len(told) == 3 and all(isinstance(error, SessionOver) for error in told[1:])


class Host:
    def __init__(self) -> None:
        self.responder = False

    def set_responder(self, responder: bool) -> None:
        self.responder = responder


def test_one_size_and_one_who_answers() -> None:
    sizes: list[tuple[int, int]] = []
    unattended: list[bool] = []
    all_of_them = Attachments(lambda c, r: sizes.append((c, r)), unattended.append)
    all_of_them.size_is(80, 24)
    stock, page, watcher = Host(), Host(), Host()
    all_of_them.join("stock", stock, rows=24, cols=80, visible=False)
    assert stock.responder and sizes == [] and unattended == [False]
    all_of_them.join("watcher", watcher, rows=9, cols=9, writes=False)
    all_of_them.join("page", page, rows=40, cols=120)
    assert page.responder and not stock.responder and sizes == [(120, 40)]
    all_of_them.resize("stock", 30, 100)
    all_of_them.visible("stock", True)
    all_of_them.active("stock")
    assert stock.responder and not page.responder and sizes[-1] == (100, 30)
    # The same client on another socket: the old one's end changes nothing.
    again = Host()
    all_of_them.join("stock", again, rows=30, cols=100, resumed=True)
    all_of_them.leave("stock", stock)
    assert again.responder and len(all_of_them) == 3
    all_of_them.leave("stock", again)
    assert page.responder and sizes[-1] == (120, 40)
    all_of_them.leave("page", page)
    assert unattended == [False, True] and not watcher.responder
