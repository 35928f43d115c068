"""The vectors that every client of pth.v1 must pass, run against the Python one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from persistent_terminal_hub.protocol.codes import MAX_CONTROL, MAX_INPUT, MAX_OUTPUT, Code, ProtocolError
from persistent_terminal_hub.protocol.frames import (
    Kind,
    decode_input,
    decode_output,
    encode_input,
    encode_output,
)
from persistent_terminal_hub.protocol.messages import decode_client, decode_server, encode

VECTORS = Path(__file__).parents[1] / "vectors"
sys.path.insert(0, str(VECTORS))

from machine import call, make  # noqa: E402

MESSAGES: Any = json.loads((VECTORS / "pth.v1/messages.json").read_text())
FRAMES: Any = json.loads((VECTORS / "pth.v1/frames.json").read_text())
DECODE = {"client": decode_client, "server": decode_server}


@pytest.mark.parametrize("vector", MESSAGES["accept"], ids=lambda v: v["message"]["type"])
def test_message(vector: dict[str, Any]) -> None:
    message = DECODE[vector["from"]](vector["text"])
    assert json.loads(encode(message)) == {
        **({"hint": ""} if message.type == "error" else {}),
        **vector["message"],
    }
    assert DECODE[vector["from"]](encode(message)) == message


@pytest.mark.parametrize("vector", MESSAGES["reject"], ids=lambda v: v["note"])
def test_message_rejected(vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        DECODE[vector["from"]](vector["text"])
    assert caught.value.code == vector["code"]


def test_frames() -> None:
    for vector in FRAMES["output"]:
        frame, data = bytes.fromhex(vector["hex"]), bytes.fromhex(vector["data"])
        assert decode_output(frame) == (vector["kind"], vector["position"], data)
        assert encode_output(Kind(vector["kind"]), vector["position"], data) == frame
    for vector in FRAMES["input"]:
        frame, data = bytes.fromhex(vector["hex"]), bytes.fromhex(vector["data"])
        assert decode_input(frame) == (vector["seq"], data)
        assert encode_input(vector["seq"], data) == frame


def test_frames_rejected() -> None:
    for decode, key in ((decode_output, "output_reject"), (decode_input, "input_reject")):
        for vector in FRAMES[key]:
            with pytest.raises(ProtocolError) as caught:
                decode(bytes.fromhex(vector["hex"]))
            assert caught.value.code == vector["code"], vector


def test_too_large() -> None:
    for decode, frame in (
        (decode_client, " " * (MAX_CONTROL + 1)),
        (decode_server, " " * (MAX_CONTROL + 1)),
        (decode_input, encode_input(1, b"x" * (MAX_INPUT + 1))),
        (decode_output, encode_output(Kind.STREAM, 1, b"x" * (MAX_OUTPUT + 1))),
    ):
        with pytest.raises(ProtocolError) as caught:
            decode(frame)  # type: ignore[operator]
        assert caught.value.code == Code.TOO_LARGE
    with pytest.raises(ProtocolError):
        decode_client("[" * MAX_CONTROL)


@pytest.mark.parametrize(
    "path", sorted((VECTORS / "pth.v1").glob("client-*.json")), ids=lambda path: path.stem
)
def test_client_machine(path: Path) -> None:
    vector = json.loads(path.read_text())
    client = make(vector["config"])
    for number, step in enumerate(vector["steps"]):
        where = f"step {number}: {step['call']} at {step['at']}"
        assert json.loads(json.dumps(call(client, step))) == step["expect"], where
        wake = client.wake_at
        assert (None if wake is None else round(wake, 6)) == step["wake_at"], where
        assert client.state.name == step["state"], where
