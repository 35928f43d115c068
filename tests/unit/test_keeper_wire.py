"""Frames: whatever way they are cut, and whatever else arrives."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persistent_terminal_hub.keeper import wire

headers = st.fixed_dictionaries({"op": st.text(max_size=5)}, optional={"n": st.integers(-(2**53), 2**53)})


lines, numbers = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
messages_of_all_kinds = st.one_of(
    st.builds(wire.Frame, headers, st.binary(max_size=50)),
    st.builds(wire.Input, lines, numbers, st.binary(max_size=50)),
    st.builds(wire.Ack, lines, numbers),
)


def encoded(message: wire.Frame | wire.Input | wire.Ack) -> bytes:
    if isinstance(message, wire.Frame):
        return wire.encode(*message)
    return wire.encode_input(*message) if isinstance(message, wire.Input) else wire.encode_ack(*message)


@settings(max_examples=80)
@given(st.lists(messages_of_all_kinds, max_size=5), st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_frames_survive_any_cut(messages: list[wire.Frame | wire.Input | wire.Ack], cuts: list[int]) -> None:
    stream = b"".join(map(encoded, messages))
    decoder = wire.Decoder()
    got: list[wire.Frame | wire.Input | wire.Ack] = []
    for cut in itertools.cycle(cuts):
        if not stream:
            break
        decoder.feed(stream[:cut])
        got.extend(decoder.frames())
        stream = stream[cut:]
    assert got == messages and list(map(type, got)) == list(map(type, messages))
    assert decoder.buffered == 0


@settings(max_examples=150)
@given(st.binary(max_size=400), st.booleans())
def test_garbage_is_refused_or_waited_for_and_never_anything_else(garbage: bytes, framed: bool) -> None:
    decoder = wire.Decoder()
    decoder.feed(struct.pack(">II", len(garbage), 0) + garbage if framed else garbage)
    with contextlib.suppress(wire.WireError):
        for frame in decoder.frames():
            assert not isinstance(frame, wire.Frame) or isinstance(frame.header, dict)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">II", wire.MAX_HEADER + 1, 0),
        struct.pack(">II", 2, wire.MAX_PAYLOAD + 1),
        struct.pack(">II", 2, 0) + b"[]",
        struct.pack(">II", 2, 0) + b"\xff\xff",
        struct.pack(">II", 0, 0),
        struct.pack(">II", 200_000, 0) + b"[" * 200_000,
        struct.pack(">II", 13, 0) + b"\3" * 13,
        struct.pack(">II", 12, 0) + b"\1" * 12,
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_ours_is_refused_at_once(data: bytes) -> None:
    decoder = wire.Decoder()
    decoder.feed(data)
    with pytest.raises(wire.WireError):
        decoder.next()


def test_too_large_to_send() -> None:
    with pytest.raises(wire.WireError):
        wire.encode({}, b"x" * (wire.MAX_PAYLOAD + 1))
    with pytest.raises(wire.WireError):
        wire.encode_input(1, 1, b"x" * (wire.MAX_PAYLOAD + 1))
    with pytest.raises(wire.WireError):
        wire.encode({"text": "x" * wire.MAX_HEADER})


def test_half_a_surrogate_pair_does_not_break_the_encoder() -> None:
    assert wire.encode({"text": "\ud800"})


def test_long_socket_paths(tmp_path: Path) -> None:
    path = tmp_path / ("d" * 120) / "keeper.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        with wire.socket_address(path) as address:
            listener.bind(address)
        listener.listen()
        with wire.socket_address(path) as address:
            client.connect(address)
    assert path.is_socket()
