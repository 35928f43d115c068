"""The truth that keyframes are measured against: @xterm/headless in Node, as a line-by-line oracle."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
CACHE = REPO / ".cache" / "xterm-headless.js"
WORKER = REPO / "persistent_terminal_hub/server/keyframe_node/worker.cjs"
Part = bytes | tuple[int, int]


def xterm_headless() -> Path:
    """Path of xterm-headless.js, fetched with npm into .cache/ the first time."""
    if given := os.environ.get("PTH_XTERM_HEADLESS"):
        return Path(given)
    subprocess.run([str(WORKER.with_name("fetch.sh")), str(CACHE)], check=True, timeout=120)
    return CACHE


class Truth:
    """One Node process; each call is one terminal."""

    def __init__(self) -> None:
        self._node = subprocess.Popen(
            ["node", str(HERE / "truth.cjs"), str(xterm_headless())],
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
