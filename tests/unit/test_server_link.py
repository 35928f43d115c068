"""Input on its way to the keeper, and who is attached. Without a keeper."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from persistent_terminal_hub.keeper.client import KeeperError, KeeperGone
from persistent_terminal_hub.keeper.inputs import InputQueue, Verdict
from persistent_terminal_hub.server.attachments import Attachments
from persistent_terminal_hub.server.keeper_input import InputLine, SessionOver


class Reply:
    def __init__(self, ack: int) -> None:
        self.header = {"ack": ack}


class Keeper:
    """The real queue behind a connection that delays, refuses and breaks."""

    def __init__(self) -> None:
        self.queue = InputQueue(limit=30)
        self.written = b""
        self.connected = True
        self.on_way: list[tuple[int, bytes, asyncio.Future[Any]]] = []

    def send(self, _session: str, client: str, seq: int, data: bytes) -> asyncio.Future[Any] | None:
        if not self.connected:
            return None
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.on_way.append((seq, data, future))
        return future

    def serve(self, most: int) -> None:
        for seq, data, future in [self.on_way.pop(0) for _ in range(min(most, len(self.on_way)))]:
            verdict = self.queue.offer("c", seq, data)
            ack = self.queue.last("c")
            if verdict in (Verdict.ACCEPTED, Verdict.DUPLICATE):
                future.set_result(Reply(ack))
            else:
                future.set_exception(KeeperError({"error": verdict.value, "message": "no", "ack": ack}))

    def write(self) -> None:
        while (piece := self.queue.head()) is not None:
            self.written += bytes(piece)
            self.queue.written(len(piece))

    def cut(self, served: int) -> None:
        """The connection breaks; the keeper has taken some of what was sent, and nobody hears of it."""
        for seq, data, future in self.on_way:
            if served > 0:
                self.queue.offer("c", seq, data)
            served -= 1
            future.set_exception(KeeperGone("gone"))
        self.on_way.clear()


@pytest.mark.parametrize("seed", range(40))
async def test_input_arrives_once_and_in_order_whatever_happens(seed: int) -> None:
    dice, keeper = random.Random(seed), Keeper()
    line = InputLine(keeper.send, "s", "c")
    messages = [bytes(dice.choices(b"abcdefgh", k=dice.randint(1, 20))) for _ in range(60)]
    futures: list[asyncio.Future[int]] = []
    for _ in range(4000):
        action = dice.random()
        if action < 0.3 and len(futures) < len(messages):
            futures.append(line.put(len(futures) + 1, messages[len(futures)]))
        elif action < 0.7:
            keeper.serve(dice.randint(1, 4))
        elif action < 0.9:
            full = keeper.queue.waiting > 0
            keeper.write()
            if full:
                await asyncio.sleep(0)
                line.resend()  # `input_ready`
        elif action < 0.95:
            keeper.connected = False
            keeper.cut(dice.randint(0, 5))
        else:
            keeper.connected = True
            line.resend()
        await asyncio.sleep(0)
        if len(futures) == len(messages) and all(f.done() for f in futures):
            break
    keeper.write()
    assert keeper.written == b"".join(messages)
    assert [f.result() >= number for number, f in enumerate(futures, 1)] == [True] * len(messages)
    assert line.idle


async def test_the_end_of_the_session_and_what_can_never_be_taken() -> None:
    keeper = Keeper()
    line = InputLine(keeper.send, "s", "c")
    large, after_it = line.put(1, b"x" * 100), line.put(2, b"y")
    keeper.serve(2)
    await asyncio.sleep(0)
    with pytest.raises(KeeperError):
        await large
    assert after_it.done()
    waiting = line.put(3, b"z")
    line.fail(SessionOver("over"))
    with pytest.raises(SessionOver):
        await waiting
    skipped = InputLine(keeper.send, "s", "c").put(9, b"")
    keeper.serve(9)
    await asyncio.sleep(0)
    with pytest.raises(KeeperError):
        await skipped


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
