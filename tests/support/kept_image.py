"""A workspace image with the real keeper and, in place of Jupyter, a server of forty lines.

It starts in a tenth of a second, and its sessions are as durable as real ones: the keeper owns them.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import docker
from docker.errors import ImageNotFound

import persistent_terminal_hub

SERVER = """
import http.server, json, os, urllib.error, urllib.request
from pathlib import Path
from persistent_terminal_hub.keeper import wire
from persistent_terminal_hub.keeper.blocking_client import BlockingClient

PREFIX = os.environ["JUPYTERHUB_SERVICE_PREFIX"]
FILE = Path("/workspace/file")

def shell():
    client = BlockingClient(Path(os.environ["PTH_RUNTIME_DIR"], wire.SOCKET_NAME))
    try:
        running = [s for s in client.call("list").header["sessions"] if not s["exit"]]
        if not running:
            running = [client.call("create", argv=["/bin/sh"]).header["session"]]
        return {
            "session": running[0]["id"],
            "pid": running[0]["pid"],
            "locked": client.call("lock_state").header["locked"],
            "file": FILE.read_text() if FILE.exists() else "",
        }
    finally:
        client.close()

def lock():
    client = BlockingClient(Path(os.environ["PTH_RUNTIME_DIR"], wire.SOCKET_NAME))
    FILE.write_text("kept")
    try:
        return {"locked": client.call("lock", reason="a test").header["locked"]}
    finally:
        client.close()

def hub():
    # What the hub thinks of our token.
    url = os.environ["JUPYTERHUB_API_URL"] + "/user"
    token = {"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]}
    request = urllib.request.Request(url, headers=token)
    try:
        with urllib.request.urlopen(request, timeout=3) as answer:
            return {"status": answer.status}
    except urllib.error.HTTPError as error:
        return {"status": error.code}
    except OSError:
        return {"status": 0}

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        what = {"shell": shell, "hub": hub, "lock": lock}.get(self.path.removeprefix(PREFIX), dict)
        body = json.dumps(what()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(("0.0.0.0", 8888), Handler).serve_forever()
"""
DOCKERFILE = """
FROM {base}
ENV PYTHONPATH=/opt/code PTH_RUNTIME_DIR=/run/pth
COPY code /opt/code
CMD ["python3", "-u", "-m", "persistent_terminal_hub.keeper", "--wait-for-secrets", "--grace", "1", "--", \
     "python3", "-u", "/opt/code/server.py"]
"""


def build_kept(client: docker.APIClient, base: str) -> str:
    """Build the image from `base` (see `docker_fixtures`) unless it is there; return its name."""
    package = Path(persistent_terminal_hub.__file__).parent
    files = {
        f"code/persistent_terminal_hub/{path.relative_to(package)}": path.read_bytes()
        for path in [package / "__init__.py", *sorted((package / "keeper").glob("*.py"))]
    }
    files |= {"code/server.py": SERVER.encode(), "Dockerfile": DOCKERFILE.format(base=base).encode()}
    digest = hashlib.sha256(b"".join(name.encode() + text for name, text in files.items())).hexdigest()
    name = f"pth-test/kept:{digest[:12]}"
    try:
        client.inspect_image(name)
        return name
    except ImageNotFound:
        pass
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for path, text in files.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(text), 0o644
            tar.addfile(info, io.BytesIO(text))
    context.seek(0)
    output = list(
        client.build(fileobj=context, custom_context=True, tag=name, rm=True, forcerm=True, decode=True)
    )
    errors = [entry["error"] for entry in output if "error" in entry]
    if errors:
        raise RuntimeError(f"The tests' image could not be built: {errors[-1]}")
    return name
