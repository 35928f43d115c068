"""Takes a page's picture in light and dark, and lays all pictures out on sheets."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from tests.browser.lab import Person
from tests.support.stack import Stack

#: Width, height, and whether fingers are used.
DEVICES = {"1280": (1280, 800, False), "820": (820, 1180, True), "320": (320, 640, True)}
SCHEMES = ("light", "dark")
#: Pictures on one sheet, and how wide each is there.
ON_SHEET, SMALL = 12, 420


class Camera:
    """Of one run. What could not be taken is in `missed`."""

    def __init__(self, out: Path, only: str = "") -> None:
        self.out = out
        self.taken: list[str] = []
        self.missed: list[str] = []
        self._only = re.compile(only)
        out.mkdir(parents=True, exist_ok=True)
        for old in () if only else out.glob("*.png"):
            old.unlink()

    def wants(self, *names: str) -> bool:
        """Whether one of these is asked for."""
        return any(self._only.search(name) for name in names)

    def take(self, page: Page, name: str, device: str) -> None:
        """`NAME-DEVICE-SCHEME.png`, twice."""
        if not self.wants(name):
            return
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            # Whatever follows the scheme has had its turn.
            page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 60)))")
            file = f"{name}-{device}-{scheme}.png"
            page.screenshot(path=self.out / file, animations="disabled", caret="hide")
            self.taken.append(file)
        page.emulate_media(color_scheme="light", reduced_motion="reduce")

    @contextmanager
    def trying(self, name: str) -> Iterator[None]:
        """A state that cannot be brought about costs its own pictures only."""
        try:
            yield
        except Exception as error:
            self.missed.append(f"{name}: {str(error).strip().splitlines()[0]}")

    def sheets(self, browser: Browser) -> None:
        """All pictures of this folder, by device and scheme, `sheet-*.png`."""
        for old in self.out.glob("sheet-*.png"):
            old.unlink()
        page = browser.new_page(viewport={"width": 4 * (SMALL + 16), "height": 600})
        for device in DEVICES:
            for scheme in SCHEMES:
                files = sorted(self.out.glob(f"*-{device}-{scheme}.png"))
                for at in range(0, len(files), ON_SHEET):
                    sheet = self.out / f"sheet-{device}-{scheme}-{at // ON_SHEET + 1}"
                    self._sheet(page, sheet, files[at : at + ON_SHEET])
        page.close()

    @staticmethod
    def _sheet(page: Page, sheet: Path, files: list[Path]) -> None:
        figures = "".join(
            f'<figure><img src="{file.name}"><figcaption>{html.escape(file.stem)}</figcaption></figure>'
            for file in files
        )
        source = sheet.with_suffix(".html")
        source.write_text(
            "<!doctype html><style>body{margin:8px;display:flex;flex-wrap:wrap;gap:8px;background:#888;"
            f"font:13px sans-serif}}figure{{margin:0;width:{SMALL}px}}img{{width:100%;display:block}}"
            f"</style><body>{figures}"
        )
        page.goto(source.as_uri())
        page.evaluate("() => Promise.all([...document.images].map(image => image.decode()))")
        page.screenshot(path=sheet.with_suffix(".png"), full_page=True)
        source.unlink()


class At(Person):
    """Somebody at one of the devices."""

    def __init__(self, camera: Camera, browser: Browser, stack: Stack, user: str, device: str) -> None:
        width, height, touch = DEVICES[device]
        super().__init__(browser, stack, user, {"width": width, "height": height}, has_touch=touch)
        self.camera = camera
        self.device = device

    def go(self, path: str) -> None:
        """To an address of the installation."""
        self.page.goto(self.stack.url + path)

    def shot(self, name: str) -> None:
        """A picture of what is there."""
        self.camera.take(self.page, name, self.device)

    def state(self, name: str, bring: Callable[[], Any]) -> None:
        """Bring a state about, and take its picture."""
        if self.camera.wants(name):
            with self.camera.trying(f"{name} ({self.device})"):
                bring()
                self.shot(name)
