"""The pages that `make ui` builds, and how their scripts and styles are served.

The names of those hold their content's hash, so browsers keep them for ever; they are the same for everybody
and hold nothing of anybody.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tornado import web

from persistent_terminal_hub.shared_files import share_dir

_FOLDER: Final = "pages"
_GZ: Final = ".gz"
_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".woff2": "font/woff2",
    ".svg": "image/svg+xml",
}
#: A name with its content's hash in it, as the build makes them.
ASSET: Final = r"[A-Za-z0-9_.-]+-[A-Za-z0-9_-]{8,}\.(?:js|css|woff2|svg)"
_YEAR: Final = 365 * 24 * 3600
# As words, not as parts of one; `q=0` means "not that".
_TAKES_GZIP: Final = re.compile(r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))")


def page_file(name: str) -> Path:
    """Where this page is once it was built."""
    return share_dir() / _FOLDER / name


def assets_dir() -> Path:
    """What `Assets` serves: its `path`."""
    return share_dir() / _FOLDER / "assets"


class Assets(web.StaticFileHandler):
    """Scripts and styles; the route gives it names of the form `ASSET`."""

    async def get(self, path: str, include_body: bool = True) -> None:
        """Send one, compressed if the browser takes that."""
        self.set_header("Vary", "Accept-Encoding")
        if _TAKES_GZIP.search(self.request.headers.get("Accept-Encoding", "")):
            compressed = path + _GZ
            if (Path(self.root) / compressed).is_file():
                self.set_header("Content-Encoding", "gzip")
                path = compressed
        await super().get(path, include_body)

    def get_content_type(self) -> str:
        """Not as this machine's list of types says: a browser runs no script of a wrong type."""
        return _TYPES[Path(str(self.absolute_path).removesuffix(_GZ)).suffix]

    def set_extra_headers(self, path: str) -> None:
        """Keep it: another content has another name."""
        self.set_header("Cache-Control", f"public, max-age={_YEAR}, immutable")
        self.set_header("X-Content-Type-Options", "nosniff")

    def compute_etag(self) -> str | None:
        """The name says it."""
        return None
