"""Input, exactly once: whatever clients repeat, skip or interleave."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from persistent_terminal_hub.keeper import inputs
from persistent_terminal_hub.keeper.inputs import InputQueue, Verdict

CLIENTS = ["a", "b", "c"]
LIMIT = 40


class InputMachine(RuleBasedStateMachine):
    """Clients that send, lose answers and repeat; a terminal that takes what it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = InputQueue(LIMIT)
        self.accepted = b""
        self.written = b""
        self.last = dict.fromkeys(CLIENTS, 0)
        self.known: set[str] = set()

    @rule(client=st.sampled_from(CLIENTS), step=st.integers(-2, 3), size=st.integers(0, LIMIT + 5))
    def offer(self, client: str, step: int, size: int) -> None:
        seq = max(1, self.last[client] + step)
        data = bytes([ord(client)]) * size
        verdict = self.queue.offer(client, seq, data)
        if client in self.known and seq <= self.last[client]:
            assert verdict is Verdict.DUPLICATE
        elif client in self.known and seq > self.last[client] + 1:
            assert verdict is Verdict.GAP
        elif size > LIMIT:
            assert verdict is Verdict.TOO_LARGE
        elif len(self.accepted) - len(self.written) + size > LIMIT:
            assert verdict is Verdict.FULL
            self.known.add(client)
            self.last[client] = seq - 1
        else:
            assert verdict is Verdict.ACCEPTED
            self.known.add(client)
            self.last[client] = seq
            self.accepted += data

    @rule(share=st.floats(0, 1))
    def write(self, share: float) -> None:
        piece = self.queue.head()
        if piece is None:
            assert self.written == self.accepted
            return
        count = max(1, int(len(piece) * share))
        self.written += bytes(piece[:count])
        self.queue.written(count)

    @invariant()
    def consistent(self) -> None:
        assert self.accepted.startswith(self.written)
        assert self.queue.waiting == len(self.accepted) - len(self.written) <= LIMIT
        assert {c: self.queue.last(c) for c in CLIENTS} == self.last


TestInputMachine = InputMachine.TestCase
TestInputMachine.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


def test_a_first_message_that_is_refused_is_not_overtaken() -> None:
    queue = InputQueue(10)
    assert queue.offer("other", 1, b"12345678") is Verdict.ACCEPTED
    assert queue.offer("new", 5, b"first") is Verdict.FULL
    assert queue.offer("new", 6, b"x") is Verdict.GAP
    queue.written(8)
    assert queue.offer("new", 5, b"first") is Verdict.ACCEPTED
    assert queue.offer("new", 6, b"x") is Verdict.ACCEPTED


def test_memory_of_clients_is_bounded_and_the_busy_ones_stay() -> None:
    queue = InputQueue()
    queue.offer("typist", 1, b"x")
    for number in range(inputs.CLIENTS_REMEMBERED * 2):
        queue.offer(f"passer-by {number}", 1, b"")
        queue.offer("typist", number + 2, b"")
    assert queue.last("typist") == inputs.CLIENTS_REMEMBERED * 2 + 1
    assert queue.last("passer-by 0") == 0


def test_numbers_of_a_sparse_client_may_skip() -> None:
    queue = InputQueue()
    assert queue.offer("server", 100, b"a", sparse=True) is Verdict.ACCEPTED
    assert queue.offer("server", 250, b"b", sparse=True) is Verdict.ACCEPTED
    for seq in (100, 180, 250):
        assert queue.offer("server", seq, b"c", sparse=True) is Verdict.DUPLICATE
    assert queue.offer("server", 252, b"d") is Verdict.GAP
