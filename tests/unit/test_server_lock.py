# ruff: noqa: E501 - tables of cases
"""What a locked server answers to which request, where it leads, and the gate on a real Tornado server."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import re
from collections.abc import AsyncIterator, Callable
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado import httpserver, netutil, web, websocket
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.iostream import StreamClosedError
from tornado.simple_httpclient import HTTPStreamClosedError
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from persistent_terminal_hub.protocol.codes import SUBPROTOCOL, Code
from persistent_terminal_hub.server.lock import Gate
from persistent_terminal_hub.server.lock_answers import REACH, LockedSocket, Refused
from persistent_terminal_hub.server.lock_page import POLICY, Place, lock_page, unknown_page
from persistent_terminal_hub.server.lock_routes import LockRoutes
from persistent_terminal_hub.server.lock_rules import (
    LockState,
    clean_reason,
    is_handshake,
    kind_of,
    safe_next,
)
from persistent_terminal_hub.server.notice import add_notice
from persistent_terminal_hub.server.revalidate import revalidate

BASE = "/user/alice/lab/"
PLACE = Place("alice/lab", BASE, "/hub/")
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, "api"),
        ({"Accept": "*/*"}, "api"),
        ({"Accept": "application/json"}, "api"),
        ({"Accept": HTML}, "page"),
        ({"Accept": "TEXT/HTML"}, "page"),
        ({"Accept": "text/html;q=0"}, "api"),
        ({"Accept": "text/html; q=0.0, */*"}, "api"),
        ({"Accept": "text/html;level=1;q=0.4"}, "page"),
        ({"Accept": "text/htmlx"}, "api"),
        ({"Accept": HTML, "X-Requested-With": "XMLHttpRequest"}, "api"),
        ({"Sec-Fetch-Mode": "navigate"}, "page"),
        ({"Sec-Fetch-Mode": "navigate", "Accept": "*/*"}, "page"),
        ({"Sec-Fetch-Mode": "cors", "Accept": HTML}, "api"),
        ({"Sec-Fetch-Mode": "no-cors", "Accept": HTML}, "api"),
        ({"Sec-Fetch-Mode": "same-origin", "Accept": HTML}, "api"),
        ({"Sec-Fetch-Mode": "", "Accept": HTML}, "page"),
        ({"Sec-Fetch-Mode": "websocket"}, "websocket"),
        ({"Upgrade": "websocket"}, "websocket"),
        ({"Upgrade": "WebSocket", "Sec-Fetch-Mode": "navigate"}, "websocket"),
        ({"Upgrade": "h2c, websocket"}, "websocket"),
        ({"Upgrade": "h2c", "Accept": HTML}, "page"),
    ],
)
def test_what_a_request_understands(headers: dict[str, str], kind: str) -> None:
    assert kind_of(headers) == kind


HANDSHAKE = {
    "Upgrade": "websocket", "Connection": "keep-alive, Upgrade", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "x", "Sec-WebSocket-Protocol": "other, pth.v1",
}  # fmt: skip


def test_a_handshake_is_complete_or_none() -> None:
    assert is_handshake("GET", HANDSHAKE, SUBPROTOCOL)
    assert not is_handshake("POST", HANDSHAKE, SUBPROTOCOL)
    for name in HANDSHAKE:
        assert not is_handshake("GET", HANDSHAKE | {name: ""}, SUBPROTOCOL), name
    assert not is_handshake("GET", HANDSHAKE | {"Sec-WebSocket-Protocol": "pth.v10"}, SUBPROTOCOL)


@pytest.mark.parametrize(
    "address",
    [
        BASE,
        BASE + "lab",
        BASE + "lab/tree/a%20b/c.ipynb?factory=Editor&x=1#cell-3",
        BASE + "files/%E4%BD%A0.txt",
        BASE + "lab/tree/a..b/...",
        BASE + "lab?next=//evil.example",
        BASE + "proxy/8080/",
        "/user/al%69ce/lab/tree",
        BASE + "persistent-terminals/",
    ],
)
def test_addresses_that_are_kept(address: str) -> None:
    assert safe_next(address, BASE) == address


@pytest.mark.parametrize(
    "address",
    [
        None, "", "/", "lab", "//evil.example/", "///evil.example", "/\\evil.example", "\\\\evil.example", "/\\/evil.example",
        "https://evil.example" + BASE, "http:" + BASE, "http:" + "//evil.example", "javascript:alert(1)", "data:text/html,x",
        "//evil.example" + BASE, "/%2fevil.example", "/%5cevil.example",
        BASE + "\r\nSet-Cookie: a=b", BASE + "\nx", BASE + "\tx", "\t" + BASE, " " + BASE, BASE + " x", BASE + "\x00", BASE + "\x7f",
        BASE + "%0d%0aSet-Cookie:a", BASE + "%00", BASE + "%250a", BASE + "a\\b", BASE + "a%5cb", BASE + "\u202e", BASE + "é",
        "/user/bob/lab/", "/user/alice/", "/user/alice/lab", "/user/alice/labor/", "/hub/logout", "/user/alice%2flab/", "/user/alice/lab%2fx",
        BASE + "..", BASE + "../", BASE + "../../bob/", BASE + "./x", BASE + "%2e%2e/bob", BASE + ".%2E/bob", BASE + "%252e%252e/bob", BASE + "x/%2e./y",
        "/user/alice//lab/", "//user/alice/lab/", "/user/alice/./lab/", "/./user/alice/lab/",
        BASE + "logout", BASE + "login?next=x", BASE + "oauth_callback?code=secret&state=x", BASE + "logou%74",
        BASE + "persistent-terminals/lock", BASE + "persistent-terminals/unlock?next=x",
        BASE + "x" * 2048, "http://[" + BASE, "//[" + BASE,
    ],
)  # fmt: skip
def test_addresses_that_lead_elsewhere(address: str | None) -> None:
    assert safe_next(address, BASE) == BASE


def test_secrets_do_not_stay_in_an_address() -> None:
    assert safe_next(BASE + "lab?token=abc&x=1", BASE) == BASE + "lab?x=1"
    assert safe_next(BASE + "lab?code=abc&t%6Fken=x", BASE) == BASE + "lab"
    assert safe_next(BASE + "lab?" + "&".join(f"a{n}=1" for n in range(200)), BASE) == BASE + "lab"
    assert safe_next("/lab", "/") == "/lab" and safe_next("//lab", "/") == "/" and safe_next("x", "") == "/"
    assert safe_next("/@/a%20b/user/x/lab", "/@/a%20b/user/x/") == "/@/a%20b/user/x/lab"
    assert safe_next("/%40/a%20b/user/x/lab", "/@/a%20b/user/x/") == "/%40/a%20b/user/x/lab"


@given(
    st.one_of(
        st.text(max_size=60),
        st.text(alphabet="/\\.%25eE2fFcC#?@:a \t\n", max_size=40).map(lambda tail: BASE + tail),
    )
)
def test_an_address_never_leaves_the_server(address: str) -> None:
    result = safe_next(address, BASE)
    assert result.startswith("/user/") and not re.search(r"[\s\\\x00-\x1f]", result)
    path = urlsplit(result).path
    for _ in range(4):
        assert path.split("/")[1:4] == ["user", "alice", "lab"]
        assert not {".", ".."} & set(path.split("/"))
        path = unquote(path)


class Seen(HTMLParser):
    """Tags and links of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def links(self) -> list[str]:
        return [str(attrs["href"]) for tag, attrs in self.tags if tag == "a"]


LOCKED = LockState(True, 1_780_000_000.0, "idle", 3)


def test_the_page_says_what_is_and_leads_to_the_login() -> None:
    page = Seen(lock_page(PLACE, LOCKED, BASE + "lab?x=1&y=2", True))
    assert (
        "2026-05-28 20:26:40 UTC" in page.text
        and "Nobody used it" in page.text
        and "go on running" in page.text
    )
    (login,) = page.links
    parts = urlsplit(login)
    assert parts.path == "/hub/reauth" and parse_qs(parts.query) == {
        "workspace": ["lab"],
        "next": [BASE + "lab?x=1&y=2"],
    }
    away = Seen(lock_page(PLACE, LOCKED, BASE, False))
    assert "hub does not answer" in away.text and "stays locked" in away.text and away.links[0] == BASE
    assert Seen(lock_page(PLACE, LOCKED, BASE, None)).links == [BASE]
    assert (
        "workspace=&"
        in Seen(
            lock_page(
                Place("alice/", "/user/alice/", "https://hub.example/hub/"), LOCKED, "/user/alice/", True
            )
        ).links[0]
    )
    refused = Seen(lock_page(PLACE, LOCKED, BASE, True, "This unlock was used before."))
    assert "used before. It stays locked." in " ".join(refused.text.split())
    assert "does not answer" in Seen(unknown_page(PLACE, BASE)).text


def test_the_page_has_nothing_from_outside_and_escapes_what_is_given() -> None:
    evil = "\"'><script>alert(1)</script>&"
    page = lock_page(
        Place(f"a/{evil}", BASE, "/hub/"), LockState(True, None, evil), BASE + "?" + evil, True, evil
    )
    assert "<script>alert" not in page
    seen = Seen(page)
    assert [tag for tag, _ in seen.tags].count("script") == 1
    assert not [
        attrs
        for _, attrs in seen.tags
        if "src" in attrs or "style" in attrs or any(name.startswith("on") for name in attrs)
    ]
    assert all(str(attrs["href"]) == "data:," for tag, attrs in seen.tags if tag == "link")
    assert "unsafe-inline" not in POLICY and "default-src 'none'" in POLICY
    assert clean_reason("a\n\x1b[31m  b" + "c" * 500) == "a [31m b" + "c" * 192 and clean_reason(["x"]) == ""
    assert LockState(True, None, "why").since_text is None


# -- the gate on a server ----------------------------------------------------------------------------


class Keeper:
    """Tells what the test wants."""

    def __init__(self) -> None:
        self.changed: Callable[[LockState | None], None] = lambda _state: None

    def follow(self, changed: Callable[[LockState | None], None]) -> None:
        self.changed = changed

    async def lock(self, reason: str) -> LockState:
        raise AssertionError

    async def unlock(self, token_id: str, expires: float) -> LockState:
        raise AssertionError


SECRET = "canary-secret"


class Hello(web.RequestHandler):
    def get(self) -> None:
        self.finish(SECRET)

    post = put = get


class Slow(web.RequestHandler):
    go: asyncio.Event

    async def get(self) -> None:
        await self.go.wait()
        self.finish(SECRET)


class Stream(web.RequestHandler):
    async def get(self) -> None:
        with contextlib.suppress(StreamClosedError):
            while True:
                self.write(SECRET * 10_000)
                await self.flush()


class Echo(websocket.WebSocketHandler):
    heard: list[str | bytes]

    def on_message(self, message: str | bytes) -> None:
        self.heard.append(message)
        self.write_message("said " + str(message))


class Steered(web.RequestHandler):
    while_locked = "steer"

    def get(self) -> None:
        self.finish("facts")


class Inherits(Steered):
    """Says nothing itself."""


class Server:
    def __init__(self, keeper: Keeper | None) -> None:
        self.app = web.Application(
            [
                (BASE + "hello", Hello), (BASE + "slow", Slow), (BASE + "stream", Stream), (BASE + "echo", Echo),
                (BASE + "steered", Steered), (BASE + "inherits", Inherits), (BASE + "moved", web.RedirectHandler, {"url": BASE + SECRET}),
            ],
            xsrf_cookies=True,
        )  # fmt: skip
        self.keeper = keeper
        self.allowed = False

        async def steered(_request: object, _handler: object) -> bool:
            return self.allowed

        routes = LockRoutes(BASE)
        self.gate = routes.gate = Gate(
            self.app, PLACE, keeper, refuse=Refused, shut_socket=(BASE + "persistent-terminals/ws/", LockedSocket), routes=routes, steered=steered,
        )  # fmt: skip
        self.gate.install()
        revalidate(self.app, BASE)
        self.app.add_handlers(".*", [(BASE + "later", Hello)])
        sockets = netutil.bind_sockets(0, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        self.http = httpserver.HTTPServer(self.app)
        self.http.add_sockets(sockets)
        Slow.go, Echo.heard = asyncio.Event(), []
        self.gate.start()

    async def ask(self, path: str, method: str = "GET", **options: Any) -> HTTPResponse:
        request = HTTPRequest(
            f"http://127.0.0.1:{self.port}{BASE}{path}", method, follow_redirects=False, allow_nonstandard_methods=True, **options
        )  # fmt: skip
        return await AsyncHTTPClient(force_instance=True).fetch(request, raise_error=False)

    def socket(self, path: str, **options: Any) -> Any:
        return connect(f"ws://127.0.0.1:{self.port}{BASE}{path}", proxy=None, **options)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server(Keeper())
    yield found
    found.http.stop()
    await found.http.close_all_connections()


def tell(server: Server, state: LockState | None) -> None:
    assert server.keeper is not None
    server.keeper.changed(state)


OPEN = LockState(False)


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "X-ODD"]
)
async def test_every_way_to_ask_a_locked_server(server: Server, method: str) -> None:
    tell(server, LOCKED)
    for path in ("hello", "later", "nothing", "hello/", "moved", "steered", "inherits", "echo"):
        await ask_locked(server, path, method)


async def ask_locked(server: Server, path: str, method: str) -> None:
    answer = await server.ask(path, method, body=b"x" * 100 if method in ("POST", "PUT") else None)
    assert answer.code == 423
    assert set(answer.headers) <= {
        "Content-Type",
        "Date",
        "Content-Length",
        "Cache-Control",
        "X-Content-Type-Options",
        "Referrer-Policy",
        "Connection",
    }
    if method != "HEAD":
        assert set(json.loads(answer.body)) == {"status", "reason", "message", "hint"}
    page = await server.ask(path, method, headers={"Accept": HTML})
    assert page.code == 423 and page.headers["Content-Security-Policy"] == POLICY
    assert SECRET not in str(page.body) + str(page.headers.get_all())


async def test_nothing_is_served_before_the_state_is_known(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = asyncio.ensure_future(server.ask("hello"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    tell(server, OPEN)
    assert (await waiting).body.decode() == SECRET
    tell(server, None)
    monkeypatch.setattr("persistent_terminal_hub.server.lock.PATIENCE", 0.05)
    monkeypatch.setattr(Gate.known, "__defaults__", (0.05,))
    closed = await server.ask("hello")
    assert closed.code == 503 and "keeper does not answer" in json.loads(closed.body)["message"]
    page = await server.ask("hello", headers={"Accept": HTML})
    assert page.code == 503 and "not ready" in page.body.decode()
    status = await server.ask("persistent-terminals/api/status")
    assert status.code == 503 and json.loads(status.body) == {
        "locked": True,
        "since": None,
        "reason": None,
        "hubReachable": None,
    }
    tell(server, LOCKED)
    assert (await server.ask("hello")).code == 423
    tell(server, OPEN)
    assert (await server.ask("hello")).body.decode() == SECRET


async def test_what_is_open_is_closed_by_a_lock(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(server, OPEN)
    async with server.socket("echo") as echo:
        await echo.send("one")
        assert await echo.recv() == "said one"
        slow = asyncio.ensure_future(server.ask("slow"))
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"GET {BASE}stream HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert SECRET.encode() in await reader.read(4096)
        upload_reader, upload = await asyncio.open_connection("127.0.0.1", server.port)
        upload.write(f"POST {BASE}hello HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf".encode())
        await asyncio.sleep(0.1)
        assert server.gate.connections.websockets() == 1
        tell(server, LOCKED)
        tell(server, LOCKED)  # the keeper's event and its answer say the same
        with contextlib.suppress(ConnectionClosed):
            await echo.send("two")
        with pytest.raises(ConnectionClosed) as closed:
            await echo.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 4423
    Slow.go.set()
    with pytest.raises((OSError, HTTPStreamClosedError)):
        (await slow).rethrow()
    with pytest.raises(ConnectionError):
        while await asyncio.wait_for(reader.read(1 << 20), 5):
            pass
    with contextlib.suppress(ConnectionError):
        upload.write(b"x" * 6)
        assert await asyncio.wait_for(upload_reader.read(), 5) == b""
    assert Echo.heard == ["one"]
    writer.close()
    upload.close()


async def test_what_is_gone_is_forgotten(server: Server) -> None:
    tell(server, OPEN)
    for path in ("echo", "echo", "persistent-terminals/ws/x"):
        with contextlib.suppress(InvalidStatus):
            async with server.socket(path):
                pass
        await server.ask("hello")
    for _ in range(50):
        gc.collect()
        if not server.gate.connections._entries:
            break
        await asyncio.sleep(0.02)
    assert not server.gate.connections._entries


async def test_a_client_that_ignores_the_goodbye_is_not_heard(server: Server) -> None:
    tell(server, OPEN)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        f"GET {BASE}echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    assert b"101" in await reader.readuntil(b"\r\n\r\n")
    text = b"\x81\x83\0\0\0\0one"
    writer.write(text)
    assert await reader.readexactly(10) == b"\x81\x08said one"
    tell(server, LOCKED)
    writer.write(text)
    rest = await asyncio.wait_for(reader.read(), 5)
    assert rest[2:4] == (4423).to_bytes(2, "big") and b"said" not in rest and Echo.heard == ["one"]
    writer.close()


async def test_websockets_of_a_locked_server(server: Server) -> None:
    tell(server, LOCKED)
    for path in ("echo", "nothing", "persistent-terminals/ws/sessions/x"):
        with pytest.raises(InvalidStatus) as refused:
            async with server.socket(path):
                pass
        assert refused.value.response.status_code == 423
    for path in ("persistent-terminals/ws/sessions/x", "persistent-terminals/ws/anything"):
        async with server.socket(path, subprotocols=["pth.v1"], origin="https://evil.example") as ours:
            assert json.loads(await ours.recv())["type"] == "locked"
            with pytest.raises(ConnectionClosed) as closed:
                await ours.recv()
            assert closed.value.rcvd is not None and closed.value.rcvd.code == Code.LOCKED


async def test_without_the_keeper_for_long_what_is_open_is_closed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("persistent_terminal_hub.server.lock.UNKNOWN_FOR", 0.2)
    tell(server, OPEN)
    async with server.socket("echo") as echo:
        tell(server, None)
        tell(server, OPEN)  # a moment without it is nothing
        await asyncio.sleep(0.3)
        await echo.send("one")
        assert await echo.recv() == "said one"
        tell(server, None)
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(echo.recv(), 5)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == Code.TRY_LATER


async def test_steering_a_locked_server(server: Server) -> None:
    tell(server, LOCKED)
    bearer = {"Authorization": "Bearer a.b.c"}
    assert (await server.ask("steered", headers=bearer)).code == 423
    server.allowed = True
    assert (await server.ask("steered", headers=bearer)).body == b"facts"
    for path, headers in (("steered", {}), ("inherits", bearer), ("hello", bearer), ("nothing", bearer)):
        assert (await server.ask(path, headers=headers)).code == 423


async def test_routes_that_answer_nevertheless(server: Server) -> None:
    class Reach:
        async def answers(self) -> bool:
            return False

    root = "persistent-terminals/"
    server.app.settings[REACH] = Reach()
    tell(server, OPEN)
    assert json.loads((await server.ask(root + "api/status")).body) == {
        "locked": False,
        "since": None,
        "reason": None,
        "hubReachable": False,
    }
    assert (await server.ask(root + "lock?next=" + BASE + "lab/tree")).headers[
        "Location"
    ] == BASE + "lab/tree"
    assert (await server.ask(root + "unlock")).code == 303
    tell(server, LOCKED)
    status = await server.ask(root + "api/status")
    assert status.code == 200 and json.loads(status.body) == {
        "locked": True,
        "since": "2026-05-28T20:26:40Z",
        "reason": "Nobody used it for a while.",
        "hubReachable": False,
    }
    page = await server.ask(root + "lock?next=//evil.example", headers={"Accept": HTML})
    assert (
        page.code == 423 and "evil" not in page.body.decode() and "hub does not answer" in page.body.decode()
    )
    again = await server.ask(root + "api/lock", "POST", body=b"{}")
    assert again.code == 200 and json.loads(again.body)["already"] is True
    # No lock is set up here, so no token is believed; whatever comes, it is a refusal and no fault.
    for body in (b"", b"token=x", b"\xff\xfe", b"token=" + b"x" * 100_000, b"token=a&" * 50, b"{}"):
        refused = await server.ask(root + "unlock", "POST", body=body, headers={"Accept": HTML})
        assert refused.code == 403 and "stays locked" in refused.body.decode()
    tell(server, OPEN)
    refused = await server.ask(root + "unlock", "POST", body=b"", headers={"Accept": HTML})
    assert (
        refused.code == 403
        and "workspace is open" in refused.body.decode()
        and "is locked" not in refused.body.decode()
    )
    tell(server, LOCKED)
    for method in ("GET", "PUT", "DELETE", "X-ODD"):
        assert (await server.ask(root + "unlock", method)).code == 423


async def test_notice_and_lock_page_together(server: Server) -> None:
    add_notice(server.app, "Not isolated.")
    tell(server, LOCKED)
    page = await server.ask("hello", headers={"Accept": HTML})
    assert b"Not isolated." in page.body and int(page.headers["Content-Length"]) == len(page.body)


async def test_where_there_is_no_lock_everything_is_open() -> None:
    server = Server(None)
    assert (await server.ask("hello")).body.decode() == SECRET
    assert json.loads((await server.ask("persistent-terminals/api/status")).body)["locked"] is False
    assert (await server.ask("nothing")).code == 404
    server.http.stop()


async def test_a_browser_asks_before_it_shows_something_again(server: Server) -> None:
    tell(server, OPEN)
    assert (await server.ask("hello")).headers["Cache-Control"] == "private, no-cache"
    assert "Cache-Control" not in (await server.ask("static/x.js")).headers
