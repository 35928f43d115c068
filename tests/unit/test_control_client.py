"""The client of the control service, against a transport that loses answers, repeats and cuts."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.client import errors
from persistent_terminal_hub.client.control_service import ControlService
from persistent_terminal_hub.client.events import MAX_EVENT, BadStream, Event, EventParser
from persistent_terminal_hub.client.executing import MAX_STDIN, read_stream

WORKSPACE = {
    "workspaceId": "a" * 32, "name": "lab", "owner": "alice", "displayName": "Lab", "rootPath": "/home/alice",
    "containerId": "c1", "status": "running", "url": "http://hub/user/alice/lab/", "options": {}, "env": {},
    "source": None, "created": "2026-11-21T10:00:00.000Z", "lastActivity": None, "operation": None,
    "somethingNew": 1,
}  # fmt: skip
OPERATION = {
    "id": "b" * 32, "kind": "create", "workspaceId": "a" * 32, "state": "running", "step": "start",
    "error": "", "path": None, "setupSession": None, "created": "2026-11-21T10:00:00.000Z",
    "updated": "2026-11-21T10:00:00.000Z", "events": "/x",
}  # fmt: skip
CHANGE = {"workspace": WORKSPACE, "operation": OPERATION}
DONE = OPERATION | {"state": "done"}
ENDED = {
    "exitCode": 3, "signal": None, "timedOut": False, "seconds": 0.1, "stdoutBytes": 3, "stderrBytes": 0,
    "stdoutTruncated": False, "stderrTruncated": False,
}  # fmt: skip

Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


class Script(httpx.AsyncBaseTransport):
    """Gives these answers in turn, and remembers what was asked and how long was waited."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []
        self.slept: list[float] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer(request)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def service(self) -> ControlService:
        return ControlService("http://127.0.0.1:1/base", "t0ken", transport=self, sleep=self.sleep)


def ok(value: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=value)


def refused(status: int, message: str = "No.", headers: dict[str, str] | None = None) -> httpx.Response:
    body = {"status": status, "reason": "x", "message": message, "hint": ""}
    return httpx.Response(status, json=body, headers=headers)


class Pieces(httpx.AsyncByteStream):
    """A body in pieces; an exception among them cuts it."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def stream(*pieces: bytes | Exception, kind: str = "text/event-stream") -> httpx.Response:
    return httpx.Response(200, headers={"Content-Type": kind}, stream=Pieces(*pieces))


def progress(number: int, message: str = "on") -> bytes:
    data = {"at": "2026-11-21T10:00:00.000Z", "percent": number, "message": f"{message} {number}"}
    return f"id: {number}\nevent: progress\ndata: {json.dumps(data)}\n\n".encode()


END = b'event: end\ndata: {"state": "done"}\n\n'
CUT = httpx.ReadError("cut")


# -- requests ----------------------------------------------------------------------------------------------
async def test_a_lost_answer_is_asked_for_again_with_the_same_key() -> None:
    script = Script(
        CUT, httpx.RemoteProtocolError("closed"), refused(409, headers={"Retry-After": "2"}),
        httpx.Response(503, text="<html>proxy</html>"), ok(CHANGE, 202), ok(CHANGE, 202),
    )  # fmt: skip
    service = script.service()
    change = await service.workspaces.create("lab", cpu=2.0, env={"A": "1"})
    assert change.workspace.label == "alice/lab" and change.operation is not None
    assert change.workspace.json_object()["somethingNew"] == 1
    assert len({request.headers["Idempotency-Key"] for request in script.asked}) == 1
    assert len({request.content for request in script.asked}) == 1 and len(script.asked) == 5
    assert script.slept[2] == 2.0, "it waits as long as it is told to"
    assert json.loads(script.asked[0].content) == {
        "name": "lab", "start": True, "resources": {"cpu": 2.0}, "env": {"A": "1"},
    }  # fmt: skip
    await service.workspaces.create("lab")
    assert script.asked[5].headers["Idempotency-Key"] != script.asked[0].headers["Idempotency-Key"]


async def test_every_post_has_a_key_and_nothing_else_has() -> None:
    made = {
        "id": "a.b", "workspaceId": "a" * 32, "workspace": "alice~lab", "sessionId": "b", "name": "s",
        "state": "dormant", "created": "", "token": "t", "tokenExpiresIn": 1.0, "webSocketUrl": "ws://h/",
    }  # fmt: skip
    script = Script(
        ok(CHANGE, 202), ok(CHANGE, 202), ok(CHANGE, 202), ok({**ENDED, "stdout": "", "stderr": ""}),
        ok(made, 201), ok(WORKSPACE), ok(WORKSPACE), httpx.Response(204), ok(CHANGE, 202),
    )  # fmt: skip
    service, key = script.service(), "a" * 32
    await service.workspaces.start(key)
    await service.workspaces.clone("https://h/r.git", "r", credentials=("u", "p"))
    await service.workspaces.restart(key)
    await service.workspaces.execute(key, ["true"])
    session = await service.sessions.create(key)
    assert session.token == "t" and "'t'" not in repr(session)
    await service.workspaces.get(key)
    await service.workspaces.patch(key, memory="2G")
    await service.secrets.set("A", b"\xff")
    await service.workspaces.delete(key)
    assert [("Idempotency-Key" in r.headers) for r in script.asked] == [
        r.method == "POST" for r in script.asked
    ]
    assert all(request.headers["Authorization"] == "token t0ken" for request in script.asked)
    assert all("t0ken" not in str(request.url) for request in script.asked)
    assert json.loads(script.asked[7].content) == {"value": "/w==", "encoding": "base64"}


async def test_a_delete_is_not_sent_twice() -> None:
    script = Script(CUT)
    with pytest.raises(errors.Unreachable, match="may have been done"):
        await script.service().sessions.end("a.b")
    assert len(script.asked) == 1


async def test_an_address_that_never_answered_is_given_up_at_once() -> None:
    script = Script(
        httpx.ConnectError("refused"), ok(WORKSPACE), httpx.ConnectError("refused"), ok(WORKSPACE)
    )
    service = script.service()
    with pytest.raises(errors.Unreachable, match="does not answer"):
        await service.workspaces.get("a" * 32)
    await service.workspaces.get("a" * 32)
    await service.workspaces.get("a" * 32)
    assert script.answers == []


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (refused(401, "Who?"), errors.SignInAgain, "Who"),
        (refused(403, "Not you."), errors.NotYours, "Not you"),
        (refused(404, "None."), errors.NoSuchWorkspace, "None"),
        (refused(409, "Taken."), errors.Conflict, "Taken"),
        (refused(422, "Wrong."), errors.Refused, "Wrong"),
        (refused(423, "Locked."), errors.WorkspaceLocked, "Unlock it"),
        (refused(429, "Too many."), errors.Refused, "Too many"),
        (refused(500, "Oh."), errors.Unreachable, "Oh"),
        (httpx.Response(404, text="<html>"), errors.Unreachable, "no control service"),
        (httpx.Response(302, headers={"Location": "/hub/login"}), errors.Unreachable, "sends elsewhere"),
        (httpx.Response(200, text="<html>"), errors.Unreachable, "not as"),
        (ok({"name": 1}), errors.Unreachable, "not as this version"),
    ],
)
async def test_refusals_are_sentences(answer: httpx.Response, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        await Script(answer).service().workspaces.get("a" * 32)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a" * 32, "a" * 32), ("lab", "me@x~lab"), ("bob/lab", "bob~lab"), ("bob/", "bob~"),
        ("b b%/lab", "b%20b%25~lab"), ("bob~lab", "bob~lab"),
    ],
)  # fmt: skip
async def test_workspaces_have_names(key: str, path: str) -> None:
    script = Script(*([ok({"name": "me@x", "kind": "user"})] if key == "lab" else []), ok(WORKSPACE))
    await script.service().workspaces.get(key)
    raw = script.asked[-1].url.raw_path.decode()
    assert raw == f"/base/services/terminals/api/workspaces/{path.replace('@', '%40')}"


@pytest.mark.parametrize("key", ["/lab", "a/b/c"])
async def test_no_such_name(key: str) -> None:
    with pytest.raises(errors.NotConfigured):
        await Script().service().workspaces.get(key)


# -- operations --------------------------------------------------------------------------------------------
async def test_progress_goes_on_after_every_cut_and_nothing_is_said_twice() -> None:
    script = Script(
        stream(progress(1), progress(2)[:20], CUT),
        ok(OPERATION),
        stream(b": still here\n\n", progress(2), progress(1, "again"), progress(3)),
        refused(503, "The hub is away."), ok(OPERATION),
        httpx.ReadTimeout("quiet"), ok(OPERATION),
        stream(progress(4), END),
        ok(DONE),
    )  # fmt: skip
    lines: list[int] = []
    ended = await script.service().operations.wait("b" * 32, lambda line: lines.append(line.number))
    assert ended.state == "done" and lines == [1, 2, 3, 4]
    asked = [r.headers.get("Last-Event-ID") for r in script.asked if r.url.path.endswith("/events")]
    assert asked == [None, "1", "3", "3"]


async def test_without_streams_it_is_asked() -> None:
    buffered = [(stream(b"", kind="text/html"), ok(OPERATION)) for _ in range(3)]
    script = Script(
        *(answer for pair in buffered for answer in pair),
        ok(OPERATION | {"state": "undoing", "error": "It failed."}),
        ok(OPERATION | {"state": "failed", "error": "It failed."}),
        ok(OPERATION | {"state": "failed", "error": "It failed."}),
    )
    lines: list[str] = []
    with pytest.raises(errors.OperationFailed, match="It failed") as failure:
        await script.service().operations.wait("b" * 32, lambda line: lines.append(line.message))
    assert failure.value.state == "failed" and lines == ["running: start", "It failed."]


async def test_an_operation_that_nobody_may_see() -> None:
    with pytest.raises(errors.NotFound):
        await Script(refused(404, "None.")).service().operations.wait("b" * 32)


# -- execute -----------------------------------------------------------------------------------------------
def output(name: str, data: bytes) -> bytes:
    return json.dumps({"stream": name, "data": base64.b64encode(data).decode()}).encode() + b"\n"


@given(
    st.lists(
        st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(min_size=1, max_size=50)), max_size=8
    ),
    st.data(),
)
async def test_outputs_come_whole_whatever_the_cuts(
    parts: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    body = b"".join(output(*part) for part in parts) + json.dumps({"result": ENDED}).encode() + b"\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=5)))

    async def pieces() -> AsyncIterator[bytes]:
        for start, stop in zip([0, *cuts], [*cuts, len(body)], strict=True):
            yield body[start:stop]

    got: list[tuple[str, bytes]] = []
    ended = await read_stream(pieces(), lambda name, out: got.append((name, out)))
    assert got == parts and ended.exit_code == 3 and not ended.succeeded


@given(st.lists(st.binary(max_size=60), max_size=5))
async def test_any_other_stream_is_a_sentence(pieces: list[bytes]) -> None:
    async def given_() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    with pytest.raises(errors.ClientError):
        await read_stream(given_(), lambda _name, _data: None)


async def test_a_streamed_command_is_sent_once_and_without_a_key() -> None:
    script = Script(stream(output("stdout", b"a"), CUT, kind="application/x-ndjson"))
    got: list[bytes] = []
    with pytest.raises(errors.Unreachable):
        await script.service().workspaces.execute(
            "a" * 32, ["x"], on_output=lambda _name, data: got.append(data)
        )
    assert got == [b"a"] and len(script.asked) == 1 and "Idempotency-Key" not in script.asked[0].headers
    late = json.dumps({"error": {"status": 423, "message": "Locked.", "hint": ""}}).encode() + b"\n"
    script = Script(stream(late, kind="application/x-ndjson"))
    with pytest.raises(errors.WorkspaceLocked):
        await script.service().workspaces.execute("a" * 32, "x", on_output=lambda *_: None)
    with pytest.raises(errors.Refused, match="nothing was run"):
        await Script().service().workspaces.execute("a" * 32, "x", stdin=b"x" * (MAX_STDIN + 1))


# -- the audit log -----------------------------------------------------------------------------------------
async def test_an_export_that_is_cut_says_so() -> None:
    record = {"number": 1, "record": {"who": "alice"}, "mac": "", "key": "k"}
    script = Script(stream(json.dumps(record).encode() + b"\n", b'{"num', kind="application/jsonl"))
    found = []
    with pytest.raises(errors.Unreachable, match="cut off"):
        async for line in script.service().export_audit(who="alice"):
            found.append(line.number)
    assert found == [1] and dict(script.asked[0].url.params) == {"who": "alice", "format": "jsonl"}


# -- server-sent events ------------------------------------------------------------------------------------
TEXT = st.text(st.characters(blacklist_characters="\r\n\0", blacklist_categories=["Cs"]), max_size=20)
EVENTS = st.lists(st.tuples(TEXT, TEXT, st.lists(TEXT, min_size=1, max_size=3)), max_size=6)


@given(EVENTS, st.lists(st.sampled_from(["\n", "\r", "\r\n"]), min_size=1, max_size=20), st.data())
def test_events_are_the_same_whatever_the_cuts(
    events: list[tuple[str, str, list[str]]], ends: list[str], data: st.DataObject
) -> None:
    lines = ["\ufeff: a comment", "retry: 10"]
    for identity, kind, texts in events:
        lines += [f"id: {identity}", f"event: {kind}", *(f"data: {text}" for text in texts), "", ""]
    body = "".join(line + ends[number % len(ends)] for number, line in enumerate(lines)).encode()
    # A CR and an LF of two line ends beside each other are one: an event's last blank line may be missing.
    whole = EventParser().feed(body)
    if len(set(ends)) == 1:
        assert whole == [Event(i, k or "message", "\n".join(t)) for i, k, t in events]
    parser, got = EventParser(), []
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    for start, stop in zip([0, *cuts], [*cuts, len(body)], strict=True):
        got += parser.feed(body[start:stop])
    assert got == whole


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_no_bytes_break_the_parser(pieces: list[bytes]) -> None:
    parser = EventParser()
    assert all("\0" not in event.id for piece in pieces for event in parser.feed(piece))


def test_an_event_ends_some_time() -> None:
    parser = EventParser()
    with pytest.raises(BadStream):
        for _ in range(MAX_EVENT // 1000 + 2):
            parser.feed(b"data: " + b"x" * 994 + b"\n")
