"""Ctrl-C while an operation is waited for: a real signal, a stream that does not end by itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import Any

import httpx
import pytest

from persistent_terminal_hub.client import operation_wait
from persistent_terminal_hub.client.operation_wait import Left, Wish, wait_for
from persistent_terminal_hub.client.shapes import Operation
from tests.unit.test_control_client import OPERATION, Pieces, Script, progress, refused


class UntilCancelled(Script):
    """An operation that goes on until it is cancelled, and says so; `at_events` is done at its first line."""

    def __init__(self, kind: str = "create", *, too_late: bool = False, presses: int = 1) -> None:
        super().__init__()
        self.kind = kind
        self.too_late = too_late
        self.presses = presses
        self.state = "running"
        self.methods: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.methods.append(request.method)
        if request.method == "DELETE":
            self.state = "done" if self.too_late else "cancelled"
            return refused(409) if self.too_late else httpx.Response(202, json=self.model())
        if not request.url.path.endswith("/events"):
            return httpx.Response(200, json=self.model())
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=self.body())

    def model(self) -> dict[str, Any]:
        return OPERATION | {"kind": self.kind, "state": self.state}

    def body(self) -> Pieces:
        script = self

        class Body(Pieces):
            async def __aiter__(self) -> Any:
                yield progress(1)
                while script.state == "running":
                    if script.presses:
                        script.presses -= 1
                        os.kill(os.getpid(), signal.SIGINT)
                    await asyncio.sleep(0.01)
                yield f"event: end\ndata: {json.dumps({'state': script.state})}\n\n".encode()

        return Body()


def run(script: UntilCancelled) -> Operation:
    async def work() -> Operation:
        async with script.service() as service:
            return await wait_for(service, Operation.model_validate(script.model()), "alice/lab")

    before = signal.getsignal(signal.SIGINT)
    try:
        return asyncio.run(work())
    finally:
        assert signal.getsignal(signal.SIGINT) is before


def test_a_script_that_is_interrupted_cancels(capsys: pytest.CaptureFixture[str]) -> None:
    script = UntilCancelled()
    with pytest.raises(Left, match="cancelled; nothing is left"):
        run(script)
    assert script.methods.count("DELETE") == 1
    assert "the creation of alice/lab is being cancelled" in capsys.readouterr().err


def test_a_cancellation_that_comes_too_late() -> None:
    assert run(UntilCancelled(too_late=True)).state == "done"


def test_what_cannot_be_cancelled_is_left() -> None:
    script = UntilCancelled("stop")
    with pytest.raises(Left, match="The stop of alice/lab goes on at the hub"):
        run(script)
    assert "DELETE" not in script.methods


@pytest.mark.parametrize(("wish", "methods"), [("leave", 0), ("cancel", 1)])
def test_a_person_is_asked(monkeypatch: pytest.MonkeyPatch, wish: Wish, methods: int) -> None:
    asked: list[str] = []

    def ask(what: str) -> Wish:
        asked.append(what)
        return "wait" if len(asked) == 1 else wish

    monkeypatch.setattr("sys.stdin", type("Tty", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(operation_wait, "ask_person", ask)
    script = UntilCancelled(presses=2)
    with pytest.raises(Left):
        run(script)
    assert asked == ["The creation of alice/lab"] * 2
    assert script.methods.count("DELETE") == methods
