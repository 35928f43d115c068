"""Measures the candidates for keyframes and prints the table of docs/explanation/keyframes.md.

Run by hand with pyghostty 0.1.3 and pyavt 0.1.2 installed, and @xterm/addon-serialize beside @xterm/headless:
    PTH_XTERM_HEADLESS=... python3 tests/keyframe_truth/compare.py
"""

from __future__ import annotations

import collections
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO), str(REPO / "tests/recordings"), str(Path(__file__).parent)]

import record  # noqa: E402
import streams  # noqa: E402
import truth  # noqa: E402

from persistent_terminal_hub.server import emulator_replay  # noqa: E402
from persistent_terminal_hub.server.emulator_base import ground_cut  # noqa: E402
from persistent_terminal_hub.server.emulator_node import NodeEmulator, NodeWorker  # noqa: E402

Part = bytes | tuple[int, int]
Method = Callable[[int, int, Sequence[Part]], bytes]
CUTS = 10


def _drive(emulator: Any, parts: Sequence[Part]) -> bytes:
    for part in parts:
        if isinstance(part, bytes):
            emulator.feed(part)
        else:
            emulator.resize(*part)
    try:
        return bytes(emulator.keyframe())
    finally:
        emulator.close()


class Addon(truth.Truth):
    def __init__(self) -> None:
        addon = truth.xterm_headless().parents[2] / "addon-serialize/lib/addon-serialize.js"
        argv = [truth.node(), str(truth.HERE / "addon.cjs"), str(truth.xterm_headless()), str(addon)]
        self._node = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, rows: int, cols: int, parts: Sequence[Part]) -> bytes:
        return str(self.state(rows, cols, parts)["data"]).encode()


def ghostty(rows: int, cols: int, parts: Sequence[Part]) -> bytes:
    from pyghostty import core  # type: ignore[import-not-found]

    ffi, lib = core.ffi, core.lib
    terminal = core.Terminal(cols, rows, scrollback=1000)
    most = ffi.new("size_t*", 64 << 20)
    core.check(
        lib.ghostty_terminal_set(terminal._t[0], lib.GHOSTTY_TERMINAL_OPT_SCROLLBACK_MAX_BYTES, most), "set"
    )
    for part in parts:
        if isinstance(part, bytes):
            terminal.feed(part)
        else:
            terminal.resize(part[1], part[0])
    options = core.init_sized("GhosttyFormatterTerminalOptions")
    options.emit = lib.GHOSTTY_FORMATTER_FORMAT_VT
    for group in (options.extra, options.extra.screen):
        for name, kind in ffi.typeof(group).fields:
            # The palette is written whole, and would count as 256 changed colours.
            if kind.type.kind == "primitive" and name not in ("size", "palette"):
                setattr(group, name, True)
    formatter = ffi.new("GhosttyFormatter*")
    core.check(lib.ghostty_formatter_terminal_new(ffi.NULL, formatter, terminal._t[0], options[0]), "new")
    try:
        return core.read_buf(lambda b, n, w: lib.ghostty_formatter_format_buf(formatter[0], b, n, w)).encode()
    finally:
        lib.ghostty_formatter_free(formatter[0])
        terminal.close()


def avt(rows: int, cols: int, parts: Sequence[Part]) -> bytes:
    import avt as library  # type: ignore[import-not-found]

    terminal = library.Vt(cols, rows)
    for part in parts:
        if isinstance(part, bytes):
            terminal.feed_str(part.decode(errors="replace"))
        else:
            terminal.resize(part[1], part[0])
    return str(terminal.dump()).encode()


def methods(worker: NodeWorker) -> dict[str, Method]:
    def short(rows: int, cols: int, parts: Sequence[Part]) -> bytes:
        emulator_replay.WHOLE_BYTES, emulator_replay.TAIL_BYTES = 4096, 8192
        return _drive(emulator_replay.ReplayEmulator(rows, cols), parts)

    def everything(rows: int, cols: int, parts: Sequence[Part]) -> bytes:
        emulator_replay.WHOLE_BYTES, emulator_replay.TAIL_BYTES = 256 << 10, 1 << 20
        return _drive(emulator_replay.ReplayEmulator(rows, cols), parts)

    return {
        "xterm.js + ours": lambda rows, cols, parts: _drive(NodeEmulator(worker, rows, cols), parts),
        "addon-serialize": Addon(),
        "pyghostty": ghostty,
        "pyavt": avt,
        "replay of all": everything,
        "replay of 8 KiB": short,
    }


def cases() -> dict[str, list[tuple[int, int, list[Part]]]]:
    found: dict[str, list[tuple[int, int, list[Part]]]] = {}
    for path in sorted((REPO / "tests/recordings").glob("*.rec.gz")):
        rows, cols, resizes, output = record.load(path)
        name = path.name.removesuffix(".rec.gz")
        found[name] = []
        for number in range(1, CUTS + 1):
            cut = ground_cut(output[: len(output) * number // CUTS])
            parts: list[Part] = []
            at = 0
            for offset, r, c in resizes:
                if offset <= cut:
                    parts += [output[at:offset], (r, c)]
                    at = offset
            found[name].append((rows, cols, [*parts, output[at:cut]]))
    found["generated (200)"] = [streams.generate(seed) for seed in range(200)]
    return found


def main() -> None:
    oracle = truth.Truth()
    worker = NodeWorker(truth.node(), truth.xterm_headless())
    all_methods = methods(worker)
    table, spent = [], collections.Counter[str]()
    for name, streams_of in cases().items():
        row = [name]
        wanted = [(case, oracle.state(*case)) for case in streams_of]
        wanted = [(case, want) for case, want in wanted if not want.get("threw")]
        for method, run in all_methods.items():
            exact, what = 0, collections.Counter[str]()
            for case, want in wanted:
                began = time.perf_counter()
                data = run(*case)
                spent[method] += int(1e6 * (time.perf_counter() - began))
                cols, rows = want["size"]
                different = truth.differences(want, oracle.state(rows, cols, [data]))
                # Whether REP would repeat the last character: no candidate but ours restores it.
                different = [one for one in different if not one.startswith("joins")]
                exact += not different
                what.update(
                    {one.split(":")[0].replace("normal.", "").replace("modes.", "") for one in different}
                )
            most = ", ".join(key for key, _ in what.most_common(4))
            row.append("exact" if exact == len(wanted) else f"{exact}/{len(wanted)}: {most}")
        table.append(row)
        print("| " + " | ".join(row) + " |", flush=True)
    print(json.dumps({key: round(value / 1e3) for key, value in spent.items()}), file=sys.stderr)


if __name__ == "__main__":
    main()
