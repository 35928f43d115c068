"""Handing a workspace its secrets: through ``docker exec`` standard input into its tmpfs.

They are never in the container's configuration, its environment as Docker knows it, an argument or a
log line. The keeper waits for the file, reads it, deletes it (see ``persistent_terminal_hub.keeper``).
"""

from __future__ import annotations

import json
import secrets
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any, cast

import docker

from persistent_terminal_hub.hub.container_spec import GID, RUNTIME_DIR, UID
from persistent_terminal_hub.hub.docker_client import EngineError, Kind

# A rename makes the file appear complete or not at all. `head` takes exactly the announced bytes, so
# nothing depends on the end of the stream being seen.
_SCRIPT = (
    'umask 077; d=$2; head -c "$1" >"$d/.secrets.tmp" '
    '&& [ "$(wc -c <"$d/.secrets.tmp")" -eq "$1" ] && mv "$d/.secrets.tmp" "$d/secrets.json" '
    '&& printf %s "$3" >"$d/delivered"'
)
# Never an error: a workspace of an earlier release has no mark, and a full tmpfs an empty one.
_READ_MARK = 'head -c 64 "$1/delivered" 2>/dev/null || true'
MAX_COMPLAINT = 2000


def payload(env: Mapping[str, str]) -> bytes:
    """The content of the secrets file."""
    return json.dumps({"env": dict(env)}).encode()


def new_mark() -> str:
    """A name for one delivery. Random, so it says nothing about what was delivered."""
    return secrets.token_hex(8)


def mark_of(client: docker.APIClient, container: str) -> str:
    """The mark of the last delivery that the container took; empty if it has none. Blocks."""
    created = client.exec_create(
        container, ["sh", "-c", _READ_MARK, "sh", RUNTIME_DIR], stderr=False, user=f"{UID}:{GID}"
    )
    return bytes(client.exec_start(created["Id"])).decode("ascii", "replace").strip()


def deliver(client: docker.APIClient, container: str, content: bytes, timeout: float, mark: str = "") -> None:
    """Write the secrets file into a running container. Blocks: call it in a worker thread.

    `mark` is left beside it (see `mark_of`). Raises EngineError; no message quotes the content.
    """
    created = client.exec_create(
        container,
        ["sh", "-c", _SCRIPT, "sh", str(len(content)), RUNTIME_DIR, mark],
        stdin=True,
        stdout=True,
        stderr=True,
        tty=False,
        user=f"{UID}:{GID}",
    )
    stream = client.exec_start(created["Id"], socket=True)
    try:
        raw = _socket_of(stream)
        raw.settimeout(timeout)
        raw.sendall(content)
        raw.shutdown(socket.SHUT_WR)
        complaint = _read_frames(raw)
    except OSError as error:
        raise EngineError(
            Kind.FAILED, f"handing over the secrets stopped half way ({type(error).__name__})"
        ) from None
    finally:
        stream.close()
    status = _exit_status(client, created["Id"])
    if status != 0:
        raise EngineError(
            Kind.FAILED, f"handing over the secrets ended with status {status}: {complaint or 'no message'}"
        )


def _exit_status(client: docker.APIClient, exec_id: str) -> int | None:
    # The stream may end a moment before Docker notes the status.
    for _ in range(20):
        status = client.exec_inspect(exec_id)["ExitCode"]
        if status is not None:
            return int(status)
        time.sleep(0.05)
    return None


def _socket_of(stream: Any) -> socket.socket:
    # Over a unix socket or plain TCP docker-py returns a SocketIO around the real socket.
    return cast(socket.socket, getattr(stream, "_sock", stream))


def _read_frames(raw: socket.socket) -> str:
    """Read Docker's multiplexed output to its end; return the beginning of it."""
    kept = b""
    while header := _read_exactly(raw, 8):
        (length,) = struct.unpack(">I", header[4:])
        data = _read_exactly(raw, length)
        kept += data[: max(0, MAX_COMPLAINT - len(kept))]
    return " ".join(kept.decode("utf-8", "replace").split())


def _read_exactly(raw: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = raw.recv(min(count, 65536))
        if not part:
            return b""
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
