"""JupyterLab's own terminal client when the line breaks: nothing doubled, nothing missing."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.browser.lab import Person, chromium
from tests.support.stack import Stack

pytestmark = [pytest.mark.docker, pytest.mark.browser, pytest.mark.netns, pytest.mark.timeout(300)]

CUT_SECONDS = 30


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    installation = Stack(tmp_path_factory.mktemp("stack"))
    installation.start()
    installation.add_user("dora")
    yield installation
    installation.stop()
    installation.remove_everything()


def test_a_cut_line_loses_and_doubles_nothing(stack: Stack) -> None:
    with chromium(stack) as browser:
        dora = Person(browser, stack, "dora")
        dora.login()
        dora.open_lab()
        dora.new_terminal()
        # About 800 lines in all: what JupyterLab's own scrollback holds.
        dora.type("for i in $(seq 800); do echo line-$i; sleep 0.05; done; echo done-$((40+2))\n")
        dora.wait_text(r"^line-40$")
        assert stack.line is not None
        stack.line.cut()
        dora.page.wait_for_timeout(CUT_SECONDS * 1000)
        shown = [int(n) for n in re.findall(r"^line-(\d+)$", "\n".join(dora.lines()), re.M)]
        assert shown[-1] < 400, "the line was never cut"
        stack.line.mend()
        dora.wait_text(r"^done-42$", seconds=120)
        shown = [int(n) for n in re.findall(r"^line-(\d+)$", "\n".join(dora.lines()), re.M)]
        assert shown == list(range(1, 801))
        dora.leave()
