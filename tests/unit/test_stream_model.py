"""Both stream machines against everything a network, a server and a person can do to them."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persistent_terminal_hub.protocol.codes import Limits
from tests.unit.stream_sim import QUERY, SMALL, Client, Host, Keeper, World

PATIENT = replace(SMALL, lag_min=10**9)  # nobody is moved ahead for lagging
ALPHABET = bytes(range(32, 127)) + b"\x1b\xff\x00\n" + bytes([QUERY])


class Case:
    """A keeper, a server and some clients, and a script of disturbances drawn from a seed."""

    def __init__(
        self,
        seed: int,
        *,
        capacity: int = 1000,
        clients: int = 1,
        watch: bool = False,
        limits: Limits = SMALL,
    ) -> None:
        self.world = World(seed)
        self.random = Random(seed ^ 0x5EED)
        self.keeper = Keeper(self.world, capacity)
        self.host = Host(self.world, self.keeper, limits)
        self.clients = [
            Client(self.world, self.host, n + 1, "watch" if watch and n else "rw") for n in range(clients)
        ]
        self.count = 0

    def print(self, size: int) -> None:
        self.keeper.append(bytes(self.random.choices(ALPHABET, k=size)))
        self.host.wake()

    def type(self, client: Client, size: int = 1) -> None:
        if client.stream.mode != "rw":
            return
        tokens = []
        for _ in range(size):
            self.count += 1
            tokens.append(b"%03x;" % self.count)  # never cut by a frame of 16 bytes
        client.type(b"".join(tokens))

    def cut(self, client: Client, silent: bool) -> None:
        if client.line is not None:
            client.line.cut(silent)

    def disturb(self, ops: str) -> None:
        """One random thing out of `ops`."""
        random = self.random
        client = random.choice(self.clients)
        op = random.choice(ops)
        if op == "p":
            self.print(random.randrange(1, 200))
        elif op == "t":
            self.type(client, random.choice((1, 1, 1, 2, 12)))
        elif op == "c":
            self.cut(client, silent=random.random() < 0.3)
        elif op == "k":
            if self.host.up:
                self.host.kill()
                self.world.after(random.random() * 4, self.host.start)
        elif op == "r":
            client.do(client.stream.resize(random.choice((24, 30)), random.choice((80, 80, 100))))
        elif op == "v":
            client.do(client.stream.set_visible(random.random() < 0.5))
        elif op == "f":
            client.do(client.stream.focus())
        elif op == "s":
            client.stalled_until = self.world.now + random.random() * 3
        elif op == "S" and client.line is not None:
            client.line.stalled_until = self.world.now + random.random() * 3
        elif op == "e":
            self.keeper.restart()
            self.host.wake()
        elif op == "n":
            client.do(client.stream.nudge(self.world.now))
        elif op == "g" and client.skipped and client.stream.state.name == "live":
            client.do(client.stream.fetch(*random.choice(client.skipped)))

    def run(self, ops: str, steps: int) -> None:
        for client in self.clients:
            self.world.after(self.random.random(), client.start)
        for _ in range(steps):
            pause = self.random.choice((0.0, 0.005, 0.05, 0.3, 2.0))
            self.world.run(self.world.now + pause * self.random.random())
            self.disturb(ops)

    def finish(self) -> None:
        """No more disturbances: within a minute and a half all must be well."""
        end = self.world.now + 90
        self.host.start()
        self.world.run(self.world.now + 1)  # news of a cut takes a moment
        while self.world.now < end and not all(client.settled() for client in self.clients):
            self.world.run(self.world.now + 0.5)
        for client in self.clients:
            client.finish()
        answers = [answer for client in self.clients for answer in client.answers]
        assert len(set(answers)) == len(answers), "a query was answered twice"


EVERYTHING = "pppppttttcckrvfsSeng"
GENTLE = "pppptttcnf"  # nothing here may cost a byte that the journal holds


def run_case(
    seed: int,
    ops: str,
    capacity: int,
    clients: int,
    watch: bool,
    lossy_keyframes: bool,
    limits: Limits = SMALL,
) -> Case:
    case = Case(seed, capacity=capacity, clients=clients, watch=watch, limits=limits)
    if lossy_keyframes:
        case.host.keyframe_fails = 0.5
        case.host.keyframe_lag = capacity * 2
    for client in case.clients:
        client.latency = case.random.choice((0.001, 0.05, 0.4))
        client.parse_time = case.random.choice((0.0001, 0.01, 0.05))
    case.run(ops, steps=case.random.randrange(5, 60))
    case.finish()
    return case


@pytest.mark.parametrize("block", range(10))
def test_everything_at_random(block: int) -> None:
    for seed in range(block * 200, block * 200 + 200):
        draw = Random(seed)
        try:
            run_case(
                seed, EVERYTHING, draw.choice((150, 400, 1000, 5000)), draw.choice((1, 1, 2, 3)),
                draw.random() < 0.3, draw.random() < 0.3,
            )  # fmt: skip
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


@pytest.mark.parametrize("block", range(4))
def test_cuts_alone_cost_nothing(block: int) -> None:
    """With a journal that holds everything, cuts and kills lose no byte, redraw nothing, resend nothing."""
    for seed in range(block * 200, block * 200 + 200):
        draw = Random(seed)
        case = run_case(seed, GENTLE + "k", 10**6, draw.choice((1, 2)), False, False, PATIENT)
        for client in case.clients:
            assert set(client.resets) <= {"fresh"}, seed  # twice when a keyframe was cut
            assert not client.skipped and not client.dropped, seed


def scripted(cut: tuple[int, int] | None, second: tuple[int, int] | None = None) -> Case:
    """A short session: output, typing, a paste, queries, a new size; connections are cut at a byte."""
    case = Case(7, capacity=10**6, limits=PATIENT)
    client = case.clients[0]
    client.cuts = [cut, second]
    world, start = case.world, case.world.now
    client.start()
    world.at(start + 0.3, lambda: case.print(90))
    world.at(start + 0.4, lambda: case.type(client))
    world.at(start + 0.5, lambda: case.print(30))
    world.at(start + 0.5, lambda: case.type(client, 9))
    world.at(start + 0.6, lambda: client.do(client.stream.resize(30, 80)))
    world.at(start + 0.8, lambda: case.print(130))
    world.at(start + 0.9, lambda: case.type(client))
    world.run(start + 2)
    case.finish()
    return case


@pytest.mark.parametrize("direction", [0, 1])
def test_a_cut_at_every_byte(direction: int) -> None:
    whole = scripted(None)
    line = whole.clients[0].line
    assert line is not None
    total = line.sent[direction]
    assert total > 500
    for byte in range(total + 1):
        case = scripted((direction, byte))
        client = case.clients[0]
        assert not client.skipped and not client.dropped, byte
        assert set(client.resets) == {"fresh"}, byte


def test_two_cuts() -> None:
    random = Random(2)
    for _ in range(600):
        case = scripted(
            (random.randrange(2), random.randrange(900)), (random.randrange(2), random.randrange(600))
        )
        assert not case.clients[0].skipped and not case.clients[0].dropped


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    seed=st.integers(0, 2**16),
    ops=st.lists(
        st.tuples(st.sampled_from(EVERYTHING), st.sampled_from((0.0, 0.01, 0.2, 1.0, 6.0))), max_size=25
    ),
    capacity=st.sampled_from((100, 300, 10**5)),
    clients=st.integers(1, 3),
)
def test_scripts_that_hypothesis_can_shrink(
    seed: int, ops: list[tuple[str, float]], capacity: int, clients: int
) -> None:
    case = Case(seed, capacity=capacity, clients=clients)
    for client in case.clients:
        client.start()
    for op, pause in ops:
        case.disturb(op)
        case.world.run(case.world.now + pause)
    case.finish()
