# ruff: noqa: E501 - tables of cases
"""The small pure parts: environment, notice, bodies of the API, sizes."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
from pydantic import ValidationError
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import Application

from persistent_terminal_hub.bodies import sentence
from persistent_terminal_hub.server import names
from persistent_terminal_hub.server.api import CreateSession, RenameSession
from persistent_terminal_hub.server.environment import is_secret, session_environment
from persistent_terminal_hub.server.notice import add_notice, bar, insert
from persistent_terminal_hub.server.socket import _size


def test_no_hub_secret_reaches_a_session() -> None:
    inherited = {
        "JUPYTERHUB_API_TOKEN": "s", "JPY_API_TOKEN": "s", "CONFIGPROXY_AUTH_TOKEN": "s", "JUPYTER_TOKEN": "s",
        "JUPYTERHUB_COOKIE_SECRET": "s", "JUPYTERHUB_CRYPT_KEY": "s", "JUPYTERHUB_OAUTH_CALLBACK_URL": "s",
        "JUPYTERHUB_CLIENT_ID": "s", "PATH": "/bin", "HOME": "/h", "JUPYTERHUB_USER": "ann", "TERM": "dumb",
        "COLUMNS": "7", "MY_TOKEN": "mine",
    }  # fmt: skip
    env = session_environment(
        inherited,
        {"JUPYTER_SERVER_ROOT": "/w", "HOME": None, "JPY_API_TOKEN": "s"},
        {"MINE": "1", "PTH_SESSION": "forged", "PTH_SESSION_ID": "forged"},
        name="n",
    )
    assert env == {
        "PATH": "/bin", "JUPYTERHUB_USER": "ann", "MY_TOKEN": "mine", "JUPYTER_SERVER_ROOT": "/w", "MINE": "1",
        "TERM": "xterm-256color", "COLORTERM": "truecolor", "PTH_SESSION": "n",
    }  # fmt: skip
    assert not is_secret("JUPYTERHUB_SERVICE_PREFIX")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"name": "a b"}, names.RULE),
        ({"nam": "x"}, "The field 'nam' is not known."),
        ({"cols": 1}, "cols: "),
        ({"cols": "80"}, "cols: "),
        ({"rows": 100000}, "rows: "),
        ({"argv": []}, "argv: "),
        ({"argv": [""]}, "must not be empty"),
        ({"argv": ["a\0b"]}, "argv.0: "),
        ({"argv": ["a"], "shell": "sh"}, "not both"),
        ({"env": {"A=B": "c"}}, "environment variables"),
        ({"env": {"A": "b\0"}}, "env.A: "),
        ({"env": {f"A{n}": "" for n in range(201)}}, "env: "),
        ({"cwd": ""}, "cwd: "),
        ([], "body: "),
        (None, "body: "),
    ],
)
def test_a_bad_body_is_refused_with_asentence(body: Any, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        CreateSession.model_validate(body)
    assert text in sentence(caught.value)


def test_good_bodies() -> None:
    assert CreateSession.model_validate({}).name is None
    body = CreateSession.model_validate({"name": "a", "argv": ["ls", ""], "cols": 80, "env": {"A": ""}})
    assert body.argv == ["ls", ""]
    with pytest.raises(ValidationError):
        RenameSession.model_validate({})


@pytest.mark.parametrize(
    ("command", "size"),
    [
        (["set_size", 24, 80, 300, 800], (80, 24)),
        (["set_size", 24.0, 80.9], (80, 24)),
        (["set_size", 10**9, 10**9], (1000, 1000)),
        (["set_size", 0, 80], None),
        (["set_size", -1, 80], None),
        (["set_size", None, None], None),
        (["set_size", True, 80], None),
        (["set_size", float("nan"), 80], None),
        (["set_size", float("inf"), 80], None),
        (["set_size", "24", "80"], None),
        (["set_size"], None),
    ],
)
def test_sizes(command: list[Any], size: tuple[int, int] | None) -> None:
    assert _size(command) == size


def transform(notice: str, method: str = "GET") -> Any:
    application = Application()
    add_notice(application, notice)
    [cls] = application.transforms
    line, headers = RequestStartLine(method, "/", "HTTP/1.1"), HTTPHeaders({"Host": "h"})
    return cls(HTTPServerRequest(start_line=line, headers=headers, connection=Mock()))


def html_headers(**more: str) -> HTTPHeaders:
    headers = HTTPHeaders({"Content-Type": "text/html; charset=UTF-8"})
    for name, value in more.items():
        headers[name.replace("_", "-")] = value
    return headers


def test_notice_stands_in_the_page() -> None:
    page = b"<html><body class='a>b' data-x=\"1>2\"><p>hi</p></body></html>"
    headers = html_headers(
        Content_Length=str(len(page)), Etag='"x"', Content_Security_Policy="default-src 'none'"
    )
    status, headers, chunk = transform("<b>careful</b>").transform_first_chunk(200, headers, page, True)
    assert status == 200
    assert int(headers["Content-Length"]) == len(chunk)
    assert b'data-x="1>2"><div id="pth-workspace-notice"' in chunk and chunk.endswith(
        b"</div><p>hi</p></body></html>"
    )
    assert b"&lt;b&gt;careful&lt;/b&gt;" in chunk and b"<b>" not in chunk
    assert "Etag" not in headers and headers["Content-Security-Policy"] == "default-src 'none'"


@pytest.mark.parametrize(
    ("status", "headers", "method"),
    [
        (200, HTTPHeaders({"Content-Type": "application/json", "Content-Length": "20"}), "GET"),
        (200, html_headers(Content_Length="20", Content_Disposition='attachment; filename="a.html"'), "GET"),
        (200, html_headers(Content_Length="20", Content_Encoding="gzip"), "GET"),
        (206, html_headers(Content_Length="20"), "GET"),
        (200, html_headers(Content_Length="20"), "HEAD"),
    ],
)
def test_notice_leaves_everything_else_alone(status: int, headers: HTTPHeaders, method: str) -> None:
    before = dict(headers)
    page = b"<body>0123456</body>"
    assert transform("x", method).transform_first_chunk(status, headers, page, True)[2] == page
    assert dict(headers) == before


def test_notice_in_a_page_sent_in_parts() -> None:
    part = transform("x")
    assert part.transform_first_chunk(200, html_headers(), b"<html><head>", False)[2] == b"<html><head>"
    assert part.transform_chunk(b"</head><body>", False) == b"</head><body>" + bar("x")
    assert part.transform_chunk(b"<body>", True) == b"<body>"


def test_no_notice() -> None:
    application = Application()
    add_notice(application, "  ")
    assert application.transforms == []
    assert insert(b"no page", b"x") is None
