"""A bar with a notice on every HTML page of the server, for workspaces that are not isolated."""

from __future__ import annotations

import html
import re
from typing import Any

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import Application, OutputTransform

_BODY = re.compile(rb"<body\b(?:[^>\"']|\"[^\"]*\"|'[^']*')*>", re.IGNORECASE)

# It must not get in the way: the pointer goes through it, and it stands where JupyterLab shows nothing.
#: Also named by the lock page, which allows no other style attribute.
STYLE = (
    "position:fixed;left:50%;bottom:2px;transform:translateX(-50%);z-index:2147483647;pointer-events:none;"
    "max-width:90vw;padding:1px 10px;border-radius:4px;background:#7a4a00;color:#fff;opacity:.92;"
    "font:12px/18px system-ui,sans-serif;white-space:nowrap;overflow:hidden;text-overflow:ellipsis"
)


def bar(notice: str) -> bytes:
    """The element that shows the notice."""
    text, attributes = html.escape(notice), 'role="note" aria-label="Notice"'
    return f'<div id="pth-workspace-notice" {attributes} style="{STYLE}">{text}</div>'.encode()


def insert(page: bytes, element: bytes) -> bytes | None:
    """`page` with `element` as the first thing of its body; None when no body begins in it."""
    match = _BODY.search(page)
    return None if match is None else page[: match.end()] + element + page[match.end() :]


def add_notice(application: Application, notice: str) -> None:
    """Show `notice` on every HTML page that `application` serves from now on; an empty one shows nothing."""
    if not notice.strip():
        return
    element = bar(notice.strip())

    class NoticeTransform(OutputTransform):
        """Inserts the bar into one response."""

        def __init__(self, request: HTTPServerRequest) -> None:
            self._waiting = request.method != "HEAD"

        def transform_first_chunk(
            self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
        ) -> tuple[int, HTTPHeaders, bytes]:
            if not _is_page(status_code, headers):
                self._waiting = False
            with_bar = insert(chunk, element) if self._waiting else None
            if with_bar is not None:
                self._waiting = False
                chunk = with_bar
                if "Content-Length" in headers:
                    headers["Content-Length"] = str(int(headers["Content-Length"]) + len(element))
                # It names the page without the bar.
                headers.pop("Etag", None)
            elif "Content-Length" in headers:
                self._waiting = False  # the length is being sent; nothing can be added any more
            return status_code, headers, chunk

        def transform_chunk(self, chunk: bytes, finishing: bool) -> bytes:
            with_bar = insert(chunk, element) if self._waiting else None
            if with_bar is None:
                return chunk
            self._waiting = False
            return with_bar

    application.add_transform(NoticeTransform)


def _is_page(status_code: int, headers: Any) -> bool:
    """Whether a browser will show this as a whole HTML page."""
    return (
        status_code not in (204, 206, 304)
        and str(headers.get("Content-Type", "")).partition(";")[0].strip().lower() == "text/html"
        and not headers.get("Content-Encoding")
        and not str(headers.get("Content-Disposition", "")).lower().startswith("attachment")
    )
