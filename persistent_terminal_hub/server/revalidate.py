"""No answer of this server is shown again by a browser without asking: a locked one would say no."""

from __future__ import annotations

from typing import Final

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import Application, OutputTransform

_CODE: Final = ("static/", "lab/static/", "lab/extensions/")


class Revalidate(OutputTransform):
    """Lets a browser keep what has no rule of its own, but ask before it shows it.

    Without any rule a browser guesses: a file that was last changed ten days ago is shown for a day from its
    cache. Jupyter's own scripts, whose addresses change with their content, bring a rule along.
    """

    base_url = "/"

    def __init__(self, request: HTTPServerRequest) -> None:
        """Code of Jupyter and its extensions is no secret, and there is much of it."""
        self._is_code = request.path.startswith(tuple(self.base_url + path for path in _CODE))

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        """The headers are complete now."""
        if "Cache-Control" not in headers and not self._is_code and status_code != 101:
            headers["Cache-Control"] = "private, no-cache"
        return status_code, headers, chunk


def revalidate(application: Application, base_url: str) -> None:
    """For everything that `application` serves from now on; `base_url` ends with a slash."""

    class Here(Revalidate):
        """At this address."""

    Here.base_url = base_url
    application.add_transform(Here)
