"""A disk that is full in the middle of a clone: a real small file system, a real git server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from persistent_terminal_hub.server.clone import Wish, clone
from persistent_terminal_hub.server.clone_url import judge
from persistent_terminal_hub.server.errors import SessionError
from tests.support.stack import free_ports, wait_for

pytestmark = pytest.mark.netns  # root: mounts a file system


@pytest.fixture
def small_home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(home)], check=True)
    try:
        yield home
    finally:
        subprocess.run(["umount", "-l", str(home)], check=True)


@pytest.fixture
def large_repository(tmp_path: Path) -> Iterator[str]:
    work, port = tmp_path / "git" / "large", free_ports(1)[0]
    work.mkdir(parents=True)
    (work / "data").write_bytes(os.urandom(3_000_000))
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "large"]):
        subprocess.run(["git", *identity, *command], cwd=work, check=True)
    daemon = subprocess.Popen(
        ["git", "daemon", "--reuseaddr", "--export-all", "--listen=127.0.0.1", f"--port={port}",
         f"--base-path={work.parent}", str(work.parent)], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        url = f"git://127.0.0.1:{port}/large"
        ask = ["git", "ls-remote", url]
        wait_for(
            lambda: subprocess.run(ask, capture_output=True, check=False).returncode == 0,
            20,
            "git's server answers",
        )
        yield url
    finally:
        daemon.terminate()
        daemon.wait()


async def test_nothing_is_left_and_the_sentence_says_why(small_home: Path, large_repository: str) -> None:
    wish = Wish("ab" * 16, judge(large_repository), small_home / "large")
    with pytest.raises(SessionError) as caught:
        await clone(wish, dict(os.environ), lambda *_: None)
    assert caught.value.message == "The disk is full. Nothing was cloned."
    assert list(small_home.iterdir()) == []
