# ruff: noqa: E501, S606 - scripts of keys; the child of a fork is meant to become the program
"""Records real programs through a PTY, for the exactness test: python3 tests/recordings/record.py [NAME...]

A recording is gzip: one line of JSON {"rows", "cols", "resizes": [[offset, rows, cols], ...]}, then output.
"""

from __future__ import annotations

import concurrent.futures
import fcntl
import gzip
import json
import os
import pty
import select
import signal
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
Step = str | float | tuple[int, int]  # keys, seconds to wait, a resize to (rows, cols)

PIP = r"""
import sys, time
for i in range(0, 101, 2):
    done = i * 40 // 100
    sys.stdout.write("\r   \x1b[38;5;197m" + "━" * done + "\x1b[0m\x1b[38;5;237m╺" + "━" * (40 - done) + "\x1b[0m "
        f"\x1b[32m{i/10:.1f}/10.0 MB\x1b[0m \x1b[31m11.2 MB/s\x1b[0m eta \x1b[36m0:00:0{9 - i // 12}\x1b[0m\x1b[?25l")
    sys.stdout.flush(); time.sleep(0.005)
print("\x1b[?25h\r\n\x1b[1;32mSuccessfully installed\x1b[0m everything")
"""
NPM = r"""
import sys, time
spin = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
for i in range(80):
    sys.stdout.write(f"\x1b[1G\x1b[0K{spin[i % 10]}" if i % 9 else f"\x1b[2K\x1b[1Gnpm \x1b[33mwarn\x1b[39m deprecated x@{i}\n")
    sys.stdout.flush(); time.sleep(0.004)
print("\x1b[1G\x1b[0K\nadded 312 packages in 4s")
for i in range(30):
    sys.stdout.write(f"\x1b[3A\x1b[Jlayer a {'#' * i}\nlayer b {'=' * (i // 2)}>\nlayer c waiting\n"); sys.stdout.flush()
"""
CJK = r"""
import random
r = random.Random(7)
words = ["日本語", "テスト", "한국어", "中文字符", "😀", "👩‍👩‍👧", "🇨🇭", "é", "e\u0301", "ｆｕｌｌ", "plain", "\u200bzero", "ありがとう"]
for i in range(300):
    print(f"\x1b[{31 + i % 7}m{i}\x1b[0m", " ".join(r.choices(words, k=r.randint(1, 25))))
"""
GIT = r"""
git init -q -b main . && git config user.name 日本 && git config user.email a@example.org
for i in $(seq 40); do
  printf "%d\n" $(seq $i) > file$((i % 5)); git add . ; git commit -qm "Change $i: the reason why, at some length"
  if [ $((i % 10)) = 3 ]; then git checkout -qb side$i; fi
  if [ $((i % 10)) = 6 ]; then git checkout -q main; git merge -q --no-edit -X ours side$((i - 3)) >/dev/null 2>&1; fi
done
git log --graph --all --color --stat --decorate -p | cat
"""
KILLED = r"""
(sleep 1; kill -9 $(cat pid)) &
sh -c 'echo $$ > pid; exec vim -u NONE -N -c "set mouse=a" -c "syntax on" -c "split" TEXT'
seq 40; sleep 0.5
"""
PROGRAMS: dict[str, tuple[list[str], list[Step]]] = {
    "vim": (
        ["vim", "-u", "NONE", "-N", "TEXT"],
        [
            0.4,
            "\x06\x06",
            0.2,
            "50Gdd",
            0.1,
            "ihello 日本\x1b",
            0.1,
            ":set nu\r",
            0.2,
            ":split\r",
            0.3,
            "/def\r",
            0.2,
            "VjjjJ",
            0.2,
            (30, 100),
            0.3,
            "\x02",
            0.2,
            ":q!\r",
            0.2,
            ":q!\r",
            0.3,
        ],
    ),
    "vim-colour": (
        ["vim", "-u", "NONE", "-N", "-c", "syntax on", "-c", "set hlsearch ruler", "TEXT"],
        [0.4, "\x06", 0.1, "\x06", 0.1, "/import\r", 0.2, "nnn", 0.2, "ggVG", 0.2],
    ),
    "less": (
        ["less", "-R", "TEXT"],
        [0.3, "   ", 0.2, "/def\r", 0.2, "nn", 0.1, "G", 0.2, "b", 0.2, "q", 0.2],
    ),
    "htop": (["htop", "-d", "3"], [1.0, "jjj", 0.5, "\x1b[15~", 0.6, "kk", 0.4, "q", 0.3]),
    "top": (["top", "-d", "0.3"], [1.0, "1", 0.5, "c", 0.6, "z", 0.6, "q", 0.2]),
    "tmux": (
        ["tmux", "-L", "rec", "-f", "/dev/null", "new-session", "sh"],
        [
            0.6,
            "ls -l /usr/bin | tail -40\r",
            0.4,
            "\x02%",
            0.4,
            "seq 500\r",
            0.4,
            '\x02"',
            0.4,
            "vi TEXT\r",
            0.5,
            "\x06\x06",
            0.3,
            "\x02o",
            0.2,
            "echo 日本\r",
            0.3,
            (30, 110),
            0.5,
            "\x02d",
            0.3,
        ],
    ),
    "git-log": (["sh", "-c", GIT], [3.0]),
    "pip": (["python3", "-c", PIP], [1.2]),
    "npm": (["python3", "-c", NPM], [1.2]),
    "python": (
        ["python3", "-q"],
        [
            0.5,
            "x = [i**2 for i in range(300)]\r",
            0.2,
            "x\r",
            0.3,
            "def f(a):\r    return a\r\r",
            0.3,
            "help(f)\r",
            0.6,
            "q",
            0.2,
            "for i in range(1200): print(i, '日'*(i%30))\r\r",
            0.6,
            "1/0\r",
            0.3,
            "\x1b[A",
            0.2,
        ],
    ),
    "bash": (
        ["bash", "--norc", "-i"],
        [
            0.3,
            "ls --color=always -l /usr/lib | head -70\r",
            0.4,
            "echo \x1b[D\x1b[D lo",
            0.1,
            "\x01\x05\x17\x15",
            0.1,
            "printf '%0300d\\n' 1 2 3\r",
            0.2,
            (24, 60),
            0.2,
            "seq 1500\r",
            0.3,
            (24, 120),
            0.3,
            "printf '\\033[41mred to the end\\033[K\\033[m\\n'\r",
            0.2,
            "echo -n unfinished",
            0.2,
        ],
    ),
    "cjk-emoji": (["python3", "-c", CJK], [0.8]),
    "killed": (["sh", "-c", KILLED], [3.0]),
    "nano": (["nano", "TEXT"], [0.5, "\x16\x16", 0.2, "hello", 0.2, "\x17def\r", 0.3, "\x18n", 0.3]),
}


def record(name: str, argv: list[str], steps: list[Step]) -> tuple[str, int]:
    """Run one program and write its recording."""
    rows, cols = 24, 80
    with tempfile.TemporaryDirectory() as home:
        text = Path(home) / "text.py"
        text.write_text((REPO / "persistent_terminal_hub/server/keyframe.py").read_text())
        argv = [a.replace("TEXT", str(text)) for a in argv]
        pid, master = pty.fork()
        if pid == 0:
            os.chdir(home)
            os.environ.update(TERM="xterm-256color", HOME=home, LANG="C.UTF-8", PS1="$ ", SHELL="/bin/sh")
            os.environ.pop("TMUX", None)
            os.execvp(argv[0], argv)
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        os.kill(pid, signal.SIGWINCH)
        output, resizes = bytearray(), []

        def drain(seconds: float) -> bool:
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                if select.select([master], [], [], left)[0]:
                    try:
                        data = os.read(master, 65536)
                    except OSError:
                        return False
                    if not data:
                        return False
                    output.extend(data)
            return True

        drain(0.1)
        for step in steps:
            if isinstance(step, str):
                os.write(master, step.encode())
                alive = drain(0.05)
            elif isinstance(step, tuple):
                resizes.append([len(output), *step])
                fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", *step, 0, 0))
                alive = drain(0.05)
            else:
                alive = drain(step)
            if not alive:
                break
        os.close(master)
        try:
            os.kill(pid, signal.SIGHUP)
            os.waitpid(pid, 0)
        except ProcessLookupError:
            pass
    header = json.dumps({"rows": rows, "cols": cols, "resizes": resizes}).encode()
    with gzip.GzipFile(HERE / f"{name}.rec.gz", "wb", mtime=0) as file:
        file.write(header + b"\n" + bytes(output))
    return name, len(output)


def load(path: Path) -> tuple[int, int, list[tuple[int, int, int]], bytes]:
    """(rows, cols, [(offset, rows, cols)], output) of a recording."""
    header, output = gzip.decompress(path.read_bytes()).split(b"\n", 1)
    said = json.loads(header)
    return said["rows"], said["cols"], [(a, b, c) for a, b, c in said["resizes"]], output


if __name__ == "__main__":
    wanted = sys.argv[1:] or list(PROGRAMS)
    with concurrent.futures.ProcessPoolExecutor(3) as pool:
        for done in [pool.submit(record, name, *PROGRAMS[name]) for name in wanted]:
            print(*done.result(20))
