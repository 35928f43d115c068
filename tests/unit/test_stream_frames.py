"""WebSocket frames taken apart: whatever they are cut into, and whatever is sent instead of frames."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.protocol.codes import Code
from persistent_terminal_hub.server.pth_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MAX_BINARY_BYTES,
    MAX_TEXT_BYTES,
    PING,
    TEXT,
    BadFrame,
    Frame,
    FrameParser,
    server_header,
)


def frame(opcode: int, data: bytes, *, fin: bool = True, mask: bytes | None = None) -> bytes:
    """What a client sends."""
    mask = os.urandom(4) if mask is None else mask
    header = server_header(opcode, len(data))
    first = header[0] if fin else header[0] & 0x7F
    body = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
    return bytes([first, header[1] | 0x80]) + header[2:] + mask + body


messages = st.lists(
    st.tuples(st.sampled_from([TEXT, BINARY, PING]), st.binary(max_size=300)).map(
        lambda pair: (pair[0], pair[1][:125] if pair[0] == PING else pair[1])
    ),
    max_size=8,
)


@given(messages, st.lists(st.integers(0, 3000)), st.data())
def test_any_cut_gives_the_same_messages(
    wanted: list[tuple[int, bytes]], cuts: list[int], data: st.DataObject
) -> None:
    stream = b""
    for opcode, payload in wanted:
        if opcode != PING and len(payload) > 1 and data.draw(st.booleans()):  # in fragments, a ping between
            middle = len(payload) // 2
            stream += frame(opcode, payload[:middle], fin=False) + frame(PING, b"p")
            stream += frame(CONTINUATION, payload[middle:])
        else:
            stream += frame(opcode, payload)
    parser, got = FrameParser(), []
    ends = sorted({min(cut, len(stream)) for cut in cuts} | {len(stream)})
    for start, stop in zip([0, *ends], ends, strict=False):
        got += parser.feed(stream[start:stop])
    assert [f for f in got if f != Frame(PING, b"p")] == [
        Frame(*pair) for pair in wanted if pair != (PING, b"p")
    ]


@given(st.binary(max_size=400), st.integers(1, 50))
def test_garbage_is_refused_or_waits_for_more(data: bytes, step: int) -> None:
    parser = FrameParser()
    try:
        for at in range(0, len(data), step):
            parser.feed(data[at : at + step])
    except BadFrame as error:
        assert error.close_code in (1002, Code.TOO_LARGE)


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"\x82\x05hello", 1002),  # not masked
        (b"\xc2\x80\0\0\0\0", 1002),  # compressed, which was not agreed on
        (b"\x83\x80\0\0\0\0", 1002),  # an unknown kind
        (b"\x80\x80\0\0\0\0", 1002),  # a fragment of nothing
        (b"\x89\xfe\0\x80", 1002),  # a ping that is too long
        (b"\x09\x80\0\0\0\0", 1002),  # a ping in fragments
        (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),  # a message inside another
        (b"\x82\xff" + struct.pack(">Q", MAX_BINARY_BYTES + 1), Code.TOO_LARGE),
        (b"\x81\xff" + struct.pack(">Q", MAX_TEXT_BYTES + 1), Code.TOO_LARGE),
        (b"\x82\xff" + b"\xff" * 8, Code.TOO_LARGE),
    ],
    ids=range(10),  # a mask is random, and processes that share the tests must call them the same
)
def test_refused(bad: bytes, code: int) -> None:
    with pytest.raises(BadFrame) as caught:
        FrameParser().feed(bad)
    assert caught.value.close_code == code


def test_the_largest_frames_pass_and_fragments_count_together() -> None:
    assert len(FrameParser().feed(frame(BINARY, b"x" * MAX_BINARY_BYTES, mask=b"abcd"))[0].data) > 65536
    parser = FrameParser()
    parser.feed(frame(BINARY, b"x" * MAX_BINARY_BYTES, fin=False, mask=b"\0" * 4))
    with pytest.raises(BadFrame):
        parser.feed(frame(CONTINUATION, b"y"))
    assert FrameParser().feed(frame(CLOSE, b"\x03\xe8bye")) == [Frame(CLOSE, b"\x03\xe8bye")]
