"""The marks that an interactive bash of the image sets at its prompts (OSC 133), with real bash on a PTY."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MARKS = ROOT / "images/workspace/rootfs/usr/local/share/pth/bash-marks.sh"
SKEL = ROOT / "images/workspace/rootfs/usr/local/share/pth/skel/.bashrc"
READY = "# ready"


class Bash:
    """An interactive bash that reads the marks first and the user's file after them, as in the image."""

    def __init__(self, home: Path, user: str, **env: str) -> None:
        rc = home / "rc"
        # What is typed is not edited, so that it is echoed as it is.
        rc.write_text(f". {MARKS}\n{user}\nset +o emacs +o vi\n")
        master, slave = pty.openpty()
        full = {
            "PATH": os.environ["PATH"], "HOME": str(home), "RC": str(rc),
            "TERM": "xterm-256color", "PTH_SESSION_ID": "s",
        }  # fmt: skip
        self.process = subprocess.Popen(
            ["bash", "--rcfile", str(rc), "-i"], stdin=slave, stdout=slave, stderr=slave,
            env=full | env, cwd=home, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.master = master
        self.run(READY)

    def run(self, *lines: str) -> list[str]:
        """Type lines; the marks from the first command's begin to the last one's prompt, and `$?` with it."""
        for line in lines:
            os.write(self.master, f"{line}\n".encode())
        os.write(self.master, b"printf 'the%s-%s:%s\\n' -end $? $$\n")
        text, deadline = "", time.monotonic() + 10
        while not re.search(r"the-end-\d+:\d+\r\n.*\$ (\x1b]133;B\a)?$", text, re.S):
            assert time.monotonic() < deadline, text
            if select.select([self.master], [], [], 0.1)[0]:
                text += os.read(self.master, 65536).decode()
        self.text = text
        return [mark or end for mark, end in re.findall(r"\x1b]133;([^\a]*)\a|(the-end-\d+)", text)]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Bash]]:
    started: list[Bash] = []

    def make(user: str = "PS1='$ '", **env: str) -> Bash:
        started.append(Bash(tmp_path, user, **env))
        return started[-1]

    yield make
    for bash in started:
        bash.stop()


USERS = {
    "nothing": "PS1='$ '",
    "skeleton": SKEL.read_text() + "\nPS1='\\u:$ '",
    "their own PROMPT_COMMAND": "PROMPT_COMMAND='true; false'; PS1='$ '",
    "a prompt made anew each time": "PROMPT_COMMAND='PS1=\"$(date +%s)\\$ \"'",
    "strict": "set -u; PS1='$ '",
}


@pytest.mark.parametrize("user", USERS.values(), ids=USERS.keys())
def test_each_command_has_its_marks_and_its_exit_code(start: Callable[..., Bash], user: str) -> None:
    bash = start(user)
    prompt, end = ["A", "B"], ["C", "the-end-0", "D;0", "A", "B"]
    assert bash.run("(exit 3)") == ["C", "D;3", *prompt, "C", "the-end-3", "D;0", *prompt]
    # `$?` is what it was, for the user as well; an empty line runs nothing.
    assert bash.run("true", "") == ["C", "D;0", *prompt, "D;0", *prompt, *end]


def test_a_virtual_environment_and_a_nested_bash(start: Callable[..., Bash]) -> None:
    bash = start()
    bash.run('PS1="(venv) $PS1"')
    assert bash.run("true") == ["C", "D;0", "A", "B", "C", "the-end-0", "D;0", "A", "B"]
    assert bash.run('bash --rcfile "$RC" -i')[:3] == ["C", "A", "B"]
    outer = bash.process.pid
    assert f":{outer}\r" not in bash.text
    assert bash.run("exit 4")[:5] == ["C", "D;4", "A", "B", "C"]
    assert f"the-end-4:{outer}\r" in bash.text


@pytest.mark.parametrize(
    "user, env",
    [
        ("PS1='$ '", {"PTH_SHELL_MARKS": "0"}),
        ("PS1='$ '", {"PTH_SESSION_ID": ""}),
        ("PS1='$ '", {"TERM": "dumb"}),
        ("PTH_SHELL_MARKS=0; PS1='$ '", {}),
    ],
)
def test_without_marks(start: Callable[..., Bash], user: str, env: dict[str, str]) -> None:
    assert start(user, **env).run("true") == ["the-end-0"]


def test_somebody_elses_marks_are_left_alone(start: Callable[..., Bash]) -> None:
    bash = start(r"PS1='\[\e]133;A;theirs\a\]$ '")
    assert set(bash.run("true")) == {"A;theirs", "the-end-0"}
