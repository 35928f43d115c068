"""Fixtures of the browser tests. A file that needs another workspace or browser has one of the same name."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.lab import DESKTOP, NO_WEBGL, TABLET, plain_chromium
from tests.browser.terminal_page import BUILT, Device
from tests.integration.lock_fixtures import Hub, LockedWorkspace, lockable, stand_in_hub  # noqa: F401 - `hub`


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with plain_chromium() as browser:
        yield browser


# Of the terminal page: `workspace`, and Ann at her devices.


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, hub: Hub) -> Iterator[LockedWorkspace]:
    """Ann's, with a stand-in for the hub."""
    with lockable(tmp_path_factory.mktemp("home"), hub) as workspace:
        yield workspace


@pytest.fixture(scope="module")
def text_browser() -> Iterator[Browser]:
    """Without WebGL, so that what a terminal shows is text on the page."""
    assert BUILT.exists(), "The pages are not built: run `make ui`."
    with plain_chromium(NO_WEBGL) as browser:
        yield browser


@pytest.fixture
def device(text_browser: Browser, workspace: LockedWorkspace) -> Iterator[Callable[..., Device]]:
    """Makes devices, desktops unless told otherwise. What their pages complain about fails the test."""
    made: list[Device] = []

    def one(viewport: dict[str, int] | None = None, **options: object) -> Device:
        made.append(Device(text_browser, workspace, viewport=viewport or DESKTOP, **options))
        return made[-1]

    yield one
    for item in made:
        item.leave()


@pytest.fixture
def laptop(device: Callable[..., Device]) -> Device:
    return device()


@pytest.fixture
def tablet(device: Callable[..., Device]) -> Device:
    return device(TABLET, has_touch=True)
