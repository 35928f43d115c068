"""How the vectors call the client machine and write down what it returns, for runner and writer."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

from persistent_terminal_hub.protocol.client_stream import ClientStream
from persistent_terminal_hub.protocol.codes import Limits
from persistent_terminal_hub.protocol.messages import Message, encode

CLIENT = "0123456789abcdef0123456789abcdef"
TIMED = {"start", "stop", "nudge", "parsed", "opened", "closed", "tick", "receive_text", "receive_binary"}


def make(config: dict[str, Any]) -> ClientStream:
    """A client as a vector file describes it."""
    return ClientStream(
        config["client"], rows=config["rows"], cols=config["cols"], mode=config["mode"],
        visible=config["visible"], token=config.get("token"), random=lambda: config["random"],
        limits=Limits(**config.get("limits", {})),
    )  # fmt: skip


def call(client: ClientStream, step: dict[str, Any]) -> Any:
    """Do one step; the JSON of what the machine answers."""
    name, now = step["call"], step["at"]
    args = {
        key: bytes.fromhex(value) if key == "data" else value for key, value in step.get("args", {}).items()
    }
    if name == "receive_text":
        return [plain(event) for event in client.receive(args["text"], now)]
    if name == "receive_binary":
        return [plain(event) for event in client.receive(args["data"], now)]
    result = getattr(client, name)(**args, **({"now": now} if name in TIMED else {}))
    return [plain(event) for event in result] if isinstance(result, list) else result


def plain(event: Any) -> dict[str, Any]:
    """One event as JSON: `event` is its name in snake case, bytes are hexadecimal."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    out: dict[str, Any] = {"event": name}
    for item in dataclasses.fields(event):
        value = getattr(event, item.name)
        if isinstance(value, Message):
            value = json.loads(encode(value))
        elif isinstance(value, bytes):
            value = value.hex()
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = {k: v for k, v in dataclasses.asdict(value).items() if v is not None}
        out[item.name] = int(value) if item.name == "code" else value
    return out
